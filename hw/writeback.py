"""Write-back: chunks of levels become bit planes of the output map."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from .layouts import abi_row, map_stream
from .neuron import levels
from .params import CoreParams


def queue_depth(params: CoreParams) -> int:
    """Return the chunks of levels that wait to be gathered, at most."""
    return max(32, 2 * params.chunks)


class WriteBack(wiring.Component):
    """Gathers the levels of a lane group and writes them, one chunk of `lanes` bits per plane.

    Members
    -------
    layer: In, the layer row in work. begin: In, one cycle: a layer starts.
    i: In, stream of chunks of levels, never refused. issued: In, one was issued a cycle ago. credit: Out, a lane
    group may be.
    o: Out, stream of map writes; the last one of an output row completes a part. idle: Out.

    One plane per cycle, and a cycle between lane groups; the next one is gathered meanwhile.
    """

    def __init__(self, params: CoreParams):
        self._params = params
        super().__init__({
            "layer": In(abi_row(params.layer_fields)),
            "begin": In(1),
            "i": In(stream.Signature(levels(params), always_ready=True)),
            "issued": In(1),
            "credit": Out(1),
            "o": Out(map_stream(params)),
            "idle": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        p = self._params
        layer = self.layer
        bank_bits = (p.banks - 1).bit_length()
        depth = queue_depth(p)
        m.submodules.fifo = fifo = SyncFIFOBuffered(width=levels(p).size, depth=depth)
        free = Signal(range(depth + 1), init=depth)
        m.d.comb += [fifo.w_data.eq(self.i.payload), fifo.w_en.eq(self.i.valid)]
        m.d.sync += self.credit.eq(free > p.chunks + 1)     # two may not be counted yet

        # Take: a group's last chunk closes it until it moves on, which it does once that is shifted in (`full`) and
        # nothing is being written. The next group may begin then, or a cycle before where that is sure.
        chunk, closed, full = Signal(range(max(2, p.chunks))), Signal(), Signal()
        last_chunk, move, writing = Signal(init=p.chunks == 1), Signal(), Signal()
        m.d.comb += fifo.r_en.eq(~closed | (~writing if p.chunks > 1 else move))
        taken = fifo.r_rdy & fifo.r_en
        with m.If(move):
            m.d.sync += closed.eq(0)
        with m.If(taken):
            m.d.sync += [chunk.eq(Mux(last_chunk, 0, chunk + 1)), last_chunk.eq(chunk == (p.chunks - 2) % p.chunks)]
            with m.If(last_chunk):
                m.d.sync += closed.eq(1)

        # Gather, a cycle later, since it spans all lanes: planes fill from the top, so that lane 0 ends up in bit 0.
        gather = Signal(data.ArrayLayout(p.lanes, p.level_bits), reset_less=True)
        shift, fills = Signal(), Signal()
        chunk_levels = Signal(levels(p), reset_less=True)
        m.d.sync += [shift.eq(taken), fills.eq(taken & last_chunk), chunk_levels.eq(fifo.r_data),
                     free.eq(free + shift - self.issued)]
        with m.If(move):
            m.d.sync += full.eq(0)
        with m.If(fills):
            m.d.sync += full.eq(1)
        with m.If(shift):
            for plane in range(p.level_bits):
                fresh = [chunk_levels[j][plane] for j in range(p.neuron_lanes)]
                kept = gather[plane][p.neuron_lanes:] if p.chunks > 1 else Signal(0)
                m.d.sync += gather[plane].eq(Cat(kept, *fresh))

        # Write: the gathered group, plane by plane; counters walk the output map as the sequencer walks the layer.
        out = Signal.like(gather, reset_less=True)
        plane = Signal(4)
        address = Signal(24)
        row_address, step_address = Signal(24), Signal(24)
        place, group_place = Signal(16), Signal(16)
        step, col, group = Signal(8), Signal(12), Signal(12)
        # Whether these counters are at their ends, kept beside them; `only`: the loop has one turn.
        last_plane, last_step, last_col, last_group = Signal(), Signal(), Signal(), Signal()
        only = Signal(data.StructLayout({"plane": 1, "step": 1, "col": 1, "group": 1}))
        m.d.sync += [only.plane.eq(layer.out_planes == 1), only.step.eq(layer.steps == 1),
                     only.col.eq(layer.cols == 1), only.group.eq(layer.groups == 1)]
        accepted = self.o.valid & self.o.ready
        turns = Signal()        # the last plane was accepted a cycle ago, and nothing is offered in this one
        m.d.sync += turns.eq(accepted & last_plane)
        m.d.comb += [
            move.eq(full & ~writing),
            self.o.valid.eq(writing),
            self.o.p.address.eq(address + (place >> bank_bits)),
            self.o.p.enable.eq(1 << place[:bank_bits] if bank_bits else 1),
            self.o.p.part.eq(last_plane & last_step & last_col & last_group),
            self.o.p.data.eq(out[0].replicate(p.banks)),
            self.idle.eq(~writing & ~closed & (free == depth)),
        ]
        with m.If(accepted):
            m.d.sync += [plane.eq(plane + 1), last_plane.eq(plane + 2 == layer.out_planes),
                         address.eq(address + layer.out_plane_step), out.as_value().eq(out.as_value() >> p.lanes)]
            with m.If(last_plane):
                m.d.sync += writing.eq(0)
        with m.If(turns):
            m.d.sync += [step.eq(step + 1), step_address.eq(step_address + layer.out_step_step),
                         address.eq(step_address + layer.out_step_step),
                         last_step.eq(Mux(last_step, only.step, step + 2 == layer.steps))]
            with m.If(last_step):
                m.d.sync += [step.eq(0), col.eq(col + 1), place.eq(place + layer.out_col_step),
                             step_address.eq(row_address), address.eq(row_address),
                             last_col.eq(Mux(last_col, only.col, col + 2 == layer.cols))]
                with m.If(last_col):
                    m.d.sync += [col.eq(0), group.eq(group + 1), place.eq(group_place + layer.out_group_step),
                                 group_place.eq(group_place + layer.out_group_step),
                                 last_group.eq(Mux(last_group, only.group, group + 2 == layer.groups))]
                    with m.If(last_group):
                        next_row = row_address + layer.out_row_step
                        m.d.sync += [group.eq(0), place.eq(layer.out_chunk), group_place.eq(layer.out_chunk),
                                     row_address.eq(next_row), step_address.eq(next_row), address.eq(next_row)]
        with m.If(move):
            m.d.sync += [out.eq(gather), writing.eq(1), plane.eq(0), last_plane.eq(only.plane)]
        with m.If(self.begin):
            m.d.sync += [row_address.eq(layer.out_base), step_address.eq(layer.out_base), address.eq(layer.out_base),
                         place.eq(layer.out_chunk), group_place.eq(layer.out_chunk), step.eq(0), col.eq(0),
                         group.eq(0), last_step.eq(layer.steps == 1), last_col.eq(layer.cols == 1),
                         last_group.eq(layer.groups == 1)]
        return m
