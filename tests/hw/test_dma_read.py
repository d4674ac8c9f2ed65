"""The reading half of the DMA, behind a memory of any pace."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from qblif.host.abi import Error
from qblif.hw.dma_read import DmaRead

from .axi_memory import DECODE, OKAY, SLAVE, Checker, Memory, Pace
from .bench import simulate, stability

BASE = 0x1_F000
EXAMPLES = 10
"""Random jobs beside the explicit ones."""


class Reader:
    """A DmaRead with memory and checker."""

    def __init__(self, rng, pace=None, size=0x4000, base=BASE, address_bits=32):
        self.dut = DmaRead(address_bits)
        self.rng = rng
        self.memory = Memory(self.dut, base, size, rng, pace)
        self.checker = Checker(self.dut)
        self.faults, self.clock = [], 0

    async def start(self, ctx, address, frames, beats):
        """Start, with parameters that are gone a cycle later."""
        self.checker.readable = range(address, address + 4 * frames * beats)
        for name, value in (("address", address), ("frames", frames), ("beats", beats), ("start", 1)):
            ctx.set(getattr(self.dut, name), value)
        await ctx.tick()
        for name in ("address", "frames", "beats", "start"):
            ctx.set(getattr(self.dut, name), 0)

    async def take(self, ctx, count, stall=0.0):
        """Return `count` beats: data and last."""
        o, beats = self.dut.o, []
        while len(beats) < count:
            ctx.set(o.ready, stall == 0.0 or self.rng.random() >= stall)
            *_, valid, ready, data, last = await ctx.tick().sample(o.valid, o.ready, o.p.data, o.p.last)
            if valid and ready:
                beats.append((data, last))
        ctx.set(o.ready, 0)
        return beats

    async def check(self, ctx, address, frames, beats, stall=0.0):
        """Read frames; fail unless they are what memory holds."""
        await self.start(ctx, address, frames, beats)
        assert not ctx.get(self.dut.done)
        found = await self.take(ctx, frames * beats, stall)
        words = self.memory.get(address, frames * beats)
        assert found == [(word, (index + 1) % beats == 0) for index, word in enumerate(words)]
        await ctx.tick().repeat(4)
        assert ctx.get(self.dut.done) and not ctx.get(self.dut.pending) and not ctx.get(self.dut.o.valid)

    async def watch(self, ctx):
        fault = self.dut.fault
        async for _, _, valid, code, address in ctx.tick().sample(fault.valid, fault.code, fault.address):
            self.clock += 1
            if valid:
                self.faults.append((Error(code), address))

    def run(self, bench, cycles=20_000):
        simulate(self.dut, bench, cycles=cycles, processes=[
            self.memory.reads, self.checker.reads, self.watch, stability(self.dut.o)])


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 1000), slot=st.integers(0, 600), frames=st.integers(1, 7), beats=st.integers(1, 40),
       latency=st.integers(0, 40), spread=st.integers(0, 10), stalls=st.tuples(*[st.sampled_from([0, 0.3, 0.8])] * 2))
@example(0, 0, 1, 1, 0, 0, (0, 0))
@example(0, 511, 9, 1, 0, 0, (0, 0))
@example(0, 15, 3, 33, 0, 0, (0, 0))
@example(0, 511, 1, 32, 30, 0, (0, 0))
def test_frames_come_as_they_lie_in_memory(seed, slot, frames, beats, latency, spread, stalls):
    reader = Reader(random.Random(seed), Pace(latency, spread, stalls[0]))

    async def bench(ctx):
        await reader.check(ctx, BASE + 8 * slot, frames, beats, stalls[1])
        # ... and once more, at the beginning of memory
        await reader.check(ctx, BASE, beats, frames, stalls[1])

    reader.run(bench)
    assert not reader.faults


def test_more_than_the_buffer_holds_waits_for_whoever_takes_it():
    reader = Reader(random.Random(1))

    async def bench(ctx):
        await reader.start(ctx, BASE + 8, 1, 3000)
        await ctx.tick().repeat(700)
        assert len(reader.memory.log) * 16 <= 512 + 16
        found = await reader.take(ctx, 3000)
        assert [data for data, _ in found] == reader.memory.get(BASE + 8, 3000)

    reader.run(bench)


@pytest.mark.parametrize(("latency", "first", "rest"), [
    (0, 10, 999), (30, 40, 999), (100, 110, 999), (200, 210, 1629)])
def test_cycles_of_reading_1000_beats(latency, first, rest):
    """Figures of docs/architecture.md. Four bursts of 32 beats cover a latency of 128 cycles."""
    reader = Reader(random.Random(1), Pace(latency))
    cycles = []

    async def bench(ctx):
        await reader.start(ctx, BASE, 4, 250)
        for count in (1, 999):
            before = reader.clock
            await reader.take(ctx, count)
            cycles.append(reader.clock - before)

    reader.run(bench)
    assert cycles == [first, rest]
    assert reader.checker.most["read"] == 4


@pytest.mark.parametrize(("response", "error"), [(SLAVE, Error.READ_SLAVE), (DECODE, Error.READ_DECODE)])
def test_an_error_response_is_reported_with_the_address_of_its_burst(response, error):
    reader = Reader(random.Random(1), Pace(5, 20))
    wrong = BASE + 0x180
    reader.memory.faults = lambda direction, address: response if address == wrong else OKAY

    async def bench(ctx):
        await reader.start(ctx, BASE + 0x48, 3, 100)
        await reader.take(ctx, 2 * (wrong - BASE - 0x48) // 8)
        await ctx.tick().repeat(60)
        assert reader.faults[0] == (error, wrong)

    reader.run(bench)


def test_beyond_memory_is_a_decode_error():
    reader = Reader(random.Random(1), size=0x100)

    async def bench(ctx):
        await reader.start(ctx, BASE, 1, 100)
        await ctx.tick().repeat(60)
        assert reader.faults[0] == (Error.READ_DECODE, BASE + 0x100)

    reader.run(bench)


def test_beyond_the_address_space_is_a_bad_job():
    base = (1 << 20) - 0x100
    reader = Reader(random.Random(1), size=0x100, base=base, address_bits=20)

    async def bench(ctx):
        await reader.check(ctx, base, 1, 64)
        assert not reader.faults
        await reader.start(ctx, base, 1, 65)
        reader.checker.readable = None
        await ctx.tick().repeat(60)
        assert reader.faults[0] == (Error.BAD_JOB, 0)

    reader.run(bench)


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(2, 30))])
def test_stop_at_any_time_completes_what_is_on_the_bus_and_the_next_job_is_right(seed):
    rng = random.Random(seed)
    reader = Reader(rng, Pace(rng.randrange(30), rng.randrange(20), rng.choice([0, 0.5])))
    dut = reader.dut

    async def bench(ctx):
        for _ in range(6):
            await reader.start(ctx, BASE + 8 * rng.randrange(100), rng.randint(1, 4), rng.randint(1, 300))
            for _ in range(rng.randrange(60)):
                ctx.set(dut.o.ready, rng.random() < 0.5)
                await ctx.tick()
            ctx.set(dut.o.ready, 0)
            ctx.set(dut.stop, 1)
            await ctx.tick().repeat(2)
            reader.checker.frozen = True
            while ctx.get(dut.pending):
                await ctx.tick()
            ctx.set(dut.stop, 0)
            await ctx.tick().repeat(rng.randint(1, 3))
            assert reader.checker.open["read"] == 0
            reader.checker.frozen = False
            await reader.check(ctx, BASE + 8 * rng.randrange(100), rng.randint(1, 4), rng.randint(1, 60))

    simulate(dut, bench, processes=[reader.memory.reads, reader.checker.reads])
