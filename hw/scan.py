"""The bit-plane scan: one set bit per cycle becomes the address of one weight row."""

from __future__ import annotations

from functools import reduce
from itertools import combinations
from operator import and_, or_

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .params import CoreParams
from .words import entry

GROUP = 8
"""Bits of a feature-map word among which the lowest is sought in one cycle."""


def event(params: CoreParams) -> data.StructLayout:
    """Return the layout of an accumulator operation: acc = (double ? 2*acc : acc) + (skip ? 0 : weight), lane by lane.

    valid: there is one. last: it ends a sum. double: the accumulators double. add: a weight row is added. weight: its
    address. skip: lanes that do not add it; all of them without `add` or `valid`. diagonal, again: for the counters.
    Without `valid`, `last` comes in the cycle after a reset only, with any `skip`: an end of a sum nobody asks for.
    """
    return data.StructLayout({"valid": 1, "last": 1, "double": 1, "add": 1, "diagonal": 1, "again": 1,
                              "weight": params.weight_address_bits, "skip": params.lanes})


def no_event(params: CoreParams) -> dict[str, int]:
    """Return the fields of an event that is none, and that no lane takes part in."""
    return {"skip": (1 << params.lanes) - 1}


class BitScanner(wiring.Component):
    """Emits, for each set bit of an entry, lowest first, the weight row that it adds.

    Members
    -------
    i: In, stream of entries.
    o: Out, the event of this cycle, which cannot be refused.
    released: In, whoever takes the sums has done with one. It takes `params.sums_kept` of them from the beginning.
    stalled: Out, in place of an event in this cycle a sum's end waited for room, or for its predecessor's end to be
    `params.chunks` cycles ago.
    idle: Out.

    One event per cycle, also across entries; five cycles latency. A doubling costs a cycle only where it cannot ride
    on an addition (two empty planes in a row, or empty planes at the end of a sum).
    """

    def __init__(self, params: CoreParams):
        self._params = params
        super().__init__({
            "i": In(stream.Signature(entry(params))),
            "o": Out(event(params), init=no_event(params)),
            "released": In(1),
            "stalled": Out(1),
            "idle": Out(1),
        })

    def elaborate(self, platform):
        # A word is cut into groups, so that the loop "find the lowest bit, clear it, was it the last" spans GROUP
        # bits only. Empty groups are passed over; one group per cycle feeds at least one event per cycle.
        m = Module()
        p = self._params
        groups = p.word_bits // GROUP

        # Cycle 1: an entry and which of its groups have bits. What a first or a last event brings with it is told
        # apart by flags, so that nothing has to be compared later.
        flags = {"pre": 6, "pre_any": 1, "ride": 1, "post": 6, "post_none": 1, "post_one": 1,
                 "last": 1, "diagonal": 1, "again": 1}
        e = Signal(data.StructLayout({**flags, "bits": p.word_bits, "weight": p.weight_address_bits}), reset_less=True)
        have_entry, fresh, left = Signal(), Signal(), Signal(groups)
        i = self.i.p
        # Cycle 2: its next group. All bits of a diagonal entry lie in one chunk, and they are one event's mask.
        g = Signal(data.StructLayout({**flags, "bits": GROUP, "weight": p.weight_address_bits,
                                      "index": max(1, (groups - 1).bit_length()), "skip": p.lanes}), reset_less=True)
        have_group, take_group, take = Signal(), Signal(), Signal()
        low, later = Signal(groups), Signal(groups)
        last_group = Signal()                       # `later` is empty; kept beside `left`, as it says what moves on
        m.d.comb += [
            low.eq(_lowest(left)), later.eq(left & ~low),
            take_group.eq(~have_group | take),
            self.i.ready.eq(~have_entry | (take_group & last_group)),
        ]
        mask = reduce(or_, (e.bits.word_select(bank, p.lanes) for bank in range(p.banks)))
        picked = _first(left, [e.bits.word_select(k, GROUP) for k in range(groups)])
        one_later = _at_most(m, 2, left)
        with m.If(take_group):
            m.d.sync += [
                have_group.eq(have_entry), fresh.eq(0), left.eq(later), last_group.eq(one_later),
                g.bits.eq(Mux(e.diagonal, 1, picked)), g.weight.eq(e.weight), g.index.eq(_index(low)),
                g.skip.eq(~mask & e.diagonal.replicate(p.lanes)), g.diagonal.eq(e.diagonal), g.again.eq(e.again),
                g.last.eq(e.last & last_group),
                g.pre.eq(e.pre), g.pre_any.eq(e.pre_any & fresh), g.ride.eq(e.ride & fresh),
                g.post.eq(e.post), g.post_none.eq(e.post_none | ~last_group), g.post_one.eq(e.post_one | ~last_group),
            ]
        incoming = Signal(groups)
        m.d.comb += incoming.eq(Mux(i.diagonal, 1, Cat(i.bits.word_select(k, GROUP).any() for k in range(groups))))
        one_incoming = _at_most(m, 1, incoming)
        with m.If(self.i.ready):
            m.d.sync += [
                have_entry.eq(self.i.valid), fresh.eq(1), left.eq(incoming), last_group.eq(one_incoming),
                e.bits.eq(i.bits), e.weight.eq(i.weight), e.last.eq(i.last),
                e.diagonal.eq(i.diagonal), e.again.eq(i.again),
                e.pre.eq(i.before - 1), e.pre_any.eq(i.before > 1), e.ride.eq(i.before != 0),
                e.post.eq(i.after), e.post_none.eq(i.after == 0), e.post_one.eq(i.after <= 1),
            ]

        # Cycle 3: its lowest bit, until there is none.
        c, have = Signal.like(g), Signal()
        some, single = Signal(), Signal()           # bits are left; not more than one
        few, one = _at_most(m, 2, c.bits), _at_most(m, 1, g.bits)
        free = Signal()                             # a sum may end
        low_bit, rest = Signal(GROUP), Signal(GROUP)
        done = Signal()                             # its last event; kept beside what it follows from (`_done`)
        may, ends = ~c.last | ~done | free, have & done & c.last & free
        m.d.comb += [
            low_bit.eq(_lowest(c.bits)),
            rest.eq(c.bits & ~low_bit),
            take.eq(~have | (done & (~c.last | free))),
        ]
        kind = data.StructLayout(dict.fromkeys(("double", "add", "diagonal", "again"), 1))
        out, out_valid, out_adds, out_last = Signal(kind, reset_less=True), Signal(), Signal(), Signal()
        out_skip = Signal(p.lanes, reset_less=True)
        base = Signal(p.weight_address_bits, reset_less=True)
        offset = Signal((p.word_bits - 1).bit_length(), reset_less=True)
        stalled = Signal()
        m.d.sync += [
            out_valid.eq(have & may), out_adds.eq(have & may & ~c.pre_any & some), out_last.eq(ends),
            out.double.eq(Mux(c.pre_any, 1, Mux(some, c.ride, ~c.post_none))),
            out.add.eq(~c.pre_any & some), out_skip.eq(c.skip), out.diagonal.eq(c.diagonal), out.again.eq(c.again),
            base.eq(c.weight), offset.eq(Mux(c.diagonal, 0, Cat(_index(low_bit), c.index))),
            stalled.eq(have & ~may),
        ]
        with m.If(have & may):
            with m.If(c.pre_any):
                m.d.sync += [c.pre.eq(c.pre - 1), c.pre_any.eq(c.pre != 1),
                             done.eq((c.pre == 1) & _done(some, single, c))]
            with m.Elif(some):
                m.d.sync += [c.ride.eq(0), c.bits.eq(rest), some.eq(~single), single.eq(few),
                             done.eq(_done(~single, few, c))]
            with m.Else():
                m.d.sync += [c.post.eq(c.post - 1), c.post_one.eq(c.post == 2), done.eq(c.post == 2)]
        with m.If(take):
            m.d.sync += [have.eq(have_group), c.eq(g), some.eq(g.bits.any()), single.eq(one),
                         done.eq(~g.pre_any & _done(g.bits.any(), one, g))]

        # Room for sums, and their distance: the chunks of one go where those of its predecessor went, or of what a
        # reset found under way.
        outstanding, outstanding_now = Signal(range(p.sums_kept + 1)), Signal(range(p.sums_kept + 1))
        gap, gap_now = Signal(range(p.chunks + 1), init=p.chunks), Signal(range(p.chunks + 1))
        m.d.comb += [outstanding_now.eq(outstanding + ends - self.released),
                     gap_now.eq(Mux(ends, p.chunks - 1, Mux(gap == 0, 0, gap - 1)))]
        m.d.sync += [outstanding.eq(outstanding_now), gap.eq(gap_now),
                     free.eq((outstanding_now != p.sums_kept) & (gap_now == 0))]

        # Cycles 4 and 5: the weight row's address.
        # The mask is as many flip-flops as the cluster has lanes, spread over all of it: no reset goes there. One that
        # passes through a reset meets the end of a sum that the reset makes (accumulate.LaneGroup).
        told, weight = Signal(kind, reset_less=True), Signal(p.weight_address_bits, reset_less=True)
        skip, last = Signal(p.lanes, init=no_event(p)["skip"], reset_less=True), Signal(init=1)
        m.d.sync += [told.eq(out), weight.eq(base + offset), self.o.valid.eq(out_valid), self.stalled.eq(stalled),
                     last.eq(out_last), skip.eq(Mux(out_adds, out_skip, no_event(p)["skip"]))]
        m.d.comb += [
            *(self.o[name].eq(told[name]) for name in kind.members),
            self.o.weight.eq(weight), self.o.skip.eq(skip), self.o.last.eq(last),
            self.idle.eq(~(have_entry | have_group | have | out_valid | self.o.valid)),
        ]
        return m


def _done(some, single, flags):
    """Return whether an event is the last one of a group that has no doublings in front of it left.

    some: it has bits; single: not more than one."""
    return Mux(some, single & flags.post_none, flags.post_one)


def _index(onehot):
    """Return the number of the one bit that is set."""
    return Cat(reduce(or_, (onehot[j] for j in range(len(onehot)) if j >> k & 1))
               for k in range((len(onehot) - 1).bit_length()))


def _lowest(bits):
    """Return the lowest bit that is set, alone."""
    return Cat(bits[k] & ~bits[:k].any() for k in range(len(bits)))


def _first(flags, values):
    """Return the first of the values whose flag is set; if none is, the last: a tree of multiplexers, which is less
    deep than `_lowest` and a gathering of what it lets through."""
    if len(values) == 1:
        return values[0]
    half = 1 << (len(values) - 1).bit_length() - 1
    return Mux(flags[:half].any(), _first(flags[:half], values[:half]), _first(flags[half:], values[half:]))


def _at_most(m, most, bits):
    """Return whether not more than one, or two, of the bits are set."""
    count = _count(m, bits)
    return ~{1: count[1], 2: count.all()}[most]


def _count(m, bits):
    """Return how many bits are set, 3 for any more: a tree of functions of four inputs."""
    if len(bits) <= 4:
        one, many, three = (reduce(or_, (reduce(and_, some) for some in combinations(bits, count)), Const(0, 1))
                            for count in (1, 2, 3))
        count = Cat((one & ~many) | three, many)
    else:
        half = len(bits) // 2
        a, b = _count(m, bits[:half]), _count(m, bits[half:])
        three = a.all() | b.all() | (a[1] & b.any()) | (b[1] & a.any())
        count = Cat((a[0] ^ b[0]) | three, a[1] | b[1] | (a[0] & b[0]))
    kept = Signal(2)                    # a signal, as it is used many times
    m.d.comb += kept.eq(count)
    return kept
