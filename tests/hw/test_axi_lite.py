"""The AXI4-Lite front-end, with a register file of plain storage behind it."""

from __future__ import annotations

import random

import pytest

from qblif.hw.axi_lite import AxiLiteFrontEnd

from .bench import pause, simulate


def storage(front, delay):
    """Return a process that answers the register bus from a dictionary after `delay` cycles."""
    async def serve(ctx):
        words, bus, due = {}, front.bus, None
        sampled = (bus.write, bus.write_address, bus.write_data, bus.write_strobe, bus.read, bus.read_address)
        async for _, _, write, write_address, value, strobe, read, read_address in ctx.tick().sample(*sampled):
            ctx.set(bus.read_done, 0)
            if write:
                mask = sum(0xFF << 8 * lane for lane in range(4) if strobe >> lane & 1)
                words[write_address] = words.get(write_address, 0) & ~mask | value & mask
            if read:
                due = delay
            if due is not None and due == 0:
                ctx.set(bus.read_data, words.get(read_address, 0))
                ctx.set(bus.read_done, 1)
            due = None if not due else due - 1
    return serve


@pytest.mark.parametrize("seed", range(4))
def test_any_order_of_channels_and_any_stalls_give_the_same_accesses(seed):
    rng = random.Random(seed)
    front = AxiLiteFrontEnd(12)
    axi = front.axi
    writes = [(4 * rng.randrange(8), rng.getrandbits(32), rng.getrandbits(4)) for _ in range(60)]

    async def channel(ctx, valid, ready, settings):
        await pause(ctx, rng, 0.1 + 0.2 * seed)
        for signal, value in settings:
            ctx.set(signal, value)
        ctx.set(valid, 1)
        await ctx.tick().until(ready)
        ctx.set(valid, 0)

    async def addresses(ctx):
        for address, _, _ in writes:
            await channel(ctx, axi.awvalid, axi.awready, [(axi.awaddr, address + rng.randrange(4))])

    async def data(ctx):
        for _, value, strobe in writes:
            await channel(ctx, axi.wvalid, axi.wready, [(axi.wdata, value), (axi.wstrb, strobe)])

    async def responses_then_reads(ctx):
        for _ in writes:
            await pause(ctx, rng, 0.5)
            ctx.set(axi.bready, 1)
            response, = await ctx.tick().sample(axi.bresp).until(axi.bvalid)
            ctx.set(axi.bready, 0)
            assert response == 0
        expected = {}
        for address, value, strobe in writes:
            mask = sum(0xFF << 8 * lane for lane in range(4) if strobe >> lane & 1)
            expected[address] = expected.get(address, 0) & ~mask | value & mask
        for address in list(range(0, 32, 4)) * 2:
            await channel(ctx, axi.arvalid, axi.arready, [(axi.araddr, address)])
            await pause(ctx, rng, 0.5)
            ctx.set(axi.rready, 1)
            value, response = await ctx.tick().sample(axi.rdata, axi.rresp).until(axi.rvalid)
            ctx.set(axi.rready, 0)
            assert (value, response) == (expected.get(address, 0), 0)

    simulate(front, addresses, data, responses_then_reads, processes=[storage(front, delay=seed)])


def test_an_answer_stays_until_it_is_taken():
    front = AxiLiteFrontEnd(12)
    axi = front.axi

    async def bench(ctx):
        ctx.set(axi.awvalid, 1)
        ctx.set(axi.wvalid, 1)
        ctx.set(axi.arvalid, 1)
        await ctx.tick().until(axi.bvalid & axi.rvalid)
        for _ in range(10):
            assert ctx.get(axi.bvalid) and ctx.get(axi.rvalid) and not ctx.get(axi.arready)
            await ctx.tick()

    simulate(front, bench, processes=[storage(front, 0)])
