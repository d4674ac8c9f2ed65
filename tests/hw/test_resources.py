"""The resource model: block RAM exactly, logic and flip-flops of designs that it was not fitted to within 15 %."""

import re
import subprocess

import pytest

from qblif.host.errors import ToolMissing
from qblif.hw import calibrate, resources
from qblif.hw.params import CoreParams, DesignParams
from qblif.hw.structure import MemoryShape
from qblif.hw.tools import YOSYS

DATA = calibrate.load()["designs"]
NAMES = sorted(DATA)

MAPPED = {(512, 4096, "block"): (114, 0), (512, 2048, "block"): (57, 0), (64, 8192, "block"): (32, 0),
          (16, 1024, "block"): (1, 0), (128, 512, ""): (4, 0), (258, 128, ""): (8, 0), (258, 64, ""): (8, 0),
          (92, 15, ""): (0, 23), (20, 63, ""): (0, 20), (20, 64, ""): (0, 20), (9, 127, ""): (1, 0),
          (512, 32, ""): (0, 256), (512, 64, ""): (15, 0), (92, 64, ""): (3, 0), (40, 64, ""): (0, 40)}
"""Width, depth and style of memories -> DP16KD and DPR16X4 that Yosys 0.70 makes of them (the long test asks it)."""


DUAL = {(32, 512): 2, (32, 1024): 2, (32, 2048): 4, (32, 4096): 8, (16, 1024): 1, (16, 2048): 2, (20, 4096): 5,
        (64, 512): 4, (128, 8192): 60}
"""Width and depth of block RAM with two read ports, one of them at the write address -> DP16KD, likewise."""


@pytest.mark.parametrize("memory", DUAL, ids=str)
def test_memories_with_two_readers_are_true_dual_port(memory):
    assert resources.rams(MemoryShape(*memory, "block", clocked=True, dual=True)) == (DUAL[memory], 0)


def test_two_clusters_take_the_block_ram_of_one_for_their_weights():
    def weights(clusters):
        design = DesignParams((CoreParams(clusters=clusters, weight_depth=2048),))
        return [sum(resources.rams(memory)[0] for memory in module.memories) for module in resources.parts(design)
                if ".weights_" in module.path]

    one, two, three = (weights(clusters) for clusters in (1, 2, 3))
    assert sum(one) and two == one and three == one * 2


@pytest.mark.parametrize("memory", MAPPED, ids=str)
def test_memories_are_mapped_as_yosys_does(memory):
    assert resources.rams(MemoryShape(*memory, clocked=True)) == MAPPED[memory]


def test_memories_that_are_read_at_once_or_are_told_to_be_are_lut_ram():
    assert resources.rams(MemoryShape(325, 32, "distributed", True)) == (0, 164)
    assert resources.rams(MemoryShape(75, 32, "", False)) == (0, 38)


@pytest.mark.long
def test_yosys_maps_memories_by_the_rule(tmp_path):
    shapes = [(width, depth, style) for width in (5, 8, 9, 16, 20, 32, 33, 36, 40, 64, 72, 92, 128, 258, 325, 512)
              for depth in (15, 16, 31, 32, 63, 64, 127, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)
              for style in ("", "block", "dual") if width * depth < 3_000_000]
    text = "".join(f"""
        module m_{width}_{depth}_{style}(input clk, we, input [{(depth - 1).bit_length() - 1}:0] wa, ra,
                                         input [{width - 1}:0] d, output reg [{width - 1}:0] q, r);
          (* no_rw_check = 1 {', ram_style = "block"' if style else ''} *) reg [{width - 1}:0] mem [{depth - 1}:0];
          always @(posedge clk) begin if (we) mem[wa] <= d; q <= mem[ra];
            {"r <= mem[wa];" if style == "dual" else ""} end
        endmodule""" for width, depth, style in shapes)
    (tmp_path / "m.v").write_text(text)
    (tmp_path / "run.ys").write_text("""
        read_verilog m.v
        proc; opt; memory_dff; opt_mem; opt_mem_priority; opt_mem_feedback; opt_clean; memory_share; opt_mem_widen
        memory_collect; opt
        memory_libmap -lib +/lattice/lutrams_trellis.txt -lib +/lattice/brams_16kd.txt
        tee -o found.txt stat
        """)
    try:
        command = YOSYS.command()
    except ToolMissing as missing:
        pytest.skip(str(missing))
    subprocess.run([*command, "-q", "run.ys"], cwd=tmp_path, check=True, capture_output=True)
    found, module = {}, None
    for line in (tmp_path / "found.txt").read_text().splitlines():
        if match := re.match(r"=== m_(\d+)_(\d+)_(\w*) ===", line):
            module = (int(match[1]), int(match[2]), match[3])
        for cell, place in (("$__DP16KD_", 0), ("$__PDPW16KD_", 0), ("$__TRELLIS_DPR16X4_", 1)):
            if match := re.search(rf"(\d+) +{re.escape(cell)}|{re.escape(cell)} +(\d+)", line):
                found.setdefault(module, [0, 0])[place] += int(match[1] or match[2])
    assert {(width, depth, style): resources.rams(MemoryShape(width, depth, "block" if style else "", clocked=True,
                                                              dual=style == "dual"))
            for width, depth, style in shapes} == {shape: tuple(count) for shape, count in found.items()}


def test_there_are_designs_of_several_sizes_to_fit_to():
    assert len({core["lanes"] for one in DATA.values() for core in one["design"]["cores"]}) >= 2


@pytest.mark.parametrize("name", NAMES)
def test_block_ram_is_exact(name):
    design = DesignParams.from_dict(DATA[name]["design"])
    assert resources.estimate(design).block_ram == resources.total(DATA[name]).block_ram


@pytest.mark.parametrize("name", NAMES)
def test_logic_and_flip_flops_are_predicted_from_other_designs(name):
    others = {other: one for other, one in DATA.items() if other != name}
    predicted = resources.estimate(DesignParams.from_dict(DATA[name]["design"]), resources.fit(others))
    measured = resources.total(DATA[name])
    assert predicted.logic == pytest.approx(measured.logic, rel=0.15)
    assert predicted.ff == pytest.approx(measured.ff, rel=0.15)


@pytest.mark.parametrize("name", [name for name in NAMES if "comb" in DATA[name]])
def test_luts_after_place_and_route_are_predicted_from_other_designs(name):
    others = {other: one for other, one in DATA.items() if other != name}
    predicted = resources.estimate(DesignParams.from_dict(DATA[name]["design"]), resources.fit(others))
    assert resources.placed(predicted, others) == pytest.approx(DATA[name]["comb"], rel=0.15)


def test_place_and_route_is_told_apart():
    used = resources.Resources(1000, 100, 500, 10, 3)
    assert (used.logic, used.slots) == (1200, 1240)
    routed = {"a": {"comb": 1500, "modules": {"m": {"LUT4": 1000}}}}
    assert resources.placed(used, routed) == 1860
    assert resources.placed(used, {"a": {"modules": {}}}) is None


def test_what_was_never_measured_takes_the_average_share():
    one = next(iter(DATA.values()))
    fit = resources.fit({"one": {"design": one["design"], "modules": one["modules"]}})
    known = resources.estimate(DesignParams.from_dict(one["design"]), fit)
    fit.shares["TRELLIS_FF"].pop("accelerator.loader")
    other = resources.estimate(DesignParams.from_dict(one["design"]), fit)
    assert known.ff != other.ff == pytest.approx(known.ff, rel=0.1)


def test_an_estimate_takes_no_synthesis():
    small = resources.estimate(DesignParams((CoreParams(lanes=8, word_bits=32),)))
    large = resources.estimate(DesignParams((CoreParams(lanes=32),) * 2))
    assert small.logic < large.logic and small.ff < large.ff and small.block_ram < large.block_ram


def test_the_fit_that_is_kept_is_that_of_the_sources_as_they_are():
    """If not: `python -m qblif.hw.calibrate --fit`."""
    kept, now = resources.calibrated(), resources.fit(DATA)
    assert kept.weights == pytest.approx(now.weights, rel=1e-6)
    assert kept.shares.keys() == now.shares.keys()
    for figure, shares in now.shares.items():
        assert kept.shares[figure] == pytest.approx(shares, rel=1e-6)
