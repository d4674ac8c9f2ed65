"""A core gives the golden model's integers whatever its neighbours do, and takes the next image while it works."""

import functools
import random

import numpy as np
import pytest

from qblif.gen.network import Input, MaxPool, Network, Neuron, NeuronLayer, Readout, Source
from qblif.gen.plan import make_plan
from qblif.host import abi
from qblif.hw.core import Core
from qblif.hw.layouts import COUNTER_CYCLES
from qblif.sim import golden

from ..program_image import parse
from .bench import get, pause, put, simulate, stability
from .core_bench import SETTLE, load_rows, plain

ACCOUNT = ("adds", "doublings", "starved", "neuron_stalls", "turnaround", "input_stalls")
"""Counters that add up to the cycles of a core of one cluster."""

COMMIT = {"commit": 1, "part": 0, "address": 0, "enable": 0, "data": 0}

CORE = {"lanes": 4, "word_bits": 32, "neuron_lanes": 2}


def frozen(array, dtype):
    array = np.array(array, dtype)
    array.setflags(write=False)
    return array


@functools.cache
def network():
    """Return a network of all that a core knows: padding, a shortcut, max pooling, a pooled read-out; T = 2."""
    rng = np.random.default_rng(3)

    def conv(index, out, inputs, kernel, **more):
        return Source(index, frozen(rng.integers(-7, 8, (out, inputs, kernel, kernel)), np.int8), **more)

    def neurons(name, sources, channels, size, neuron):
        return NeuronLayer(name, sources, frozen(rng.integers(-9, 30, channels), np.int32),
                           frozen(rng.integers(1, 4, channels), np.uint8), neuron, (channels, size, size))

    shortcut = Source(1, frozen(rng.integers(1, 8, 5), np.int8), exponent=2)
    return Network("small", 2, Input((2, 3, 3), 2), (
        neurons("first", (conv(0, 5, 2, 3, padding=(1, 1)),), 5, 3, Neuron(3)),
        neurons("second", (conv(1, 5, 5, 1), shortcut), 5, 3, Neuron(5, rounds=True)),
        MaxPool("pool", 2, (2, 2), (1, 1), (0, 0), (5, 2, 2)),
        Readout("readout", (conv(3, 5, 5, 1, pool=(2, 2)),), frozen(rng.integers(-9, 9, 5), np.int32)),
    ), weight_bits=4)


@functools.cache
def images():
    x = np.random.default_rng(4).integers(0, 4, (3, 2, 3, 3)).astype(np.uint8)
    x[1] = 0
    return x, golden.run(network(), x, record=True)


@functools.cache
def planned(cores=1, **options):
    """Return the plan and what its image says."""
    plan = make_plan(network(), cores, **CORE | options)
    return plan, parse(plan.program, plan.design)


class Bench:
    """A core of a plan with its program in place, and the streams around it."""

    def __init__(self, plan, image, core=0, dut=None):
        self.plan, self.image, self.number, self.params = plan, image, core, plan.design.cores[core]
        self.dut = dut or Core(self.params)

    async def load(self, ctx):
        for section in self.image.sections:
            if section.core == self.number:
                ctx.set(self.dut.load.cluster, section.cluster)
                await load_rows(ctx, self.dut.load, section.memory, section.rows, section.first, self.params.chunks)
        ctx.set(self.dut.enable, 1)

    def sender(self, count, rng=None, accepted=None):
        """Return a test bench that loads the program and sends the maps of images, a commit after each."""
        async def send(ctx):
            await self.load(ctx)
            for words in self.frames()[:count]:
                for address, word in enumerate(words):
                    await pause(ctx, rng)
                    await put(ctx, self.dut.i_map, self.write(address, word))
                await put(ctx, self.dut.i_map, COMMIT)
                if accepted is not None:
                    accepted.append(words)
        return send

    def write(self, address, word):
        """Return the item that writes a word of the input map; the last word of a row completes a part."""
        (config,) = self.image.table(self.number, 0, abi.MemoryId.CONFIG)
        return {"commit": 0, "part": int((address + 1) % config["input_row_words"] == 0), "address": address,
                "data": word, "enable": (1 << self.params.banks) - 1}

    def frames(self):
        """Return the words of the input map of each image."""
        layout = self.plan.input_layout
        beats = self.params.word_bits // 32
        packed = layout.pack(images()[0]).astype(object).reshape(len(images()[0]), -1, beats)
        return [[sum(int(beat) << 32 * i for i, beat in enumerate(word)) for word in image] for image in packed]

    async def logits(self, ctx, count, rng=None):
        """Return the logits of `count` images."""
        found, one = [], []
        while len(found) < count:
            await pause(ctx, rng, 0.6)
            item = plain(await get(ctx, self.dut.logits))
            one.append(item["value"] - (item["value"] >> 31 << 32))
            if item["last"]:
                found.append(one)
                one = []
        return found


def expected_logits(count):
    return images()[1].logits[:count].tolist()


@pytest.mark.parametrize("options", [{"word_bits": 64, "clusters": 2}, {"fanout": "unary", "buffers": 1},
                                     {"neuron_lanes": 1}], ids=str)
def test_logits_are_the_golden_model_s_under_random_pauses(options):
    bench, rng, found = Bench(*planned(**options)), random.Random(1), []

    async def collect(ctx):
        found.extend(await bench.logits(ctx, 2, rng))
        ctx.set(bench.dut.logits.ready, 1)
        busy = 1
        while busy:
            *_, busy, more = await ctx.tick().sample(bench.dut.busy, bench.dut.logits.valid)
            assert not more

    simulate(bench.dut, bench.sender(2, rng), collect,
             processes=[stability(bench.dut.logits), silent(bench.dut.o_map)])
    assert found == expected_logits(2)


def silent(stream):
    async def monitor(ctx):
        async for _, _, valid in ctx.tick().sample(stream.valid):
            assert not valid
    return monitor


def test_a_core_hands_its_last_map_to_the_next_one_and_commits_it():
    """The writes of a hand-over, put into a memory, spell out the map that the golden model computes."""
    plan, image = planned(2)
    bench, rng = Bench(plan, image), random.Random(2)
    layout = plan.layouts[plan.segments[0].last + 1]
    chunks = layout.height * layout.steps * layout.planes * layout.width * layout.channels // bench.params.lanes
    maps = []

    async def collect(ctx):
        memory, seen = [0] * layout.words, set()
        while len(maps) < 2:
            await pause(ctx, rng, 0.5)
            write = plain(await get(ctx, bench.dut.o_map))
            if write["commit"]:
                assert len(seen) == chunks, "a commit before the map was complete"
                maps.append(memory)
                memory, seen = [0] * layout.words, set()
                continue
            for bank in range(bench.params.banks):
                if write["enable"] >> bank & 1:
                    assert (write["address"], bank) not in seen
                    seen.add((write["address"], bank))
                    mask = (1 << bench.params.lanes) - 1 << bank * bench.params.lanes
                    memory[write["address"]] |= write["data"] & mask

    simulate(bench.dut, bench.sender(2, rng), collect,
             processes=[stability(bench.dut.o_map), silent(bench.dut.logits)])
    levels = images()[1].records[plan.segments[0].last].levels
    for index, memory in enumerate(maps):
        np.testing.assert_array_equal(map_levels(memory, layout, levels.shape[2]), levels[:, index])


def map_levels(memory, layout, channels):
    """Return the levels (T, C, H, W) of a map: row, step, plane, and bit x * channels + c within the plane row."""
    found = np.zeros((layout.steps, channels, layout.height, layout.width), int)
    for (t, c, y, x), _ in np.ndenumerate(found):
        for plane in range(layout.planes):
            word, bit = divmod(x * layout.channels + c, layout.word_bits)
            at = ((y * layout.steps + t) * layout.planes + plane) * layout.plane_words + word
            found[t, c, y, x] |= (memory[at] >> bit & 1) << plane
    return found


@pytest.mark.parametrize("buffers", [1, 2])
def test_as_many_images_are_taken_ahead_as_there_are_buffers(buffers):
    """With two buffers the next image is taken while one is in work, and none more."""
    bench, accepted = Bench(*planned(buffers=buffers)), []

    async def collect(ctx):
        await ctx.tick().until(bench.dut.logits.valid)
        await ctx.tick().repeat(200)
        assert len(accepted) == buffers, "the first image is in work until its logits are taken"
        assert ctx.get(bench.dut.busy)
        assert await bench.logits(ctx, 3) == expected_logits(3)

    simulate(bench.dut, bench.sender(3, accepted=accepted), collect)
    assert len(accepted) == 3


def test_nothing_is_taken_before_the_core_is_enabled():
    bench = Bench(*planned())

    async def idle(ctx):
        ctx.set(bench.dut.i_map.valid, 1)
        for _ in range(20):
            assert not ctx.get(bench.dut.i_map.ready) and not ctx.get(bench.dut.busy)
            await ctx.tick()

    simulate(bench.dut, idle)


def test_every_cycle_of_work_is_accounted_for_by_one_counter():
    bench, counters = Bench(*planned()), {}

    async def collect(ctx):
        await bench.logits(ctx, 2)
        for name, _ in abi.COUNTERS:
            counters[name] = await counted(ctx, bench, name)

    simulate(bench.dut, bench.sender(2), collect)
    adds = golden.row_adds(network(), images()[0][:2], bench.plan.packing).sum()
    assert counters["adds"] == counters["set_bits"] + counters["masks"] == adds
    assert counters["cycles"] == sum(counters[name] for name in ACCOUNT)
    assert counters["output_stalls"] == 0


def test_progress_shows_while_something_moves_and_stops_when_the_output_is_not_taken():
    bench, moved = Bench(*planned()), []

    async def watch(ctx):
        async for _, _, progress in ctx.tick().sample(bench.dut.progress):
            moved.append(progress)

    async def collect(ctx):
        await ctx.tick().until(bench.dut.logits.valid)
        worked = len(moved)
        await ctx.tick().repeat(200)    # what can go on without this logit is over by then
        assert not any(moved[-20:])
        pauses = "".join(map(str, moved[moved.index(1):worked])).split("1")
        assert max(map(len, pauses)) < 60, "a watchdog would think that the core hangs"

    simulate(bench.dut, bench.sender(1), collect, processes=[watch])


def test_an_image_begins_with_its_first_row_and_waits_for_each_that_it_reads():
    """A sender that stalls for long after every row: nothing moves meanwhile, and the result is the same."""
    bench, pauses, counters = Bench(*planned()), [], {}
    (config,) = bench.image.table(0, 0, abi.MemoryId.CONFIG)
    rows = config["input_words"] // config["input_row_words"]

    async def send(ctx):
        await bench.load(ctx)
        for words in bench.frames()[:2]:
            for address, word in enumerate(words):
                item = bench.write(address, word)
                await put(ctx, bench.dut.i_map, item)
                if item["part"]:
                    await ctx.tick().repeat(300)
                    pauses.append([ctx.get(bench.dut.progress), await counted(ctx, bench, "cycles"),
                                   await counted(ctx, bench, "adds"), await counted(ctx, bench, "input_stalls")])
            await put(ctx, bench.dut.i_map, COMMIT)

    async def collect(ctx):
        assert await bench.logits(ctx, 2) == expected_logits(2)
        await ctx.tick().repeat(SETTLE)
        for name, _ in abi.COUNTERS:
            counters[name] = await counted(ctx, bench, name)

    simulate(bench.dut, send, collect)
    assert len(pauses) == 2 * rows
    assert not any(progress for progress, *_ in pauses[:rows]), "a core that waits for its sender does not move"
    assert pauses[0][1] >= 290, "the first row alone begins the image"
    assert pauses[0][3] >= pauses[0][1] - SETTLE, "and but for fetching the layer it waits for the second one"
    assert pauses[1][2] > pauses[0][2], "two rows are enough for an output row of a padded 3 x 3 kernel"
    assert counters["cycles"] == sum(counters[name] for name in ACCOUNT)


@pytest.mark.parametrize("buffers", [1, 2])
def test_an_image_ends_when_its_map_has_come_whole_also_the_rows_that_nobody_reads(buffers):
    """A network that reads the first of three rows only: its logits may be early, the next image is not mixed up."""
    rng = np.random.default_rng(1)
    source = Source(0, frozen(rng.integers(-7, 8, (3, 2, 1, 3)), np.int8), stride=(3, 1))
    net = Network("top row", 1, Input((2, 3, 3), 2), (
        Readout("readout", (source,), frozen([1, 2, 3], np.int32)),))
    plan = make_plan(net, buffers=buffers, **CORE)
    bench = Bench(plan, parse(plan.program, plan.design))
    expected, early = golden.run(net, images()[0]).logits.tolist(), []

    async def send(ctx):
        await bench.load(ctx)
        for words in bench.frames():
            for address, word in enumerate(words):
                await put(ctx, bench.dut.i_map, bench.write(address, word))
                await ctx.tick().repeat(100)
            early.append(await counted(ctx, bench, "input_stalls"))
            await put(ctx, bench.dut.i_map, COMMIT)

    async def collect(ctx):
        assert await bench.logits(ctx, 3) == expected
        assert len(early) < 3, "the logits of the last image come before its last row"
        await ctx.tick().until(~bench.dut.busy)
        assert await counted(ctx, bench, "cycles") == sum([await counted(ctx, bench, name) for name in ACCOUNT])

    simulate(bench.dut, send, collect)
    assert early[0] > 100


async def counted(ctx, bench, name):
    """Return a counter."""
    ctx.set(bench.dut.counter_index, [known for known, _ in abi.COUNTERS].index(name))
    await ctx.tick().repeat(SETTLE + COUNTER_CYCLES)
    return ctx.get(bench.dut.counter)
