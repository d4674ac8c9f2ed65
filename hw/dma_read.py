"""The reading half of the DMA: frames in memory become a stream of beats."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, ResetInserter, Signal
from amaranth.lib import enum, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from qblif.host import abi

from .axi_master import BURST_WORDS, DATA_BITS, OUTSTANDING, AxiRead, Cursor, Fault, Response
from .fifo import Fifo
from .link import Buffer, Stage, beat

DEPTH = 512
"""Words read ahead at most: what block RAM of 64 bits holds anyway."""


class State(enum.Enum):
    """What the requesting side is about."""

    IDLE = 0
    GATHER = 1
    SIZE = 2
    ASK = 3


class DmaRead(wiring.Component):
    """Reads `frames` frames of `beats` 32-bit beats, one behind the other, and ends each with TLAST.

    Bursts of up to 16 words, at most OUTSTANDING on the bus; room for a burst is set aside before it is asked for, so
    data from memory never waits. The last word is read whole even if only its lower half is used. One beat per
    cycle; the first one 8 cycles after `start`, plus the memory's latency.

    `start` takes the parameters; they may change afterwards. After `stop` no burst is begun and no beat sent; data of
    bursts that were begun is taken and thrown away until `pending` falls.

    Parameters
    ----------
    address_bits: of the bus

    Members
    -------
    axi: Out(AxiRead)
    o: Out (stream of link.beat)
    start: In(1), begin; only while nothing is `pending`
    stop: In(1), give up; held until `pending` has fallen
    address: In, bytes, a multiple of 8; frames, beats: In(32), 1 or more
    done: Out(1), every beat was taken
    pending: Out(1), bursts are on the bus
    moved: Out(1), a handshake on the bus in this cycle
    fault: Out(Fault), READ_SLAVE, READ_DECODE; BAD_JOB past the end of the address space
    """

    def __init__(self, address_bits: int):
        self._address_bits = address_bits
        super().__init__({
            "axi": Out(AxiRead(address_bits)), "o": Out(stream.Signature(beat)),
            "start": In(1), "stop": In(1), "address": In(address_bits), "frames": In(32), "beats": In(32),
            "done": Out(1), "pending": Out(1), "moved": Out(1), "fault": Out(Fault(address_bits)),
        })

    def elaborate(self, platform):
        m = Module()
        axi = self.axi
        m.submodules.words = words = Fifo(DATA_BITS, DEPTH, ram_style="block")
        m.submodules.cursor = cursor = Cursor(self._address_bits)        # of the next burst to ask for
        m.submodules.answered = answered = Cursor(self._address_bits)    # of the oldest burst on the bus
        stage = Stage(DATA_BITS)                                         # block RAM is slow: no logic behind it
        m.submodules.stage = ResetInserter(self.start)(stage)
        skid = Buffer(beat)
        m.submodules.skid = ResetInserter(self.start)(skid)
        connect(m, words.o, stage.i)
        m.d.comb += [
            words.clear.eq(self.start),
            cursor.load.eq(self.start), cursor.start.eq(self.address),
            answered.load.eq(self.start), answered.start.eq(self.address),
        ]
        connect(m, skid.o, flipped(self.o))

        # Requests. Whole frames are added to `wanted` until it is a burst or there are no more: no multiplier tells
        # how many beats there are. Counters stop below zero, where the sign is the comparison.
        wanted = Signal(34)                        # beats to ask for
        waiting, size = Signal(33), Signal(32)     # frames not yet in `wanted`, minus 1; beats of each
        plenty, final = Signal(), Signal()         # a full burst is wanted; this burst is the last
        length = Signal(range(BURST_WORDS + 1))    # words of this burst
        free = Signal(range(DEPTH + 1))            # words that are neither used nor asked for
        outstanding = Signal(range(OUTSTANDING + 1))
        rest = Signal(6)                           # words, where there is not plenty
        ask = Signal()

        m.d.comb += [
            rest.eq((wanted[:5] + 1) >> 1),
            self.pending.eq(outstanding != 0),
            axi.rready.eq(1),
        ]
        with m.FSM(init=State.IDLE):
            # IDLE -- nothing to ask for
            with m.State(State.IDLE):
                with m.If(self.start):
                    m.d.sync += [wanted.eq(0), waiting.eq(self.frames - 1), size.eq(self.beats)]
                    m.next = State.GATHER
            # GATHER -- adds frames up
            with m.State(State.GATHER):
                m.d.sync += plenty.eq(wanted[5:].any())
                with m.If(self.stop):
                    m.next = State.IDLE
                with m.Elif(~waiting[-1] & ~wanted[5:].any()):
                    m.d.sync += [wanted.eq(wanted + size), waiting.eq(waiting - 1)]
                with m.Else():
                    m.next = State.SIZE
            # SIZE -- cuts the next burst off
            with m.State(State.SIZE):
                m.d.sync += [length.eq(cursor.room), final.eq(0)]
                m.next = State.ASK
                with m.If(~plenty & (rest <= cursor.room)):
                    m.d.sync += [length.eq(rest), final.eq(1)]
                with m.If(self.stop | ~plenty & (rest == 0)):
                    m.next = State.IDLE
            # ASK -- waits for room and for the address channel
            with m.State(State.ASK):
                with m.If(self.stop):
                    m.next = State.IDLE
                with m.Elif(~cursor.over & free[4:].any() & (outstanding != OUTSTANDING) & ~axi.arvalid):
                    m.d.comb += ask.eq(1)
                    m.d.sync += wanted.eq(Mux(final, 0, wanted - (length << 1)))
                    m.next = State.GATHER
                with m.If(cursor.over):
                    m.d.comb += [self.fault.valid.eq(1), self.fault.code.eq(abi.Error.BAD_JOB)]
        m.d.comb += [cursor.step.eq(ask), cursor.words.eq(length)]
        with m.If(axi.arready):
            m.d.sync += axi.arvalid.eq(0)
        with m.If(ask):
            m.d.sync += [axi.arvalid.eq(1), axi.araddr.eq(cursor.address), axi.arlen.eq(length - 1)]

        # Data. All bursts but the first begin at a boundary, so the address of the oldest one is known by counting.
        taken, ended = Signal(), Signal()
        m.d.comb += [
            taken.eq(axi.rvalid & axi.rready), ended.eq(taken & axi.rlast),
            words.i.valid.eq(taken), words.i.payload.eq(axi.rdata),
            answered.step.eq(ended), answered.words.eq(answered.room),
            self.moved.eq(axi.arvalid & axi.arready | taken),
        ]
        m.d.sync += outstanding.eq(outstanding + ask - ended)
        with m.If(self.start):
            m.d.sync += free.eq(DEPTH)
        with m.Else():
            m.d.sync += free.eq(free + words.moved - Mux(ask, length, 0))
        with m.If(taken & ((axi.rresp == Response.SLAVE.value) | (axi.rresp == Response.DECODE.value))):
            m.d.comb += [
                self.fault.valid.eq(1), self.fault.address.eq(answered.address),
                self.fault.code.eq(Mux(axi.rresp == Response.SLAVE.value, abi.Error.READ_SLAVE,
                                       abi.Error.READ_DECODE)),
            ]

        # Beats: the words' halves, lower first; a frame may begin in the upper half of the word that ends another.
        active, upper, final_beat = Signal(), Signal(), Signal()
        left, again, frames = Signal(33), Signal(33), Signal(33)     # minus 2: the sign tells the last one
        m.d.comb += [
            skid.i.valid.eq(stage.o.valid & active),
            skid.i.p.data.eq(Mux(upper, stage.o.payload[32:], stage.o.payload[:32])),
            skid.i.p.last.eq(left[-1]),
            final_beat.eq(left[-1] & frames[-1]),
            stage.o.ready.eq(active & skid.i.ready & (upper | final_beat)),
            self.done.eq(~active & ~skid.o.valid),
        ]
        with m.If(skid.i.valid & skid.i.ready):
            m.d.sync += [upper.eq(~upper), left.eq(left - 1)]
            with m.If(left[-1]):
                m.d.sync += [left.eq(again), frames.eq(frames - 1)]
            with m.If(final_beat):
                m.d.sync += active.eq(0)
        with m.If(self.stop):
            m.d.sync += active.eq(0)
        with m.If(self.start):
            m.d.sync += [active.eq(1), upper.eq(0), left.eq(self.beats - 2), again.eq(self.beats - 2),
                         frames.eq(self.frames - 2)]
        return m
