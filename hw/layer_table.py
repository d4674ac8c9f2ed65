"""The layer table of a cluster: rows in narrow block RAM, the next one read ahead while a layer is worked on."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from qblif.host import abi
from qblif.host.abi import MemoryId

from .baked import EMPTY, Contents
from .layouts import LoadBus, abi_row
from .params import CoreParams

BEATS = abi.row_beats(abi.field_bits(abi.LAYER_FIELDS + abi.WINDOW_FIELDS))
"""Words of LINK_BITS that a row takes, with or without what only some builds have."""

assert abi.row_beats(abi.field_bits(abi.LAYER_FIELDS)) == BEATS

READ_CYCLES = BEATS + 2
"""From `read` until the row may be taken."""


class LayerTable(wiring.Component):
    """Rows of the layer table, as they come over the program stream: word by word.

    A row of hundreds of bits would take that many LUTs, and more, as LUT RAM, and ten block RAMs of which one thirtieth
    is used. As words it takes one, and READ_CYCLES to read, which pass while the layer before is worked on.

    Members
    -------
    load: In, program rows, of which the beats are used.
    index: In, a row; read: In, one cycle: begin to read it, whatever was being read. ready: Out, it can be taken.
    take: In, one cycle: `layer` becomes the row that was read; only while `ready`.
    layer: Out, the row in work.
    """

    def __init__(self, params: CoreParams, contents: Contents = EMPTY):
        self._params, self._contents = params, contents
        super().__init__({"load": In(LoadBus(params)), "index": In(range(params.layer_depth)), "read": In(1),
                          "ready": Out(1), "take": In(1), "layer": Out(abi_row(params.layer_fields))})

    def elaborate(self, platform):
        m = Module()
        stride = 1 << (BEATS - 1).bit_length()
        init = [word for row in self._contents.memory(MemoryId.LAYERS)
                for word in abi.beats(row, BEATS) + [0] * (stride - BEATS)]
        m.submodules.rows = rows = Memory(shape=abi.LINK_BITS, depth=self._params.layer_depth * stride, init=init,
                                          attrs={"no_rw_check": 1, "ram_style": "block"})
        write, read = rows.write_port(), rows.read_port()
        selected, at, amid = Signal(), Signal(range(stride)), Signal()
        m.d.sync += selected.eq(self.load.memory == MemoryId.LAYERS)
        m.d.comb += [
            write.en.eq(self.load.beat_valid & selected), write.addr.eq(Cat(self.load.place[:len(at)],
                                                                            self.load.address)),
            write.data.eq(self.load.beat), read.addr.eq(Cat(at, self.index)),
        ]

        # A word a cycle; each pushes those before it down.
        words, came = Signal(BEATS * abi.LINK_BITS, reset_less=True), Signal()
        with m.If(amid):
            m.d.sync += [at.eq(at + 1), amid.eq(at != BEATS - 1)]
        m.d.sync += came.eq(amid)
        with m.If(came):
            m.d.sync += [words.eq(Cat(words, read.data)[abi.LINK_BITS:]), self.ready.eq(~amid)]
        with m.If(self.read):
            m.d.sync += [at.eq(0), amid.eq(1), came.eq(0), self.ready.eq(0)]
        row = Signal.like(self.layer, reset_less=True)
        m.d.comb += self.layer.eq(row)
        with m.If(self.take):
            m.d.sync += row.eq(words)
        return m
