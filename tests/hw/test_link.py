"""The registered stage between cores."""

from __future__ import annotations

import random

import pytest

from qblif.hw.link import Stage

from .bench import get, pause, put, simulate, stability


@pytest.mark.parametrize("seed", range(3))
def test_a_stage_keeps_items_and_order_under_random_stalls(seed):
    rng = random.Random(seed)
    stage, items = Stage(8), [rng.getrandbits(8) for _ in range(200)]

    async def send(ctx):
        for item in items:
            await pause(ctx, rng, 0.1 * seed)
            await put(ctx, stage.i, item)

    async def receive(ctx):
        for item in items:
            await pause(ctx, rng, 0.3)
            assert await get(ctx, stage.o) == item

    simulate(stage, send, receive, processes=[stability(stage.o)])


def test_a_stage_takes_an_item_before_anybody_waits_for_it():
    stage = Stage(8)

    async def bench(ctx):
        await put(ctx, stage.i, 3)
        assert (ctx.get(stage.o.valid), ctx.get(stage.i.ready)) == (1, 0)

    simulate(stage, bench, cycles=5)


def test_a_stage_takes_an_item_every_cycle():
    stage = Stage(8)

    async def bench(ctx):
        ctx.set(stage.o.ready, 1)
        ctx.set(stage.i.valid, 1)
        for item in range(20):
            ctx.set(stage.i.payload, item)
            await ctx.tick()
            assert ctx.get(stage.o.valid) and ctx.get(stage.o.payload) == item
            assert ctx.get(stage.moved)

    simulate(stage, bench, cycles=25)
