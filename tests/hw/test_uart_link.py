"""The serial link's hardware: bytes on the line, frames, and requests executed exactly once."""

from __future__ import annotations

import itertools
import random

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring

from qblif.host import abi, framing
from qblif.host.framing import Command, Status
from qblif.hw.accelerator import Accelerator
from qblif.hw.params import CoreParams, DesignParams, Shell
from qblif.hw.uart import Receiver, Transmitter, divisor
from qblif.hw.uart_frames import FrameReceiver, FrameSender
from qblif.hw.uart_link import Link
from qblif.hw.uart_top import UartTop

from .bench import program, section, simulate
from .stand_in import CLASSES, HANG, StandIn, config, expected

CORE = CoreParams(lanes=4, word_bits=32, neuron_lanes=1, weight_depth=4, source_depth=4, layer_depth=4,
                  channel_depth=4, map_depth=1024)
DESIGN = DesignParams((CORE,))
OFFSETS = {name: offset for name, offset, *_ in abi.REGISTERS}
WORDS = 5


# The line ---------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("clock_hz, baud, cycles", [
    (24_000_000, 3_000_000, 8), (100_000_000, 3_000_000, 33), (80_000_000, 3_000_000, 27), (25_000_000, 115_200, 217)])
def test_bit_rates_close_enough_are_made(clock_hz, baud, cycles):
    assert divisor(clock_hz, baud) == cycles


@pytest.mark.parametrize("clock_hz, baud", [(25_000_000, 3_000_000), (12_000_000, 3_000_000), (0, 9600), (10**6, 0)])
def test_other_bit_rates_are_refused_with_what_would_do(clock_hz, baud):
    with pytest.raises(ValueError, match="baud.*positive|cannot be made from a clock of .* would do"):
        divisor(clock_hz, baud)


class Loop(wiring.Component):
    """A transmitter on a receiver's line."""

    def __init__(self, cycles):
        self.transmitter, self.receiver = Transmitter(cycles), Receiver(cycles)
        super().__init__({})

    def elaborate(self, platform):
        m = Module()
        m.submodules.transmitter, m.submodules.receiver = self.transmitter, self.receiver
        m.d.comb += self.receiver.rx.eq(self.transmitter.tx)
        return m


@pytest.mark.parametrize("cycles", [8, 9, 13])
def test_bytes_pass_the_line_without_gaps(cycles):
    loop, rng = Loop(cycles), random.Random(cycles)
    sent, got = [0x00, 0xFF, 0x55, 0xAA, *rng.randbytes(12)], []
    times = []

    async def send(ctx):
        transmitter = loop.transmitter
        for byte in sent:
            ctx.set(transmitter.i.payload, byte)
            ctx.set(transmitter.i.valid, 1)
            await ctx.tick().until(transmitter.i.ready)
        ctx.set(transmitter.i.valid, 0)
        await ctx.tick().repeat(12 * cycles)

    async def receive(ctx):
        o, now = loop.receiver.o, 0
        async for _, _, valid, byte, broken in ctx.tick().sample(o.valid, o.p.data, o.p.broken):
            now += 1
            if valid:
                assert not broken
                got.append(byte)
                times.append(now)

    simulate(loop, send, processes=[receive])
    assert got == sent
    assert {b - a for a, b in itertools.pairwise(times)} == {10 * cycles}, "ten bits per byte"


def drive(receiver, levels):
    """Return the (byte, broken) that a line makes; levels: (level, cycles)."""
    got = []

    async def line(ctx):
        for level, cycles in levels:
            ctx.set(receiver.rx, level)
            for _ in range(cycles):
                *_, valid, byte, broken = await ctx.tick().sample(receiver.o.valid, receiver.o.p.data,
                                                                  receiver.o.p.broken)
                if valid:
                    got.append((byte, bool(broken)))

    simulate(receiver, line)
    return got


def bits(byte, cycles, stop=1):
    """Return the levels of a byte on the line."""
    return [(0, cycles), *((byte >> bit & 1, cycles) for bit in range(8)), (stop, cycles)]


@pytest.mark.parametrize("cycles", [98, 102])
def test_a_sender_two_percent_off_is_understood(cycles):
    data = list(random.Random(cycles).randbytes(12))
    levels = [(1, 50), *(level for byte in data for level in bits(byte, cycles)), (1, 200)]
    assert drive(Receiver(100), levels) == [(byte, False) for byte in data]


def test_a_glitch_is_no_start_bit_and_one_bad_sample_is_outvoted():
    assert drive(Receiver(16), [(1, 20), (0, 4), (1, 300)]) == []
    spoilt = [(1, 20), (0, 16), (1, 8), (0, 1), (1, 7), *((1, 16),) * 7, (1, 16), (1, 40)]
    assert drive(Receiver(16), spoilt) == [(0xFF, False)]


def test_a_break_is_one_broken_byte():
    levels = [(1, 20), (0, 1000), (1, 40), *bits(0x42, 8), (1, 20)]
    assert drive(Receiver(8), levels) == [(0, True), (0x42, False)]


# Frames -----------------------------------------------------------------------------------------------------

def frames_from(wire, hold=0):
    """Return the requests that a FrameReceiver makes of (byte or None for a broken one)s; hold: cycles each is kept."""
    receiver, got = FrameReceiver(), []

    async def line(ctx):
        quiet = 0
        for byte in wire:
            ctx.set(receiver.i.p, {"data": byte or 0, "broken": byte is None})
            ctx.set(receiver.i.valid, 1)
            await ctx.tick()
        ctx.set(receiver.i.valid, 0)
        while quiet < 8:   # until all is served
            await ctx.tick()
            quiet = 0 if ctx.get(receiver.full) else quiet + 1

    async def serve(ctx):
        while True:
            await ctx.tick()
            if ctx.get(receiver.full):
                words = []
                for index in range(ctx.get(receiver.words)):
                    ctx.set(receiver.address, index)
                    await ctx.tick()
                    await ctx.tick()
                    words.append(ctx.get(receiver.data))
                for _ in range(hold):
                    await ctx.tick()
                ctx.set(receiver.done, 1)
                await ctx.tick()
                ctx.set(receiver.done, 0)
                got.append(b"".join(word.to_bytes(4, "little") for word in words)[:-4])

    simulate(receiver, line, processes=[serve], cycles=40_000)
    return got


def payload(rng, words):
    """Return words with zeros and long runs without."""
    kind = rng.randrange(3)
    data = rng.randbytes(4 * words)
    return bytes(byte if kind == 0 else byte | 1 if kind == 1 else byte * rng.randrange(2) for byte in data)


def test_frames_of_any_content_and_length_arrive():
    rng = random.Random(1)
    sent = [payload(rng, words) for words in (2, 3, 62, 63, 64, 65, 126, 127, 128, framing.REQUEST_WORDS - 1)]
    sent += [bytes(1020), b"\xff" * 1020]
    spaced = [framing.encode(text) + bytes(len(text)) for text in sent]   # time to serve each
    assert frames_from(b"".join(spaced)) == sent


def test_what_is_no_whole_and_right_frame_leaves_no_trace():
    rng = random.Random(2)
    good = [payload(rng, 5) for _ in range(2)]
    first, second = map(framing.encode, good)
    for bad in (b"\0\0\0", rng.randbytes(40), first[:-3], first[:7] + first[8:], first[:9] + b"\x07" + first[9:],
                first[:5] + bytes([first[5] ^ 8]) + first[6:], framing.encode(b"abcd"),
                framing.encode(bytes(4 * framing.REQUEST_WORDS)), framing.encode(rng.randbytes(1999)),
                b"\0" + framing.cobs_encode(b"no checksum.") + b"\0", [*first[:6], None, *first[6:]],
                framing.encode(b"bytes")):
        assert frames_from([*bad, *second, *bytes(40), *bad]) == [good[1]]


def test_frames_that_come_too_fast_are_lost_whole():
    rng = random.Random(3)
    sent = [payload(rng, 4) for _ in range(8)]
    got = frames_from(b"".join(map(framing.encode, sent)), hold=60)
    assert framing.WINDOW <= len(got) < len(sent) and got == [text for text in sent if text in got]


def test_responses_are_framed_as_the_host_expects():
    rng, sender = random.Random(4), FrameSender()
    sent = [payload(rng, words - 1) for words in (2, 3, 7, framing.RESPONSE_WORDS)] + [bytes(252), b"\x01" * 252]
    got = bytearray()

    async def fill(ctx):
        for number, text in enumerate(sent):
            slot, text = number % framing.STORED, text + framing.zlib.crc32(text).to_bytes(4, "little")
            for word in range(len(text) // 4):
                ctx.set(sender.write, 1)
                ctx.set(sender.address, slot * framing.RESPONSE_WORDS + word)
                ctx.set(sender.data, int.from_bytes(text[4 * word:4 * word + 4], "little"))
                await ctx.tick()
            ctx.set(sender.write, 0)
            for _ in range(1 + number % 2):   # again from memory
                ctx.set(sender.send, 1)
                ctx.set(sender.slot, slot)
                ctx.set(sender.words, len(text) // 4)
                await ctx.tick()
                ctx.set(sender.send, 0)
                await ctx.tick().until(~sender.busy)

    async def take(ctx):
        while True:
            ctx.set(sender.o.ready, rng.random() < 0.7)
            *_, valid, ready, byte = await ctx.tick().sample(sender.o.valid, sender.o.ready, sender.o.payload)
            if valid and ready:
                got.append(byte)

    simulate(sender, fill, processes=[take], cycles=40_000)
    deframer = framing.Deframer()
    expect = [text for number, text in enumerate(sent) for _ in range(1 + number % 2)]
    assert deframer.feed(bytes(got)) == expect and deframer.damaged == 0
    assert len(got) == sum(len(framing.encode(text)) for text in expect)


# Requests ---------------------------------------------------------------------------------------------------

class Board(wiring.Component):
    """The link and an accelerator with a stand-in core, without the line."""

    def __init__(self):
        self.link, self.accelerator = Link(), Accelerator(DESIGN, StandIn, Shell("uart", clock_hz=24_000_000))
        super().__init__({})

    def elaborate(self, platform):
        m = Module()
        m.submodules.link, m.submodules.accelerator = link, accelerator = self.link, self.accelerator
        wiring.connect(m, link.bus, accelerator.bus)
        wiring.connect(m, link.program, accelerator.program)
        wiring.connect(m, link.input, accelerator.input)
        wiring.connect(m, accelerator.output, link.output)
        m.d.comb += [link.clear.eq(accelerator.clear), link.error.eq(accelerator.error)]
        return m


class Answer:
    """A response: header fields, data words, state and queue fields."""

    def __init__(self, words):
        values = [int.from_bytes(words[at:at + 4], "little") for at in range(0, len(words), 4)]
        self.header = abi.unpack(framing.HEADER_FIELDS, values[0])
        self.data = values[1:-2]
        self.state = abi.unpack(framing.STATE_FIELDS, values[-2])
        self.queue = abi.unpack(framing.QUEUE_FIELDS, values[-1])
        self.status = Status(self.state["status"])


class Line:
    """Sends requests to a Board and waits for responses, a byte every `pace` cycles each way."""

    def __init__(self, link, pace=1):
        self.link, self.pace, self.session, self.sequence = link, pace, 0x1234, 0xFE
        self.deframer, self.arrived = framing.Deframer(), []

    async def listen(self, ctx):
        wait = 0
        while True:
            ctx.set(self.link.responses.ready, wait == 0)
            *_, valid, byte = await ctx.tick().sample(self.link.responses.valid, self.link.responses.payload)
            if wait:
                wait -= 1
            elif valid:
                wait = self.pace
                self.arrived += map(Answer, self.deframer.feed(bytes([byte])))

    def frame(self, command, data=(), place=0, count=0, flags=0, sequence=None, session=None):
        words = [abi.pack(framing.HEADER_FIELDS, {"command": command, "session": session or self.session,
                                                  "sequence": self.sequence if sequence is None else sequence}),
                 abi.pack(framing.ARGUMENT_FIELDS, {"place": place, "count": count, "flags": flags}), *data]
        return framing.encode(b"".join(word.to_bytes(4, "little") for word in words))

    async def send(self, ctx, wire):
        for byte in wire:
            ctx.set(self.link.octets.p, {"data": byte, "broken": 0})
            ctx.set(self.link.octets.valid, 1)
            await ctx.tick()
            ctx.set(self.link.octets.valid, 0)
            for _ in range(self.pace):
                await ctx.tick()

    async def answer(self, ctx, cycles=3000):
        for _ in range(cycles):
            if self.arrived:
                return self.arrived.pop(0)
            await ctx.tick()
        return None

    async def ask(self, ctx, command, *args, **fields):
        """Send a request with the next sequence number and return its answer."""
        await self.send(ctx, self.frame(command, *args, **fields))
        answer = await self.answer(ctx)
        assert answer.header == {"command": command, "sequence": self.sequence, "session": self.session}
        self.sequence = self.sequence + 1 & 0xFF
        return answer

    async def write(self, ctx, register, *values):
        answer = await self.ask(ctx, Command.WRITE, values, place=OFFSETS[register])
        assert answer.status is Status.OK
        return answer

    async def read(self, ctx, register, count=1):
        answer = await self.ask(ctx, Command.READ, place=OFFSETS[register], count=count)
        assert answer.status is Status.OK and len(answer.data) == count
        return answer.data

    async def stream(self, ctx, command, words, last=True, place=0, count=0):
        return await self.ask(ctx, command, words, place=place, count=count, flags=framing.LAST * last)


def talk(scenario, cycles=60_000):
    """Run `scenario(ctx, line)` on a board with an open session."""
    board = Board()
    line = Line(board.link)

    async def host(ctx):
        answer = await line.ask(ctx, Command.SYNC)
        assert answer.status is Status.OK and tuple(answer.data) == framing.SYNC_DATA
        await scenario(ctx, line)
        assert not line.arrived, "an answer that nobody asked for"

    simulate(board, host, processes=[line.listen], cycles=cycles)


def image(weight):
    """Return a program image for the stand-in."""
    return program(DESIGN, [section(DESIGN, 0, abi.MemoryId.WEIGHTS, 0, [weight]),
                            section(DESIGN, 0, abi.MemoryId.CONFIG, 0, [config(1, WORDS)])])


def test_registers_are_read_and_written():
    async def scenario(ctx, line):
        assert await line.read(ctx, "ID", 4) == [abi.MAGIC, abi.ABI_VERSION, *abi.beats(DESIGN.build_hash, 2)]
        await line.write(ctx, "SCRATCH", 0x89AB_CDEF)
        assert await line.read(ctx, "SCRATCH") == [0x89AB_CDEF]
        assert await line.read(ctx, "CLOCK_HZ") == [24_000_000]
        caps = abi.unpack(abi.CAPS_FIELDS, (await line.read(ctx, "CAPS"))[0])
        assert abi.FRONT_ENDS[caps["front_end"]] == "uart"
        assert len(await line.read(ctx, "ID", framing.RESPONSE_DATA)) == framing.RESPONSE_DATA
    talk(scenario)


def test_a_program_and_images_in_pieces_give_logits():
    async def scenario(ctx, line):
        words = image(77)
        answer = await line.stream(ctx, Command.PROGRAM, words[:7], last=False)
        assert answer.status is Status.OK and answer.state["place"] == 7
        await line.stream(ctx, Command.PROGRAM, words[7:], place=7)
        status = abi.unpack(abi.STATUS_FIELDS, (await line.read(ctx, "STATUS"))[0])
        assert status["loaded"] and not status["error"]
        frame = [5, 6, 7, 8, 9]
        place = len(words)
        await line.stream(ctx, Command.INPUT, frame[:2], last=False, place=place)
        answer = await line.stream(ctx, Command.INPUT, frame[2:], place=place + 2)
        assert answer.state["place"] == place + 5
        answer = await line.stream(ctx, Command.INPUT, frame, place=place + 5, count=2)
        assert answer.data == expected(frame, [77])[:2] and not answer.state["last"]
        answer = await line.stream(ctx, Command.INPUT, (), count=9)
        assert answer.data == expected(frame, [77])[2:] and answer.state["last"], "not beyond the frame's end"
        answer = await line.stream(ctx, Command.INPUT, (), count=9)
        assert answer.data == expected(frame, [77]) and answer.state["last"] and answer.state["drained"]
        assert answer.queue == {"room": framing.QUEUE_BEATS, "waiting": 0}
        answer = await line.stream(ctx, Command.INPUT, (), count=9)
        assert answer.data == [] and not answer.state["last"]
    talk(scenario)


def test_a_repeated_request_is_answered_and_not_executed_again():
    async def scenario(ctx, line):
        await line.stream(ctx, Command.PROGRAM, image(1))
        place = len(image(1))
        frame = line.frame(Command.INPUT, [1, 2, 3, 4, 5], place=place, flags=framing.LAST)
        for _ in range(3):
            await line.send(ctx, frame)
            answer = await line.answer(ctx)
            assert answer.status is Status.OK and answer.state["place"] == place + 5
        line.sequence += 1
        collect = line.frame(Command.INPUT, count=9)
        for _ in range(3):
            await line.send(ctx, collect)
            assert (await line.answer(ctx)).data == expected([1, 2, 3, 4, 5], [1])
        await line.send(ctx, frame)   # the one before
        assert (await line.answer(ctx)).state["place"] == place + 5
        line.sequence += 1
        assert await line.read(ctx, "IMAGES_IN", 2) == [1, 1]
    talk(scenario)


def test_a_request_that_is_not_due_yet_or_long_past_is_forgotten():
    async def scenario(ctx, line):
        due = line.sequence
        for sequence in (due + 1, due + 2, due - framing.STORED - 1, due + 128):
            await line.send(ctx, line.frame(Command.WRITE, [7], place=OFFSETS["SCRATCH"], sequence=sequence & 0xFF))
            assert await line.answer(ctx, 1000) is None
        assert await line.read(ctx, "SCRATCH") == [0]
    talk(scenario)


def test_a_request_of_no_session_is_refused():
    async def scenario(ctx, line):
        await line.send(ctx, line.frame(Command.WRITE, [7], place=OFFSETS["SCRATCH"], session=0x4321))
        answer = await line.answer(ctx)
        assert answer.status is Status.NO_SESSION and answer.header["session"] == 0x4321
        assert await line.read(ctx, "SCRATCH") == [0]
        line.session, line.sequence = 0x4321, 17
        await line.ask(ctx, Command.SYNC)
        assert await line.read(ctx, "SCRATCH") == [0]
    talk(scenario)


def test_a_request_that_makes_no_sense_is_answered_so():
    async def scenario(ctx, line):
        for command, data, count in ((0, (), 0), (9, (), 0), (Command.READ, (), framing.RESPONSE_DATA + 1),
                                     (Command.READ, (1,), 1), (Command.WRITE, (), 0),
                                     (Command.INPUT, (), framing.RESPONSE_DATA + 1)):
            assert (await line.ask(ctx, command, data, count=count)).status is Status.BAD_REQUEST
        assert await line.read(ctx, "ID") == [abi.MAGIC]
    talk(scenario)


def test_beats_are_taken_all_or_none_and_only_in_their_place():
    async def scenario(ctx, line):
        words, chunk = image(HANG), framing.REQUEST_DATA
        await line.stream(ctx, Command.PROGRAM, words)
        place = len(words)
        for wrong in (place - 1, place + 1):
            answer = await line.stream(ctx, Command.INPUT, [1] * WORDS, place=wrong)
            assert answer.status is Status.REFUSED and answer.state["place"] == place
        await line.stream(ctx, Command.INPUT, [1] * WORDS, place=place)   # an image that is never done
        place, taken = place + WORDS, 0
        while taken + chunk <= framing.QUEUE_BEATS:   # so a program has to wait
            answer = await line.stream(ctx, Command.PROGRAM, [0] * chunk, last=False, place=place + taken)
            assert answer.status is Status.OK and not answer.state["drained"]
            taken += chunk
        room = framing.QUEUE_BEATS - taken + 4        # four are at the accelerator's door
        assert answer.queue["room"] == room
        refused = await line.stream(ctx, Command.PROGRAM, [0] * (room + 1), place=place + taken)
        assert refused.status is Status.REFUSED and refused.queue["room"] == room
        assert refused.state["place"] == place + taken
        answer = await line.stream(ctx, Command.PROGRAM, [0] * room, place=place + taken)
        assert answer.status is Status.OK and answer.queue["room"] == 0
        # registers are within reach all the time, and a reset empties the queue
        answer = await line.write(ctx, "CONTROL", 1)
        assert answer.queue == {"room": framing.QUEUE_BEATS, "waiting": 0} and answer.state["place"] == 0
        await line.stream(ctx, Command.PROGRAM, image(3))
        await line.stream(ctx, Command.INPUT, [1, 2, 3, 4, 5], place=len(image(3)))
        answer = await line.stream(ctx, Command.INPUT, (), count=9)
        assert answer.data == expected([1, 2, 3, 4, 5], [3]) and answer.state["last"]
    talk(scenario)


def test_packed_beats_are_the_beats():
    async def scenario(ctx, line):
        rng, words = random.Random(9), image(4)
        flags = framing.LAST | framing.PACKED
        answer = await line.ask(ctx, Command.PROGRAM, framing.pack_beats(words), flags=flags)
        assert answer.status is Status.OK and answer.state["place"] == len(words)
        place = len(words)
        frames = [[0] * WORDS, [1, 0, 0, 0, 2], [0, 7, 0, 8, 0], [9] * WORDS]
        for frame in frames:
            await line.ask(ctx, Command.INPUT, framing.pack_beats(frame), flags=flags, place=place)
            place += WORDS
            answer = await line.stream(ctx, Command.INPUT, (), count=9)
            assert answer.data == expected(frame, [4]) and answer.state["last"] and answer.state["place"] == place
        # many groups, and none of it where there is no room or they are not in their place
        sparse = [rng.getrandbits(32) * (rng.random() < 0.2) for _ in range(900)]
        packed = framing.pack_beats(sparse)
        answer = await line.ask(ctx, Command.INPUT, packed, flags=flags, place=place + 1)
        assert answer.status is Status.REFUSED and answer.state["place"] == place
        answer = await line.ask(ctx, Command.INPUT, [framing.QUEUE_BEATS + 1, *packed[1:]], flags=flags, place=place)
        assert answer.status is Status.REFUSED and answer.state["place"] == place
        answer = await line.ask(ctx, Command.INPUT, (), flags=flags, place=place)
        assert answer.status is Status.OK and answer.state["place"] == place and not answer.state["error"]
        # more beats are promised than come
        answer = await line.ask(ctx, Command.INPUT, packed[:-3], flags=flags, place=place)
        assert answer.status is Status.BAD_REQUEST
        assert await line.read(ctx, "ID") == [abi.MAGIC]
    talk(scenario)


def test_a_reset_amid_frames_leaves_nothing_of_them():
    async def scenario(ctx, line):
        words = image(5)
        for taken in range(CLASSES + 1):
            await line.stream(ctx, Command.PROGRAM, words)
            await line.stream(ctx, Command.INPUT, [1] * WORDS, place=len(words), count=0)
            answer = await line.stream(ctx, Command.INPUT, (), count=taken)
            assert len(answer.data) == taken
            await line.stream(ctx, Command.INPUT, [1, 2], last=False, place=len(words) + WORDS)
            await line.write(ctx, "CONTROL", 1)
            await line.stream(ctx, Command.PROGRAM, words[:9], last=False)
            await line.write(ctx, "CONTROL", 1)
            await line.stream(ctx, Command.PROGRAM, words)
            await line.stream(ctx, Command.INPUT, [9] * WORDS, place=len(words))
            answer = await line.stream(ctx, Command.INPUT, (), count=9)
            assert answer.data == expected([9] * WORDS, [5]) and answer.state["last"] and answer.queue["waiting"] == 0
            await line.write(ctx, "CONTROL", 1)
    talk(scenario)


def test_an_error_shows_in_every_answer():
    async def scenario(ctx, line):
        answer = await line.stream(ctx, Command.INPUT, [1])
        answer = await line.stream(ctx, Command.INPUT, ())
        assert answer.state["error"]
        status = abi.unpack(abi.STATUS_FIELDS, (await line.read(ctx, "STATUS"))[0])
        assert status["error"] == abi.Error.NO_PROGRAM
    talk(scenario)


# The whole --------------------------------------------------------------------------------------------------

def test_the_top_answers_on_its_line():
    cycles = 8
    top = UartTop(DESIGN, 24_000_000, core=StandIn)
    assert top.cycles == cycles and top.design is DESIGN
    line = Line(None)
    wire, got = line.frame(Command.SYNC), bytearray()

    async def send(ctx):
        for byte in wire:
            for level, count in bits(byte, cycles):
                ctx.set(top.rx, level)
                await ctx.tick().repeat(count)
        await ctx.tick().repeat(10 * cycles * len(framing.encode(bytes(4 * 8))) + 600)

    async def receive(ctx):
        while True:
            await ctx.tick()
            if ctx.get(top.tx) == 0:
                for _ in range(cycles // 2):
                    await ctx.tick()
                byte = 0
                for bit in range(9):
                    for _ in range(cycles):
                        await ctx.tick()
                    byte |= ctx.get(top.tx) << bit
                assert byte >> 8
                got.append(byte & 0xFF)

    simulate(top, send, processes=[receive])
    answer, = map(Answer, framing.Deframer().feed(bytes(got)))
    assert answer.status is Status.OK and tuple(answer.data) == framing.SYNC_DATA
