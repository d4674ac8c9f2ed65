"""The bit-plane scan: one set bit per cycle becomes the address of one weight row."""

from __future__ import annotations

from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .params import CoreParams
from .words import entry


def event(params: CoreParams) -> data.StructLayout:
    """Return the layout of an accumulator operation: acc = (first ? 0 : double ? 2*acc : acc) + weights & mask.

    valid: there is one. first, last: begins / ends a sum. double: the accumulators double. add: a weight row is
    added. weight: its address. mask: lanes that add it (zero without `add`). diagonal, again: for the counters.
    """
    return data.StructLayout({"valid": 1, "first": 1, "last": 1, "double": 1, "add": 1, "diagonal": 1, "again": 1,
                              "weight": params.weight_address_bits, "mask": params.lanes})


class BitScanner(wiring.Component):
    """Emits, for each set bit of an entry, lowest first, the weight row that it adds.

    Members: i, stream of entries; o, the event of this cycle (registered); enable, In: o may move on; idle.

    One event per cycle, also across entries. A doubling costs a cycle only where it cannot ride on an addition
    (two empty planes in a row, or empty planes at the end of a sum).
    """

    def __init__(self, params: CoreParams):
        self._params = params
        super().__init__({
            "i": In(stream.Signature(entry(params))),
            "o": Out(event(params)),
            "enable": In(1),
            "idle": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        p = self._params

        e, have = Signal(entry(p)), Signal()
        low = Signal(p.word_bits)               # the lowest set bit alone
        rest = Signal(p.word_bits)
        index = Signal((p.word_bits - 1).bit_length())
        mask = Signal(p.lanes)
        m.d.comb += [
            low.eq(e.bits & (~e.bits + 1)[:p.word_bits]),
            rest.eq(Mux(e.diagonal, 0, e.bits & ~low)),
            index.eq(Cat(reduce(or_, (low[j] for j in range(p.word_bits) if j >> k & 1))
                         for k in range(len(index)))),
            # All bits of a diagonal entry lie in one chunk.
            mask.eq(reduce(or_, (e.bits.word_select(bank, p.lanes) for bank in range(p.banks)))),
        ]

        some = Signal()
        done = Signal()                         # this cycle's event is the entry's last
        row = Signal(event(p))
        m.d.comb += [
            some.eq(e.bits.any()),
            row.valid.eq(have), row.first.eq(e.first), row.diagonal.eq(e.diagonal), row.again.eq(e.again),
            row.last.eq(e.last & done),
        ]
        after, before, bits = Signal(6), Signal(6), Signal(p.word_bits)
        m.d.comb += [after.eq(e.after), before.eq(e.before), bits.eq(e.bits)]
        with m.If(e.before > 1):
            m.d.comb += [row.double.eq(1), before.eq(e.before - 1)]
        with m.Elif(some):
            m.d.comb += [row.double.eq(e.before), row.add.eq(1), row.mask.eq(Mux(e.diagonal, mask, ~0)),
                         before.eq(0), bits.eq(rest), done.eq(~rest.any() & (e.after == 0))]
        with m.Else():
            m.d.comb += [row.double.eq(e.after != 0), after.eq(e.after - 1), done.eq(e.after <= 1)]

        out = Signal(event(p))
        base, offset = Signal(p.weight_address_bits), Signal.like(index)
        with m.If(self.enable):
            m.d.sync += [out.eq(row), base.eq(e.weight), offset.eq(Mux(e.diagonal, 0, index)),
                         e.first.eq(0), e.after.eq(after), e.before.eq(before), e.bits.eq(bits)]
            with m.If(done):
                m.d.sync += have.eq(0)
            with m.If(self.i.ready & self.i.valid):
                m.d.sync += [have.eq(1), e.eq(self.i.p)]
        m.d.comb += [self.o.eq(out), self.o.weight.eq(base + offset)]
        m.d.comb += [self.i.ready.eq(self.enable & (~have | done)), self.idle.eq(~have & ~self.o.valid)]
        return m
