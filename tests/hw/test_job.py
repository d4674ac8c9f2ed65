"""Parts of job control alone: the time-out and the register file."""

from __future__ import annotations

import pytest

from qblif.host import abi
from qblif.hw.job import Patience
from qblif.hw.job_registers import JobRegisters

from .bench import simulate

OFFSETS = {name: offset for name, offset, *_ in abi.JOB_REGISTERS}


@pytest.mark.parametrize("limit", [1, 2, 20])
def test_patience_is_over_after_its_limit_and_not_before(limit):
    dut = Patience()

    async def bench(ctx):
        ctx.set(dut.limit, limit)
        await ctx.tick().repeat(5)
        assert not ctx.get(dut.over), "nothing is pending"
        ctx.set(dut.pending, 1)
        for _ in range(3):
            await ctx.tick().repeat(limit)
            assert not ctx.get(dut.over)
            ctx.set(dut.moved, 1)
            await ctx.tick()
            ctx.set(dut.moved, 0)
        await ctx.tick().repeat(limit)
        assert not ctx.get(dut.over)
        await ctx.tick().repeat(2)
        assert ctx.get(dut.over)
        ctx.set(dut.moved, 1)
        await ctx.tick().repeat(2)
        assert not ctx.get(dut.over)

    simulate(dut, bench)


def test_patience_without_a_limit_never_ends_and_a_limit_counts_from_when_it_is_set():
    dut = Patience()

    async def bench(ctx):
        ctx.set(dut.pending, 1)
        await ctx.tick().repeat(200)
        assert not ctx.get(dut.over)
        ctx.set(dut.limit, 50)
        await ctx.tick().repeat(50)
        assert not ctx.get(dut.over)
        await ctx.tick().repeat(5)
        assert ctx.get(dut.over)

    simulate(dut, bench)


async def read(ctx, dut, name):
    ctx.set(dut.bus.read, 1)
    ctx.set(dut.bus.read_address, OFFSETS[name] >> 2)
    await ctx.tick()
    ctx.set(dut.bus.read, 0)
    assert ctx.get(dut.bus.read_done)
    return ctx.get(dut.bus.read_data)


def test_both_halves_of_the_cycles_are_of_one_moment():
    dut = JobRegisters(32)

    async def bench(ctx):
        ctx.set(dut.cycles, 0x1_FFFF_FFFF)
        assert await read(ctx, dut, "JOB_CYCLES_LO") == 0xFFFF_FFFF
        ctx.set(dut.cycles, 0x2_0000_0000)
        assert await read(ctx, dut, "JOB_CYCLES_HI") == 1
        assert await read(ctx, dut, "JOB_CYCLES_LO") == 0
        assert await read(ctx, dut, "JOB_CYCLES_HI") == 2

    simulate(dut, bench)


@pytest.mark.parametrize("last", ["JOB_FRAMES", "JOB_IN_BEATS", "JOB_OUT_BEATS"])
def test_a_start_right_behind_a_parameter_is_judged_by_it(last):
    dut = JobRegisters(32)

    async def write(ctx, name, value):
        """Write in one cycle; the next write may follow in the next."""
        for signal, setting in (("write_address", OFFSETS[name] >> 2), ("write_data", value), ("write_strobe", 15),
                                ("write", 1)):
            ctx.set(getattr(dut.bus, signal), setting)
        await ctx.tick()
        ctx.set(dut.bus.write, 0)

    async def bench(ctx):
        for name in ("JOB_FRAMES", "JOB_IN_BEATS", "JOB_OUT_BEATS"):
            await write(ctx, name, 3)
        for value in (0, 3, 0, 1):
            await write(ctx, last, value)
            await write(ctx, "JOB_CONTROL", 1)
            assert ctx.get(dut.start) and ctx.get(dut.bad) == (value == 0)
            await ctx.tick()
            assert not ctx.get(dut.start)

    simulate(dut, bench)
