"""Walks the loops of a layer and says which fields of which maps are to be summed, in which order.

The loop nest, outermost first (docs/architecture.md)::

    output row > lane group > output column > time step > scan step q > source          NEURON, READOUT
    output row > lane group > output column > time step > window tap > scan step q      MAX

A source of exponent e and B bit planes takes part in the scan steps e <= q < e + B, with its plane q - e, so
that all sources finish a plane before the accumulators double. One visit of a source takes one cycle.
"""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from qblif.host import abi

from .baked import EMPTY, Contents
from .layouts import LoadBus, abi_row
from .params import CoreParams

X_BITS = 21
Y_BITS = 14

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
    layer: In, the layer row in work; stable from `begin` until the cluster is idle again.
    begin: In, one cycle: start the layer. buffer: In, words to add to addresses of input sources.
    o: Out, stream of fields. idle: Out, nothing left to say of this layer.

    One visit (field offered or source skipped) per cycle; two cycles from `begin` to the first field.
    """

    def __init__(self, params: CoreParams, contents: Contents = EMPTY):
        self._params, self._contents = params, contents
        super().__init__({
            "load": In(LoadBus(params)),
            "layer": In(abi_row(abi.LAYER_FIELDS)),
            "begin": In(1),
            "buffer": In(24),
            "o": Out(stream.Signature(field(params))),
            "idle": Out(1),
        })

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
            write.en.eq(self.load.valid & (self.load.memory == abi.MemoryId.SOURCES)),
            write.addr.eq(self.load.address),
            *(write.data[name].eq(loaded[name]) for name, *_ in abi.SOURCE_FIELDS),
        ]
        # What a source remembers between visits: addresses of the field's row, its time step and its plane.
        context = data.StructLayout({"row": p.map_bits, "step": p.map_bits, "plane": p.map_bits,
                                     "y": signed(Y_BITS), "x": signed(X_BITS)})
        m.submodules.contexts = contexts = Memory(shape=context, depth=p.contexts, init=[])
        remember = contexts.write_port()
        recall = contexts.read_port(domain="comb")

        layer = self.layer
        is_max = layer.kind == abi.LayerKind.MAX

        # First half: the loop counters, which need no source data.
        busy = Signal()
        row, group, col, step = Signal(12), Signal(12), Signal(12), Signal(8)
        plane, again, source = Signal(6), Signal(16), Signal(8)
        group_weights = Signal(p.weight_address_bits)
        group_bits = Signal(16)
        top = layer.planes - 1
        last_again = Signal()
        if unary:
            m.d.comb += last_again.eq(again == (1 << plane[:4]) - 1)
        else:
            m.d.comb += last_again.eq(1)
        last_source = source == layer.sources - 1
        last_plane = (plane == 0) & last_again
        last_step = (step == layer.steps - 1) | layer.static
        last_col = col == layer.cols - 1
        last_group = group == layer.groups - 1
        last_row = row == layer.rows - 1

        visit = data.StructLayout({"valid": 1, "source": 8, "plane": 6, "new_plane": 1, "top_plane": 1, "again": 1,
                                   "last_again": 1, "last": 1, "step0": 1, "col0": 1, "group0": 1, "row0": 1,
                                   "weights": p.weight_address_bits, "bits": 16})
        now = Signal(visit)      # visit in the second half
        advance = Signal()       # the second half takes a new one

        m.d.comb += [read.addr.eq(layer.source_first + source), read.en.eq(advance)]
        with m.If(advance):
            m.d.sync += [
                now.valid.eq(busy),
                now.source.eq(source),
                now.plane.eq(plane),
                now.new_plane.eq((plane != top) & (again == 0) & (is_max | (source == 0))),
                now.top_plane.eq((plane == top) & (again == 0)),
                now.again.eq(again != 0),
                now.last_again.eq(last_again),
                now.last.eq(last_plane & (is_max | last_source)),
                now.step0.eq(step == 0), now.col0.eq(col == 0), now.group0.eq(group == 0), now.row0.eq(row == 0),
                now.weights.eq(group_weights), now.bits.eq(group_bits),
            ]
        step_done = Signal()
        m.d.comb += step_done.eq(last_plane & last_source)
        with m.If(advance & busy):
            def next_plane():
                with m.If(~last_again):
                    m.d.sync += again.eq(again + 1)
                with m.Else():
                    m.d.sync += [again.eq(0), plane.eq(Mux(plane == 0, top, plane - 1))]
            with m.If(is_max):
                next_plane()
                with m.If(last_plane):
                    m.d.sync += source.eq(Mux(last_source, 0, source + 1))
            with m.Elif(~last_source):
                m.d.sync += source.eq(source + 1)
            with m.Else():
                m.d.sync += source.eq(0)
                next_plane()
            with m.If(step_done):
                m.d.sync += step.eq(step + 1)
                with m.If(last_step):
                    m.d.sync += [step.eq(0), col.eq(col + 1)]
                    with m.If(last_col):
                        m.d.sync += [col.eq(0), group.eq(group + 1),
                                     group_weights.eq(group_weights + layer.group_weights),
                                     group_bits.eq(group_bits + layer.group_bits)]
                        with m.If(last_group):
                            m.d.sync += [group.eq(0), group_weights.eq(0), group_bits.eq(0), row.eq(row + 1)]
                            with m.If(last_row):
                                m.d.sync += busy.eq(0)
        with m.If(self.begin):
            m.d.sync += [busy.eq(layer.rows != 0), row.eq(0), group.eq(0), col.eq(0), step.eq(0), source.eq(0),
                         plane.eq(top), again.eq(0), group_weights.eq(0), group_bits.eq(0)]

        # Second half: the source row is there; update its context and offer the field if the plane has one.
        src = read.data
        old = recall.data
        new = Signal(context)
        m.d.comb += [recall.addr.eq(now.source), remember.addr.eq(now.source), remember.data.eq(new)]
        new_position = now.step0 & now.top_plane
        new_row = new_position & now.col0 & now.group0
        takes_part = Signal()
        offset = Signal(7)
        m.d.comb += [
            offset.eq(now.plane - src.exponent),
            takes_part.eq((now.plane >= src.exponent) & (offset < src.planes)),
        ]
        m.d.comb += [
            new.row.eq(old.row), new.y.eq(old.y), new.x.eq(old.x), new.step.eq(old.step),
        ]
        with m.If(new_row):
            with m.If(now.row0):
                m.d.comb += [new.row.eq(src.row_init + Mux(src.input, self.buffer, 0)), new.y.eq(src.y_init)]
            with m.Else():
                m.d.comb += [new.row.eq(old.row + src.row_step), new.y.eq(old.y + src.y_step)]
        with m.If(new_position):
            with m.If(now.col0):
                m.d.comb += new.x.eq(src.x_init + Mux(src.diagonal, now.bits, 0))
            with m.Else():
                m.d.comb += new.x.eq(old.x + src.x_step)
        with m.If(now.top_plane):
            m.d.comb += new.step.eq(Mux(now.step0, new.row, old.step + src.step_step))
        address = Signal(p.map_bits)
        m.d.comb += [
            address.eq(Mux(now.top_plane, new.step + src.plane_top, old.plane)),
            new.plane.eq(Mux(takes_part & now.last_again, address - src.plane_step, address)),
        ]

        started = Signal()       # a field of this sum has been offered
        pending = Signal(6)      # scan steps since then
        passed = Signal(6)
        m.d.comb += passed.eq(pending + now.new_plane if not unary else 0)
        m.d.comb += advance.eq(~now.valid | ~takes_part | ~self.o.valid | self.o.ready)
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(now.valid & advance):
            m.d.comb += remember.en.eq(1)
            m.d.sync += pending.eq(passed)
            with m.If(takes_part):
                m.d.sync += [
                    self.o.valid.eq(1),
                    self.o.p.first.eq(~started), self.o.p.last.eq(now.last),
                    self.o.p.doublings.eq(passed), self.o.p.diagonal.eq(src.diagonal), self.o.p.again.eq(now.again),
                    self.o.p.address.eq(address), self.o.p.y.eq(new.y), self.o.p.x.eq(new.x),
                    self.o.p.weight.eq(src.weight_first + now.weights),
                    *(self.o.p[name].eq(src[name]) for name in _GEOMETRY),
                    pending.eq(0), started.eq(~now.last),
                ]
        m.d.comb += self.idle.eq(~busy & ~now.valid & ~self.o.valid)
        return m
