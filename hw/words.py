"""Reads the feature-map words of runs, masks them, and drops the empty ones (zero skipping, word by word)."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

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

    Members: i, stream of runs; o, stream of entries; address, enable, data: the feature-map memory's read port
    (data one cycle after address, held while enable is low); idle, nothing inside.

    One word per cycle, four cycles latency, and up to FIFO_DEPTH entries ahead of the bit scan. Doublings of
    planes without set bits travel with the next entry, so that an empty plane costs no entry.
    """

    def __init__(self, params: CoreParams):
        self._params = params
        super().__init__({
            "i": In(stream.Signature(run(params))),
            "o": Out(stream.Signature(entry(params))),
            "address": Out(params.map_bits),
            "enable": Out(1),
            "data": In(params.word_bits),
            "idle": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        p = self._params
        low = (p.word_bits - 1).bit_length()            # bits of a position within a word
        i = self.i.p

        m.submodules.fifo = fifo = SyncFIFOBuffered(width=entry(p).size, depth=FIFO_DEPTH)
        go = Signal()                                   # the stages below may move

        # Stage 1: the words of a run.
        flags = {"first": 1, "last": 1, "doublings": 6, "diagonal": 1, "again": 1}
        stage = data.StructLayout({"valid": 1, **flags, "empty": 1, "bit_first": low, "bit_last": low,
                                   "weight": p.weight_address_bits})
        s1 = Signal(stage)
        address = Signal(p.map_bits)
        amid = Signal()
        word = Signal(i.bit_first.shape().width - low)
        next_word = Signal.like(word)
        last_word = Signal()
        m.d.comb += [
            word.eq(Mux(amid, next_word, i.bit_first[low:])),
            last_word.eq(i.empty | (word == i.bit_last[low:])),
            self.i.ready.eq(go & last_word),
        ]
        with m.If(go):
            m.d.sync += [
                s1.valid.eq(self.i.valid),
                s1.first.eq(i.first & ~amid), s1.last.eq(i.last & last_word),
                s1.doublings.eq(Mux(amid, 0, i.doublings)),
                s1.diagonal.eq(i.diagonal), s1.again.eq(i.again), s1.empty.eq(i.empty),
                s1.bit_first.eq(Mux(amid, 0, i.bit_first[:low])),
                s1.bit_last.eq(Mux(last_word, i.bit_last[:low], p.word_bits - 1)),
                s1.weight.eq(i.weight + Mux(i.diagonal, 0, word << low)),
                address.eq(i.address + word),
            ]
            with m.If(self.i.valid):
                m.d.sync += [amid.eq(~last_word), next_word.eq(word + 1)]

        # Stage 2: the memory reads; the mask is made meanwhile.
        s2 = Signal(stage)
        mask = Signal(p.word_bits)
        ones = (1 << p.word_bits) - 1
        m.d.comb += [self.address.eq(address), self.enable.eq(go)]
        with m.If(go):
            m.d.sync += [
                s2.eq(s1),
                mask.eq(Mux(s1.empty, 0, (ones << s1.bit_first)[:p.word_bits] & (ones >> (~s1.bit_last)[:low]))),
            ]

        # Stage 3: the masked word.
        s3 = Signal(stage)
        bits = Signal(p.word_bits)
        with m.If(go):
            m.d.sync += [s3.eq(s2), bits.eq(self.data & mask)]

        # Stage 4: merge. `held` waits for the next entry of its sum, or for the sum's end, to take its flags.
        held, held_valid = Signal(entry(p)), Signal()
        started, pending = Signal(), Signal(6)
        some = Signal()
        begun = Signal()
        doublings = Signal(6)
        push = Signal()
        m.d.comb += [
            some.eq(bits.any()),
            begun.eq(started & ~s3.first),
            doublings.eq(Mux(begun, pending + s3.doublings, 0)),    # doubling a sum of nothing is nothing
            push.eq(held_valid & (held.last | (s3.valid & some))),
            fifo.w_data.eq(held),
            fifo.w_en.eq(push),
            go.eq(~push | fifo.w_rdy),
        ]
        with m.If(push & fifo.w_rdy):
            m.d.sync += held_valid.eq(0)
        with m.If(go & s3.valid):
            m.d.sync += [started.eq(begun | some), pending.eq(Mux(some, 0, doublings))]
            with m.If(some | (s3.last & ~begun)):
                m.d.sync += [
                    held_valid.eq(1), held.bits.eq(bits), held.weight.eq(s3.weight),
                    held.before.eq(doublings), held.after.eq(0), held.first.eq(~begun), held.last.eq(s3.last),
                    held.diagonal.eq(s3.diagonal), held.again.eq(s3.again),
                ]
            with m.Elif(s3.last):
                m.d.sync += [held.last.eq(1), held.after.eq(doublings)]

        m.d.comb += [
            self.o.valid.eq(fifo.r_rdy), self.o.p.as_value().eq(fifo.r_data), fifo.r_en.eq(self.o.ready),
            self.idle.eq(~s1.valid & ~s2.valid & ~s3.valid & ~held_valid & (fifo.level == 0)),
        ]
        return m
