"""A queue between parts of the design that go at their own pace."""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out


class Fifo(wiring.Component):
    """Queue in a memory with a synchronous read port: one item in and one out per cycle, latency two cycles.

    ``i.ready`` and ``o.valid`` come from registers. The read port is not transparent: a row is read no earlier than
    in the cycle after it was written, so that what a memory gives on a collision never matters.

    Parameters
    ----------
    shape: payload of both streams
    depth: items that the memory holds, a power of two; the output register holds one more
    ram_style: "block", "distributed", or None to leave it to synthesis

    Members
    -------
    i, o: In, Out (stream of shape)
    clear: In(1), forget everything; nothing goes in or out in that cycle
    moved: Out(1), an item leaves the memory in this cycle
    """

    def __init__(self, shape, depth: int, ram_style: str | None = None):
        if depth < 2 or depth & (depth - 1):
            raise ValueError(f"a FIFO is {depth!r} items deep, allowed is a power of two from 2 upwards")
        self._shape, self._depth, self._ram_style = shape, depth, ram_style
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape)), "clear": In(1),
                          "moved": Out(1)})

    @property
    def depth(self) -> int:
        """Items that the memory holds."""
        return self._depth

    def elaborate(self, platform):
        m = Module()
        attrs = {"no_rw_check": 1} | ({"ram_style": self._ram_style} if self._ram_style else {})
        m.submodules.memory = memory = Memory(shape=self._shape, depth=self._depth, init=[], attrs=attrs)
        write, read = memory.write_port(), memory.read_port()
        head, tail = Signal(range(2 * self._depth)), Signal(range(2 * self._depth))    # written, read; one bit more

        m.d.comb += [
            self.i.ready.eq((head ^ tail) != self._depth),
            write.addr.eq(head), write.data.eq(self.i.payload), write.en.eq(self.i.valid & self.i.ready & ~self.clear),
            read.addr.eq(tail), read.en.eq((head != tail) & (~self.o.valid | self.o.ready) & ~self.clear),
            self.o.payload.eq(read.data),
            self.moved.eq(read.en),
        ]
        with m.If(write.en):
            m.d.sync += head.eq(head + 1)
        with m.If(read.en):
            m.d.sync += [tail.eq(tail + 1), self.o.valid.eq(1)]
        with m.Elif(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(self.clear):
            m.d.sync += [head.eq(0), tail.eq(0), self.o.valid.eq(0)]
        return m
