"""The ULX3S: pins, constraints, clock and reset of the shell."""

import re

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from qblif.hw import boards
from qblif.hw.boards import ulx3s
from qblif.hw.boards.ulx3s import PINS, Ulx3s, constraints, default_design
from qblif.hw.ecp5_pll import solve
from qblif.hw.emit import emit

MASTER = {
    "clk_25mhz": "G2", "ftdi_txd": "M1", "ftdi_rxd": "L4", "wifi_gpio0": "L2",
    **{f"led[{index}]": site for index, site in enumerate(("B2", "C2", "C1", "D2", "D1", "E2", "E1", "H3"))},
}
"""Sites as the board's own constraint file and amaranth-boards have them."""


class Serial(wiring.Component):
    """A serial top that sends back what it gets, one clock later."""

    rx: In(1, init=1)
    tx: Out(1, init=1)
    loaded: Out(1)
    busy: Out(1)
    error: Out(1)

    def elaborate(self, platform):
        m = Module()
        m.d.sync += self.tx.eq(self.rx)
        return m


@pytest.fixture(scope="module")
def text():
    return emit(Ulx3s(Serial(), solve(25_000_000, 80_000_000)), "ulx3s")


def test_every_pin_is_where_the_board_has_it():
    assert dict(re.findall(r'^LOCATE COMP "(\S+)" SITE "(\w+)";$', constraints(), re.M)) == MASTER


def test_every_located_pin_has_a_standard_and_the_oscillator_a_frequency():
    found = dict(re.findall(r'^IOBUF PORT "(\S+)" (.*);$', constraints(), re.M))
    assert set(found) == set(MASTER)
    assert all("IO_TYPE=LVCMOS33" in properties for properties in found.values())
    assert 'FREQUENCY PORT "clk_25mhz" 25 MHZ;' in constraints()


def test_pins_are_the_ports_of_the_shell_bit_by_bit(text):
    module = text[text.rindex("\nmodule ulx3s("):]
    ports = {name: int(high or 0) + 1 for high, name in re.findall(
        r"^  (?:input|output) +(?:\[(\d+):0\] )?(\w+)(?: =.*)?;", module[:module.index("endmodule")], re.M)}
    assert ports == {name: len(sites) for name, (sites, _) in PINS.items()}


def test_the_pll_has_the_dividers_that_were_computed_and_feeds_itself_back(text):
    for parameter, value in (("CLKI_DIV", 5), ("CLKFB_DIV", 16), ("CLKOP_DIV", 7)):
        assert re.search(rf"\.{parameter}\(32'd{value}\)", text), parameter
    output, = re.findall(r"\.CLKOP\((\S+?)\)", text)
    assert re.search(rf"\.CLKFB\({re.escape(output)}\)", text)


def test_the_clock_of_the_pll_goes_through_the_gate_alone(text):
    assert len(re.findall(r"\bmade\b *\)", text)) == 3, "the PLL's output, its feedback and the gate"
    assert re.search(r"\bDCCA\b.*?\.CE\(runs\).*?\.CLKI\(made\).*?\.CLKO\((\w+)\)", text, re.S)[1] == "clk"


def test_the_default_design_has_64_lanes_and_keeps_its_weight_memory_with_other_numbers():
    for lanes in (8, 16, 32, 64, 128, 256):
        core, = default_design(lanes).cores
        assert core.lanes == lanes
        assert core.weight_depth * core.lanes * core.weight_bits == 8 * 256 * 1024
    assert default_design() == default_design(64)


def test_unknown_boards_and_tool_chains_are_errors_that_list_what_there_is():
    with pytest.raises(boards.UnknownBoard, match="no board 'icebreaker'") as error:
        boards.find("icebreaker")
    assert "ulx3s (Radiona ULX3S 85F)" in error.value.hint
    with pytest.raises(boards.UnknownBoard, match="cannot be built with 'vivado'") as error:
        boards.find("ulx3s", "vivado")
    assert "trellis" in error.value.hint
    board, toolchain = boards.find("ulx3s")
    assert toolchain == "trellis" and board.implementation() is ulx3s
