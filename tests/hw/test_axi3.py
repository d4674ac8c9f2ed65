"""The bridge from AXI3 to AXI4-Lite: every burst that a processor can make is answered, beat by beat."""

from __future__ import annotations

import random

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, connect, flipped

from qblif.hw.axi3 import Axi3, Axi3ToLite, Burst
from qblif.hw.axi_lite import AxiLiteFrontEnd

from .bench import simulate
from .zynq7_ports import Gp0, beat_addresses

OKAY, SLAVE, DECODE = 0, 2, 3


class Lite:
    """An AXI4-Lite subordinate of 4 KiB, as slow as `stall` says; `faults`: address -> response."""

    def __init__(self, axi, rng, stall=0.0):
        self._axi, self._rng, self._stall = axi, rng, stall
        self.words, self.faults, self.log = {}, {}, []

    async def _wait(self, ctx):
        while self._rng.random() < self._stall:
            await ctx.tick()

    async def reads(self, ctx):
        axi = self._axi
        while True:
            await self._wait(ctx)
            ctx.set(axi.arready, 1)
            valid = 0
            while not valid:
                *_, valid, address = await ctx.tick().sample(axi.arvalid, axi.araddr)
            ctx.set(axi.arready, 0)
            await self._wait(ctx)
            self.log.append(("read", address))
            ctx.set(axi.rdata, self.words.get(address // 4, 0))
            ctx.set(axi.rresp, self.faults.get(address, OKAY))
            ctx.set(axi.rvalid, 1)
            ready = 0
            while not ready:
                *_, ready = await ctx.tick().sample(axi.rready)
            ctx.set(axi.rvalid, 0)

    async def writes(self, ctx):
        axi = self._axi
        while True:
            taken = {}
            for channel, payload in (("aw", [axi.awaddr]), ("w", [axi.wdata, axi.wstrb])):
                await self._wait(ctx)
                ready, valid = getattr(axi, f"{channel}ready"), 0
                ctx.set(ready, 1)
                while not valid:
                    *_, valid, first, second = await ctx.tick().sample(getattr(axi, f"{channel}valid"), payload[0],
                                                                       payload[-1])
                ctx.set(ready, 0)
                taken[channel] = first, second
            (address, _), (data, strobes) = taken["aw"], taken["w"]
            self.log.append(("write", address))
            mask = sum(0xFF << 8 * lane for lane in range(4) if strobes >> lane & 1)
            self.words[address // 4] = self.words.get(address // 4, 0) & ~mask | data & mask
            await self._wait(ctx)
            ctx.set(axi.bresp, self.faults.get(address, OKAY))
            ctx.set(axi.bvalid, 1)
            ready = 0
            while not ready:
                *_, ready = await ctx.tick().sample(axi.bready)
            ctx.set(axi.bvalid, 0)


def run(testbench, stall=0.0, seed=0, cycles=40_000):
    """Simulate the bridge between a processor and a subordinate; `testbench` takes ctx and both."""
    rng = random.Random(seed)
    dut = Axi3ToLite(12)
    host, lite = Gp0(dut.axi, rng), Lite(dut.lite, rng, stall)
    host.pauses = stall

    async def bench(ctx):
        await testbench(ctx, host, lite)

    simulate(dut, bench, processes=[lite.reads, lite.writes], cycles=cycles)


def burst(rng):
    """Return a burst that AXI3 allows: address, length, size and type."""
    kind = rng.choice([Burst.FIXED.value, Burst.INCR.value, Burst.WRAP.value])
    size = rng.randrange(3)
    length = rng.choice([1, 3, 7, 15]) if kind == Burst.WRAP.value else rng.randrange(16)
    address = rng.randrange(0x1000 - 64)
    if kind == Burst.WRAP.value:
        address -= address % (1 << size)
    return address, length, size, kind


@pytest.mark.parametrize("stall", [0.0, 0.4])
def test_single_words_are_read_and_written(stall):
    async def bench(ctx, host, lite):
        for address in (0, 4, 0x20, 0xFFC):
            assert await host.write_burst(ctx, address, [0x1234_5678 + address]) == OKAY
            assert await host.read_burst(ctx, address) == [(0x1234_5678 + address, OKAY)]
        assert await host.write_burst(ctx, 4, [0xAABB_CCDD], strobes=[0b0110]) == OKAY
        assert lite.words[1] == 0x12BB_CC7C

    run(bench, stall)


@pytest.mark.parametrize("stall", [0.0, 0.3])
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.long)])
def test_every_type_of_burst_is_answered_beat_by_beat(stall, seed):
    rng = random.Random(seed)

    async def bench(ctx, host, lite):
        for _ in range(25):
            address, length, size, kind = burst(rng)
            wanted = beat_addresses(address, length, size, kind)
            lite.words = {word: rng.getrandbits(32) for word in range(1024)}
            lite.log.clear()
            beats = await host.read_burst(ctx, address, length, size, kind)
            assert [at // 4 for _, at in lite.log] == [at // 4 for at in wanted]
            assert beats == [(lite.words[at // 4], OKAY) for at in wanted]

            lite.log.clear()
            words = [rng.getrandbits(32) for _ in wanted]
            expected = dict(lite.words) | {at // 4: word for at, word in zip(wanted, words, strict=True)}
            assert await host.write_burst(ctx, address, words, size, kind) == OKAY
            assert [(direction, at // 4) for direction, at in lite.log] == [("write", at // 4) for at in wanted]
            assert lite.words == expected

    run(bench, stall, seed)


def test_responses_of_beats_reach_the_processor():
    async def bench(ctx, host, lite):
        lite.faults = {0x104: SLAVE, 0x10C: DECODE}
        assert [response for _, response in await host.read_burst(ctx, 0x100, 3)] == [OKAY, SLAVE, OKAY, DECODE]
        assert await host.write_burst(ctx, 0x100, [1, 2, 3]) == SLAVE
        assert await host.write_burst(ctx, 0x100, [1, 2, 3, 4, 5]) == DECODE
        assert await host.write_burst(ctx, 0x110, [1]) == OKAY

    run(bench)


def test_the_registers_repeat_over_the_whole_port():
    async def bench(ctx, host, lite):
        lite.words = {8: 77}
        for address in (0x20, 0x1020, 0xF020, 0x30_0020):
            assert await host.read_burst(ctx, address) == [(77, OKAY)]
        assert {address for _, address in lite.log} == {0x20}

    run(bench)


def test_reads_and_writes_do_not_wait_for_each_other():
    """A read is answered while a write still waits for its data."""
    dut = Axi3ToLite(12)
    lite = Lite(dut.lite, random.Random(0))
    host = Gp0(dut.axi)

    async def bench(ctx):
        ctx.set(dut.axi.awvalid, 1)
        await ctx.tick().until(dut.axi.awready)
        ctx.set(dut.axi.awvalid, 0)
        lite.words = {1: 5}
        assert await host.read_burst(ctx, 4) == [(5, OKAY)]

    simulate(dut, bench, processes=[lite.reads, lite.writes])


class Pair(wiring.Component):
    """The bridge before this project's AXI4-Lite front end, with what it puts onto the register bus read back."""

    def __init__(self):
        super().__init__({"axi": In(Axi3(12, 32))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.bridge = bridge = Axi3ToLite(12)
        m.submodules.lite = lite = AxiLiteFrontEnd(12)
        connect(m, flipped(self.axi), bridge.axi)
        connect(m, bridge.lite, lite.axi)
        # The register at word n reads as n in both halves.
        m.d.sync += [lite.bus.read_done.eq(lite.bus.read),
                     lite.bus.read_data.eq(lite.bus.read_address * 0x1_0001)]
        return m


def test_before_the_front_end_a_word_takes_few_cycles():
    dut = Pair()
    host, cycles = Gp0(dut.axi), []

    async def bench(ctx):
        assert await host.read_burst(ctx, 0x40, 3) == [(word * 0x1_0001, OKAY) for word in range(16, 20)]
        assert await host.write_burst(ctx, 0x40, [1, 2, 3]) == OKAY

    async def count(ctx):
        async for _ in ctx.tick():
            cycles.append(None)

    simulate(dut, bench, processes=[count])
    assert len(cycles) < 60
