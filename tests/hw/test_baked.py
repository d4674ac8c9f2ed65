"""A program as the memories' initial contents: what is decoded from an image, and when it counts as loaded."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from qblif.gen.plan import make_plan
from qblif.host import abi
from qblif.host.abi import MemoryId
from qblif.hw.baked import decode
from qblif.hw.params import DesignParams
from qblif.hw.top import Top
from qblif.sim import golden
from qblif.sim.deploy import random_images

from ..gen import planned
from ..program_image import parse
from .bench import Port, Registers, checked, get_frame, put_frame, simulate

NETWORK = planned.chain(layers=1, side=3)
OPTIONS = {"lanes": 4, "word_bits": 32, "clusters": 2, "neuron_lanes": 2}
PLAN = make_plan(NETWORK, **OPTIONS)
OTHER = make_plan(dataclasses.replace(NETWORK, layers=(*NETWORK.layers[:1], dataclasses.replace(
    NETWORK.layers[1], bias=planned.frozen([5, -7, 3], np.int32)))), design=PLAN.design)
HASH = {name: PLAN.program_hash >> shift & 0xFFFF_FFFF for name, shift in (("PROGRAM_LO", 0), ("PROGRAM_HI", 32))}


@pytest.mark.parametrize(("seed", "option"), planned.SEEDS[:12])
def test_decoded_memories_hold_what_the_image_says(seed, option):
    plan = planned.planned(seed, option)
    image, baked = parse(plan.program, plan.design), decode(plan.program, plan.design)
    assert baked.program_hash == plan.program_hash
    for core, params in enumerate(plan.design.cores):
        for cluster in range(params.clusters):
            contents = baked.cores[core].cluster(cluster)
            for memory in set(MemoryId) - {MemoryId.WEIGHTS}:
                assert dict(enumerate(contents.memory(memory))) == image.memory(core, cluster, memory)
            found = baked.cores[core].memory(MemoryId.WEIGHTS, cluster)
            expected = {} if cluster % abi.WEIGHT_READERS else image.memory(core, cluster, MemoryId.WEIGHTS)
            assert dict(enumerate(found)) == expected


def test_rows_are_masked_to_the_width_of_a_memory_and_gaps_are_zero():
    params = dataclasses.replace(PLAN.design.cores[0], clusters=1)
    design = DesignParams((params,))
    target = abi.pack(abi.TARGET_FIELDS, {"memory": MemoryId.LAYERS, "cluster": 0, "core": 0, "reserved": 0})
    beats = abi.row_beats(params.memory_bits(MemoryId.LAYERS))
    head = [abi.MAGIC, abi.ABI_VERSION, *abi.beats(design.build_hash, 2), 7, 0, 1]
    words = [*head, target, 1, 1, *[0xFFFF_FFFF] * beats]
    rows = decode(np.array(checked(words), np.uint32), design).cores[0].memory(MemoryId.LAYERS)
    assert rows == [0, (1 << params.memory_bits(MemoryId.LAYERS)) - 1]


def altered(position, value):
    """Return PLAN's image with one word replaced and the checksum made good."""
    words = PLAN.program[:-1].tolist()
    words[position] = value
    return np.array(checked(words), np.uint32)


@pytest.mark.parametrize(("image", "message"), [
    (PLAN.program[:-1], "checksum"),
    (altered(2, 1), "planned for build"),
    (altered(6, 999), "ends before section"),
    (altered(abi.PREAMBLE_BEATS, 9), "memory 9 of cluster 0"),
    (altered(abi.PREAMBLE_BEATS, 5 << 16), "core 5, the design has 1"),
    (altered(abi.PREAMBLE_BEATS + 1, 1 << 20), "it has"),
    (altered(6, 1), "goes on"),
], ids=["cut", "other build", "sections missing", "no such memory", "no such core", "no such row", "more sections"])
def test_an_image_that_the_hardware_would_refuse_is_refused(image, message):
    with pytest.raises(ValueError, match=message):
        decode(image, PLAN.design)


class Host:
    """A top with PLAN's program baked in, and what a host sees of it."""

    def __init__(self):
        self.top = Top(PLAN.design, baked=PLAN.program)
        self.registers = Registers(self.top)
        self.images = random_images(NETWORK, 2)

    async def loaded(self, ctx):
        status = await self.registers.status(ctx)
        return status["loaded"], {name: await self.registers.read(ctx, name) for name in HASH}

    async def answers(self, ctx, plan):
        """Infer the images and compare with the golden model."""
        for frame, logits in zip(plan.input_layout.pack(self.images), golden.run(plan.network, self.images).logits,
                                 strict=True):
            await put_frame(ctx, Port(self.top, "s_axis_input"), frame)
            beats = await get_frame(ctx, Port(self.top, "m_axis_output"))
            assert [beat - (beat >> 31 << 32) for beat in beats] == logits.tolist()

    async def reset(self, ctx):
        await self.registers.write(ctx, "CONTROL", 1)

    async def load(self, ctx, image, **options):
        await put_frame(ctx, Port(self.top, "s_axis_program"), image, **options)
        for _ in range(4):
            await ctx.tick()


def test_a_baked_program_answers_after_power_up_and_after_every_reset():
    host = Host()

    async def run(ctx):
        caps = abi.unpack(abi.CAPS_FIELDS, await host.registers.read(ctx, "CAPS"))
        assert caps["baked"] == 1
        for _ in range(2):
            assert await host.loaded(ctx) == (1, HASH)
            await host.answers(ctx, PLAN)
            await host.reset(ctx)

    simulate(host.top, run, cycles=60_000)


def test_another_program_takes_its_place_until_the_board_is_configured_again():
    host = Host()

    async def run(ctx):
        await host.load(ctx, OTHER.program)
        loaded, hashes = await host.loaded(ctx)
        assert (loaded, hashes["PROGRAM_LO"]) == (1, OTHER.program_hash & 0xFFFF_FFFF)
        await host.answers(ctx, OTHER)
        await host.reset(ctx)
        assert await host.loaded(ctx) == (0, dict.fromkeys(HASH, 0))
        await host.load(ctx, PLAN.program)
        assert await host.loaded(ctx) == (1, HASH)
        await host.answers(ctx, PLAN)

    simulate(host.top, run, cycles=60_000)


@pytest.mark.parametrize("words", [[0x1234], [abi.MAGIC, 99], OTHER.program[:40].tolist()],
                         ids=["wrong magic", "wrong version", "cut short"])
def test_a_program_that_was_refused_ends_the_baked_one_too(words):
    host = Host()

    async def run(ctx):
        await host.load(ctx, words)
        assert (await host.registers.status(ctx))["error"] != 0
        assert (await host.loaded(ctx))[0] == 0
        await host.reset(ctx)
        assert (await host.registers.status(ctx))["error"] == 0
        assert (await host.loaded(ctx))[0] == 0

    simulate(host.top, run, cycles=5_000)


def test_without_a_baked_program_nothing_is_loaded_and_caps_say_so():
    top = Top(PLAN.design)
    registers = Registers(top)

    async def run(ctx):
        assert abi.unpack(abi.CAPS_FIELDS, await registers.read(ctx, "CAPS"))["baked"] == 0
        assert (await registers.status(ctx))["loaded"] == 0

    simulate(top, run, cycles=100)
