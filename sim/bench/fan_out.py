"""The fan-out alone: from masked feature-map words to finished sums."""

from __future__ import annotations

from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from qblif.hw.accumulate import Accumulators, sums
from qblif.hw.layouts import LoadBus
from qblif.hw.link import Stage
from qblif.hw.params import CoreParams
from qblif.hw.scan import BitScanner, event
from qblif.hw.words import entry


class FanOut(wiring.Component):
    """Bit scanner and accumulators, connected as in a cluster, and a register that takes the sums.

    load: In, program rows (weights). i: In, stream of entries; o: Out, stream of sums. retired: Out, the event
    of this cycle. idle: Out.
    """

    def __init__(self, params: CoreParams):
        self._params = params
        super().__init__({
            "load": In(LoadBus(params)), "i": In(stream.Signature(entry(params))),
            "o": Out(stream.Signature(sums(params))), "retired": Out(event(params)), "idle": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.scanner = scanner = BitScanner(self._params)
        m.submodules.accumulators = accumulators = Accumulators(self._params)
        connect(m, source=flipped(self.i), scanner=scanner.i)
        connect(m, load=flipped(self.load), accumulators=accumulators.load)
        m.submodules.stage = stage = Stage(sums(self._params))
        connect(m, sums=accumulators.o, stage=stage.i)
        connect(m, stage=stage.o, sink=flipped(self.o))
        m.d.comb += [
            accumulators.i.eq(scanner.o), scanner.released.eq(stage.o.valid & stage.o.ready),
            self.retired.eq(scanner.o), self.idle.eq(scanner.idle & accumulators.idle & ~stage.o.valid),
        ]
        return m
