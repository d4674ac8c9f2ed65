"""Performance counters: a few bits each in flip-flops, and the whole of them in a memory that is walked in turn."""

from __future__ import annotations

from amaranth.hdl import Array, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

BITS = 64
"""Width of a counter."""


def settle(count: int) -> int:
    """Return the cycles from a change of `index` until `value` is that counter's, for so many counters."""
    return _turn(count) + 4


def _turn(count: int) -> int:
    """Return the cycles between two visits of a counter: more than a visit takes."""
    return 1 << max(2, (count - 1).bit_length())


class Counters(wiring.Component):
    """Counters of 64 bits that count up by up to `most` in a cycle, from 0 after a reset.

    What a counter gathered since it was last visited is added to its row of the memory, one counter a cycle: one adder
    and one memory for all.

    Parameters: count, of counters; most, the largest increment.

    Members
    -------
    i: In, increments of this cycle.
    index: In, a counter. value: Out, what it was not more than `settle` cycles ago, once `index` has been stable for as
    long; an index that there is no counter for gives whatever there was.
    """

    def __init__(self, count: int, most: int):
        self._count, self._most = count, most
        super().__init__({"i": In(data.ArrayLayout(most.bit_length(), count)), "index": In(range(_turn(count))),
                          "value": Out(BITS)})

    def elaborate(self, platform):
        m = Module()
        turn = _turn(self._count)
        m.submodules.rows = rows = Memory(shape=BITS, depth=turn, init=[], attrs={"ram_style": "distributed"})
        write, read = rows.write_port(), rows.read_port(domain="comb")
        at, walked = Signal(range(turn)), Signal()      # walked: every row has been written since the reset
        m.d.sync += at.eq(at + 1)
        with m.If(at == turn - 1):
            m.d.sync += walked.eq(1)

        recent = Array(Signal(range(turn * self._most + 1), name=f"recent_{number}") for number in range(self._count))
        for number, (gathered, increment) in enumerate(zip(recent, self.i, strict=True)):
            m.d.sync += gathered.eq(Mux(at == number, 0, gathered) + increment)

        # Cycle 1: the row and what is to be added. Cycle 2: their sum. Cycle 3: written, and shown if it is asked for.
        # What a reset finds there is written to rows that are written again before they are read.
        row, more, total = (Signal(shape, reset_less=True) for shape in (BITS, recent[0].shape(), BITS))
        at_2, at_3 = Signal.like(at, reset_less=True), Signal.like(at, reset_less=True)
        value = Signal(BITS, reset_less=True)
        m.d.comb += [self.value.eq(value), read.addr.eq(at), write.addr.eq(at_3), write.data.eq(total), write.en.eq(1)]
        m.d.sync += [
            row.eq(Mux(walked, read.data, 0)), more.eq(recent[at]), at_2.eq(at),
            total.eq(row + more), at_3.eq(at_2),
        ]
        with m.If(at_3 == self.index):
            m.d.sync += value.eq(total)
        return m
