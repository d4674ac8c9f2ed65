"""Output stage: logits of the last core become one frame per image."""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .layouts import logit
from .link import beat


class Output(wiring.Component):
    """Logits to frames: one register, latency one cycle, one logit per cycle.

    Outside, a beat that was offered stays until taken, over a `clear` too: AXI4-Stream allows nothing else.
    A frame that a `clear` cuts off is ended by one beat of value 0 with TLAST, so that a receiver that waits
    for the end of a frame gets it; neither that nor a held-over beat is reported by `done`. New logits wait
    until all that is past. While `halted`, nothing new is sent.

    Members
    -------
    i: In (stream of layouts.logit)
    o: Out (stream of link.beat)
    clear: In(1), the design is reset in this cycle
    halted: In(1), there is an error
    done: Out(1), the last beat of an image's frame is taken in this cycle
    """

    i: In(stream.Signature(logit))
    o: Out(stream.Signature(beat))
    clear: In(1)
    halted: In(1)
    done: Out(1)

    def elaborate(self, platform):
        m = Module()
        i, o = self.i, self.o
        free = Signal()
        inside = Signal()    # the frame that the register's beat belongs to has not ended with it
        stale = Signal()     # what is in the register, or still has to follow, is from before a clear

        m.d.comb += [
            free.eq(~o.valid | o.ready),
            i.ready.eq(free & ~stale & ~self.clear & ~self.halted),
            self.done.eq(o.valid & o.ready & o.p.last & ~stale),
        ]
        with m.If(free):
            m.d.sync += o.valid.eq(0)
            with m.If(stale):
                m.d.sync += [stale.eq(inside), o.valid.eq(inside), o.p.data.eq(0), o.p.last.eq(1), inside.eq(0)]
            with m.Elif(i.valid & i.ready):
                m.d.sync += [o.valid.eq(1), o.p.data.eq(i.p.value), o.p.last.eq(i.p.last), inside.eq(~i.p.last)]
        with m.If(self.clear):
            m.d.sync += stale.eq(o.valid & ~o.ready | inside)
        return m
