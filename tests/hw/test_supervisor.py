"""First error, watchdog and image counters."""

from __future__ import annotations

import pytest

from qblif.host.abi import Error
from qblif.hw.supervisor import Supervisor

from .bench import simulate


def test_the_first_error_stays():
    dut = Supervisor()

    async def bench(ctx):
        ctx.set(dut.input_fault.valid, 1)
        ctx.set(dut.input_fault.code, Error.LONG_INPUT)
        ctx.set(dut.input_fault.info, 12)
        await ctx.tick()
        ctx.set(dut.input_fault.valid, 0)
        ctx.set(dut.loader_fault.valid, 1)
        ctx.set(dut.loader_fault.code, Error.BAD_CRC)
        await ctx.tick()
        assert (ctx.get(dut.halted), ctx.get(dut.error), ctx.get(dut.error_info)) == (1, Error.LONG_INPUT, 12)

    simulate(dut, bench)


def test_of_two_errors_at_once_the_loader_comes_first():
    dut = Supervisor()

    async def bench(ctx):
        for fault, code in ((dut.input_fault, Error.NO_PROGRAM), (dut.loader_fault, Error.BAD_MAGIC)):
            ctx.set(fault.valid, 1)
            ctx.set(fault.code, code)
        await ctx.tick().repeat(2)
        assert ctx.get(dut.error) == Error.BAD_MAGIC

    simulate(dut, bench)


@pytest.mark.parametrize("limit", [1, 5, 40])
def test_the_watchdog_counts_cycles_of_work_without_progress(limit):
    dut = Supervisor()

    async def cycles_to_halt(ctx):
        for cycle in range(100):
            if ctx.get(dut.halted):
                return cycle
            await ctx.tick()
        return None

    async def bench(ctx):
        ctx.set(dut.watchdog, limit)
        assert await cycles_to_halt(ctx) is None, "nothing to do is no error"
        ctx.set(dut.working, 1)
        ctx.set(dut.progress, 1)
        assert await cycles_to_halt(ctx) is None, "work that moves is no error"
        ctx.set(dut.progress, 0)
        assert await cycles_to_halt(ctx) == limit + 3
        assert (ctx.get(dut.error), ctx.get(dut.error_info)) == (Error.WATCHDOG, 0)

    simulate(dut, bench)


def test_progress_starts_the_count_anew_and_zero_means_never():
    dut = Supervisor()

    async def bench(ctx):
        ctx.set(dut.working, 1)
        await ctx.tick().repeat(50)
        ctx.set(dut.progress, 1)
        await ctx.tick().repeat(3)
        ctx.set(dut.watchdog, 10)
        for _ in range(10):
            ctx.set(dut.progress, 0)
            await ctx.tick().repeat(9)
            ctx.set(dut.progress, 1)
            await ctx.tick()
            assert not ctx.get(dut.halted)

    simulate(dut, bench)


def test_images_that_went_in_and_not_out_are_in_flight_and_watched():
    dut = Supervisor()

    async def bench(ctx):
        ctx.set(dut.image_in, 1)
        await ctx.tick().repeat(3)
        ctx.set(dut.image_out, 1)
        await ctx.tick().repeat(2)
        ctx.set(dut.image_in, 0)
        assert ctx.get(dut.in_flight) == 1
        await ctx.tick().repeat(3)
        ctx.set(dut.image_out, 0)
        await ctx.tick()    # counted a cycle later
        assert ctx.get(dut.in_flight) == 0
        assert (ctx.get(dut.images_in), ctx.get(dut.images_out)) == (5, 5)
        await ctx.tick().repeat(2)
        ctx.set(dut.watchdog, 4)
        await ctx.tick().repeat(10)
        assert not ctx.get(dut.halted)
        ctx.set(dut.image_in, 1)
        await ctx.tick()
        ctx.set(dut.image_in, 0)
        await ctx.tick().repeat(9)
        assert ctx.get(dut.error) == Error.WATCHDOG

    simulate(dut, bench)
