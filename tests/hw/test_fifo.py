"""Buffers: what comes out is what went in, in order, at any pace."""

from __future__ import annotations

import gc
import random

import pytest

from qblif.hw.fifo import Fifo

from .bench import get, pause, put, simulate, stability


@pytest.mark.parametrize("idle", [(0, 0), (0.8, 0), (0, 0.8), (0.5, 0.5)])
@pytest.mark.parametrize("make", [lambda: Fifo(8, 2), lambda: Fifo(8, 16)], ids=["2", "16"])
def test_items_come_out_in_order(make, idle):
    dut, rng = make(), random.Random(1)
    items = [rng.getrandbits(8) for _ in range(150)]

    async def send(ctx):
        for item in items:
            await pause(ctx, rng, idle[0])
            await put(ctx, dut.i, item)

    async def take(ctx):
        for item in items:
            await pause(ctx, rng, idle[1])
            assert await get(ctx, dut.o) == item
        assert not ctx.get(dut.o.valid)

    simulate(dut, send, take, processes=[stability(dut.o)])


@pytest.mark.parametrize(("make", "room"), [(lambda: Fifo(8, 2), 3), (lambda: Fifo(8, 16), 17)], ids=["2", "16"])
def test_a_full_one_refuses_and_a_cleared_one_is_empty(make, room):
    dut = make()

    async def bench(ctx):
        for _ in range(2):
            for item in range(room):
                await put(ctx, dut.i, item)
            await ctx.tick().repeat(3)
            assert not ctx.get(dut.i.ready) and ctx.get(dut.o.valid)
            ctx.set(dut.clear, 1)
            await ctx.tick()
            ctx.set(dut.clear, 0)
            assert ctx.get(dut.i.ready) and not ctx.get(dut.o.valid)
            await ctx.tick().repeat(3)
            assert not ctx.get(dut.o.valid)
        await put(ctx, dut.i, 77)
        assert await get(ctx, dut.o) == 77

    simulate(dut, bench)


def test_one_item_per_cycle():
    dut = Fifo(8, 4)

    async def send(ctx):
        for item in range(50):
            await put(ctx, dut.i, item)

    async def take(ctx):
        for item in range(50):
            assert await get(ctx, dut.o) == item

    simulate(dut, send, take, cycles=54)


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
@pytest.mark.parametrize("depth", [0, 1, 12])
def test_depths_are_powers_of_two(depth):
    with pytest.raises(ValueError, match=f"a FIFO is {depth} items deep, allowed is a power of two"):
        Fifo(8, depth)
    gc.collect()
