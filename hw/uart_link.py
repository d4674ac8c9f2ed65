"""The serial link's requests, executed: registers, program and input beats in, output beats out."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Const, Module, Mux, ResetInserter, Signal
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.crc.catalog import CRC32_ISO_HDLC
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from qblif.host import framing
from qblif.host.framing import Command, Status

from .accelerator import ADDRESS_BITS
from .axi_lite import RegisterBus
from .layouts import abi_row
from .link import Buffer, Stage, beat
from .uart import octet
from .uart_frames import FrameReceiver, FrameSender

incoming = data.StructLayout({"beat": beat, "program": 1})
"""A beat on its way in; program: for the program stream."""


class BeatQueue(wiring.Component):
    """Queue of `depth` items in block RAM, and behind it a register, since block RAM is slow, and a buffer of two.

    Parameters
    ----------
    shape: payload of both streams
    depth: items that there is room for

    Members
    -------
    i, o: In, Out (stream of shape)
    level: Out, items in it, those behind it not counted
    """

    def __init__(self, shape, depth: int):
        self._shape, self._depth = shape, depth
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape)),
                          "level": Out(range(depth + 1))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.queue = queue = SyncFIFOBuffered(width=self.i.p.as_value().shape().width, depth=self._depth)
        m.submodules.stage = stage = Stage(self._shape)
        m.d.comb += [
            queue.w_data.eq(self.i.p), queue.w_en.eq(self.i.valid), self.i.ready.eq(queue.w_rdy),
            stage.i.p.eq(queue.r_data), stage.i.valid.eq(queue.r_rdy), queue.r_en.eq(stage.i.ready),
            self.level.eq(queue.level),
        ]
        m.submodules.buffer = buffer = Buffer(self._shape)
        wiring.connect(m, stage.o, buffer.i)
        wiring.connect(m, buffer.o, wiring.flipped(self.o))
        return m


class State(enum.Enum):
    """States of the executor."""

    REST = 0
    HEADER = 1
    ARGUMENT = 2
    JUDGE = 3
    BEGIN = 4
    SYNC = 5
    READ = 6
    READ_WAIT = 7
    WRITE = 8
    TAKE = 9
    COUNT = 10
    JUDGE_COUNT = 11
    MASK = 12
    UNPACK = 13
    COLLECT = 14
    SETTLE = 15
    STATE = 16
    QUEUE = 17
    CHECKSUM = 18
    SEND = 19


class Link(wiring.Component):
    """Executes requests (host/framing.py), each once and in the order of their sequence numbers.

    A request that is one of the last STORED is not executed again: its response is sent again. One that is not yet
    due, since another before it was lost, is forgotten. So a host that repeats what was not answered, in order, is
    served right whatever the line does. No request waits for the accelerator: each is executed in less than 4,000
    cycles, registers included, and answered when the response before it was sent.

    A reset by the CONTROL register empties both queues; the rest of an output frame that it cut off is discarded.

    Members
    -------
    octets: In (octet and valid, without flow control), from the line
    responses: Out (stream of 8 bits), to the line
    bus: Out(RegisterBus)
    program, input: Out (stream of link.beat)
    output: In (stream of link.beat)
    clear: In(1), a reset by the CONTROL register, in its one cycle
    error: In(1), STATUS shows an error
    """

    def __init__(self):
        super().__init__({
            "octets": In(stream.Signature(octet, always_ready=True)),
            "responses": Out(stream.Signature(8)),
            "bus": Out(RegisterBus(ADDRESS_BITS - 2)),
            "program": Out(stream.Signature(beat)), "input": Out(stream.Signature(beat)),
            "output": In(stream.Signature(beat)), "clear": In(1), "error": In(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.receiver = receiver = FrameReceiver()
        m.submodules.sender = sender = FrameSender()
        m.submodules.checksum = checksum = CRC32_ISO_HDLC(data_width=32).create()
        clear = ResetInserter(self.clear)
        incoming_queue, outgoing_queue = BeatQueue(incoming, framing.QUEUE_BEATS), BeatQueue(beat, framing.OUTPUT_BEATS)
        m.submodules.incoming = clear(incoming_queue)
        m.submodules.outgoing = clear(outgoing_queue)
        wiring.connect(m, wiring.flipped(self.octets), receiver.i)
        wiring.connect(m, sender.o, wiring.flipped(self.responses))

        # Beats in: from the queue to the stream that they are for.
        waiting = incoming_queue.o
        m.d.comb += [
            self.program.p.eq(waiting.p.beat), self.program.valid.eq(waiting.valid & waiting.p.program),
            self.input.p.eq(waiting.p.beat), self.input.valid.eq(waiting.valid & ~waiting.p.program),
            waiting.ready.eq(Mux(waiting.p.program, self.program.ready, self.input.ready)),
        ]
        # Beats out: to the queue; of a frame that a reset cut off, the rest is discarded. In the cycle of the reset
        # a beat is taken too, so that the accelerator ends the frame at once.
        inside, discard = Signal(), Signal()    # amid an output frame
        queued = outgoing_queue.i
        takes = Signal()                        # there is room, also for what comes until that is known
        m.d.sync += takes.eq(outgoing_queue.level < framing.OUTPUT_BEATS - 2)
        m.d.comb += [
            queued.p.eq(self.output.p),
            queued.valid.eq(self.output.valid & takes & ~discard & ~self.clear),
            self.output.ready.eq(takes | discard | self.clear),
        ]
        with m.If(self.output.valid & self.output.ready):
            m.d.sync += inside.eq(~self.output.p.last)
            with m.If(self.output.p.last):
                m.d.sync += discard.eq(0)
        with m.If(self.clear):
            m.d.sync += discard.eq(Mux(self.output.valid, ~self.output.p.last, inside))

        header, argument = Signal(abi_row(framing.HEADER_FIELDS)), Signal(abi_row(framing.ARGUMENT_FIELDS))
        session, expected, place = Signal(16), Signal(8), Signal(16)
        status, last = Signal(8), Signal()
        lengths = Array(Signal.like(sender.words, name=f"length_{slot}") for slot in range(framing.STORED))

        # The request, word by word: once `known`, `word` is the one at `index`; final: it is the last of the data;
        # ended: there is none.
        index, age, known = Signal.like(receiver.words), Signal(2), Signal()
        words, request_data, final, ended = Signal.like(index), Signal.like(index), Signal(), Signal()
        m.d.comb += [receiver.address.eq(index), known.eq(age == 2)]
        m.d.sync += [words.eq(receiver.words - 1), request_data.eq(words - 2),
                     final.eq(index + 1 == words), ended.eq(index == words)]
        word = receiver.data
        with m.If(~known):
            m.d.sync += age.eq(age + 1)

        def move(to):
            m.d.sync += [index.eq(to), age.eq(0)]

        # The response, word by word, and its checksum one cycle later.
        filled, put, text = Signal.like(sender.words), Signal(), Signal(32)
        begins = Signal()       # a checksum does
        m.d.sync += [put.eq(0), begins.eq(0), sender.send.eq(0),
                     sender.address.eq(Cat(filled[:-1], header.sequence[:2]))]
        m.d.comb += [sender.write.eq(put), sender.data.eq(text), checksum.valid.eq(put), checksum.data.eq(text),
                     checksum.start.eq(begins)]

        def respond(value):
            m.d.sync += [put.eq(1), text.eq(value), filled.eq(filled + 1)]

        # How long ago the request was due: 0 is now.
        overdue, count = Signal(8), Signal(8)    # count: of words read, collected, or cycles waited
        room, fits = Signal(range(framing.QUEUE_BEATS + 1)), Signal()
        m.d.sync += [room.eq(framing.QUEUE_BEATS - incoming_queue.level),
                     overdue.eq(expected - header.sequence)]
        # Of packed beats: those that are missing, whether each of the next 32 is in the request, and how many of these
        # are left.
        packed, missing, mask, group = Signal(), Signal(16), Signal(32), Signal(6)
        too_many = Signal()
        m.d.sync += too_many.eq(missing > room)
        # The queue has room for a request's beats before they are taken out of it, so they go there a cycle later.
        m.d.sync += [
            incoming_queue.i.valid.eq(0),
            incoming_queue.i.p.beat.data.eq(Mux(packed & ~mask[0], 0, word)),
            incoming_queue.i.p.program.eq(header.command == Command.PROGRAM),
            incoming_queue.i.p.beat.last.eq((argument.flags & framing.LAST != 0) & Mux(packed, missing == 1, final)),
        ]
        m.d.comb += [
            packed.eq(argument.flags & framing.PACKED != 0),
            self.bus.write_strobe.eq(0b1111),
            sender.slot.eq(header.sequence[:2]),
        ]
        # The register file may lie far away, so accesses, and what was read, go through registers.
        address, read, write = Signal(ADDRESS_BITS - 2), Signal(), Signal()
        answered, answer = Signal(), Signal(32)
        m.d.sync += [
            self.bus.read.eq(read), self.bus.read_address.eq(address), answered.eq(self.bus.read_done),
            answer.eq(self.bus.read_data), self.bus.write.eq(write), self.bus.write_address.eq(address),
            self.bus.write_data.eq(word),
        ]

        collected = Signal()
        m.d.sync += collected.eq(0)
        m.d.comb += outgoing_queue.o.ready.eq(collected)

        with m.FSM(init=State.REST):
            # REST -- waits for a request, and for the last response to be sent
            with m.State(State.REST):
                m.d.sync += [filled.eq(0), status.eq(Status.OK), last.eq(0), count.eq(0), begins.eq(1)]
                with m.If(receiver.full & ~sender.busy & ~sender.send):
                    move(0)
                    m.next = State.HEADER
            # HEADER, ARGUMENT -- the first two words
            with m.State(State.HEADER):
                with m.If(known):
                    m.d.sync += header.eq(word)
                    move(1)
                    m.next = State.ARGUMENT
            with m.State(State.ARGUMENT):
                with m.If(known):
                    m.d.sync += argument.eq(word)
                    m.next = State.JUDGE
            # JUDGE -- is it to be executed, answered again, or forgotten?
            with m.State(State.JUDGE):
                m.d.sync += [address.eq(argument.place[2:]),
                             fits.eq((request_data <= room) & (argument.place == place) | (request_data == 0))]
                m.next = State.BEGIN
                with m.If(header.command == Command.SYNC):
                    m.d.sync += [session.eq(header.session), expected.eq(header.sequence + 1)]
                with m.Elif(header.session != session):
                    m.d.sync += status.eq(Status.NO_SESSION)
                with m.Elif(overdue == 0):
                    m.d.sync += expected.eq(expected + 1)
                with m.Else():
                    m.d.comb += receiver.done.eq(1)
                    with m.If(overdue <= framing.STORED):
                        m.d.sync += [sender.send.eq(1), sender.words.eq(lengths[header.sequence[:2]])]
                    m.next = State.REST
            # BEGIN -- the response's first word; what is to be done?
            with m.State(State.BEGIN):
                respond(header)
                move(2)
                m.next = State.STATE
                with m.If(status == Status.OK):
                    m.d.sync += status.eq(Status.BAD_REQUEST)
                    with m.Switch(header.command):
                        with m.Case(Command.SYNC):
                            m.d.sync += status.eq(Status.OK)
                            m.next = State.SYNC
                        with m.Case(Command.READ):
                            with m.If((request_data == 0) & (argument.count <= framing.RESPONSE_DATA)):
                                m.d.sync += status.eq(Status.OK)
                                m.next = State.READ
                        with m.Case(Command.WRITE):
                            with m.If(request_data != 0):
                                m.d.sync += status.eq(Status.OK)
                                m.next = State.WRITE
                        with m.Case(Command.PROGRAM, Command.INPUT):
                            with m.If(argument.count <= framing.RESPONSE_DATA):
                                m.d.sync += status.eq(Mux(fits, Status.OK, Status.REFUSED))
                                m.next = State.TAKE
                                with m.If(packed & fits):
                                    m.next = State.COUNT
            # SYNC -- how this hardware was built
            with m.State(State.SYNC):
                m.d.sync += count.eq(count + 1)
                respond(Array(Const(value, 32) for value in framing.SYNC_DATA)[count])
                with m.If(count == len(framing.SYNC_DATA) - 1):
                    m.next = State.STATE
            # READ, READ_WAIT -- one register after the other
            with m.State(State.READ):
                with m.If(count == argument.count):
                    m.next = State.STATE
                with m.Else():
                    m.d.comb += read.eq(1)
                    m.next = State.READ_WAIT
            with m.State(State.READ_WAIT):
                with m.If(answered):
                    respond(answer)
                    m.d.sync += [count.eq(count + 1), address.eq(address + 1)]
                    m.next = State.READ
            # WRITE -- one register after the other
            with m.State(State.WRITE):
                with m.If(known & ended):
                    m.next = State.SETTLE
                with m.Elif(known):
                    m.d.comb += write.eq(1)
                    m.d.sync += address.eq(address + 1)
                    move(index + 1)
            # TAKE -- the request's beats into the queue, which has room for them
            with m.State(State.TAKE):
                with m.If((status == Status.REFUSED) | known & ended):
                    m.next = State.COLLECT
                with m.Elif(known):
                    m.d.sync += incoming_queue.i.valid.eq(1)
                    move(index + 1)
            # COUNT, JUDGE_COUNT -- is there room for the packed beats?
            with m.State(State.COUNT):
                with m.If(known):
                    m.d.sync += missing.eq(Mux(ended, 0, word))
                    move(index + 1)
                    m.next = State.JUDGE_COUNT
            with m.State(State.JUDGE_COUNT):
                with m.If(known):
                    m.next = State.MASK
                    with m.If(too_many):
                        m.d.sync += status.eq(Status.REFUSED)
                        m.next = State.COLLECT
            # MASK -- which of the next 32 beats are in the request
            with m.State(State.MASK):
                with m.If(missing == 0):
                    m.next = State.COLLECT
                with m.Elif(known):
                    m.d.sync += [mask.eq(word), group.eq(32)]
                    move(index + 1)
                    m.next = State.UNPACK
                    with m.If(ended):
                        m.d.sync += status.eq(Status.BAD_REQUEST)
                        m.next = State.COLLECT
            # UNPACK -- one beat after the other, those that are not in the request without waiting for a word
            with m.State(State.UNPACK):
                with m.If((missing == 0) | (group == 0)):
                    m.next = State.MASK
                with m.Elif(mask[0] & known & ended):
                    m.d.sync += status.eq(Status.BAD_REQUEST)
                    m.next = State.COLLECT
                with m.Elif(~mask[0] | known):
                    m.d.sync += [incoming_queue.i.valid.eq(1), missing.eq(missing - 1), group.eq(group - 1),
                                 mask.eq(mask[1:])]
                    with m.If(mask[0]):
                        move(index + 1)
            # COLLECT -- what waits of one output frame, a beat every other cycle: it leaves in the one in between
            with m.State(State.COLLECT):
                with m.If(~collected):
                    with m.If((count == argument.count) | ~outgoing_queue.o.valid | last):
                        m.next = State.STATE
                    with m.Else():
                        m.d.sync += [collected.eq(1), count.eq(count + 1), last.eq(outgoing_queue.o.p.last)]
                        respond(outgoing_queue.o.p.data)
            # SETTLE -- some cycles, so that the response shows what a written register did
            with m.State(State.SETTLE):
                m.d.sync += count.eq(count + 1)
                with m.If(count == 7):
                    m.next = State.STATE
            # STATE, QUEUE -- what the host has to know to go on
            with m.State(State.STATE):
                respond(Cat(status, last,
                            (incoming_queue.level == 0) & ~incoming_queue.o.valid, self.error, Const(0, 5), place))
                m.next = State.QUEUE
            with m.State(State.QUEUE):
                respond(Cat(room, Const(0, 16 - len(room)), outgoing_queue.level))
                m.next = State.CHECKSUM
            # CHECKSUM -- two cycles later it covers all words
            with m.State(State.CHECKSUM):
                m.d.sync += age.eq(0)
                with m.If(~put):
                    respond(checksum.crc)
                    m.next = State.SEND
            # SEND -- hands the response over
            with m.State(State.SEND):
                with m.If(~put):
                    m.d.comb += receiver.done.eq(1)
                    m.d.sync += [sender.send.eq(1), sender.words.eq(filled),
                                 lengths[header.sequence[:2]].eq(filled)]
                    m.next = State.REST

        with m.If(incoming_queue.i.valid):
            m.d.sync += place.eq(place + 1)
        with m.If(self.clear):
            m.d.sync += place.eq(0)
        return m
