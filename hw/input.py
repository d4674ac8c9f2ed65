"""Input feeder: one frame per image becomes map writes and a commit for the first core."""

from __future__ import annotations

from amaranth.hdl import Const, Module, Mux, Signal
from amaranth.lib import enum, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from qblif.host import abi

from .layouts import map_stream, map_write
from .link import Buffer, Fault, beat
from .params import CoreParams


class State(enum.Enum):
    """States of the feeder."""

    IDLE = 0
    WORDS = 1
    COMMIT = 2
    HAND_OVER = 3


class Input(wiring.Component):
    """Input frame to map writes: word_bits / 32 beats make a word, low beat first; one beat per cycle.

    Words go to addresses 0, 1 …, the last one of each row with `part`; after a frame of exactly `words` words a commit
    follows. A frame that is
    shorter, longer, or comes before a program is reported as a fault in the cycle in which its wrong beat is
    accepted, and never committed. A last expected beat without TLAST is LONG_INPUT, reported at once.

    Parameters
    ----------
    params: of the first core

    Members
    -------
    i: In (stream of link.beat)
    o: Out (layouts.map_stream)
    words: In(32), words of a frame (CONFIG.input_words); row_words: In(24), of a row (CONFIG.input_row_words); stable
    from two cycles before a frame. None begins in the first cycle after a reset
    loaded: In(1), a program is in place
    hold: In(1), no frame may begin (a program is being loaded or waits to be)
    halted: In(1), accept and discard everything
    fault: Out(Fault)
    busy: Out(1), amid a frame, until the cycle after its commit was taken
    done: Out(1), a commit was taken a cycle ago
    """

    def __init__(self, params: CoreParams):
        self._params = params
        super().__init__({
            "i": In(stream.Signature(beat)), "o": Out(map_stream(params)),
            "words": In(32), "row_words": In(24), "loaded": In(1), "hold": In(1), "halted": In(1),
            "fault": Out(Fault()), "busy": Out(1), "done": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        # What becomes of a word is decided all over the core: the buffer's ready does not depend on it.
        m.submodules.buffer = buffer = Buffer(map_write(self._params))
        connect(m, buffer.o, flipped(self.o))
        o, last = buffer.i, self.i.p.last
        parts = self._params.word_bits // abi.LINK_BITS
        step, free = Signal(), Signal()
        index, part = Signal(32), Signal(range(max(2, parts)))    # beat of the frame, of the word
        address = Signal.like(o.p.address)
        of_row = Signal(24)                                       # word of the row

        taken = Signal()                                          # a commit was; ready comes from all over the core
        m.d.sync += taken.eq(self.o.valid & self.o.ready & self.o.p.commit)
        # Whether the word that comes is the last one of its row, of the frame; kept beside the counters.
        row_ends, frame_ends = Signal(), Signal()
        row_has_one, before_row_ends, before_frame_ends = (Signal(bits, reset_less=True) for bits in (1, 24, 32))
        m.d.sync += [row_has_one.eq(self.row_words == 1), before_row_ends.eq(self.row_words - 2),
                     before_frame_ends.eq(self.words - 2)]
        first_word = [row_ends.eq(row_has_one), frame_ends.eq(self.words == 1)]
        m.d.comb += [
            free.eq(~o.valid | o.ready),
            step.eq(self.i.valid & self.i.ready & ~self.halted),
            self.fault.info.eq(index),
            self.busy.eq(1),
            o.p.enable.eq(Mux(o.p.commit, 0, Const(-1, self._params.banks))),
        ]
        with m.If(o.ready):
            m.d.sync += o.valid.eq(0)

        def fail(code):
            m.d.comb += [self.fault.valid.eq(1), self.fault.code.eq(code)]
            m.next = State.IDLE

        def take(completes):
            """Put the beat in its place; send the word that it `completes`."""
            m.next = State.WORDS
            m.d.sync += [index.eq(index + 1), part.eq(part + 1)]
            with m.Switch(part):
                for place in range(parts):
                    with m.Case(place):
                        m.d.sync += o.p.data[32 * place:32 * place + 32].eq(self.i.p.data)
            with m.If(completes):
                m.d.sync += [o.valid.eq(1), o.p.commit.eq(0), o.p.address.eq(address), address.eq(address + 1),
                             part.eq(0), o.p.part.eq(row_ends), of_row.eq(Mux(row_ends, 0, of_row + 1)),
                             row_ends.eq(Mux(row_ends, row_has_one, of_row == before_row_ends)),
                             frame_ends.eq(address == before_frame_ends)]
            with m.If(completes & frame_ends):
                m.next = State.COMMIT
                with m.If(~last):
                    fail(abi.Error.LONG_INPUT)
            with m.Elif(last):
                fail(abi.Error.SHORT_INPUT)

        with m.FSM(init=State.IDLE):
            # IDLE -- waits for a frame
            with m.State(State.IDLE):
                m.d.comb += [self.i.ready.eq(~self.hold | self.halted), self.busy.eq(0)]
                m.d.sync += first_word
                with m.If(step):
                    with m.If(self.loaded):
                        take(Const(parts == 1, 1))
                    with m.Else():
                        fail(abi.Error.NO_PROGRAM)
            # WORDS -- collects the beats of a frame
            with m.State(State.WORDS):
                m.d.comb += self.i.ready.eq(free | self.halted)
                with m.If(step):
                    take(part == parts - 1)
            # COMMIT -- the last word is on its way
            with m.State(State.COMMIT):
                m.d.comb += self.i.ready.eq(self.halted)
                m.d.sync += [index.eq(0), address.eq(0), of_row.eq(0), *first_word]
                with m.If(free):
                    m.d.sync += [o.valid.eq(1), o.p.commit.eq(1), o.p.part.eq(0), o.p.address.eq(0)]
                    m.next = State.HAND_OVER
            # HAND_OVER -- until the core has taken the commit
            with m.State(State.HAND_OVER):
                m.d.comb += self.i.ready.eq(self.halted)
                with m.If(taken):
                    m.d.comb += self.done.eq(1)
                    m.next = State.IDLE
        return m
