"""Which windows of an output row are blank, by a map that comes word by word."""

import random

import pytest

from qblif.hw.occupancy import LATENCY, ROWS, Occupancy
from qblif.hw.params import CoreParams, DesignParams

from .bench import simulate

PARAMS = CoreParams(lanes=4, word_bits=32, neuron_lanes=2, occupancy=20)


def expected(rows, needed, row):
    """Return of each output column whether its window has no bit; rows: joined planes of the map's rows."""
    spanned = 0
    for at in range(needed - row["window_rows"], needed):
        if 0 <= at < len(rows):
            spanned |= rows[at]
    ends = [row["window_first"] + col * row["window_step"] for col in range(row["cols"])]
    return [not spanned & (1 << end + 1) - 1 & ~((1 << max(0, end + 1 - row["window_bits"])) - 1) for end in ends]


async def write(ctx, dut, image, buffer, words):
    """Write an image, (rows, words of a row), and its commit; `words`: bits beyond the occupied ones are noise."""
    ctx.set(dut.fill, buffer)
    for row in image:
        for place, word in enumerate(row):
            payload = {"commit": 0, "part": place == len(row) - 1, "address": 0, "enable": -1,
                       "data": word | words.getrandbits(12) << 20}
            ctx.set(dut.write, payload)
            ctx.set(dut.fills, 1)
            await ctx.tick()
            ctx.set(dut.fills, 0)
            ctx.set(dut.write, {**payload, "data": words.getrandbits(32)})     # a write of the core's own
            for _ in range(words.randrange(2)):
                await ctx.tick()
    ctx.set(dut.write, {"commit": 1, "part": 0, "address": 0, "enable": 0, "data": words.getrandbits(32)})
    ctx.set(dut.fills, 1)
    await ctx.tick()
    ctx.set(dut.fills, 0)


async def ask(ctx, dut, needed, cols, turns=1):
    """Ask for an output row; return the answers of its columns, `turns` times over, and the cycles it took."""
    ctx.set(dut.needed, needed)
    ctx.set(dut.last, cols == 1)
    ctx.set(dut.ask, 1)
    await ctx.tick()
    ctx.set(dut.ask, 0)
    cycles, ready = 1, 0
    while not ready:
        _, _, ready = await ctx.tick().sample(dut.ready)
        cycles += 1
    found = []
    for _ in range(turns):
        for col in range(cols):
            found.append(ctx.get(dut.blank))
            ctx.set(dut.moves, 1)
            ctx.set(dut.ends, (col + 1) % cols == cols - 1)     # the column that begins is the last one
            await ctx.tick()
            ctx.set(dut.moves, 0)
    return found, cycles


@pytest.mark.parametrize("seed", range(12))
def test_a_window_is_blank_where_no_row_of_it_has_a_bit_in_any_plane(seed):
    rng = random.Random(seed)
    planes, run = rng.randint(1, 4), rng.choice((1, 2, 3, 5))
    images = [[[rng.getrandbits(20) & rng.getrandbits(20) & rng.getrandbits(20) & rng.getrandbits(20)
                for _ in range(planes)] for _ in range(rng.randint(1, 9))] for _ in range(4)]
    dut = Occupancy(PARAMS)

    async def testbench(ctx):
        ctx.set(dut.complete, 1)
        for number, image in enumerate(images):
            await write(ctx, dut, image, number % 2, rng)
            ctx.set(dut.work, number % 2)
            joined = [0] * len(image)
            for row, words in enumerate(image):
                for word in words:
                    joined[row] |= word
            step, first = rng.randint(1, 4), run - 1 - rng.randint(0, run - 1)
            cols = rng.randint(1, (19 - first) // step + 1)
            row = {"window_rows": rng.randint(1, 5), "window_bits": run, "window_first": first, "window_step": step}
            ctx.set(dut.layer, row)
            row["cols"] = cols
            for needed in range(1, len(image) + 3):
                wanted = expected(joined, needed, row)
                found, cycles = await ask(ctx, dut, needed, cols, turns=2)
                assert found == wanted * 2, (number, needed, row)
                assert cycles == row["window_rows"] + run + LATENCY

    simulate(dut, testbench)


def test_rows_of_a_map_that_is_still_to_come_are_not_those_of_the_one_before():
    """The first image is taller; while the second one comes, only its own rows are asked for, and later ones are not
    taken for it."""
    dut, rng = Occupancy(PARAMS), random.Random(1)

    async def testbench(ctx):
        ctx.set(dut.complete, 1)
        ctx.set(dut.layer, {"window_rows": 3, "window_bits": 1, "window_first": 0, "window_step": 1})
        await write(ctx, dut, [[1]] * 6, 0, rng)
        await write(ctx, dut, [[0]] * 4, 1, rng)
        await write(ctx, dut, [[0]] * 4, 0, rng)
        for buffer in (1, 0):
            ctx.set(dut.work, buffer)
            assert (await ask(ctx, dut, 4, 3))[0] == [1, 1, 1]
            assert (await ask(ctx, dut, 6, 3))[0] == [1, 1, 1]         # rows 4 and 5 are not of this map

    simulate(dut, testbench)


@pytest.mark.parametrize("before", [0, 1, 3, 9])
@pytest.mark.parametrize("commit", range(8))
def test_a_map_that_becomes_complete_while_its_rows_are_read_keeps_all_of_them(before, commit):
    """The commit comes so many cycles after `ask`, `complete` with it, as in hw/core.py; a map of another height was
    there before, or none since the reset."""
    dut, found = Occupancy(PARAMS), []

    async def testbench(ctx):
        ctx.set(dut.layer, {"window_rows": 3, "window_bits": 1, "window_first": 0, "window_step": 1})
        if before:
            await write(ctx, dut, [[0]] * before, 1, random.Random(0))
            ctx.set(dut.fill, 0)
        for row in range(4):
            ctx.set(dut.write, {"commit": 0, "part": 1, "address": 0, "enable": -1, "data": 1 << row})
            ctx.set(dut.fills, 1)
            await ctx.tick()
        ctx.set(dut.fills, 0)
        ctx.set(dut.write, {"commit": 1, "part": 0, "address": 0, "enable": 0, "data": 0})
        ctx.set(dut.needed, 4)
        ctx.set(dut.ask, 1)
        ready = cycle = 0
        while not ready:
            ctx.set(dut.fills, cycle == commit)
            if cycle == commit:
                ctx.set(dut.complete, 1)
            _, _, ready = await ctx.tick().sample(dut.ready)
            ctx.set(dut.ask, 0)
            cycle += 1
        for _ in range(5):
            found.append(ctx.get(dut.blank))
            ctx.set(dut.moves, 1)
            await ctx.tick()

    simulate(dut, testbench)
    assert found == [1, 0, 0, 0, 1]             # rows 1, 2 and 3 have bits 1, 2 and 3


@pytest.mark.parametrize("height", [ROWS - 1, ROWS])
def test_the_tallest_map_has_all_of_its_rows(height):
    dut = Occupancy(PARAMS)

    async def testbench(ctx):
        ctx.set(dut.complete, 1)
        ctx.set(dut.layer, {"window_rows": 2, "window_bits": 1, "window_first": 0, "window_step": 1})
        await write(ctx, dut, [[0]] * (height - 1) + [[1]], 0, random.Random(0))
        assert (await ask(ctx, dut, height, 2))[0] == [0, 1]
        assert (await ask(ctx, dut, height + 1, 2))[0] == [0, 1]
        assert (await ask(ctx, dut, height - 1, 2))[0] == [1, 1]

    simulate(dut, testbench)


def test_hardware_without_it_is_the_build_that_it_was_before_there_was_any():
    design = DesignParams((CoreParams(),))
    assert "occupancy" not in design.to_dict()["cores"][0]
    assert DesignParams.from_dict(design.to_dict()) == design
    other = DesignParams((CoreParams(occupancy=36),))
    assert other.build_hash != design.build_hash and DesignParams.from_dict(other.to_dict()) == other


@pytest.mark.parametrize("bits", [-1, 33, 73])
def test_more_columns_than_a_word_or_the_layer_table_has_are_refused(bits):
    with pytest.raises(ValueError, match=rf"core parameter occupancy is {bits}, allowed is 0 to 32"):
        CoreParams(lanes=4, word_bits=32, neuron_lanes=2, occupancy=bits)


def test_only_the_first_core_of_a_chain_has_it():
    with pytest.raises(ValueError, match="core 1 has occupancy=20; only core 0"):
        DesignParams((CoreParams(occupancy=20), CoreParams(occupancy=20)))


def test_a_block_ram_holds_the_rows_of_two_images():
    assert 2 * ROWS * 36 <= 18 * 1024
