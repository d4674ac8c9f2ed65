"""Payloads at the design's borders, and the registered stage that separates parts of it."""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from qblif.host import abi

beat = data.StructLayout({"data": abi.LINK_BITS, "last": 1})
"""One beat of an AXI4-Stream link; last: TLAST, the frame's end."""


class Fault(wiring.Signature):
    """Report of malformed traffic, one cycle long.

    valid: the beat accepted in this cycle is wrong. code: abi.Error. info: index of the beat in its frame.
    """

    def __init__(self):
        super().__init__({"valid": Out(1), "code": Out(8), "info": Out(32)})


class Stage(wiring.Component):
    """Stream register: one item of storage, latency one cycle, one item per cycle.

    ``o.valid`` and ``o.payload`` come from flip-flops; ``i.ready`` follows ``o.ready`` in the same cycle.

    Parameters
    ----------
    shape: payload of both streams

    Members
    -------
    i, o: In, Out (stream of shape)
    """

    def __init__(self, shape):
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform):
        m = Module()
        item = Signal.like(self.o.payload, reset_less=True)
        m.d.comb += [self.i.ready.eq(~self.o.valid | self.o.ready), self.o.payload.eq(item)]
        with m.If(self.i.ready):
            m.d.sync += self.o.valid.eq(self.i.valid)
            with m.If(self.i.valid):
                m.d.sync += item.eq(self.i.payload)
        return m


class Buffer(wiring.Component):
    """Stream buffer of two items that cuts both ways: ``i.ready`` comes from a flip-flop, too.

    Latency one cycle, one item per cycle.

    Parameters
    ----------
    shape: payload of both streams

    Members
    -------
    i, o: In, Out (stream of shape)
    """

    def __init__(self, shape):
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform):
        m = Module()
        item = Signal.like(self.o.payload, reset_less=True)
        spare, spare_valid = Signal.like(self.i.payload, reset_less=True), Signal()
        m.d.comb += [self.i.ready.eq(~spare_valid), self.o.payload.eq(item)]
        with m.If(~self.o.valid | self.o.ready):
            m.d.sync += [self.o.valid.eq(self.i.valid | spare_valid), spare_valid.eq(0)]
            with m.If(spare_valid):
                m.d.sync += item.eq(spare)
            with m.Else():
                m.d.sync += item.eq(self.i.payload)
        with m.Elif(self.i.ready):
            m.d.sync += spare_valid.eq(self.i.valid)
        with m.If(self.i.ready):
            m.d.sync += spare.eq(self.i.payload)
        return m
