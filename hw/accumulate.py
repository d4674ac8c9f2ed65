"""Accumulate-only fan-out: weight rows are added to the lanes; nothing is ever multiplied."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from qblif.host import abi

from .baked import EMPTY, Contents
from .layouts import LoadBus, row_for
from .params import CoreParams
from .scan import event


def sums(params: CoreParams) -> data.ArrayLayout:
    """Return the layout of the finished sums of a lane group: `lanes` numbers of acc_bits, two's complement."""
    return data.ArrayLayout(signed(params.acc_bits), params.lanes)


class Accumulators(wiring.Component):
    """Weight memory and accumulators of a cluster.

    Per lane and event: ``acc = (first ? 0 : double ? 2*acc : acc) + (mask ? weight : 0)``. No overflow can occur
    in a program that the planner accepted (gen/plan.py proves the bounds).

    Members
    -------
    load: In, program rows; fills the weight memory (lane 0 in the lowest weight_bits).
    i: In, the event of this cycle.
    o: Out, stream of finished sums.
    idle: Out.

    One event per cycle, never refused; the sum is offered four cycles after the event that ends it. It has to be
    taken before the first event of the next sum gets so far.
    """

    def __init__(self, params: CoreParams, contents: Contents = EMPTY):
        self._params, self._contents = params, contents
        super().__init__({
            "load": In(LoadBus(params)),
            "i": In(event(params)),
            "o": Out(stream.Signature(sums(params))),
            "idle": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        p = self._params

        m.submodules.weights = weights = Memory(shape=p.lanes * p.weight_bits, depth=p.weight_depth,
                                                init=self._contents.memory(abi.MemoryId.WEIGHTS),
                                                attrs={"no_rw_check": 1, "ram_style": "block"})
        write, read = weights.write_port(), weights.read_port()
        m.d.comb += [
            write.en.eq(row_for(m, self.load, abi.MemoryId.WEIGHTS)),
            write.addr.eq(self.load.address),
            write.data.eq(self.load.data),
        ]

        # Cycle 1: the memory reads. Cycle 2: its output, on its way from the block RAMs to the lanes. Cycle 3: masked.
        # Cycle 4: the sum. Nothing here ever waits: an enable for so many lanes and block RAMs would be the slowest net
        # of the core.
        e1, e2, e3 = Signal(event(p)), Signal(event(p)), Signal(event(p))
        raw = Signal(p.lanes * p.weight_bits, reset_less=True)
        w3 = Signal(data.ArrayLayout(signed(p.weight_bits), p.lanes), reset_less=True)
        acc = Signal(sums(p), reset_less=True)
        done = Signal()
        m.d.comb += read.addr.eq(self.i.weight)
        m.d.sync += [e1.eq(self.i), raw.eq(read.data), e2.eq(e1), e3.eq(e2),
                     done.eq((e3.valid & e3.last) | (done & ~self.o.ready))]
        for lane in range(p.lanes):
            weight = raw.word_select(lane, p.weight_bits)
            m.d.sync += w3[lane].eq(Mux(e2.mask[lane] & e2.add, weight, 0))
        with m.If(e3.valid):
            for lane in range(p.lanes):
                a = acc[lane]
                m.d.sync += acc[lane].eq(Mux(e3.first, 0, Mux(e3.double, (a << 1)[:p.acc_bits].as_signed(), a))
                                         + w3[lane])
        m.d.comb += [
            self.o.valid.eq(done), self.o.p.eq(acc),
            self.idle.eq(~e1.valid & ~e2.valid & ~e3.valid & ~done),
        ]
        return m
