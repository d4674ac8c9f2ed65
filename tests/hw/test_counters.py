"""Counters count every cycle's increments, and show them a little later."""

import random

import pytest
from amaranth.hdl import ResetInserter, Signal

from qblif.hw.counters import Counters, settle

from .bench import simulate


async def values(ctx, dut, count):
    """Return all counters, once they have settled."""
    found = []
    for index in range(count):
        ctx.set(dut.index, index)
        await ctx.tick().repeat(settle(count))
        found.append(ctx.get(dut.value))
    return found


@pytest.mark.parametrize("count, most", [(9, 1), (9, 4), (9, 16), (2, 3), (16, 1)])
def test_counters_are_the_sums_of_their_increments(count, most):
    rng, dut = random.Random(count * most), Counters(count, most)

    async def bench(ctx):
        expected = [0] * count
        for _ in range(5):
            for _ in range(rng.randint(1, 70)):
                now = [rng.choice([0, most, rng.randint(0, most)]) for _ in range(count)]
                expected = [total + more for total, more in zip(expected, now, strict=True)]
                ctx.set(dut.i, now)
                await ctx.tick()
            ctx.set(dut.i, [0] * count)
            await ctx.tick().repeat(settle(count))
            assert await values(ctx, dut, count) == expected

    simulate(dut, bench)


def test_the_widest_increments_for_as_long_as_they_are_kept_do_not_overflow():
    dut = Counters(9, 16)

    async def bench(ctx):
        ctx.set(dut.i, [16] * 9)
        await ctx.tick().repeat(500)
        ctx.set(dut.i, [0] * 9)
        await ctx.tick().repeat(settle(9))
        assert await values(ctx, dut, 9) == [8000] * 9

    simulate(dut, bench)


def test_a_reset_begins_at_zero_whatever_the_memory_holds():
    for before in (1, 5, 40):
        dut, reset = Counters(3, 1), Signal()

        async def bench(ctx, dut=dut, reset=reset, before=before):
            ctx.set(dut.i, [1, 1, 1])
            await ctx.tick().repeat(before)
            ctx.set(reset, 1)
            await ctx.tick()
            ctx.set(reset, 0)
            await ctx.tick().repeat(7)
            ctx.set(dut.i, [0, 0, 0])
            await ctx.tick().repeat(settle(3))
            assert await values(ctx, dut, 3) == [7] * 3

        simulate(ResetInserter(reset)(dut), bench)


def test_what_is_shown_is_never_ahead_and_not_more_than_the_settling_time_behind():
    dut = Counters(9, 1)

    async def bench(ctx):
        ctx.set(dut.i, [1] * 9)
        ctx.set(dut.index, 4)
        for cycle in range(300):
            if cycle > settle(9):
                assert cycle - settle(9) <= ctx.get(dut.value) <= cycle
            await ctx.tick()

    simulate(dut, bench)
