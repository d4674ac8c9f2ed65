"""The register stages between parts of the design."""

from __future__ import annotations

import random

import pytest
from amaranth.hdl import ResetInserter, Signal

from qblif.hw.link import Buffer, Stage

from .bench import get, pause, put, simulate, stability


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", [Stage, Buffer])
def test_a_stage_keeps_items_and_order_under_random_stalls(kind, seed):
    rng = random.Random(seed)
    stage, items = kind(8), [rng.getrandbits(8) for _ in range(200)]

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


def test_a_buffer_takes_a_second_item_and_then_none_whatever_its_receiver_says():
    buffer = Buffer(8)

    async def bench(ctx):
        await put(ctx, buffer.i, 3)
        await put(ctx, buffer.i, 4)
        ctx.set(buffer.o.ready, 1)
        assert (ctx.get(buffer.o.payload), ctx.get(buffer.i.ready)) == (3, 0)
        await ctx.tick()
        assert (ctx.get(buffer.o.valid), ctx.get(buffer.o.payload), ctx.get(buffer.i.ready)) == (1, 4, 1)

    simulate(buffer, bench, cycles=6)


def test_a_buffer_that_is_reset_is_empty():
    buffer, clear = Buffer(8), Signal()

    async def bench(ctx):
        for item in (3, 4):
            await put(ctx, buffer.i, item)
        ctx.set(clear, 1)
        await ctx.tick()
        ctx.set(clear, 0)
        assert ctx.get(buffer.i.ready) and not ctx.get(buffer.o.valid)
        await put(ctx, buffer.i, 77)
        assert await get(ctx, buffer.o) == 77

    simulate(ResetInserter(clear)(buffer), bench, cycles=10)


@pytest.mark.parametrize("kind", [Stage, Buffer])
def test_a_stage_takes_an_item_every_cycle(kind):
    stage = kind(8)

    async def bench(ctx):
        ctx.set(stage.o.ready, 1)
        ctx.set(stage.i.valid, 1)
        for item in range(20):
            ctx.set(stage.i.payload, item)
            await ctx.tick()
            assert ctx.get(stage.o.valid) and ctx.get(stage.o.payload) == item

    simulate(stage, bench, cycles=25)
