"""The whole design around a stand-in for the core, as a host sees it."""

from __future__ import annotations

import random

import pytest

from qblif.host import abi
from qblif.hw.params import CoreParams, DesignParams
from qblif.hw.top import Top

from .bench import Port, Registers, get_frame, pause, program, put_frame, section, simulate, stability
from .stand_in import StandIn, config, expected

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
        return abi.Error(status["error"]), await self.registers.read(ctx, "ERROR_INFO")

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
