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

    One run per cycle, also across fields; latency two cycles. Runs without bits are dropped unless they carry a
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

        f = Signal(field(p))                # field in work
        active = Signal()
        row, col = Signal(8), Signal(8)
        y, x = Signal(signed(Y_BITS)), Signal(signed(X_BITS))
        address = Signal(p.map_bits)
        weight, row_weight = Signal(p.weight_address_bits), Signal(p.weight_address_bits)

        step = Signal()                     # the tap in work leaves for the clipping stage
        first_tap = (row == 0) & (col == 0)
        last_col = col == f.tap_cols - 1
        last_tap = Signal()
        m.d.comb += [
            last_tap.eq(last_col & (row == f.tap_rows - 1)),
            step.eq(active & (~self.o.valid | self.o.ready)),
            self.i.ready.eq(~active | (step & last_tap)),
            self.idle.eq(~active & ~self.o.valid),
        ]
        with m.If(step):
            with m.If(last_col):
                m.d.sync += [col.eq(0), row.eq(row + 1), x.eq(f.x), y.eq(y + f.tap_dy),
                             address.eq(address + f.tap_row_step),
                             row_weight.eq(row_weight + f.tap_row_weights),
                             weight.eq(row_weight + f.tap_row_weights)]
            with m.Else():
                m.d.sync += [col.eq(col + 1), x.eq(x + f.tap_col_step), weight.eq(weight + f.tap_col_weights)]
            with m.If(last_tap):
                m.d.sync += active.eq(0)
        with m.If(self.i.ready & self.i.valid):
            m.d.sync += [active.eq(1), f.eq(self.i.p), row.eq(0), col.eq(0), y.eq(self.i.p.y), x.eq(self.i.p.x),
                         address.eq(self.i.p.address), weight.eq(self.i.p.weight), row_weight.eq(self.i.p.weight)]

        # Clip.
        end = Signal(signed(X_BITS + 1))
        clipped_end = Signal(signed(X_BITS + 1))
        empty = Signal()
        flags = Signal(3)
        m.d.comb += [
            end.eq(x + f.run_bits),
            clipped_end.eq(Mux(end < f.x_limit, end, f.x_limit)),
            empty.eq((y < 0) | (y >= f.y_limit) | (end <= 0) | (x >= f.x_limit)),
            flags.eq((first_tap & (f.first | (f.doublings != 0))) | (last_tap & f.last)),
        ]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(step):
            m.d.sync += [
                self.o.valid.eq(~empty | (flags != 0)),
                self.o.p.first.eq(f.first & first_tap), self.o.p.last.eq(f.last & last_tap),
                self.o.p.doublings.eq(Mux(first_tap, f.doublings, 0)),
                self.o.p.diagonal.eq(f.diagonal), self.o.p.again.eq(f.again), self.o.p.empty.eq(empty),
                self.o.p.address.eq(address),
                self.o.p.bit_first.eq(Mux(x < 0, 0, x)), self.o.p.bit_last.eq(clipped_end - 1),
                self.o.p.weight.eq(weight - Mux(f.diagonal, 0, x)),
            ]
        return m
