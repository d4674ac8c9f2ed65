"""Program loader: checks a program image beat by beat and writes its rows into the cores' memories."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import enum, stream, wiring
from amaranth.lib.crc.catalog import CRC32_ISO_HDLC
from amaranth.lib.wiring import In, Out

from qblif.host import abi

from .layouts import LoadBus, abi_row
from .link import Fault, beat
from .params import DesignParams


class State(enum.Enum):
    """The beat of the image (abi: program image) that is expected next."""

    MAGIC = 0
    VERSION = 1
    BUILD_LO = 2
    BUILD_HI = 3
    HASH_LO = 4
    HASH_HI = 5
    SECTIONS = 6
    TARGET = 7
    FIRST = 8
    ROWS = 9
    DATA = 10
    CRC = 11


class Loader(wiring.Component):
    """Program frame to memory rows, a beat every other cycle; after a row a pause where weights need one
    (params.load_pause).

    What a beat brings about begins a cycle or two after it was taken, so that it does not hang on the stream. The first
    beat is used a cycle after `hold` was low, and ends the validity of the program loaded before; the last one waits
    for the checksum. The image becomes valid with it, if every beat before was as abi.py says, TLAST came with that
    beat and no other, and the checksum matches. The first deviation is reported as a fault when its beat is used;
    whoever collects faults then raises `halted`, which makes the loader discard all beats. A final beat without TLAST
    is LONG_PROGRAM, reported at once, so that a host that sends nothing more learns of it. Nothing in a row's padding
    bits is checked beyond the checksum. Rows of a bad image may have been written.

    Parameters
    ----------
    design: which memories there are; a program for another build hash is refused
    baked_hash: hash of the program that the memories are configured with; 0: none. It is in place until the first
        beat of another program is taken; a reset in between does not end that, one afterwards does not bring it back

    Members
    -------
    i: In (stream of link.beat)
    hold: In(1), no frame may begin (images are in the chain): its first beat waits
    halted: In(1), accept and discard everything
    load_<core>: Out(LoadBus), the row goes to this core
    fault: Out(Fault)
    loading: Out(1), amid a frame
    waits: Out(1), a beat was taken that is not used yet
    loaded: Out(1), a valid program is in place
    program_hash: Out(64), its hash; 0 when none is loaded
    """

    def __init__(self, design: DesignParams, baked_hash: int = 0):
        self._design, self._baked_hash = design, baked_hash
        super().__init__({
            "i": In(stream.Signature(beat)), "hold": In(1), "halted": In(1),
            "fault": Out(Fault()), "loading": Out(1), "waits": Out(1), "loaded": Out(1), "program_hash": Out(64),
        } | {f"load_{index}": Out(LoadBus(core)) for index, core in enumerate(design.cores)})

    def elaborate(self, platform):
        m = Module()
        cores, build_hash = self._design.cores, self._design.build_hash
        m.submodules.checksum = checksum = CRC32_ISO_HDLC(data_width=abi.LINK_BITS).create()
        summed, begun = Signal(), Signal()      # the beat before is one of a frame; its first

        word, last = Signal(abi.LINK_BITS, reset_less=True), Signal(reset_less=True)
        held, ripe = Signal(), Signal()   # they are a beat that was taken; and what is compared with it is known
        step = Signal()                   # it is used
        index = Signal(32)                # of this beat in the frame
        program_hash = Signal(64)
        valid = Signal()                  # that program is in place
        # The memories hold what they were configured with; only configuring them again brings that back.
        untouched = Signal(init=self._baked_hash != 0, reset_less=True)
        sections = Signal(32)             # not begun
        target, header = Signal(abi_row(abi.TARGET_FIELDS)), abi_row(abi.TARGET_FIELDS)(word)
        depth_bits = max(core.memory_rows(memory) for core in cores for memory in abi.MemoryId).bit_length()
        address = Signal(depth_bits)
        room, rows = Signal(depth_bits), Signal(depth_bits)     # rows that the memory has left; not yet written
        width = max(LoadBus(core).width for core in cores)
        row = [Signal(abi.LINK_BITS, name=f"row_{i}", reset_less=True) for i in range(abi.row_beats(width))]
        at = Signal(range(len(row) + 1))  # place of this beat in the row
        here = Signal(len(row))           # the same, one bit per place
        row_ends, last_row = Signal(), Signal()   # the row is complete with this beat; it is the section's last
        write = Signal()                  # the row is complete
        longest = max(core.load_pause for core in cores)
        pause = Signal(range(longest + 1))  # cycles until beats may replace it
        closed = Signal(init=1)           # no beat may be taken now
        beat, place, part = Signal(abi.LINK_BITS, reset_less=True), Signal.like(at, reset_less=True), Signal()

        # What the memory named by a section header is like: rows, beats per row; none of them if it is unknown.
        depth, row_beats = Signal(depth_bits), Signal(range(len(row) + 1))
        known, depth_now = Signal(), Signal(depth_bits)
        row_beats_now = Signal.like(row_beats)
        m.d.sync += [known.eq(0), depth_now.eq(0), row_beats_now.eq(0)]
        for params in dict.fromkeys(cores):
            indices = [index for index, core in enumerate(cores) if core == params]
            with m.Switch(header.core):
                with m.Case(*indices):
                    m.d.sync += known.eq(((header.cluster < params.clusters) | (header.cluster == abi.ALL_CLUSTERS))
                                         & (header.memory < len(abi.MemoryId)) & (header.reserved == 0))
                    with m.Switch(header.memory):
                        for memory in abi.MemoryId:
                            with m.Case(int(memory)):
                                m.d.sync += [depth_now.eq(params.memory_rows(memory)),
                                             row_beats_now.eq(abi.row_beats(params.memory_bits(memory)))]

        m.d.comb += [
            self.loaded.eq(valid | untouched),
            self.program_hash.eq(Mux(untouched, self._baked_hash, Mux(valid, program_hash, 0))),
            checksum.data.eq(beat), checksum.valid.eq(summed), checksum.start.eq(begun),
            self.fault.info.eq(index),
        ]
        m.d.comb += step.eq(held & ripe & ~closed & ~self.halted)
        m.d.sync += ripe.eq(held & ~step)
        with m.If(self.i.ready):
            m.d.sync += [word.eq(self.i.p.data), last.eq(self.i.p.last), held.eq(self.i.valid & ~self.halted)]
        with m.If(step):
            m.d.sync += index.eq(Mux(last, 0, index + 1))

        def fail(code):
            m.d.comb += [self.fault.valid.eq(1), self.fault.code.eq(code)]
            m.d.sync += closed.eq(1)
            m.next = State.MAGIC

        # What is compared with the beat, a cycle after it came.
        wanted = {State.MAGIC: abi.MAGIC, State.VERSION: abi.ABI_VERSION, State.BUILD_LO: build_hash & 0xFFFF_FFFF,
                  State.BUILD_HI: build_hash >> 32}
        as_wanted = {state: Signal(name=f"as_wanted_{state.name.lower()}") for state in wanted}
        nothing, one, inside, too_many, differs = Signal(), Signal(), Signal(), Signal(), Signal()
        m.d.sync += [
            *(found.eq(word == wanted[state]) for state, found in as_wanted.items()),
            nothing.eq(word == 0), one.eq(word == 1), inside.eq(word <= depth), too_many.eq(word > room),
            differs.eq(word != checksum.crc),
        ]

        def expect(good, code, following):
            """Go on to the `following` beat, unless this one is not `good` or is the frame's last."""
            with m.If(~good):
                fail(code)
            with m.Elif(last):
                fail(abi.Error.SHORT_PROGRAM)
            with m.Else():
                m.next = following

        def next_section():
            sum_up()
            with m.If(sections != 0):
                m.d.sync += [closed.eq(0), sums.eq(0)]
                m.next = State.TARGET

        def sum_up():
            """Go on to the checksum, which is compared with the sum over the beats before two cycles late."""
            m.d.sync += [closed.eq(1), sums.eq(1)]
            m.next = State.CRC

        sums = Signal()         # the sum is not compared yet
        m.d.sync += [closed.eq(sums), sums.eq(0), summed.eq(step), begun.eq(0)]
        m.d.comb += [self.i.ready.eq(~held | step | self.halted), self.loading.eq(~self.halted),
                     self.waits.eq(held)]
        # A row is written while the next beat comes in; a header takes three beats, so it is not too early then.
        m.d.sync += [write.eq(0), part.eq(0), beat.eq(word), place.eq(at)]
        with m.If(write):
            m.d.sync += address.eq(address + 1)
        with m.If(pause != 0):
            m.d.sync += pause.eq(pause - 1)
        with m.FSM(init=State.MAGIC):
            with m.State(State.MAGIC):
                # A frame begins a cycle after it may, so that `hold`, which comes from everywhere, decides nothing
                # else. What raises it waits while a beat is offered here, so it is still low then.
                m.d.comb += self.loading.eq(0)
                m.d.sync += [closed.eq(~(closed & held & ~self.hold)), begun.eq(step)]
                with m.If(step):
                    m.d.sync += [valid.eq(0), untouched.eq(0), closed.eq(0)]
                    expect(as_wanted[State.MAGIC], abi.Error.BAD_MAGIC, State.VERSION)
            for state, code, following in (
                    (State.VERSION, abi.Error.BAD_VERSION, State.BUILD_LO),
                    (State.BUILD_LO, abi.Error.WRONG_BUILD, State.BUILD_HI),
                    (State.BUILD_HI, abi.Error.WRONG_BUILD, State.HASH_LO)):
                with m.State(state), m.If(step):
                    expect(as_wanted[state], code, following)
            for state, register, following in (
                    (State.HASH_LO, program_hash[:32], State.HASH_HI),
                    (State.HASH_HI, program_hash[32:], State.SECTIONS)):
                with m.State(state), m.If(step):
                    m.d.sync += register.eq(word)
                    expect(Const(1, 1), abi.Error.NONE, following)
            with m.State(State.SECTIONS), m.If(step):
                m.d.sync += sections.eq(word)
                with m.If(last):
                    fail(abi.Error.SHORT_PROGRAM)
                with m.Elif(nothing):
                    sum_up()
                with m.Else():
                    m.next = State.TARGET
            with m.State(State.TARGET), m.If(step):
                m.d.sync += [target.eq(header), depth.eq(depth_now), row_beats.eq(row_beats_now),
                             sections.eq(sections - 1)]
                expect(known, abi.Error.BAD_SECTION, State.FIRST)
            with m.State(State.FIRST), m.If(step):
                m.d.sync += [address.eq(word), room.eq(depth - word)]
                expect(inside, abi.Error.BAD_SECTION, State.ROWS)
            with m.State(State.ROWS), m.If(step):
                m.d.sync += [rows.eq(word), last_row.eq(one), at.eq(0), here.eq(1), row_ends.eq(row_beats == 1)]
                with m.If(too_many):
                    fail(abi.Error.BAD_SECTION)
                with m.Elif(last):
                    fail(abi.Error.SHORT_PROGRAM)
                with m.Elif(nothing):
                    next_section()
                with m.Else():
                    m.d.sync += closed.eq(pause > 1)
                    m.next = State.DATA
            with m.State(State.DATA):
                m.d.sync += closed.eq(pause > 1)
                with m.If(step):
                    for index_here, kept in enumerate(row):
                        with m.If(here[index_here]):
                            m.d.sync += kept.eq(word)
                    m.d.sync += [part.eq(1), at.eq(at + 1), here.eq(here << 1), row_ends.eq(at + 2 == row_beats)]
                    with m.If(row_ends):
                        m.d.sync += [at.eq(0), here.eq(1), row_ends.eq(row_beats == 1), write.eq(1), rows.eq(rows - 1),
                                     last_row.eq(rows == 2), pause.eq(longest), closed.eq(longest != 0)]
                        with m.If(last_row):
                            next_section()
                    with m.If(last):
                        fail(abi.Error.SHORT_PROGRAM)
            with m.State(State.CRC), m.If(step):
                m.d.sync += closed.eq(1)
                m.next = State.MAGIC
                with m.If(~last):
                    fail(abi.Error.LONG_PROGRAM)
                with m.Elif(differs):
                    fail(abi.Error.BAD_CRC)
                with m.Else():
                    m.d.sync += valid.eq(1)

        for core in range(len(cores)):
            load = getattr(self, f"load_{core}")
            chosen = Signal(name=f"chosen_{core}")
            m.d.sync += chosen.eq(target.core == core)
            m.d.comb += [
                load.valid.eq(write & chosen),
                load.memory.eq(target.memory),
                load.cluster.eq(target.cluster),
                load.address.eq(address),
                load.data.eq(Cat(row)),
                load.beat_valid.eq(part & chosen), load.beat.eq(beat), load.place.eq(place),
            ]
        return m
