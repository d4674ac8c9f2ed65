"""Reads the feature-map words of runs, masks them, and drops the empty ones (zero skipping, word by word)."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out, connect, flipped

from .compare import at_most
from .link import Buffer
from .params import CoreParams
from .runs import run

FIFO_DEPTH = 16


def entry(params: CoreParams) -> data.StructLayout:
    """Return the layout of a scan entry: a feature-map word with set bits, or the end of a sum without any.

    bits: the word, masked. weight: weight row of bit 0. before, after: doublings before the first and after the
    last bit. first, last: begins / ends a sum. diagonal, again: as in a field.
    """
    return data.StructLayout({
        "bits": params.word_bits, "weight": params.weight_address_bits, "before": 6, "after": 6,
        "first": 1, "last": 1, "diagonal": 1, "again": 1})


class WordReader(wiring.Component):
    """Fetches the words of each run and hands on those with set bits.

    Members: i, stream of runs; o, stream of entries; address, data: the feature-map memory's read port (data one
    cycle after address); idle, nothing inside.

    One word per cycle, nine cycles latency, and more than FIFO_DEPTH words ahead of the bit scan, those on their way
    included. Doublings of planes without set bits travel with the next entry, so that an empty plane costs no entry.
    """

    def __init__(self, params: CoreParams):
        self._params = params
        super().__init__({
            "i": In(stream.Signature(run(params))),
            "o": Out(stream.Signature(entry(params))),
            "address": Out(params.map_bits),
            "data": In(params.word_bits),
            "idle": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        p = self._params
        low = (p.word_bits - 1).bit_length()            # bits of a position within a word

        m.submodules.runs = runs = Buffer(run(p))
        connect(m, flipped(self.i), runs.i)
        i = runs.o.p

        # Every word that sets out has a place in the queue, so nothing has to stop on the way.
        m.submodules.fifo = fifo = SyncFIFOBuffered(width=entry(p).size, depth=FIFO_DEPTH)
        room = Signal(range(FIFO_DEPTH + 1), init=FIFO_DEPTH)
        room_now = Signal.like(room)
        go, takes, drops, dropped, left = Signal(init=1), Signal(), Signal(), Signal(), Signal()
        m.d.comb += room_now.eq(room - takes + dropped + left)
        m.d.sync += [room.eq(room_now), go.eq(room_now != 0), dropped.eq(drops), left.eq(fifo.r_rdy & fifo.r_en)]

        # Stage 1: the words of a run.
        flags = {"first": 1, "last": 1, "doublings": 6, "diagonal": 1, "again": 1}
        stage = data.StructLayout({**flags, "empty": 1, "bit_first": low, "bit_last": low,
                                   "weight": p.weight_address_bits})
        s1, s1_valid = Signal(stage, reset_less=True), Signal()
        address = Signal(p.map_bits, reset_less=True)
        amid = Signal()
        word = Signal(i.bit_first.shape().width - low)
        next_word = Signal.like(word, reset_less=True)
        last_word = Signal()
        m.d.comb += [
            word.eq(Mux(amid, next_word, i.bit_first[low:])),
            last_word.eq(i.empty | (word == i.bit_last[low:])),
            runs.o.ready.eq(go & last_word), takes.eq(go & runs.o.valid),
        ]
        m.d.sync += s1_valid.eq(takes)
        with m.If(takes):
            m.d.sync += [
                amid.eq(~last_word), next_word.eq(word + 1),
                s1.first.eq(i.first & ~amid), s1.last.eq(i.last & last_word),
                s1.doublings.eq(Mux(amid, 0, i.doublings)),
                s1.diagonal.eq(i.diagonal), s1.again.eq(i.again), s1.empty.eq(i.empty),
                s1.bit_first.eq(Mux(amid, 0, i.bit_first[:low])),
                s1.bit_last.eq(Mux(last_word, i.bit_last[:low], p.word_bits - 1)),
                s1.weight.eq(i.weight + Mux(i.diagonal, 0, word << low)),
                address.eq(i.address + word),
            ]

        # Stage 2: the memory reads; the mask is made meanwhile.
        s2, s2_valid = Signal(stage, reset_less=True), Signal()
        mask = Signal(p.word_bits, reset_less=True)
        m.d.comb += self.address.eq(address)
        m.d.sync += [
            s2.eq(s1), s2_valid.eq(s1_valid),
            mask.eq(Mux(s1.empty, 0, Cat(at_most(s1.bit_first, bit) & ~at_most(s1.bit_last, bit - 1)
                                         for bit in range(p.word_bits)))),
        ]

        # Stage 3: the word as it is, in a register close to its memory, which is slow and may lie far from the rest.
        s3, s3_valid = Signal(stage, reset_less=True), Signal()
        mask_3, word_3 = Signal.like(mask), Signal(p.word_bits, reset_less=True)
        m.d.sync += [s3.eq(s2), s3_valid.eq(s2_valid), mask_3.eq(mask), word_3.eq(self.data)]

        # Stage 4: the masked word. Stage 5: whether it has bits.
        s4, s4_valid = Signal(stage, reset_less=True), Signal()
        s5, s5_valid = Signal(stage, reset_less=True), Signal()
        bits_4, bits, some = Signal(p.word_bits, reset_less=True), Signal(p.word_bits, reset_less=True), Signal()
        m.d.sync += [s4.eq(s3), s4_valid.eq(s3_valid), bits_4.eq(word_3 & mask_3),
                     s5.eq(s4), s5_valid.eq(s4_valid), bits.eq(bits_4), some.eq(bits_4.any())]

        # Stage 6: merge. `held` waits for the next entry of its sum, or for the sum's end, to take its flags.
        held, held_valid = Signal(entry(p), reset_less=True), Signal()
        started, pending = Signal(), Signal(6)
        begun, becomes = Signal(), Signal()
        doublings = Signal(6)
        push = Signal()
        m.d.comb += [
            begun.eq(started & ~s5.first),
            doublings.eq(Mux(begun, pending + s5.doublings, 0)),    # doubling a sum of nothing is nothing
            becomes.eq(s5_valid & (some | (s5.last & ~begun))), drops.eq(s5_valid & ~becomes),
            push.eq(held_valid & (held.last | (s5_valid & some))),
            fifo.w_data.eq(held),
            fifo.w_en.eq(push),
        ]
        with m.If(push):
            m.d.sync += held_valid.eq(0)
        with m.If(s5_valid):
            m.d.sync += [started.eq(begun | some), pending.eq(Mux(some, 0, doublings))]
            with m.If(becomes):
                m.d.sync += [
                    held_valid.eq(1), held.bits.eq(bits), held.weight.eq(s5.weight),
                    held.before.eq(doublings), held.after.eq(0), held.first.eq(~begun), held.last.eq(s5.last),
                    held.diagonal.eq(s5.diagonal), held.again.eq(s5.again),
                ]
            with m.Elif(s5.last):
                m.d.sync += [held.last.eq(1), held.after.eq(doublings)]

        m.submodules.entries = entries = Buffer(entry(p))
        connect(m, entries.o, flipped(self.o))
        m.d.comb += [
            entries.i.valid.eq(fifo.r_rdy), entries.i.p.as_value().eq(fifo.r_data), fifo.r_en.eq(entries.i.ready),
            self.idle.eq(~runs.o.valid & ~entries.o.valid & (room == FIFO_DEPTH)),
        ]
        return m
