"""The layer table reads a row ahead while another is in work."""

import random

from qblif.host import abi
from qblif.host.abi import MemoryId
from qblif.hw.baked import Contents
from qblif.hw.layer_table import READ_CYCLES, LayerTable
from qblif.hw.params import CoreParams

from .bench import simulate
from .core_bench import load_rows, plain

PARAMS = CoreParams(lanes=4, word_bits=32, layer_depth=4)
BITS = abi.field_bits(abi.LAYER_FIELDS)


def random_rows(seed):
    rng = random.Random(seed)
    return [rng.getrandbits(BITS) for _ in range(PARAMS.layer_depth)]


async def read(ctx, dut, index):
    """Read a row and take it; return it and the cycles until it could be taken."""
    ctx.set(dut.index, index)
    ctx.set(dut.read, 1)
    await ctx.tick()
    ctx.set(dut.read, 0)
    cycles = 0
    while not ctx.get(dut.ready):
        await ctx.tick()
        cycles += 1
    ctx.set(dut.take, 1)
    await ctx.tick()
    ctx.set(dut.take, 0)
    return abi.pack(abi.LAYER_FIELDS, plain(ctx.get(dut.layer))), cycles


def test_rows_come_back_as_they_were_loaded_in_any_order():
    dut, rows = LayerTable(PARAMS), random_rows(1)

    async def bench(ctx):
        await load_rows(ctx, dut.load, MemoryId.LAYERS, rows)
        await load_rows(ctx, dut.load, MemoryId.SOURCES, random_rows(2))
        for index in (2, 0, 3, 1, 1):
            assert await read(ctx, dut, index) == (rows[index], READ_CYCLES - 1)

    simulate(dut, bench)


def test_the_row_in_work_stays_while_others_are_read_and_loaded():
    dut, rows = LayerTable(PARAMS), random_rows(3)

    async def bench(ctx):
        await load_rows(ctx, dut.load, MemoryId.LAYERS, rows)
        await read(ctx, dut, 1)
        ctx.set(dut.index, 2)
        ctx.set(dut.read, 1)
        await ctx.tick()
        ctx.set(dut.read, 0)
        await load_rows(ctx, dut.load, MemoryId.LAYERS, random_rows(4)[:1])
        await ctx.tick().repeat(READ_CYCLES)
        assert abi.pack(abi.LAYER_FIELDS, plain(ctx.get(dut.layer))) == rows[1]

    simulate(dut, bench)


def test_a_read_that_is_begun_again_forgets_what_it_had():
    for pause in range(1, READ_CYCLES + 2):
        dut, rows = LayerTable(PARAMS), random_rows(5)

        async def bench(ctx, dut=dut, rows=rows, pause=pause):
            await load_rows(ctx, dut.load, MemoryId.LAYERS, rows)
            ctx.set(dut.index, 3)
            ctx.set(dut.read, 1)
            await ctx.tick()
            ctx.set(dut.read, 0)
            await ctx.tick().repeat(pause)
            assert await read(ctx, dut, 0) == (rows[0], READ_CYCLES - 1)

        simulate(dut, bench)


def test_rows_may_be_there_from_the_beginning():
    rows = random_rows(6)
    dut = LayerTable(PARAMS, Contents({(0, MemoryId.LAYERS): rows}))

    async def bench(ctx):
        for index, row in enumerate(rows):
            assert (await read(ctx, dut, index))[0] == row

    simulate(dut, bench)
