"""Merges the map writes of a core's clusters and tells in which order the map's parts are complete."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .layouts import map_stream
from .params import CoreParams

ROW_BITS = 12
"""Of the output rows of a cluster, as in abi.LAYER_FIELDS."""


class Merge(wiring.Component):
    """One stream out of those of all clusters, and `part` in the order that the receiver counts by (abi.LAYER_FIELDS).

    Clusters may be at different output rows. A part is announced, by an item that writes nothing, when it is complete
    and those before it have been announced: the clusters take turns.

    Members
    -------
    i: In, one stream of map writes per cluster; `part`: an output row of this cluster is complete with it.
    o: Out, stream of map writes. begin: In, one cycle: a layer starts.
    takes_part: In, one bit per cluster, constant during a layer; clusters that sit it out come last.
    idle: Out, every part has been announced.

    announces: In, somebody counts parts; constant during a layer. Without it there are none.

    One item per cycle; a write comes out in the cycle in which it comes in. The lowest cluster with something to say is
    heard; none starves, since all are waited for.
    """

    def __init__(self, params: CoreParams):
        self._params = params
        super().__init__({"i": In(map_stream(params)).array(params.clusters), "o": Out(map_stream(params)),
                          "begin": In(1), "takes_part": In(params.clusters), "announces": In(1), "idle": Out(1)})

    def elaborate(self, platform):
        m = Module()
        count = self._params.clusters
        turn = Signal(range(max(2, count)))
        following = Signal.like(turn)
        rows = Array(Signal(ROW_BITS, name=f"rows_{index}") for index in range(count))    # complete, not announced
        announced = Signal()
        stuck, spend = Signal(), Signal()

        # Whoever is heard stays so until it is taken, also when a lower cluster comes: items do not change.
        offered = Cat(stream.valid for stream in self.i)
        kept, held = Signal.like(turn), Signal()
        lowest, heard = Signal.like(turn), Signal.like(turn)
        for index in reversed(range(count)):
            with m.If(offered[index]):
                m.d.comb += lowest.eq(index)
        m.d.comb += [heard.eq(Mux(held, kept, lowest)), stuck.eq(self.o.valid & ~self.o.ready),
                     self.o.valid.eq(announced | offered.any())]
        m.d.sync += [kept.eq(heard), held.eq(stuck & ~announced)]
        with m.If(announced):
            m.d.comb += self.o.p.part.eq(1)
        with m.Else():
            with m.Switch(heard):
                for index, stream in enumerate(self.i):
                    with m.Case(index):
                        m.d.comb += [self.o.p.eq(stream.p), self.o.p.part.eq(0), stream.ready.eq(self.o.ready)]

        m.d.comb += [
            spend.eq((rows[turn] != 0) & ~stuck),
            self.idle.eq(~announced & ~Cat(row != 0 for row in rows).any()),
        ]
        m.d.sync += announced.eq(spend | (announced & stuck))
        for index, stream in enumerate(self.i):
            done = stream.valid & stream.ready & stream.p.part & self.announces
            m.d.sync += rows[index].eq(rows[index] + done - (spend & (turn == index)))
        for index in range(count - 1):
            with m.If((turn == index) & self.takes_part[index + 1]):
                m.d.comb += following.eq(index + 1)
        with m.If(spend):
            m.d.sync += turn.eq(following)
        with m.If(self.begin):
            m.d.sync += turn.eq(0)
        return m
