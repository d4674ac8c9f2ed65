"""The fan-out alone: from masked feature-map words to finished sums."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out, connect, flipped

from qblif.hw.accumulate import Accumulators
from qblif.hw.layouts import LoadBus
from qblif.hw.params import CoreParams
from qblif.hw.scan import BitScanner, event
from qblif.hw.weights import WeightBank
from qblif.hw.words import entry


class FanOut(wiring.Component):
    """Bit scanner, accumulators and weights, connected as in a core, and a queue that puts the chunks of sums together.

    load: In, program rows (weights). i: In, stream of entries; o: Out, stream of sums, one number per lane. retired:
    Out, the event of this cycle. idle: Out.
    """

    def __init__(self, params: CoreParams):
        self._params = params
        super().__init__({
            "load": In(LoadBus(params)), "i": In(stream.Signature(entry(params))),
            "o": Out(stream.Signature(data.ArrayLayout(signed(params.acc_bits), params.lanes))),
            "retired": Out(event(params)), "idle": Out(1)})

    def elaborate(self, platform):
        m = Module()
        p = self._params
        m.submodules.scanner = scanner = BitScanner(p)
        m.submodules.accumulators = accumulators = Accumulators(p)
        m.submodules.bank = bank = WeightBank(p, 1)
        connect(m, source=flipped(self.i), scanner=scanner.i)
        connect(m, load=flipped(self.load), bank=bank.load)
        connect(m, accumulators=accumulators.weights, bank=bank.ports[0])

        chunk = accumulators.o.payload.as_value()
        gathered, taken = Signal(p.lanes * p.acc_bits), Signal(range(p.chunks + 1))
        complete = Signal()
        m.submodules.queue = queue = SyncFIFOBuffered(width=len(gathered), depth=p.sums_kept + 1)
        m.d.sync += complete.eq(0)
        with m.If(accumulators.o.valid):
            m.d.sync += [gathered.eq(Cat(gathered, chunk)[len(chunk):]), taken.eq(taken + 1)]
            with m.If(taken == p.chunks - 1):
                m.d.sync += [taken.eq(0), complete.eq(1)]
        m.d.comb += [
            queue.w_data.eq(gathered), queue.w_en.eq(complete),
            self.o.payload.as_value().eq(queue.r_data), self.o.valid.eq(queue.r_rdy), queue.r_en.eq(self.o.ready),
            accumulators.i.eq(scanner.o), scanner.released.eq(self.o.valid & self.o.ready),
            self.retired.eq(scanner.o),
            self.idle.eq(scanner.idle & accumulators.idle & ~accumulators.o.valid & (queue.level == 0) & ~complete),
        ]
        return m
