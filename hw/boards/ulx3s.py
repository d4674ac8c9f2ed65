"""The ULX3S with an LFE5U-85F: pins, clock and reset around the accelerator with the serial link."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from amaranth.hdl import Cat, ClockDomain, ClockSignal, Const, Instance, Module, ResetSignal, Signal, Value
from amaranth.lib import enum, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

from qblif.host.program import read_header

from .. import ecp5, emit
from ..ecp5_pll import ClockError, Pll, solve
from ..flow import beating
from ..params import CoreParams, DesignParams
from ..uart import SMALLEST_DIVISOR, divisor
from . import Board, Built, Options, sources, sources_hash

OSCILLATOR_HZ = 25_000_000

DEVICE = ("--85k", "--package", "CABGA381", "--speed", "6")
"""The part, for nextpnr-ecp5."""

START_CYCLES = 1 << 9
"""Cycles of the oscillator that each step of the start takes, once the PLL has locked: more than it takes a signal to
be all over the chip, many times."""

PINS = {
    "clk_25mhz": (("G2",), "PULLMODE=NONE IO_TYPE=LVCMOS33"),
    # Named by the FTDI chip's side: what it sends, the FPGA receives. Idle lines are high.
    "ftdi_txd": (("M1",), "PULLMODE=UP IO_TYPE=LVCMOS33"),
    "ftdi_rxd": (("L4",), "PULLMODE=UP IO_TYPE=LVCMOS33"),
    "led": (("B2", "C2", "C1", "D2", "D1", "E2", "E1", "H3"), "PULLMODE=NONE IO_TYPE=LVCMOS33 DRIVE=4"),
    # Low, it would let the ESP32 take the board over.
    "wifi_gpio0": (("L2",), "PULLMODE=UP IO_TYPE=LVCMOS33 DRIVE=4"),
}
"""Port -> the sites of its bits, lowest first, and their properties. LEDs are lit by a 1."""


def constraints() -> str:
    """Return pins and the oscillator's frequency as an LPF file; the PLL's clock follows from them."""
    lines = ["BLOCK RESETPATHS;", "BLOCK ASYNCPATHS;",
             ("SYSCONFIG CONFIG_IOVOLTAGE=3.3 COMPRESS_CONFIG=ON MCCLK_FREQ=62 MASTER_SPI_PORT=ENABLE "
              "SLAVE_SPI_PORT=DISABLE SLAVE_PARALLEL_PORT=DISABLE;"),
             f'FREQUENCY PORT "clk_25mhz" {OSCILLATOR_HZ / 1e6:g} MHZ;']
    for port, (sites, properties) in PINS.items():
        for index, site in enumerate(sites):
            name = f"{port}[{index}]" if len(sites) > 1 else port
            lines += [f'LOCATE COMP "{name}" SITE "{site}";', f'IOBUF PORT "{name}" {properties};']
    return "\n".join(lines) + "\n"


def default_design(lanes: int = 64) -> DesignParams:
    """Return what `make bitstream` builds unless told otherwise: what fits the 208 block RAMs of the LFE5U-85F.

    At 64 lanes the weights, 4,096 rows of 64 bytes, take 128 of them, the feature maps 32; with more or fewer lanes
    the number of rows keeps the 256 KiB of weights. Where images of up to 36 columns are empty nothing is read: that is
    a block RAM. The neurons of all lanes are updated in eight cycles: in sixteen, first layers of few events wait for
    them."""
    return DesignParams((CoreParams(
        lanes=lanes, word_bits=max(64, lanes), neuron_lanes=max(4, lanes // 8), weight_depth=262_144 // lanes,
        map_depth=8192 * 64 // max(64, lanes), layer_depth=32, source_depth=256, channel_depth=512,
        occupancy=36),))


class Start(enum.Enum):
    """Steps of the start, each of START_CYCLES but the last: the clock stands still, runs while registers are reset,
    stands still, also while the reset is released, and runs."""

    STILL = 0
    RESET = 1
    STOP = 2
    RELEASE = 3
    RUN = 4


class Ulx3s(wiring.Component):
    """The board's pins around a serial top (hw.uart_top.UartTop, or another with its ports).

    The PLL's clock drives everything, through a gate. It stands still until the PLL has locked, and whenever it loses
    lock, so that an unsteady clock does no harm. Then registers are reset, and the clock stands still again while the
    reset is released: it has all the time it needs to be everywhere, and no cycle of the clock has to be that long.

    Parameters
    ----------
    top: component with `rx`, `tx`, `loaded`, `busy` and `error`, in the clock domain `sync`
    pll: makes its clock

    Members
    -------
    clk_25mhz, ftdi_txd: In(1); ftdi_rxd, wifi_gpio0: Out(1)
    led: Out(8), 0: a program is in place; 1: an image is in work; 2: STATUS shows an error; 3: changes every 2**25
        clock cycles; 4: a byte comes in; 5: a byte goes out; 6: off; 7: the PLL has locked
    """

    def __init__(self, top, pll: Pll):
        self._top, self._pll = top, pll
        super().__init__({"clk_25mhz": In(1), "ftdi_txd": In(1), "ftdi_rxd": Out(1, init=1), "led": Out(8),
                          "wifi_gpio0": Out(1)})

    def elaborate(self, platform):
        m = Module()
        pll, locked_now = self._pll, Signal()
        made, clock = Signal(name="made"), Signal(name="clock")         # by the PLL; behind the gate
        m.domains.sync = ClockDomain()
        m.domains.boot = ClockDomain(reset_less=True)           # the oscillator
        m.d.comb += [ClockSignal("sync").eq(clock), ClockSignal("boot").eq(self.clk_25mhz)]
        m.submodules.pll = Instance(
            "EHXPLLL",
            a_FREQUENCY_PIN_CLKI=f"{pll.input_hz / 1e6:g}", a_FREQUENCY_PIN_CLKOP=f"{float(pll.output_hz) / 1e6:g}",
            a_ICP_CURRENT="12", a_LPF_RESISTOR="8", a_MFG_ENABLE_FILTEROPAMP="1", a_MFG_GMCREF_SEL="2",
            p_PLLRST_ENA="DISABLED", p_INTFB_WAKE="DISABLED", p_STDBY_ENABLE="DISABLED", p_DPHASE_SOURCE="DISABLED",
            p_OUTDIVIDER_MUXA="DIVA", p_OUTDIVIDER_MUXB="DIVB", p_OUTDIVIDER_MUXC="DIVC", p_OUTDIVIDER_MUXD="DIVD",
            p_CLKI_DIV=pll.input_divider, p_CLKFB_DIV=pll.feedback_divider, p_CLKOP_ENABLE="ENABLED",
            p_CLKOP_DIV=pll.output_divider, p_CLKOP_CPHASE=pll.coarse_phase, p_CLKOP_FPHASE=0, p_FEEDBK_PATH="CLKOP",
            i_RST=Const(0, 1), i_STDBY=Const(0, 1), i_CLKI=self.clk_25mhz, i_CLKFB=made, i_PHASESEL0=Const(0, 1),
            i_PHASESEL1=Const(0, 1), i_PHASEDIR=Const(1, 1), i_PHASESTEP=Const(1, 1), i_PHASELOADREG=Const(1, 1),
            i_PLLWAKESYNC=Const(0, 1), i_ENCLKOP=Const(0, 1), o_CLKOP=made, o_LOCK=locked_now)

        locked, waited, step = Signal(), Signal(range(START_CYCLES)), Signal(Start)
        runs, reset = Signal(name="runs"), Signal(name="reset", init=1)
        m.submodules.gate = Instance("DCCA", i_CLKI=made, i_CE=runs, o_CLKO=clock)
        m.submodules.lock = FFSynchronizer(locked_now, locked, o_domain="boot")
        m.d.comb += ResetSignal("sync").eq(reset)
        m.d.boot += [runs.eq((step == Start.RESET) | (step == Start.RUN)),
                     reset.eq((step != Start.RELEASE) & (step != Start.RUN))]
        with m.If(~locked):
            m.d.boot += [step.eq(Start.STILL), waited.eq(0)]
        with m.Else():
            m.d.boot += waited.eq(waited + 1)
            with m.If((waited == START_CYCLES - 1) & (step != Start.RUN)):
                m.d.boot += step.eq(Value.cast(step) + 1)

        m.submodules.top = top = self._top
        beat, lit = Signal(26), Signal(7)
        m.d.sync += [
            beat.eq(beat + 1),
            lit.eq(Cat(top.loaded, top.busy, top.error, beat[-1], ~top.rx, ~top.tx)),
        ]
        m.d.comb += self.led.eq(Cat(lit, locked))               # that one not by a clock which may stand still
        # The receiver brings the line into the clock's domain.
        m.d.comb += [top.rx.eq(self.ftdi_txd), self.ftdi_rxd.eq(top.tx), self.wifi_gpio0.eq(1)]
        return m


def _pll(board: Board, wanted_hz: int) -> Pll:
    """Return the PLL for a clock; raises ClockError where it, or the serial link's bit rate, cannot be made."""
    from ..uart_top import BAUD

    default = f"leave the clock out for the board's default, {board.clock_hz / 1e6:g} MHz"
    try:
        pll = solve(OSCILLATOR_HZ, wanted_hz)
    except ClockError as error:
        raise ClockError(f"{board.title}: {error.message}",
                         hint=f"{error.hint}; or {default}" if error.hint else default) from error
    try:
        divisor(round(pll.output_hz), BAUD)
    except ValueError as error:
        fits = max(SMALLEST_DIVISOR, round(pll.output_hz / BAUD)) * BAUD / 1e6
        raise ClockError(f"{board.title}: the {BAUD / 1e6:g} Mbaud of its serial link cannot be made from a clock of "
                         f"{float(pll.output_hz) / 1e6:g} MHz to 2 % in {SMALLEST_DIVISOR} cycles per bit or more",
                         hint=f"write CLOCK={fits:g} (--clock {fits:g}), or {default}") from error
    return pll


def versions(toolchain: str) -> dict[str, str]:
    """Return the tools that `build` would run and their versions; raises ToolMissing."""
    return ecp5.versions()


def _text(board: Board, design: DesignParams, pll: Pll, baked=None) -> str:
    """Return the SystemVerilog of a bitstream."""
    from ..uart_top import UartTop

    return emit.emit(Ulx3s(UartTop(design, round(pll.output_hz), baked=baked), pll), board.name)


def _request(board: Board, text: str, pll: Pll) -> ecp5.Design:
    return ecp5.Design(board.name, text, board.name, constraints(), board.part, DEVICE, float(pll.output_hz))


def key(board: Board, design: DesignParams, clock_hz: int, seeds) -> str:
    """Return what Report.key of a bitstream is, programs loaded at run time, as the hardware is made now.

    Raises as `build`, which takes an hour where this takes seconds."""
    pll = _pll(board, clock_hz)
    return ecp5.key(_request(board, _text(board, design, pll), pll), seeds)


def build(board: Board, design: DesignParams, folder: Path, toolchain: str, options: Options) -> Built:
    """Build the bitstream into `folder`, with its report, logs, SystemVerilog and constraints.

    Raises ClockError where PLL or serial link cannot be had at the clock, ToolMissing, UnknownBoard as Options.check,
    and BuildError as ecp5.build."""
    options.check(board)
    pll = _pll(board, options.clock_hz)
    clock_hz = round(pll.output_hz)
    image = b"" if options.baked is None else options.baked.tobytes()
    digest = hashlib.sha256(b"".join((repr((design, pll)).encode(), emit.tool_versions().encode(), image, *sources())))

    def elaborate(where: Path) -> None:
        with beating("elaboration", "Amaranth to SystemVerilog", options.progress):
            (where / "top.sv").write_text(_text(board, design, pll, options.baked))

    text = (options.keep("ulx3s-text", digest.hexdigest()[:32], elaborate) / "top.sv").read_text()
    request = _request(board, text, pll)
    program = 0 if options.baked is None else read_header(options.baked).program_hash
    report, files = ecp5.build(request, options.keep, seeds=options.seeds, build_hash=design.build_hash,
                               program_hash=program, sources=sources_hash(), progress=options.progress,
                               timeout=options.timeout)
    for name, path in files.items():
        shutil.copyfile(path, folder / name)
    (folder / "top.sv").write_text(text)
    (folder / "report.json").write_text(report.to_json())
    (folder / "report.txt").write_text(str(report))
    return Built(f"{board.name}.bit", clock_hz, "uart", report.summary(),
                 {"reached_hz": round(report.reached * 1e6), "seed": report.seed, "tools": report.tools})
