"""Accumulate-only fan-out: weight rows are added to the lanes; nothing is ever multiplied."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from qblif.host import abi

from .baked import EMPTY, Contents
from .layouts import LoadBus
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
    i: In, the event of this cycle. enable: Out, the scanner may move on.
    o: Out, stream of finished sums.
    retired: Out, the event that reaches the accumulators in this cycle (for the counters; valid is 0 in a stall).
    idle: Out.

    One event per cycle; the sum is offered four cycles after the event that ends it. While it is not taken, no
    further event is accepted.
    """

    def __init__(self, params: CoreParams, contents: Contents = EMPTY):
        self._params, self._contents = params, contents
        super().__init__({
            "load": In(LoadBus(params)),
            "i": In(event(params)),
            "enable": Out(1),
            "o": Out(stream.Signature(sums(params))),
            "retired": Out(event(params)),
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
            write.en.eq(self.load.valid & (self.load.memory == abi.MemoryId.WEIGHTS)),
            write.addr.eq(self.load.address),
            write.data.eq(self.load.data),
        ]

        go = self.enable
        # Cycle 1: the memory reads. Cycle 2: its output register, masked. Cycle 3: the sum.
        e1, e2 = Signal(event(p)), Signal(event(p))
        w2 = Signal(data.ArrayLayout(signed(p.weight_bits), p.lanes))
        acc = Signal(sums(p))
        done = Signal()
        m.d.comb += [read.addr.eq(self.i.weight), read.en.eq(go), go.eq(~done | self.o.ready)]
        with m.If(go):
            m.d.sync += [e1.eq(self.i), e2.eq(e1), done.eq(e2.valid & e2.last)]
            for lane in range(p.lanes):
                raw = read.data.word_select(lane, p.weight_bits)
                m.d.sync += w2[lane].eq(Mux(e1.mask[lane] & e1.add, raw, 0))
            with m.If(e2.valid):
                for lane in range(p.lanes):
                    a = acc[lane]
                    m.d.sync += acc[lane].eq(Mux(e2.first, 0, Mux(e2.double, (a << 1)[:p.acc_bits].as_signed(), a))
                                             + w2[lane])
        m.d.comb += [
            self.o.valid.eq(done), self.o.p.eq(acc),
            self.retired.eq(e2), self.retired.valid.eq(e2.valid & go),
            self.idle.eq(~e1.valid & ~e2.valid & ~done),
        ]
        return m
