"""Cuts a field into runs: the contiguous bits of one plane row that lie inside the map."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .params import CoreParams
from .sequencer import X_BITS, Y_BITS, field


def run(params: CoreParams) -> data.StructLayout:
    """Return the layout of a run.

    first, last, doublings: as in a field, on its first / last run only. empty: it has no bits (kept for a flag).
    address: word 0 of the plane row. bit_first, bit_last: inclusive, within the plane row.
    weight: weight row of bit 0 of the plane row (modulo the memory, may lie before the field's weights).
    """
    return data.StructLayout({
        "first": 1, "last": 1, "doublings": 6, "diagonal": 1, "again": 1, "empty": 1,
        "address": params.map_bits, "bit_first": X_BITS - 1, "bit_last": X_BITS - 1,
        "weight": params.weight_address_bits})


class RunGenerator(wiring.Component):
    """Iterates rows and columns of a field's taps; clips each run to the map (zero padding costs nothing).

    Members: i, stream of fields; o, stream of runs; idle, nothing inside.

    One run per cycle, also across fields; latency three cycles. Runs without bits are dropped unless they carry a
    flag.
    """

    def __init__(self, params: CoreParams):
        self._params = params
        super().__init__({
            "i": In(stream.Signature(field(params))),
            "o": Out(stream.Signature(run(params))),
            "idle": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        p = self._params

        f = Signal(field(p), reset_less=True)                # field in work
        active = Signal()

        def counter(shape):     # counts from where a field begins
            return Signal(shape, reset_less=True)

        row, col, y, x = counter(8), counter(8), counter(signed(Y_BITS)), counter(signed(X_BITS))
        address = counter(p.map_bits)
        weight, row_weight = counter(p.weight_address_bits), counter(p.weight_address_bits)
        run_last, x_last = counter(signed(X_BITS)), counter(signed(X_BITS))     # last bits of a run, of a row
        step = Signal()                     # the tap in work leaves for the clipping stages
        first_tap, last_col, last_row = counter(1), counter(1), counter(1)
        last_tap = last_col & last_row
        m.d.comb += [
            self.i.ready.eq(~active | (step & last_tap)),
        ]
        with m.If(step):
            m.d.sync += first_tap.eq(0)
            with m.If(last_col):
                m.d.sync += [col.eq(0), row.eq(row + 1), x.eq(f.x), y.eq(y + f.tap_dy),
                             address.eq(address + f.tap_row_step),
                             row_weight.eq(row_weight + f.tap_row_weights),
                             weight.eq(row_weight + f.tap_row_weights),
                             last_col.eq(f.tap_cols == 1), last_row.eq(row + 2 == f.tap_rows)]
            with m.Else():
                m.d.sync += [col.eq(col + 1), x.eq(x + f.tap_col_step), weight.eq(weight + f.tap_col_weights),
                             last_col.eq(col + 2 == f.tap_cols)]
            with m.If(last_tap):
                m.d.sync += active.eq(0)
        with m.If(self.i.ready & self.i.valid):
            m.d.sync += [active.eq(1), f.eq(self.i.p), row.eq(0), col.eq(0), y.eq(self.i.p.y), x.eq(self.i.p.x),
                         address.eq(self.i.p.address), weight.eq(self.i.p.weight), row_weight.eq(self.i.p.weight),
                         first_tap.eq(1), last_col.eq(self.i.p.tap_cols == 1), last_row.eq(self.i.p.tap_rows == 1),
                         run_last.eq(self.i.p.run_bits - 1), x_last.eq(self.i.p.x_limit - 1)]

        # Clip: which bit of the row is the run's last; then which part of the run is inside.
        cut = Signal(data.StructLayout({"outside": 1, "flagged": 1, "x": signed(X_BITS), "last": signed(X_BITS + 1),
                                        "x_last": x_last.shape(), "run": run(p)}), reset_less=True)
        out = Signal(run(p), reset_less=True)
        cut_valid, moves = Signal(), Signal()
        m.d.comb += [
            moves.eq(~self.o.valid | self.o.ready), step.eq(active & (~cut_valid | moves)),
            self.idle.eq(~active & ~cut_valid & ~self.o.valid), self.o.p.eq(out),
        ]
        empty = Signal()
        m.d.comb += empty.eq(cut.outside | (cut.last < 0))
        with m.If(moves):
            m.d.sync += [
                self.o.valid.eq(cut_valid & (~empty | cut.flagged)), cut_valid.eq(0),
                out.eq(cut.run), out.empty.eq(empty),
                out.bit_first.eq(Mux(cut.x < 0, 0, cut.x)),
                out.bit_last.eq(Mux(cut.last < cut.x_last, cut.last, cut.x_last)),
            ]
        with m.If(step):
            m.d.sync += [
                cut_valid.eq(1), cut.x.eq(x), cut.last.eq(x + run_last), cut.x_last.eq(x_last),
                cut.outside.eq((y < 0) | (y >= f.y_limit) | (x >= f.x_limit)),
                cut.flagged.eq((first_tap & (f.first | (f.doublings != 0))) | (last_tap & f.last)),
                cut.run.first.eq(f.first & first_tap), cut.run.last.eq(f.last & last_tap),
                cut.run.doublings.eq(Mux(first_tap, f.doublings, 0)),
                cut.run.diagonal.eq(f.diagonal), cut.run.again.eq(f.again), cut.run.address.eq(address),
                cut.run.weight.eq(weight - Mux(f.diagonal, 0, x)),
            ]
        return m
