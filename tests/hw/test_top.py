"""The whole design around a stand-in for the core, as a host sees it."""

from __future__ import annotations

import dataclasses
import random
import re

import pytest
from amaranth.back import rtlil

from qblif.host import abi
from qblif.host.abi import Error
from qblif.hw.layouts import trace
from qblif.hw.params import CoreParams, DesignParams
from qblif.hw.top import Top

from .bench import Port, Registers, get, get_frame, pause, program, put, put_frame, section, simulate, stability
from .stand_in import CLASSES, HANG, StandIn, config, expected

CORE = CoreParams(lanes=4, word_bits=32, neuron_lanes=1, weight_depth=4, source_depth=4, layer_depth=4,
                  channel_depth=4, map_depth=16)
WORDS = 5


class Host:
    """A design with stand-in cores and the ends of its four ports."""

    def __init__(self, cores=1, rng=None):
        self.design = DesignParams((CORE,) * cores)
        self.top = Top(self.design, core=StandIn)
        self.registers = Registers(self.top)
        self.program = Port(self.top, "s_axis_program")
        self.input = Port(self.top, "s_axis_input")
        self.output = Port(self.top, "m_axis_output")
        self.rng = rng

    def image(self, weights, words=WORDS, program_hash=0x0123_4567_89AB_CDEF):
        """Return a program image: one weight row for every core."""
        last = len(self.design.cores) - 1
        sections = []
        for core, weight in enumerate(weights):
            sections.append(section(self.design, core, abi.MemoryId.WEIGHTS, 0, [weight, 99]))
            sections.append(section(self.design, core, abi.MemoryId.CONFIG, 0,
                                    [config(1 if core == last else 2, words if core == 0 else 1)]))
        return program(self.design, sections, program_hash)

    async def load(self, ctx, words):
        await put_frame(ctx, self.program, words, self.rng)

    async def feed(self, ctx, words, **options):
        await put_frame(ctx, self.input, words, self.rng, **options)

    async def take(self, ctx):
        return await get_frame(ctx, self.output, self.rng)

    async def infer(self, ctx, words, weights):
        """Send an image and check the answer."""
        await self.feed(ctx, words)
        assert await self.take(ctx) == expected(words, weights)

    async def settle(self, ctx):
        """Wait until what was accepted has had its effect."""
        await ctx.tick().repeat(8)

    async def error(self, ctx):
        status = await self.registers.status(ctx)
        return Error(status["error"]), await self.registers.read(ctx, "ERROR_INFO")

    def run(self, *testbenches, cycles=20_000):
        simulate(self.top, *testbenches, processes=[stability(self.output)], cycles=cycles)


def frame_of(rng):
    return [rng.getrandbits(32) for _ in range(WORDS)]


def test_a_program_and_an_image_give_logits():
    host = Host()

    async def bench(ctx):
        assert await host.registers.read(ctx, "ID") == abi.MAGIC
        assert (await host.registers.status(ctx))["loaded"] == 0
        await host.load(ctx, host.image([7]))
        await host.settle(ctx)
        assert await host.registers.status(ctx) == {"loaded": 1, "busy": 0, "loading": 0, "reserved": 0, "error": 0}
        assert await host.registers.read(ctx, "PROGRAM_LO") == 0x89AB_CDEF
        assert await host.registers.read(ctx, "PROGRAM_HI") == 0x0123_4567
        await host.infer(ctx, [1, 2, 3, 4, 5], [7])
        assert await host.registers.read(ctx, "IMAGES_IN") == 1
        assert await host.registers.read(ctx, "IMAGES_OUT") == 1
        assert (await host.registers.status(ctx))["busy"] == 0

    host.run(bench)


@pytest.mark.parametrize("cores", [1, 3])
@pytest.mark.parametrize("seed", range(2))
def test_images_flow_through_a_chain_under_random_stalls(cores, seed):
    rng = random.Random(seed)
    host = Host(cores, rng)
    weights = [rng.getrandbits(31) for _ in range(cores)]
    images = [frame_of(rng) for _ in range(10)]

    async def feed(ctx):
        await host.load(ctx, host.image(weights))
        for image in images:
            await host.feed(ctx, image)

    async def take(ctx):
        for image in images:
            await pause(ctx, rng, 0.95)
            assert await host.take(ctx) == expected(image, weights)
        await host.settle(ctx)
        assert await host.registers.read(ctx, "IMAGES_OUT") == len(images)
        assert await host.registers.status(ctx) == {"loaded": 1, "busy": 0, "loading": 0, "reserved": 0, "error": 0}

    host.run(feed, take)


def test_a_program_waits_until_the_images_before_it_are_out():
    rng = random.Random(5)
    host = Host(2, rng)
    weights = [[rng.getrandbits(31) for _ in range(2)] for _ in range(4)]
    images = [frame_of(rng) for _ in range(8)]

    async def feed(ctx):
        for number, image in enumerate(images):
            if number % 2 == 0:
                await host.load(ctx, host.image(weights[number // 2], program_hash=number + 1))
            await host.feed(ctx, image)

    async def take(ctx):
        for number, image in enumerate(images):
            await pause(ctx, rng, 0.97)
            assert await host.take(ctx) == expected(image, weights[number // 2])
        await host.settle(ctx)
        assert await host.registers.read(ctx, "PROGRAM_LO") == len(images) - 1
        assert await host.error(ctx) == (Error.NONE, 0)

    host.run(feed, take)


def test_of_a_program_and_an_image_offered_at_once_the_program_comes_first():
    host = Host()
    image = frame_of(random.Random(1))

    async def load(ctx):
        await host.load(ctx, host.image([1]))

    async def infer(ctx):
        await host.infer(ctx, image, [1])

    host.run(load, infer)


@pytest.mark.parametrize(("before", "after"), [(1, 5), (5, 1)])
def test_an_image_that_follows_its_program_at_once_is_measured_by_that_program(before, after):
    host = Host()

    async def load(ctx):
        for words in (before, after):
            await host.load(ctx, host.image([1], words=words))

    async def infer(ctx):
        await ctx.tick().repeat(len(host.image([1])) + 2)
        await host.infer(ctx, list(range(after)), [1])
        assert await host.error(ctx) == (Error.NONE, 0)

    host.run(load, infer)


def wrong_inputs():
    return [(list(range(length)), Error.SHORT_INPUT, length - 1) for length in range(1, WORDS)] + [
        (list(range(length)), Error.LONG_INPUT, WORDS - 1) for length in (WORDS + 1, WORDS + 9)]


@pytest.mark.parametrize("seed", range(2))
def test_wrong_frames_end_in_an_error_and_a_reset_makes_the_design_work_again(seed):
    rng = random.Random(seed)
    host = Host(2, rng)
    good, image = host.image([3, 4]), frame_of(rng)
    wrong = [("input", *case) for case in wrong_inputs()]
    wrong += [("program", good[:9], Error.SHORT_PROGRAM, 8), ("program", [*good, 1], Error.LONG_PROGRAM, len(good) - 1),
              ("program", [*good[:-1], good[-1] ^ 1], Error.BAD_CRC, len(good) - 1),
              ("program", [1, 2, 3], Error.BAD_MAGIC, 0),
              ("program", program(DesignParams((CORE,)), []), Error.WRONG_BUILD, 2)]
    rng.shuffle(wrong)

    async def bench(ctx):
        await host.registers.write(ctx, "WATCHDOG", 500)
        await host.feed(ctx, image)
        await host.settle(ctx)
        assert await host.error(ctx) == (Error.NO_PROGRAM, 0)
        for port, words, error, info in wrong:
            await host.registers.write(ctx, "CONTROL", 1)
            await host.load(ctx, good)
            await host.infer(ctx, image, [3, 4])
            await (host.feed if port == "input" else host.load)(ctx, words)
            await host.settle(ctx)
            assert await host.error(ctx) == (error, info)
            # From now on all is accepted, and nothing comes of it.
            await host.load(ctx, good)
            await host.feed(ctx, image)
            await host.settle(ctx)
            assert await host.error(ctx) == (error, info)
            assert await host.registers.read(ctx, "IMAGES_IN") == 1
            assert ctx.get(host.output.valid) == 0
        assert await host.registers.read(ctx, "WATCHDOG") == 500

    host.run(bench)


@pytest.mark.parametrize("seed", range(4))
def test_images_before_a_wrong_one_are_answered_rightly_or_not_at_all(seed):
    rng = random.Random(seed)
    host = Host(2, rng)
    images = [frame_of(rng) for _ in range(4)]
    wrong, error, _ = rng.choice(wrong_inputs())
    answers = []

    async def feed(ctx):
        await host.load(ctx, host.image([1, 2]))
        for image in images:
            await host.feed(ctx, image)
        await host.feed(ctx, wrong)
        for image in images:
            await host.feed(ctx, image)
        await ctx.tick().repeat(rng.randrange(1, 30))
        assert (await host.error(ctx))[0] == error
        before = len(answers)
        await host.registers.write(ctx, "CONTROL", 1)
        await ctx.tick().repeat(60)
        # At most the frame that the reset cut off, or that was on its way out.
        assert len(answers) <= before + 1
        rest = answers[before:]
        assert all(answer[-1] == 0 or answer == expected(images[before], [1, 2]) for answer in rest)
        assert answers[:before] == [expected(image, [1, 2]) for image in images[:before]]
        answers.clear()
        assert await host.registers.status(ctx) == {"loaded": 0, "busy": 0, "loading": 0, "reserved": 0, "error": 0}
        await host.load(ctx, host.image([5, 6]))
        await host.feed(ctx, images[0])
        while not answers:
            await ctx.tick()
        assert answers == [expected(images[0], [5, 6])]
        assert await host.registers.read(ctx, "IMAGES_IN") == 1
        assert await host.registers.read(ctx, "IMAGES_OUT") == 1

    async def take(ctx):
        while True:
            await pause(ctx, rng, 0.8)
            answers.append(await host.take(ctx))

    simulate(host.top, feed, processes=[take, stability(host.output)])


async def nothing_taken(host, ctx):
    await host.load(ctx, host.image([1, 1]))
    await host.feed(ctx, frame_of(random.Random(0)))


async def half_a_program(host, ctx):
    await put_frame(ctx, host.program, host.image([1, 1])[:10], last=False)


async def half_an_image(host, ctx):
    await host.load(ctx, host.image([1, 1]))
    await put_frame(ctx, host.input, [1, 2], last=False)


async def first_core_stuck(host, ctx):
    await host.load(ctx, host.image([HANG, 1]))
    await host.feed(ctx, frame_of(random.Random(0)))


async def last_core_stuck(host, ctx):
    await host.load(ctx, host.image([1, HANG]))
    await host.feed(ctx, frame_of(random.Random(0)))


async def no_core_sends_logits(host, ctx):
    """The last core is told to send a map on."""
    sections = [section(host.design, core, abi.MemoryId.CONFIG, 0, [config(2, WORDS if core == 0 else 1)])
                for core in range(2)]
    await host.load(ctx, program(host.design, sections))
    await host.feed(ctx, frame_of(random.Random(0)))


@pytest.mark.parametrize("trouble", [nothing_taken, half_a_program, half_an_image, first_core_stuck, last_core_stuck,
                                     no_core_sends_logits])
def test_work_that_stands_still_trips_the_watchdog_and_only_then(trouble):
    host = Host(2)

    async def bench(ctx):
        await trouble(host, ctx)
        await ctx.tick().repeat(400)
        assert await host.error(ctx) == (Error.NONE, 0), "0 means never"
        await host.registers.write(ctx, "WATCHDOG", 300)
        await ctx.tick().repeat(310)
        assert await host.error(ctx) == (Error.WATCHDOG, 0)
        # Everything is swallowed now; a reset brings the design back.
        await host.load(ctx, [1, 2, 3])
        await host.feed(ctx, [1, 2, 3])
        await host.registers.write(ctx, "CONTROL", 1)
        if trouble is nothing_taken:
            assert len(await host.take(ctx)) == 2, "one logit was on offer; the frame is ended after it"
        await host.load(ctx, host.image([7, 8]))
        await host.infer(ctx, [1, 2, 3, 4, 5], [7, 8])
        await ctx.tick().repeat(310)
        assert await host.error(ctx) == (Error.NONE, 0), "no work, no watchdog"

    host.run(bench)


def test_a_slow_host_does_not_trip_the_watchdog_as_long_as_it_moves():
    host = Host(2)

    async def slowly(ctx, port, words):
        for index, word in enumerate(words):
            await ctx.tick().repeat(35)
            await put(ctx, port, word | (index == len(words) - 1) << 32)

    async def bench(ctx):
        await host.registers.write(ctx, "WATCHDOG", 50)
        await slowly(ctx, host.program, host.image([7, 8]))
        await slowly(ctx, host.input, [1, 2, 3, 4, 5])
        for value in expected([1, 2, 3, 4, 5], [7, 8]):
            await ctx.tick().repeat(35)
            assert await get(ctx, host.output) & 0xFFFF_FFFF == value
        assert await host.error(ctx) == (Error.NONE, 0)

    host.run(bench)


def test_cores_are_enabled_while_a_program_is_in_place_and_there_is_no_error():
    host = Host()

    async def enabled(ctx):
        before = await host.registers.read(ctx, abi.COUNTER_BASE + 16)
        return await host.registers.read(ctx, abi.COUNTER_BASE + 16) != before

    async def bench(ctx):
        assert not await enabled(ctx)
        await host.load(ctx, host.image([7]))
        assert await enabled(ctx)
        await put_frame(ctx, host.program, host.image([8])[:10], last=False)
        assert not await enabled(ctx)
        await put_frame(ctx, host.program, host.image([8])[10:])
        assert await enabled(ctx)
        await host.feed(ctx, [1])
        assert not await enabled(ctx)
        assert (await host.registers.status(ctx))["loaded"] == 1

    host.run(bench)


@pytest.mark.parametrize("seed", range(3))
def test_a_reset_at_any_time_is_answered_and_leaves_a_clean_design(seed):
    """Sends run when the reset comes; they are cut off at the beat they have come to."""
    rng = random.Random(seed)
    host = Host(2)
    image = frame_of(rng)
    registers = host.registers

    async def bench(ctx):
        await registers.write(ctx, "SCRATCH", 0x5EED)
        for _ in range(12):
            # Some beats of a program; then, if it was whole, of some images; some logits are taken.
            good = host.image([3, 4])
            beats = rng.choice([len(good), rng.randrange(1, len(good))])
            await put_frame(ctx, host.program, good[:beats], last=beats == len(good))
            if beats == len(good):
                if rng.random() < 0.5:
                    await host.feed(ctx, image)
                await put_frame(ctx, host.input, image[:rng.randrange(1, WORDS)], last=False)
                ctx.set(host.output.ready, rng.random() < 0.7)
                await ctx.tick().repeat(rng.randrange(15))
                ctx.set(host.output.ready, 0)
            await registers.write(ctx, "CONTROL", 1)
            assert await registers.status(ctx) == {"loaded": 0, "busy": 0, "loading": 0, "reserved": 0, "error": 0}
            assert await registers.read(ctx, "IMAGES_IN") == 0
            # A frame that was cut off is ended; without one there is nothing to take.
            if ctx.get(host.output.valid):
                answer = await host.take(ctx)
                assert answer[-1] == 0 or answer[-1] == expected(image, [3, 4])[-1]
            await host.load(ctx, good)
            await host.infer(ctx, image, [3, 4])
            await registers.write(ctx, "CONTROL", 1)
        assert await registers.read(ctx, "SCRATCH") == 0x5EED

    host.run(bench)


def test_counters_of_each_core_are_shown():
    host = Host(2)

    async def bench(ctx):
        await host.load(ctx, host.image([7, 8]))
        await host.infer(ctx, [1, 2, 3, 4, 5], [7, 8])
        for core, cycles in ((0, 2), (1, CLASSES)):
            await host.registers.write(ctx, "CORE_SELECT", core)
            assert await host.registers.read(ctx, abi.COUNTER_BASE) == cycles
            assert await host.registers.read(ctx, abi.COUNTER_BASE + 8) == 0x3333_4444
            assert await host.registers.read(ctx, abi.COUNTER_BASE + 12) == 0x1111_2222

    host.run(bench)


def test_the_emitted_design_has_flat_ports_no_multiplier_and_no_memory():
    design = DesignParams((dataclasses.replace(CORE, clusters=2, trace=True), CORE, CORE))
    text = rtlil.convert(Top(design, core=StandIn), name="top", emit_src=False)
    assert not re.findall(r"\$(?:mul|div|mod|divfloor|modfloor|macc|pow|mem\w*)\b", text)
    top = text[text.index("module \\top\n"):]
    top = top[:top.index("\nend\n")]
    ports = {name: int(width) for width, name in
             re.findall(r"wire width (\d+) (?:input|output) \d+ +\\(\w+)", top)}
    record = trace(design.cores[0]).size
    streams = {f"{name}_{part}": width for name in ("s_axis_program", "s_axis_input", "m_axis_output")
               for part, width in (("tdata", 32), ("tvalid", 1), ("tready", 1), ("tlast", 1))}
    assert ports == streams | {
        "clk": 1, "rst": 1,
        "s_axi_awaddr": 12, "s_axi_awprot": 3, "s_axi_awvalid": 1, "s_axi_awready": 1, "s_axi_wdata": 32,
        "s_axi_wstrb": 4, "s_axi_wvalid": 1, "s_axi_wready": 1, "s_axi_bresp": 2, "s_axi_bvalid": 1,
        "s_axi_bready": 1, "s_axi_araddr": 12, "s_axi_arprot": 3, "s_axi_arvalid": 1, "s_axi_arready": 1,
        "s_axi_rdata": 32, "s_axi_rresp": 2, "s_axi_rvalid": 1, "s_axi_rready": 1,
        "trace_0_0_valid": 1, "trace_0_0_data": record, "trace_0_1_valid": 1, "trace_0_1_data": record,
    }


@pytest.mark.parametrize("seed", range(6))
def test_random_traffic_on_all_ports_ends_in_right_answers_or_an_error_and_never_hangs(seed):
    rng = random.Random(seed)
    host = Host(2, rng)
    programs = {tuple(rng.getrandbits(20) for _ in range(2)): None for _ in range(3)}
    images = [frame_of(rng) for _ in range(8)]
    right = [expected(image, weights) for image in images for weights in programs]
    answers, finished = [], []

    def spoil(words):
        """Return the words and whether the frame ends; mostly as they should be."""
        if rng.random() < 0.9:
            return words, True
        return rng.choice([(words[:rng.randrange(1, len(words))], True), ([*words, 1, 2], True), (words, False)])

    async def load(ctx):
        for weights in programs:
            words, last = spoil(host.image(weights))
            await put_frame(ctx, host.program, words, rng, last=last)
            await pause(ctx, rng, 0.98)
        finished.append("program")

    async def feed(ctx):
        await pause(ctx, rng, 0.95)
        for image in images:
            words, last = spoil(image)
            await put_frame(ctx, host.input, words, rng, last=last)
            await pause(ctx, rng, 0.9)
        finished.append("input")

    async def take(ctx):
        while True:
            await pause(ctx, rng, 0.7)
            answers.append(await host.take(ctx))

    async def control(ctx):
        await host.registers.write(ctx, "WATCHDOG", 200)
        while len(finished) < 2:
            await ctx.tick()
        await ctx.tick().repeat(250)
        assert all(answer in right for answer in answers)
        error, status = (await host.error(ctx))[0], await host.registers.status(ctx)
        if error == Error.NONE:
            assert len(answers) == len(images)
            assert status["busy"] == status["loading"] == 0
        await host.registers.write(ctx, "CONTROL", 1)
        await ctx.tick().repeat(50)
        answers.clear()
        await host.load(ctx, host.image([1, 2]))
        await host.feed(ctx, images[0])
        while not answers:
            await ctx.tick()
        assert answers == [expected(images[0], [1, 2])]

    simulate(host.top, load, feed, control, processes=[take, stability(host.output)])
