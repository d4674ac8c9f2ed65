"""The writing half of the DMA, before a memory of any pace."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from qblif.host.abi import Error
from qblif.hw.dma_write import DmaWrite

from .axi_memory import DECODE, OKAY, SLAVE, Checker, Memory, Pace
from .bench import simulate

BASE = 0x1_F000
EXAMPLES = 10
"""Random jobs beside the explicit ones."""


class Writer:
    """A DmaWrite with memory and checker."""

    def __init__(self, rng, pace=None, size=0x2800, base=BASE, address_bits=32):
        self.dut = DmaWrite(address_bits)
        self.rng = rng
        self.memory = Memory(self.dut, base, size, rng, pace)
        self.checker = Checker(self.dut)
        self.faults, self.written, self.clock = [], 0, 0

    async def start(self, ctx, address, frames, beats):
        """Start, with parameters that are gone a cycle later."""
        self.written = 0
        self.checker.writable = range(address, address + 4 * frames * beats)
        for name, value in (("address", address), ("frames", frames), ("beats", beats), ("start", 1)):
            ctx.set(getattr(self.dut, name), value)
        await ctx.tick()
        for name in ("address", "frames", "beats", "start"):
            ctx.set(getattr(self.dut, name), 0)

    async def send(self, ctx, words, beats, idle=0.0, patience=None):
        """Send words as frames; give up when nothing is taken for `patience` cycles. Return how many were taken."""
        i = self.dut.i
        for index, word in enumerate(words):
            while idle and self.rng.random() < idle:
                await ctx.tick()
            ctx.set(i.p.data, word)
            ctx.set(i.p.last, (index + 1) % beats == 0)
            ctx.set(i.valid, 1)
            ready, waited = 0, 0
            while not ready:
                *_, ready = await ctx.tick().sample(i.ready)
                waited += 1
                if patience is not None and waited > patience:
                    ctx.set(i.valid, 0)
                    return index
            ctx.set(i.valid, 0)
        return len(words)

    async def check(self, ctx, address, frames, beats, idle=0.0):
        """Write random frames; fail unless they, and nothing else, are in memory when it says so."""
        words = [self.rng.getrandbits(32) for _ in range(frames * beats)]
        before = bytes(self.memory.bytes)
        await self.start(ctx, address, frames, beats)
        await self.send(ctx, words, beats, idle)
        assert not ctx.get(self.dut.done)
        while not ctx.get(self.dut.done):
            await ctx.tick()
        assert self.memory.get(address, frames * beats) == words
        at, end = address - BASE, address - BASE + 4 * frames * beats
        assert (self.memory.bytes[:at], self.memory.bytes[end:]) == (before[:at], before[end:])
        assert not ctx.get(self.dut.pending)
        await ctx.tick()
        assert self.written == frames

    async def watch(self, ctx):
        fault = self.dut.fault
        async for _, _, written, valid, code, address in ctx.tick().sample(
                self.dut.written, fault.valid, fault.code, fault.address):
            self.clock += 1
            self.written += written
            if valid:
                self.faults.append((Error(code), address))

    def run(self, bench, cycles=20_000):
        simulate(self.dut, bench, cycles=cycles, processes=[self.memory.writes, self.checker.writes, self.watch])


paces = st.builds(Pace, st.integers(0, 40), st.integers(0, 10), st.sampled_from([0, 0.3, 0.8]),
                  st.sampled_from(["any", "address first", "data first"]))


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 1000), slot=st.integers(0, 600), frames=st.integers(1, 7), beats=st.integers(1, 40),
       pace=paces, idle=st.sampled_from([0, 0.3, 0.8]))
@example(0, 0, 1, 1, Pace(), 0)
@example(0, 511, 9, 1, Pace(), 0)
@example(0, 511, 1, 1, Pace(order="data first"), 0)
@example(0, 15, 3, 33, Pace(order="address first"), 0)
@example(0, 509, 9, 3, Pace(30), 0)
@example(0, 505, 2, 32, Pace(30), 0)
def test_frames_are_in_memory_and_nothing_else_is_changed(seed, slot, frames, beats, pace, idle):
    writer = Writer(random.Random(seed), pace)

    async def bench(ctx):
        await writer.check(ctx, BASE + 8 * slot, frames, beats, idle)
        await writer.check(ctx, BASE, beats, frames, idle)

    writer.run(bench)
    assert not writer.faults


@pytest.mark.parametrize(("beats", "bursts"), [(10, [(0, 5)]), (64, [(0, 16), (128, 16)]), (3, [(0, 2)])])
def test_a_frame_is_in_memory_though_no_other_follows(beats, bursts):
    writer = Writer(random.Random(1))

    async def bench(ctx):
        await writer.start(ctx, BASE, 100, beats)
        await writer.send(ctx, range(beats), beats)
        await ctx.tick().repeat(30)
        assert writer.written == 1
        assert writer.memory.get(BASE, beats) == list(range(beats))
        assert writer.memory.log == [("write", BASE + offset, words) for offset, words in bursts]

    writer.run(bench)


@pytest.mark.parametrize("part", [1, 2, 5, 31])
def test_no_burst_begins_before_all_of_its_data_is_there(part):
    writer = Writer(random.Random(1))

    async def bench(ctx):
        await writer.start(ctx, BASE, 1, 32)
        await writer.send(ctx, range(part), 32)
        await ctx.tick().repeat(50)
        assert not writer.memory.log and not ctx.get(writer.dut.pending)

    writer.run(bench)


@pytest.mark.parametrize(("latency", "frames", "beats", "cycles"), [
    (0, 1, 1000, 1019), (30, 1, 1000, 1049), (100, 1, 1000, 1124),
    (0, 100, 10, 1009), (30, 100, 10, 1223), (60, 100, 10, 2153)])
def test_cycles_of_writing_1000_beats(latency, frames, beats, cycles):
    """Figures of docs/architecture.md; in frames of 10 beats a burst is 5 words."""
    writer = Writer(random.Random(1), Pace(latency))

    async def bench(ctx):
        before = writer.clock
        await writer.start(ctx, BASE, frames, beats)
        await writer.send(ctx, range(1000), beats)
        while not ctx.get(writer.dut.done):
            await ctx.tick()
        assert writer.clock - before == cycles
        assert writer.checker.most["write"] <= 4

    writer.run(bench)


@pytest.mark.parametrize(("response", "error"), [(SLAVE, Error.WRITE_SLAVE), (DECODE, Error.WRITE_DECODE)])
def test_an_error_response_is_reported_with_the_address_of_its_burst(response, error):
    writer = Writer(random.Random(1), Pace(5, 20))
    wrong = BASE + 0x180
    writer.memory.faults = lambda direction, address: response if address == wrong else OKAY

    async def bench(ctx):
        await writer.start(ctx, BASE + 0x48, 3, 100)
        await writer.send(ctx, range(200), 100)
        await ctx.tick().repeat(60)
        assert writer.faults == [(error, wrong)]
        assert writer.written == 1, "the frame with the wrong burst does not count"

    writer.run(bench)


def test_beyond_memory_is_a_decode_error():
    writer = Writer(random.Random(1), size=0x100)

    async def bench(ctx):
        await writer.start(ctx, BASE, 2, 100)
        await writer.send(ctx, range(100), 100)
        await ctx.tick().repeat(60)
        assert writer.faults[0] == (Error.WRITE_DECODE, BASE + 0x100)
        assert writer.written == 0

    writer.run(bench)


def test_beyond_the_address_space_is_a_bad_job():
    base = (1 << 20) - 0x100
    writer = Writer(random.Random(1), size=0x100, base=base, address_bits=20)

    async def bench(ctx):
        await writer.start(ctx, base, 2, 64)
        await writer.send(ctx, range(64), 64)
        await ctx.tick().repeat(30)
        assert writer.written == 1 and not writer.faults
        await writer.send(ctx, range(64), 64, patience=30)
        assert writer.faults[0] == (Error.BAD_JOB, 0)

    writer.run(bench)


@pytest.mark.parametrize(("sent", "error"), [(1, Error.SHORT_OUTPUT), (9, Error.SHORT_OUTPUT),
                                             (11, Error.LONG_OUTPUT), (20, Error.LONG_OUTPUT)])
def test_frames_of_another_length_are_told_by_their_end(sent, error):
    writer = Writer(random.Random(1))

    async def bench(ctx):
        await writer.start(ctx, BASE, 3, 10)
        await writer.send(ctx, range(10), 10)
        await writer.send(ctx, range(sent), sent, patience=20)
        await ctx.tick().repeat(30)
        assert writer.faults == [(error, 0)]
        assert writer.written == 1

    writer.run(bench)


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(2, 30))])
def test_stop_at_any_time_completes_what_is_on_the_bus_and_the_next_job_is_right(seed):
    rng = random.Random(seed)
    orders = ["any", "address first", "data first"]
    writer = Writer(rng, Pace(rng.randrange(30), rng.randrange(20), rng.choice([0, 0.5]), rng.choice(orders)))
    dut = writer.dut

    async def bench(ctx):
        for _ in range(6):
            beats = rng.randint(1, 40)
            await writer.start(ctx, BASE + 8 * rng.randrange(100), 100, beats)
            await writer.send(ctx, range(rng.randrange(1, 150)), beats, rng.choice([0, 0.5]))
            ctx.set(dut.stop, 1)
            writer.checker.stopping = True
            await ctx.tick().repeat(2)
            writer.checker.frozen = True
            while ctx.get(dut.pending):
                await ctx.tick()
            ctx.set(dut.stop, 0)
            # Nothing that was left begins now
            await ctx.tick().repeat(rng.randint(1, 30))
            assert writer.checker.open["write"] == 0
            writer.checker.frozen = writer.checker.stopping = False
            await writer.check(ctx, BASE + 8 * rng.randrange(100), rng.randint(1, 4), rng.randint(1, 60))

    writer.run(bench)


def test_words_of_a_burst_that_stop_comes_into_are_not_written():
    writer = Writer(random.Random(1), Pace(order="address first"))
    dut = writer.dut
    writer.memory.hanging = {"w"}

    async def bench(ctx):
        await writer.start(ctx, BASE, 1, 32)
        before = bytes(writer.memory.bytes)
        await writer.send(ctx, range(32), 32)
        await ctx.tick().repeat(10)
        assert ctx.get(dut.axi.wvalid) and ctx.get(dut.axi.wstrb) == 0xFF
        ctx.set(dut.stop, 1)
        writer.checker.stopping = True
        await ctx.tick()
        writer.memory.hanging = set()
        while ctx.get(dut.pending):
            await ctx.tick()
        assert writer.memory.bytes[8:] == before[8:], "all but the word that was on offer is masked"

    writer.run(bench)


