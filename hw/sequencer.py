"""Walks the loops of a layer and says which fields of which maps are to be summed, in which order.

The loop nest, outermost first (docs/architecture.md)::

    output row > lane group > output column > time step > scan step q > source          NEURON, READOUT
    output row > lane group > output column > time step > window tap > scan step q      MAX

A source of exponent e and B bit planes takes part in the scan steps e <= q < e + B, with its plane q - e, so
that all sources finish a plane before the accumulators double. One visit of a source takes one cycle.
"""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out, connect, flipped

from qblif.host import abi

from .baked import EMPTY, Contents
from .layouts import LoadBus, abi_row, row_for
from .link import Buffer
from .params import CoreParams

X_BITS = 21
Y_BITS = 14
PARTS_BITS = 18
"""Of the parts of a map that an output row reads; it may be more than there are, where that lies in the padding."""

_MAP_ADDRESSES = ("row_init", "row_step", "step_step", "plane_step", "plane_top", "tap_row_step")
_WEIGHT_ADDRESSES = ("tap_row_weights", "tap_col_weights", "weight_first")
_GEOMETRY = ("tap_rows", "tap_dy", "tap_row_step", "tap_row_weights", "tap_cols", "tap_col_step",
             "tap_col_weights", "run_bits", "y_limit", "x_limit")


def field(params: CoreParams) -> data.StructLayout:
    """Return the layout of a field: one plane of one source around one output position.

    first, last: it begins / ends a sum. doublings: scan steps since the sum's previous field.
    diagonal: the plane row's chunk is a lane mask. again: a repeated scan (unary fan-out).
    address: word of map row y; y, x: map row and bit of the field's corner, may lie outside the map.
    weight: weight row of the corner. The rest as in abi.SOURCE_FIELDS.
    """
    widths = {name: bits for name, bits, *_ in abi.SOURCE_FIELDS}
    widths |= {"tap_row_step": params.map_bits, "tap_row_weights": params.weight_address_bits,
               "tap_col_weights": params.weight_address_bits}
    return data.StructLayout({
        "first": 1, "last": 1, "doublings": 6, "diagonal": 1, "again": 1, "address": params.map_bits,
        "y": signed(Y_BITS), "x": signed(X_BITS), "weight": params.weight_address_bits,
        **{name: widths[name] for name in _GEOMETRY}})


def _address_bits(params: CoreParams) -> dict[str, int]:
    """Return the widths of the addresses in a row of the source table, as the core's memories need them."""
    widths = (dict.fromkeys(_MAP_ADDRESSES, params.map_bits)
              | dict.fromkeys(_WEIGHT_ADDRESSES, params.weight_address_bits))
    return {name: min(bits, widths[name]) for name, bits, *_ in abi.SOURCE_FIELDS if name in widths}


def _stored(params: CoreParams) -> data.StructLayout:
    """Return what is kept of a row of the source table: addresses as wide as the core's memories need them."""
    widths = _address_bits(params)
    return abi_row([(name, min(bits, widths.get(name, bits)), *signed) for name, bits, *signed in abi.SOURCE_FIELDS])


class Sequencer(wiring.Component):
    """Turns a row of the layer table into the stream of its fields.

    Parameters: params, the core's.

    Members
    -------
    load: In, program rows; fills the source table.
    layer: In, the layer row in work; stable from the cycle before `begin` until the cluster is idle again.
    begin: In, one cycle: start the layer. buffer: In, words to add to addresses of input sources.
    parts: In(16), parts of the input map that are there; complete: In, all of them are.
    o: Out, stream of fields. idle: Out, nothing left to say of this layer.
    waits: Out, an output row reads parts of the input map that are still to come.
    Where the core has `occupancy`, as in hw/occupancy.py: ask, needed, moves, ends, last: Out; known: In, its `ready`;
    blank: In.

    One visit (field offered or source skipped) per cycle; four cycles from `begin` to the first field. While the input
    map is not complete each output row takes a cycle more; in a layer that asks, what the answer takes. A blank sum is
    one visit of each source, of which the last has a field: outside the map.
    """

    def __init__(self, params: CoreParams, contents: Contents = EMPTY):
        self._params, self._contents = params, contents
        members = {
            "load": In(LoadBus(params)),
            "layer": In(abi_row(params.layer_fields)),
            "begin": In(1),
            "buffer": In(24),
            "parts": In(16),
            "complete": In(1),
            "waits": Out(1),
            "o": Out(stream.Signature(field(params))),
            "idle": Out(1),
        }
        if params.occupancy:
            members |= {"ask": Out(1), "needed": Out(PARTS_BITS), "known": In(1), "moves": Out(1), "ends": Out(1),
                        "last": Out(1), "blank": In(1)}
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        p = self._params
        unary = p.fanout == "unary"

        m.submodules.sources = sources = Memory(
            shape=_stored(p), depth=p.source_depth, attrs={"no_rw_check": 1},
            init=self._contents.table(abi.MemoryId.SOURCES, abi.SOURCE_FIELDS, _address_bits(p)))
        write = sources.write_port()
        read = sources.read_port()
        source_row = abi_row(abi.SOURCE_FIELDS)
        loaded = data.View(source_row, self.load.data[:source_row.size])
        m.d.comb += [
            write.en.eq(row_for(m, self.load, abi.MemoryId.SOURCES)),
            write.addr.eq(self.load.address),
            *(write.data[name].eq(loaded[name]) for name, *_ in abi.SOURCE_FIELDS),
        ]
        # What a source remembers between visits: where its field is, and addresses (of the top plane of its row, of the
        # next row and of the next step, and of the next plane). What is written together is a memory, so that nothing
        # has to be kept by writing it again.
        remembered = {
            "of_row": data.StructLayout({"row": p.map_bits, "next_row": p.map_bits, "y": signed(Y_BITS)}),
            "of_position": data.StructLayout({"x": signed(X_BITS)}),
            "of_step": data.StructLayout({"next_step": p.map_bits}),
            "of_plane": data.StructLayout({"next_plane": p.map_bits})}
        recall, remember = {}, {}
        for name, layout in remembered.items():
            m.submodules[name] = contexts = Memory(shape=layout, depth=p.contexts, init=[])
            remember[name], recall[name] = contexts.write_port(), contexts.read_port(domain="comb")

        layer = self.layer
        # What the layer's row decides in every cycle is kept here, not where the row is.
        is_max, top = Signal(), Signal.like(layer.planes)
        m.d.sync += [is_max.eq(layer.kind == abi.LayerKind.MAX), top.eq(layer.planes - 1)]

        # Cycle 1: the loop counters, which need no source data. Whether they are at their ends is kept beside them;
        # `only`: the loop has one turn.
        def counter(shape):     # begins with the layer
            return Signal(shape, reset_less=True)

        busy = Signal()         # output rows are left
        row, group, col, step = counter(12), counter(12), counter(12), counter(8)
        plane, again, source = counter(6), counter(16), counter(8)
        group_weights, group_bits = counter(p.weight_address_bits), counter(16)
        last_source, last_step, last_col, last_group, last_row = (counter(1) for _ in range(5))
        at_top, at_bottom = counter(1), counter(1)      # of the planes
        loops = {"source": layer.sources, "step": Mux(layer.static, 1, layer.steps), "col": layer.cols,
                 "group": layer.groups, "row": layer.rows}
        only = Signal(data.StructLayout({**dict.fromkeys(loops, 1), "plane": 1}))
        before_last = Signal(data.StructLayout({name: len(Value.cast(turns)) for name, turns in loops.items()}))
        m.d.sync += [*(only[name].eq(turns == 1) for name, turns in loops.items()), only.plane.eq(layer.planes == 1),
                     *(before_last[name].eq(turns - 2) for name, turns in loops.items())]
        last_again = Signal()
        if unary:
            m.d.comb += last_again.eq(again == (1 << plane[:4]) - 1)
        else:
            m.d.comb += last_again.eq(1)
        last_plane = at_bottom & last_again
        asks, blank = Signal(), Signal()        # the layer asks; the sum in work has nothing to add
        if p.occupancy:
            m.d.sync += asks.eq(layer.window_bits != 0)
            m.d.comb += blank.eq(asks & self.blank)
            last_plane |= blank

        visit = data.StructLayout({"source": 8, "plane": 6, "new_plane": 1, "top_plane": 1, "again": 1,
                                   "last_again": 1, "last": 1, "step0": 1, "col0": 1, "group0": 1, "row0": 1,
                                   "weights": p.weight_address_bits, "bits": 16,
                                   **({"blank": 1} if p.occupancy else {})})
        now, now_valid = Signal(visit, reset_less=True), Signal()   # visit whose row of the source table is being read
        advance = Signal()       # all visits move on

        # An output row begins when all that it reads of the input map is there.
        goes, needed = Signal(), counter(PARTS_BITS)
        begins = self.complete & ~asks if p.occupancy else self.complete        # at once
        parts = Signal.like(self.parts)         # a cycle late: they come from afar
        m.d.sync += parts.eq(self.parts)
        asked = Signal()        # what is there is being looked at
        m.d.comb += self.waits.eq(busy & ~goes & ~asked if p.occupancy else busy & ~goes)
        with m.If(self.waits & (self.complete | (parts >= needed))):
            m.d.sync += goes.eq(~asks if p.occupancy else 1)
            if p.occupancy:
                m.d.comb += self.ask.eq(asks)
                m.d.sync += asked.eq(asks)
        if p.occupancy:
            m.d.comb += [self.needed.eq(needed), self.last.eq(last_col),
                         self.ends.eq(Mux(last_col, only.col, col == before_last.col))]
            with m.If(self.known):
                m.d.sync += [goes.eq(1), asked.eq(0)]

        m.d.comb += [read.addr.eq(layer.source_first + source), read.en.eq(advance)]
        with m.If(advance):
            m.d.sync += [
                now_valid.eq(goes),
                now.source.eq(source),
                now.plane.eq(plane),
                now.new_plane.eq(~at_top & (again == 0) & (is_max | (source == 0))),
                now.top_plane.eq(at_top & (again == 0)),
                now.again.eq(again != 0),
                now.last_again.eq(last_again),
                now.last.eq(last_plane & (is_max | last_source)),
                now.step0.eq(step == 0), now.col0.eq(col == 0), now.group0.eq(group == 0), now.row0.eq(row == 0),
                now.weights.eq(group_weights), now.bits.eq(group_bits),
                *([now.blank.eq(blank)] if p.occupancy else []),
            ]
        step_done = Signal()
        m.d.comb += step_done.eq(last_plane & last_source)
        with m.If(advance & goes):
            def next_plane():
                with m.If(~last_again):
                    m.d.sync += again.eq(again + 1)
                with m.Else():
                    m.d.sync += [again.eq(0), plane.eq(Mux(at_bottom, top, plane - 1)), at_top.eq(at_bottom),
                                 at_bottom.eq(Mux(at_bottom, only.plane, plane == 1))]

            def next_end(name, last, counter):
                """Renew what says that a loop is in its last turn, as its counter moves on."""
                return last.eq(Mux(last, only[name], counter == before_last[name]))

            def next_source():
                m.d.sync += [source.eq(Mux(last_source, 0, source + 1)), next_end("source", last_source, source)]

            with m.If(is_max):
                next_plane()
                with m.If(last_plane):
                    next_source()
            with m.Else():
                next_source()
                with m.If(last_source & ~blank if p.occupancy else last_source):
                    next_plane()
            if p.occupancy:
                m.d.comb += self.moves.eq(step_done & last_step)
            with m.If(step_done):
                m.d.sync += [step.eq(step + 1), next_end("step", last_step, step)]
                with m.If(last_step):
                    m.d.sync += [step.eq(0), col.eq(col + 1), next_end("col", last_col, col)]
                    with m.If(last_col):
                        m.d.sync += [col.eq(0), group.eq(group + 1), next_end("group", last_group, group),
                                     group_weights.eq(group_weights + layer.group_weights),
                                     group_bits.eq(group_bits + layer.group_bits)]
                        with m.If(last_group):
                            m.d.sync += [group.eq(0), group_weights.eq(0), group_bits.eq(0), row.eq(row + 1),
                                         next_end("row", last_row, row),
                                         needed.eq(needed + layer.input_step), goes.eq(begins)]
                            with m.If(last_row):
                                m.d.sync += [busy.eq(0), goes.eq(0)]
        with m.If(self.begin):
            m.d.sync += [needed.eq(layer.input_first), busy.eq(layer.rows != 0),
                         goes.eq((layer.rows != 0) & begins), row.eq(0), group.eq(0), col.eq(0), step.eq(0),
                         source.eq(0), plane.eq(top), again.eq(0), group_weights.eq(0), group_bits.eq(0),
                         last_source.eq(only.source), last_step.eq(only.step), last_col.eq(only.col),
                         last_group.eq(only.group), last_row.eq(only.row), at_top.eq(1), at_bottom.eq(only.plane)]

        # Cycle 2: the source table is read. Cycle 3: what needs nothing but its row.
        at, at_valid, src = Signal(visit, reset_less=True), Signal(), Signal(_stored(p), reset_less=True)
        cur, cur_valid, fixed = Signal(visit, reset_less=True), Signal(), Signal(_stored(p), reset_less=True)
        offers = Signal()           # the visit has a field
        new_row, first_row, new_position, first_position = (Signal(reset_less=True) for _ in range(4))
        offset = Signal(7)
        part = Signal()
        m.d.comb += [
            offset.eq(at.plane - src.exponent), part.eq((at.plane >= src.exponent) & (offset < src.planes)),
        ]
        told = Mux(at.blank, at.last, part) if p.occupancy else part
        with m.If(advance):
            m.d.sync += [
                at.eq(now), at_valid.eq(now_valid), src.eq(read.data),
                cur.eq(at), cur_valid.eq(at_valid), fixed.eq(src), offers.eq(at_valid & told),
                fixed.row_init.eq(src.row_init + Mux(src.input, self.buffer, 0) + src.plane_top),
                fixed.x_init.eq(src.x_init + Mux(src.diagonal, at.bits, 0)),
                fixed.weight_first.eq(src.weight_first + at.weights),
                fixed.plane_step.eq(Mux(part & at.last_again, src.plane_step, 0)),
                new_position.eq(at.step0 & at.top_plane), first_position.eq(at.col0),
                new_row.eq(at.step0 & at.top_plane & at.col0 & at.group0), first_row.eq(at.row0),
            ]

            if p.occupancy:             # of a blank sum nothing is told but its end: one tap, outside the map
                with m.If(at.blank):
                    m.d.sync += [fixed.tap_rows.eq(1), fixed.tap_cols.eq(1), fixed.y_limit.eq(0)]

        # Cycle 4: update the source's context and offer the field if the plane has one. The same source may come again
        # in the next cycle, so no address takes more than one addition here.
        old = {name: port.data for name, port in recall.items()}
        of_row, of_position = Signal(remembered["of_row"]), Signal(remembered["of_position"])
        row_address, address = Signal(p.map_bits), Signal(p.map_bits)
        y, x = Signal(signed(Y_BITS)), Signal(signed(X_BITS))
        m.d.comb += [
            of_row.row.eq(Mux(first_row, fixed.row_init, old["of_row"].next_row)),
            of_row.next_row.eq(of_row.row + fixed.row_step),
            of_row.y.eq(Mux(first_row, fixed.y_init, old["of_row"].y + fixed.y_step)),
            of_position.x.eq(Mux(first_position, fixed.x_init, old["of_position"].x + fixed.x_step)),
            row_address.eq(Mux(new_row, of_row.row, old["of_row"].row)),
            address.eq(Mux(cur.top_plane, Mux(cur.step0, row_address, old["of_step"].next_step),
                           old["of_plane"].next_plane)),
            y.eq(Mux(new_row, of_row.y, old["of_row"].y)),
            x.eq(Mux(new_position, of_position.x, old["of_position"].x)),
            remember["of_row"].data.eq(of_row), remember["of_position"].data.eq(of_position),
            remember["of_step"].data.eq(address + fixed.step_step),
            remember["of_plane"].data.eq(address - fixed.plane_step),
            *(port.addr.eq(cur.source) for port in (*recall.values(), *remember.values())),
        ]

        # Whether a field leaves is decided far away: the visits do not depend on it.
        m.submodules.fields = fields = Buffer(field(p))
        connect(m, fields.o, flipped(self.o))
        started = Signal()       # a field of this sum has been offered
        pending = Signal(6)      # scan steps since then
        passed = Signal(6)
        m.d.comb += passed.eq(pending + cur.new_plane if not unary else 0)
        m.d.comb += [
            advance.eq(~offers | fields.i.ready), fields.i.valid.eq(offers),
            fields.i.p.first.eq(~started), fields.i.p.last.eq(cur.last), fields.i.p.doublings.eq(passed),
            fields.i.p.diagonal.eq(fixed.diagonal), fields.i.p.again.eq(cur.again),
            fields.i.p.address.eq(address), fields.i.p.y.eq(y), fields.i.p.x.eq(x),
            fields.i.p.weight.eq(fixed.weight_first), *(fields.i.p[name].eq(fixed[name]) for name in _GEOMETRY),
        ]
        with m.If(cur_valid & advance):
            m.d.comb += [remember["of_row"].en.eq(new_row), remember["of_position"].en.eq(new_position),
                         remember["of_step"].en.eq(cur.top_plane), remember["of_plane"].en.eq(1)]
            m.d.sync += pending.eq(passed)
            with m.If(offers):
                m.d.sync += [pending.eq(0), started.eq(~cur.last)]
        m.d.comb += self.idle.eq(~(busy | now_valid | at_valid | cur_valid | fields.o.valid))
        return m
