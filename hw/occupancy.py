"""Where an image is empty: which windows of its rows have no set bit in any plane, so that nothing of them is read.

Bit planes of a row are joined to one as they are written, a bit for each stored one. Before an output row begins, the
joined rows that its windows span are joined too, and each bit with those before it in a window; what is left is one bit
for each window, looked up an output column ahead.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import enum, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .layouts import abi_row, map_write
from .params import CoreParams
from .sequencer import PARTS_BITS

ROWS = 256
"""Rows of an input map of which joined ones are kept, those of two images."""

LATENCY = 3
"""Cycles from `ask` to the one behind `ready`, beside one for each row and each bit of a window."""


class State(enum.Enum):
    """What is being done for an output row."""

    IDLE = 0
    READ = 1
    ARRIVE = 2
    WAIT = 3
    SPREAD = 4
    LOOK = 5


class Occupancy(wiring.Component):
    """Watches the writes of the input map and tells of each window of an output row whether it is blank.

    Members
    -------
    write: In, a write to the feature maps; fills: In(1), it is one of the input map, applied or a commit, which comes
    no later than the first cycle in which `complete` tells of it; fill: In(1), to which of its buffers. work: In(1),
    buffer of the image in work.
    layer: In, the layer row in work, whose window_bits is not 0 when it is asked.
    ask: In(1), one cycle: an output row begins, all parts of the map that it reads are there. needed: In, their number;
    complete: In(1), all parts of the map are there. ready: Out(1), one cycle, window_rows + window_bits + LATENCY - 1
    cycles after `ask`.
    moves: In(1), the next output column begins, from the row's last one (of a lane group) its first; ends: In(1), the
    column that begins is the row's last one; last: In(1), the row's first one is its last. blank: Out(1), the window of
    the column in work has no bit set: from the cycle behind `ready` or `moves` on.
    """

    def __init__(self, params: CoreParams):
        self._params = params
        super().__init__({
            "write": In(map_write(params)), "fills": In(1), "fill": In(1), "work": In(1),
            "layer": In(abi_row(params.layer_fields)), "ask": In(1), "needed": In(PARTS_BITS), "complete": In(1),
            "ready": Out(1), "moves": In(1), "ends": In(1), "last": In(1), "blank": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        bits, layer = self._params.occupancy, self.layer

        # Planes and steps of a row are joined as they come.
        m.submodules.rows = rows = Memory(shape=bits, depth=2 * ROWS, init=[],
                                          attrs={"no_rw_check": 1, "ram_style": "block"})
        write, read = rows.write_port(), rows.read_port()
        joined, row, height = Signal(bits), Signal(range(ROWS + 1)), Signal(range(ROWS + 1))
        m.d.comb += [
            write.en.eq(self.fills & self.write.part), write.addr.eq(Cat(row[:(ROWS - 1).bit_length()], self.fill)),
            write.data.eq(joined | self.write.data[:bits]),
        ]
        with m.If(self.fills):
            with m.If(self.write.commit):
                m.d.sync += [row.eq(0), height.eq(row)]
            with m.Else():
                m.d.sync += [joined.eq(Mux(self.write.part, 0, write.data)), row.eq(row + self.write.part)]

        # The rows of an output row's windows: bit i of `windows` becomes that of the window that ends with bit i.
        at, left = Signal(signed(PARTS_BITS + 1)), Signal.like(layer.window_bits)
        there, came, whole = Signal(), Signal(), Signal()
        word, windows = Signal(bits, reset_less=True), Signal(bits)
        m.d.comb += read.addr.eq(Cat(at[:(ROWS - 1).bit_length()], self.work))
        m.d.sync += [there.eq(0), came.eq(there), word.eq(read.data)]
        with m.If(came):
            m.d.sync += windows.eq(windows | word)

        ahead = Signal.like(layer.window_first)                 # last bit of the window of the next column
        looks, first_ends = Signal(), Signal()
        m.d.comb += [looks.eq(self.ready | self.moves), first_ends.eq(Mux(self.ready, self.last, self.ends))]
        with m.If(looks):
            m.d.sync += [self.blank.eq(~windows.bit_select(ahead, 1)),
                         ahead.eq(Mux(first_ends, layer.window_first, ahead + layer.window_step))]

        state = Signal(State)
        with m.Switch(state):
            with m.Case(State.IDLE):
                pass
            # READ -- a row a cycle, those outside the map left out
            with m.Case(State.READ):
                m.d.sync += [there.eq((at >= 0) & (~whole | (at < height))), at.eq(at + 1), left.eq(left - 1)]
                with m.If(left == 1):
                    m.d.sync += state.eq(State.ARRIVE)
            # ARRIVE, WAIT -- the last one is on its way
            with m.Case(State.ARRIVE):
                m.d.sync += state.eq(State.WAIT)
            with m.Case(State.WAIT):
                m.d.sync += [state.eq(Mux(layer.window_bits == 1, State.LOOK, State.SPREAD)),
                             left.eq(layer.window_bits - 1)]
            # SPREAD -- each bit of the windows but their last one
            with m.Case(State.SPREAD):
                m.d.sync += [windows.eq(windows | (windows << 1)[:bits]), left.eq(left - 1)]
                with m.If(left == 1):
                    m.d.sync += state.eq(State.LOOK)
            # LOOK -- at the window of the first column
            with m.Case(State.LOOK):
                m.d.comb += self.ready.eq(1)
                m.d.sync += state.eq(State.IDLE)
        # `height` is that of the map by the first READ if the map was complete at `ask`. Of one that becomes complete
        # later all rows are there that are asked for, and `height`, perhaps that of the map before, is not looked at.
        with m.If(self.ask):
            m.d.sync += [whole.eq(self.complete), state.eq(State.READ), at.eq(self.needed - layer.window_rows),
                         left.eq(layer.window_rows), windows.eq(0), ahead.eq(layer.window_first)]
        return m
