"""Asynchronous serial receiver and transmitter: one start bit, eight data bits (lowest first), one stop bit."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.wiring import In, Out

LARGEST_ERROR = 0.02
"""Deviation of the bit rate that is allowed at this end; a byte breaks at about 0.05 between the two ends."""

SMALLEST_DIVISOR = 8
"""Clock cycles per bit that the receiver needs to take three samples well inside a bit."""

octet = data.StructLayout({"data": 8, "broken": 1})
"""A received byte; broken: it had no stop bit, so it is noise, a break, or of another bit rate."""


def divisor(clock_hz: int, baud: int) -> int:
    """Return the clock cycles per bit; raises ValueError where no whole number comes close enough."""
    if clock_hz <= 0 or baud <= 0:
        raise ValueError(f"clock_hz is {clock_hz} and baud is {baud}, both have to be positive")
    cycles = round(clock_hz / baud)
    error = abs(clock_hz / cycles / baud - 1) if cycles else 1.0
    if cycles < SMALLEST_DIVISOR or error > LARGEST_ERROR:
        fits = max(SMALLEST_DIVISOR, cycles)
        raise ValueError(f"{baud} baud cannot be made from a clock of {clock_hz} Hz: {cycles} clock cycles per bit are "
                         f"{error:.1%} off; allowed are {SMALLEST_DIVISOR} cycles or more and {LARGEST_ERROR:.0%}. "
                         f"{clock_hz // fits} baud, or a clock of {fits * baud} Hz, would do")
    return cycles


class _State(enum.Enum):
    """States of the receiver."""

    REST = 0
    START = 1
    BITS = 2
    STOP = 3
    BREAK = 4


class Receiver(wiring.Component):
    """Line to bytes. Three samples around the middle of each bit, the majority counts.

    A byte appears half a bit before its end. There is no flow control: a byte is offered for one cycle.
    A line that stays low gives one broken byte, and nothing more until it was high.

    Parameters
    ----------
    cycles: clock cycles per bit, 8 or more

    Members
    -------
    rx: In(1), the line; any time
    o: Out (octet and valid), one cycle per byte
    """

    def __init__(self, cycles: int):
        if cycles < SMALLEST_DIVISOR:
            raise ValueError(f"a bit has {cycles} clock cycles, allowed is {SMALLEST_DIVISOR} or more")
        self._cycles = cycles
        super().__init__({"rx": In(1, init=1), "o": Out(stream.Signature(octet, always_ready=True))})

    def elaborate(self, platform):
        m = Module()
        middle = self._cycles // 2
        synchronised = Signal(4, init=-1)   # newest in bit 0, which may be metastable and is not looked at
        m.d.sync += synchronised.eq(Cat(self.rx, synchronised[:3]))
        samples = synchronised[1:]
        level = Signal()
        m.d.comb += level.eq((samples[0] & samples[1]) | (samples[0] & samples[2]) | (samples[1] & samples[2]))

        count, bit = Signal(range(self._cycles)), Signal(3)
        m.d.sync += [count.eq(count + 1), self.o.valid.eq(0)]
        with m.If(count == self._cycles - 1):
            m.d.sync += count.eq(0)

        with m.FSM(init=_State.REST):
            # REST -- waits for a falling edge
            with m.State(_State.REST):
                m.d.sync += [count.eq(0), bit.eq(0)]
                with m.If(~synchronised[1]):
                    m.next = _State.START
            # START -- the middle of the start bit has to be low, else it was a glitch
            with m.State(_State.START):
                with m.If(count == middle):
                    m.d.sync += count.eq(0)
                    m.next = _State.BITS
                    with m.If(level):
                        m.next = _State.REST
            # BITS -- from middle to middle
            with m.State(_State.BITS):
                with m.If(count == self._cycles - 1):
                    m.d.sync += [self.o.p.data.eq(Cat(self.o.p.data[1:], level)), bit.eq(bit + 1)]
                    with m.If(bit == 7):
                        m.next = _State.STOP
            # STOP -- the middle of the stop bit has to be high
            with m.State(_State.STOP):
                with m.If(count == self._cycles - 1):
                    m.d.sync += [self.o.valid.eq(1), self.o.p.broken.eq(~level)]
                    m.next = _State.REST
                    with m.If(~level):
                        m.next = _State.BREAK
            # BREAK -- until the line is high again
            with m.State(_State.BREAK):
                with m.If(level & synchronised[1]):
                    m.next = _State.REST
        return m


class Transmitter(wiring.Component):
    """Bytes to line; a byte takes ten bits, bytes follow each other without a gap.

    Parameters
    ----------
    cycles: clock cycles per bit

    Members
    -------
    i: In (stream of 8 bits)
    tx: Out(1), the line; high at rest
    """

    def __init__(self, cycles: int):
        self._cycles = cycles
        super().__init__({"i": In(stream.Signature(8)), "tx": Out(1, init=1)})

    def elaborate(self, platform):
        m = Module()
        count, left, shift = Signal(range(self._cycles)), Signal(4), Signal(9, init=-1)
        last_cycle = Signal()
        m.d.comb += [last_cycle.eq(count == self._cycles - 1), self.i.ready.eq(left == 0)]
        with m.If(left == 0):
            with m.If(self.i.valid):
                m.d.sync += [left.eq(10), count.eq(0), self.tx.eq(0), shift.eq(Cat(self.i.payload, 1))]
        with m.Else():
            m.d.sync += count.eq(count + 1)
            # The last cycle of the stop bit is the one in which the next byte is taken.
            with m.If(last_cycle | ((left == 1) & (count == self._cycles - 2))):
                m.d.sync += [count.eq(0), left.eq(left - 1), self.tx.eq(shift[0]), shift.eq(Cat(shift[1:], 1))]
        return m
