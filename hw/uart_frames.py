"""Frames of the serial link in hardware: bytes to checked requests in memory, responses in memory to bytes."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import enum, stream, wiring
from amaranth.lib.crc.catalog import CRC32_ISO_HDLC
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from qblif.host import framing

from .uart import octet

SLOTS = framing.WINDOW
"""Requests that can wait for their turn."""


class FrameReceiver(wiring.Component):
    """Bytes to requests: undoes the byte stuffing, checks the CRC, keeps whole and right frames until they are done.

    Whatever is not a right frame of 3 to REQUEST_WORDS words is forgotten at the next 0 without a trace, and so is a
    frame that begins while all SLOTS are taken. Takes a byte in every cycle.

    Members
    -------
    i: In (octet and valid, without flow control)
    full: Out(1), there is a request; words: Out(9), its words, CRC included
    address: In(8), word of the request; data: Out(32), this word, two cycles later
    done: In(1), the request is not needed any more
    """

    def __init__(self):
        super().__init__({
            "i": In(stream.Signature(octet, always_ready=True)),
            "full": Out(1), "words": Out(range(framing.REQUEST_WORDS + 1)),
            "address": In(range(framing.REQUEST_WORDS)), "data": Out(32), "done": In(1),
        })

    def elaborate(self, platform):
        m = Module()
        # Never read where it is written: a slot is written before it is `taken` and read after.
        m.submodules.memory = memory = Memory(shape=32, depth=SLOTS * framing.REQUEST_WORDS, init=[],
                                              attrs={"no_rw_check": 1})
        write, read = memory.write_port(), memory.read_port()
        m.submodules.checksum = checksum = CRC32_ISO_HDLC(data_width=8).create()
        taken = Array(Signal(name=f"taken_{slot}") for slot in range(SLOTS))
        lengths = Array(Signal.like(self.words, name=f"length_{slot}") for slot in range(SLOTS))
        filling, serving = Signal(range(SLOTS)), Signal(range(SLOTS))

        # Cycle 1: undo the stuffing. A run's length comes first; behind each run but one of 254 bytes stood a 0.
        left, zero_follows = Signal(8), Signal()
        begun, bad = Signal(), Signal()
        byte, valid, end, first = Signal(8), Signal(), Signal(), Signal()
        m.d.sync += [valid.eq(0), end.eq(0), first.eq(0)]
        with m.If(self.i.valid):
            m.d.sync += byte.eq(self.i.p.data)
            with m.If(self.i.p.broken):
                m.d.sync += [begun.eq(1), bad.eq(1)]
            with m.Elif(self.i.p.data == 0):
                m.d.sync += [end.eq(begun), begun.eq(0), left.eq(0), zero_follows.eq(0)]
                with m.If(left != 0):
                    m.d.sync += bad.eq(1)
            with m.Elif(left == 0):
                m.d.sync += [left.eq(self.i.p.data - 1), zero_follows.eq(self.i.p.data != 255), begun.eq(1)]
                with m.If(~begun):
                    m.d.sync += first.eq(1)
                with m.Elif(zero_follows):
                    m.d.sync += [byte.eq(0), valid.eq(1)]
            with m.Else():
                m.d.sync += [left.eq(left - 1), valid.eq(1)]

        # Cycle 2: checksum, and words of four bytes to memory.
        word, place, count = Signal(24), Signal(2), Signal.like(self.words)
        m.d.comb += [
            checksum.start.eq(first),
            checksum.data.eq(byte),
            checksum.valid.eq(valid),
            write.addr.eq(Cat(count[:-1], filling)),
            write.data.eq(Cat(word, byte)),
            write.en.eq(valid & (place == 3) & (count != framing.REQUEST_WORDS) & ~bad),
        ]
        with m.If(valid):
            m.d.sync += [word.eq(Cat(word[8:], byte)), place.eq(place + 1)]
            with m.If(place == 3):
                m.d.sync += count.eq(count + 1)
            with m.If(count == framing.REQUEST_WORDS):
                m.d.sync += [bad.eq(1), count.eq(count)]
        with m.If(first):
            m.d.sync += [place.eq(0), count.eq(0)]
            with m.If(taken[filling]):
                m.d.sync += bad.eq(1)

        # At the end: the checksum covers the last byte since that one's cycle 2.
        with m.If(end):
            m.d.sync += bad.eq(0)
            with m.If(~bad & checksum.match_detected & (place == 0) & (count >= 3)):
                m.d.sync += [taken[filling].eq(1), lengths[filling].eq(count), filling.eq(_next(filling))]

        m.d.comb += [self.full.eq(taken[serving]), self.words.eq(lengths[serving]),
                     read.addr.eq(Cat(self.address, serving))]
        m.d.sync += self.data.eq(read.data)
        with m.If(self.done):
            m.d.sync += [taken[serving].eq(0), serving.eq(_next(serving))]
        return m


def _next(slot):
    return Mux(slot == SLOTS - 1, 0, slot + 1)


class _State(enum.Enum):
    """States of the sender."""

    REST = 0
    OPEN = 1
    SCAN = 2
    RUN_LENGTH = 3
    RUN = 4
    AFTER = 5
    CLOSE = 6


class FrameSender(wiring.Component):
    """Responses to bytes: keeps STORED of them, and sends one, stuffed and between zeros, whenever asked to.

    Finding the length of a run takes four cycles per byte, sending takes what the transmitter takes.

    Members
    -------
    write: In(1), address: In(8), data: In(32): a word of a response, slot * RESPONSE_WORDS + word
    send: In(1), slot: In(2), words: In(7): send this response, of so many words; only while not busy
    busy: Out(1), a response is being sent
    o: Out (stream of 8 bits)
    """

    def __init__(self):
        super().__init__({
            "write": In(1), "address": In(range(framing.STORED * framing.RESPONSE_WORDS)), "data": In(32),
            "send": In(1), "slot": In(range(framing.STORED)), "words": In(range(framing.RESPONSE_WORDS + 1)),
            "busy": Out(1), "o": Out(stream.Signature(8)),
        })

    def elaborate(self, platform):
        m = Module()
        # Never read where it is written: responses are written while none is sent.
        m.submodules.memory = memory = Memory(shape=32, depth=framing.STORED * framing.RESPONSE_WORDS, init=[],
                                              attrs={"no_rw_check": 1})
        write, read = memory.write_port(), memory.read_port()
        m.d.comb += [write.en.eq(self.write), write.addr.eq(self.address), write.data.eq(self.data)]

        slot = Signal.like(self.slot)
        at, run_start = Signal(range(4 * framing.RESPONSE_WORDS + 1)), Signal(range(4 * framing.RESPONSE_WORDS + 1))
        end, run = Signal.like(at), Signal(8)
        zero = Signal()   # the run is ended by a 0
        word, byte = Signal(32), Signal(8)
        age = Signal(2)   # of `at`; from 3 on `byte` is the byte at `at`
        known = Signal()
        m.d.comb += [read.addr.eq(Cat(at[2:-1], slot)), known.eq(age == 3)]
        m.d.sync += [word.eq(read.data), byte.eq(word.word_select(at[:2], 8))]
        with m.If(~known):
            m.d.sync += age.eq(age + 1)

        def move(to):
            m.d.sync += [at.eq(to), age.eq(0)]

        m.d.comb += self.busy.eq(1)
        with m.FSM(init=_State.REST):
            # REST -- waits for a response to send
            with m.State(_State.REST):
                m.d.comb += self.busy.eq(0)
                with m.If(self.send):
                    m.d.sync += [slot.eq(self.slot), end.eq(Cat(0, 0, self.words)), run.eq(0), run_start.eq(0)]
                    move(0)
                    m.next = _State.OPEN
            # OPEN -- the delimiter that ends whatever noise there was
            with m.State(_State.OPEN):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready):
                    m.next = _State.SCAN
            # SCAN -- looks for the end of the run
            with m.State(_State.SCAN):
                m.d.sync += zero.eq(0)
                with m.If((at == end) | (run == 254)):
                    m.next = _State.RUN_LENGTH
                with m.Elif(known):
                    with m.If(byte == 0):
                        m.d.sync += zero.eq(1)
                        m.next = _State.RUN_LENGTH
                    with m.Else():
                        m.d.sync += run.eq(run + 1)
                        move(at + 1)
            # RUN_LENGTH -- sends it, goes back to the run's beginning
            with m.State(_State.RUN_LENGTH):
                m.d.comb += [self.o.valid.eq(1), self.o.payload.eq(run + 1)]
                with m.If(self.o.ready):
                    move(run_start)
                    m.next = _State.RUN
            # RUN -- sends the bytes of the run
            with m.State(_State.RUN):
                with m.If(run == 0):
                    m.next = _State.AFTER
                with m.Else():
                    m.d.comb += [self.o.valid.eq(known), self.o.payload.eq(byte)]
                    with m.If(known & self.o.ready):
                        m.d.sync += run.eq(run - 1)
                        move(at + 1)
            # AFTER -- leaves out the 0 that the run's length stands for
            with m.State(_State.AFTER):
                m.d.sync += run_start.eq(at + zero)
                move(at + zero)
                m.next = _State.SCAN
                with m.If(~zero & (at == end)):
                    m.next = _State.CLOSE
            # CLOSE -- the delimiter
            with m.State(_State.CLOSE):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready):
                    m.next = _State.REST
        return m
