"""The writing half of the DMA: a stream of result frames becomes memory."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, ResetInserter, Signal
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.wiring import In, Out

from qblif.host import abi

from .axi_master import BURST_WORDS, DATA_BITS, OUTSTANDING, AxiWrite, Cursor, Fault, Response
from .fifo import Fifo
from .link import Buffer, beat

DEPTH = 2 * BURST_WORDS
"""Words that may wait for the bus."""

BURSTS = 16
"""Bursts that may wait for the bus."""

word = data.StructLayout({"data": DATA_BITS, "lower": 1, "upper": 1})
"""A word to write; lower, upper: which halves."""

burst = data.StructLayout({"length": 4, "half": 1, "frame": 1})
"""A burst whose words are there. length: words minus 1; half: the last one's upper half belongs to the next burst;
frame: a result frame ends with it."""


class State(enum.Enum):
    """What the bus side is about."""

    IDLE = 0
    SEND = 1


class DmaWrite(wiring.Component):
    """Writes `frames` frames of `beats` 32-bit beats, one behind the other.

    A burst ends with its frame or at a burst boundary, and is begun when all of its words are there: on the bus,
    nothing waits for the accelerator. Address and first data are offered at once; the next burst follows when both
    channels are through, with at most OUTSTANDING responses open. A frame is `written` when the response to its last
    burst is in.

    `start` takes the parameters; they may change afterwards. After `stop` no beat is taken and no burst begun; a burst
    that was begun goes on with strobes of 0, and responses are taken until `pending` falls.

    Parameters
    ----------
    address_bits: of the bus

    Members
    -------
    axi: Out(AxiWrite)
    i: In (stream of link.beat)
    start: In(1), begin; only while nothing is `pending`
    stop: In(1), give up; held until `pending` has fallen
    address: In, bytes, a multiple of 8; frames, beats: In(32), 1 or more
    written: Out(1), a frame is in memory from now on; one cycle
    done: Out(1), every frame is in memory
    pending: Out(1), bursts are on the bus
    moved: Out(1), a handshake on the bus in this cycle
    fault: Out(Fault), WRITE_SLAVE, WRITE_DECODE; SHORT_OUTPUT, LONG_OUTPUT; BAD_JOB past the end of the address space
    """

    def __init__(self, address_bits: int):
        self._address_bits = address_bits
        super().__init__({
            "axi": Out(AxiWrite(address_bits)), "i": In(stream.Signature(beat)),
            "start": In(1), "stop": In(1), "address": In(address_bits), "frames": In(32), "beats": In(32),
            "written": Out(1), "done": Out(1), "pending": Out(1), "moved": Out(1), "fault": Out(Fault(address_bits)),
        })

    def elaborate(self, platform):
        m = Module()
        axi = self.axi
        skid = Buffer(beat)
        m.submodules.skid = ResetInserter(self.start)(skid)
        m.submodules.words = words = Fifo(word, DEPTH)
        m.submodules.bursts = bursts = Fifo(burst, BURSTS)
        m.submodules.begun = begun = Fifo(burst, OUTSTANDING)            # bursts on the bus
        m.submodules.cursor = cursor = Cursor(self._address_bits)        # of the next burst to begin
        m.submodules.answered = answered = Cursor(self._address_bits)    # of the oldest burst on the bus
        for part in (words, bursts, begun):
            m.d.comb += part.clear.eq(self.start)
        for part in (cursor, answered):
            m.d.comb += [part.load.eq(self.start), part.start.eq(self.address)]
        m.d.comb += [skid.i.p.eq(self.i.p), skid.i.valid.eq(self.i.valid), self.i.ready.eq(skid.i.ready)]

        def advance(p):
            """Return the words from this burst's address to the next one's."""
            return p.length + 1 - p.half

        # Beats to words, and words to bursts.
        active, enabled = Signal(), Signal()                         # beats are to come; bursts may begin
        upper, lower = Signal(), Signal()                            # the half that comes next; a lower one is kept
        kept = Signal(32)
        slot, count = Signal(4), Signal(4)                           # place in the boundary's 16 words, in the burst
        left, again, frames = Signal(33), Signal(33), Signal(33)     # minus 2: the sign tells the last one
        take, ends, right, whole, close = Signal(), Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            take.eq(skid.o.valid & active & words.i.ready & bursts.i.ready),
            skid.o.ready.eq(active & words.i.ready & bursts.i.ready),
            ends.eq(left[-1]),
            right.eq(ends == skid.o.p.last),
            whole.eq(upper | ends),
            close.eq(take & right & (ends | upper & (slot == BURST_WORDS - 1))),
            words.i.valid.eq(take & whole),
            words.i.p.data.eq(Cat(Mux(upper, kept, skid.o.p.data), skid.o.p.data)),
            words.i.p.lower.eq(~upper | lower),
            words.i.p.upper.eq(upper),
            bursts.i.valid.eq(close),
            bursts.i.p.length.eq(count), bursts.i.p.half.eq(~upper), bursts.i.p.frame.eq(ends),
        ]
        with m.If(take):
            m.d.sync += [upper.eq(~upper), lower.eq(~upper & ~ends), left.eq(left - 1)]
            with m.If(~upper):
                m.d.sync += kept.eq(skid.o.p.data)
            with m.Else():
                m.d.sync += slot.eq(slot + 1)
            with m.If(close):
                m.d.sync += count.eq(0)
            with m.Elif(whole):
                m.d.sync += count.eq(count + 1)
            with m.If(ends):
                m.d.sync += [left.eq(again), frames.eq(frames - 1)]
                with m.If(frames[-1]):
                    m.d.sync += active.eq(0)
            with m.If(~right):
                m.d.comb += [self.fault.valid.eq(1),
                             self.fault.code.eq(Mux(ends, abi.Error.LONG_OUTPUT, abi.Error.SHORT_OUTPUT))]
                m.d.sync += active.eq(0)
        with m.If(self.stop):
            m.d.sync += [active.eq(0), enabled.eq(0)]

        # Bursts to the bus.
        unsent = Signal(5)                          # words of this burst, minus 1; the sign tells that all were sent
        outstanding = Signal(range(OUTSTANDING + 1))
        begin = Signal()
        m.d.comb += [
            cursor.step.eq(begin), cursor.words.eq(advance(bursts.o.p)),
            bursts.o.ready.eq(begin),
            begun.i.p.eq(bursts.o.p), begun.i.valid.eq(begin),
        ]
        with m.If(axi.awready):
            m.d.sync += axi.awvalid.eq(0)
        with m.If(axi.wready):
            m.d.sync += axi.wvalid.eq(0)
        with m.FSM(init=State.IDLE):
            # IDLE -- waits for a burst
            with m.State(State.IDLE):
                ready = bursts.o.valid & enabled & ~self.stop & (outstanding != OUTSTANDING)
                with m.If(ready & cursor.over):
                    m.d.comb += [self.fault.valid.eq(1), self.fault.code.eq(abi.Error.BAD_JOB)]
                with m.Elif(ready):
                    m.d.comb += begin.eq(1)
                    m.d.sync += [axi.awvalid.eq(1), axi.awaddr.eq(cursor.address), axi.awlen.eq(bursts.o.p.length),
                                 unsent.eq(bursts.o.p.length)]
                    m.next = State.SEND
            # SEND -- until both channels are through
            with m.State(State.SEND):
                with m.If((~axi.wvalid | axi.wready) & ~unsent[-1]):
                    m.d.comb += words.o.ready.eq(1)
                    with m.If(words.o.valid):
                        m.d.sync += [
                            axi.wvalid.eq(1), axi.wdata.eq(words.o.p.data), axi.wlast.eq(unsent == 0),
                            axi.wstrb.eq(Mux(self.stop, 0, Cat(words.o.p.lower.replicate(4),
                                                               words.o.p.upper.replicate(4)))),
                            unsent.eq(unsent - 1),
                        ]
                with m.If(unsent[-1] & (~axi.wvalid | axi.wready) & (~axi.awvalid | axi.awready)):
                    m.next = State.IDLE

        # Responses, in the order of the bursts.
        answer = Signal()
        open_bursts = Signal(range(BURSTS + OUTSTANDING + 2))    # made of beats, and not answered
        m.d.comb += [
            axi.bready.eq(begun.o.valid),
            answer.eq(axi.bvalid & axi.bready),
            begun.o.ready.eq(answer),
            answered.step.eq(answer), answered.words.eq(advance(begun.o.p)),
            self.pending.eq(outstanding != 0),
            self.done.eq(~active & (open_bursts == 0)),
            self.moved.eq(axi.awvalid & axi.awready | axi.wvalid & axi.wready | answer),
        ]
        m.d.sync += [outstanding.eq(outstanding + begin - answer), open_bursts.eq(open_bursts + close - answer)]
        with m.If(answer):
            with m.If((axi.bresp == Response.SLAVE.value) | (axi.bresp == Response.DECODE.value)):
                m.d.comb += [
                    self.fault.valid.eq(1), self.fault.address.eq(answered.address),
                    self.fault.code.eq(Mux(axi.bresp == Response.SLAVE.value, abi.Error.WRITE_SLAVE,
                                           abi.Error.WRITE_DECODE)),
                ]
            with m.Else():
                m.d.comb += self.written.eq(begun.o.p.frame)

        with m.If(self.start):
            m.d.sync += [active.eq(1), upper.eq(0), lower.eq(0), slot.eq(self.address[3:7]), count.eq(0),
                         left.eq(self.beats - 2), again.eq(self.beats - 2), frames.eq(self.frames - 2),
                         open_bursts.eq(0), enabled.eq(1)]
        return m
