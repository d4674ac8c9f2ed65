"""Writes of all clusters come out once each, and a part is announced when it and all before it are complete."""

import random

import pytest

from qblif.hw.merge import Merge
from qblif.hw.params import CoreParams

from .bench import get, pause, put, simulate, stability
from .core_bench import SETTLE, plain


def params(clusters):
    return CoreParams(lanes=4, word_bits=32, neuron_lanes=2, clusters=clusters)


def rows_of(clusters, total):
    """Return how many of `total` output rows each cluster computes, in turns."""
    return [len(range(index, total, clusters)) for index in range(clusters)]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("rows", [[3], [4, 4], rows_of(3, 7), rows_of(3, 2), rows_of(4, 4)], ids=str)
def test_parts_are_announced_in_turns_each_when_all_of_it_has_come_out(rows, seed):
    """Two layers, one after the other; writes of a row carry the number of its part, so that it can be told."""
    rng, dut, writes = random.Random(seed), Merge(params(len(rows))), 3
    ready, came = [0.9, 0.5, 0.1][seed], []
    layers, done = 2, []

    def sender(index):
        async def send(ctx):
            if index == 0:
                ctx.set(dut.announces, 1)
                ctx.set(dut.takes_part, sum((count > 0) << place for place, count in enumerate(rows)))
            for number in range(layers):
                while len(done) < number * len(rows):       # a layer begins when the one before is over
                    await ctx.tick()
                while number and not ctx.get(dut.idle):
                    await ctx.tick()
                if index == 0:
                    ctx.set(dut.begin, 1)
                    await ctx.tick()
                    ctx.set(dut.begin, 0)
                else:
                    await ctx.tick()
                for row in range(rows[index]):
                    for write in range(writes):
                        await pause(ctx, rng, rng.choice([0, 0.9]))
                        await put(ctx, dut.i[index], {
                            "commit": 0, "part": int(write == writes - 1), "address": write, "enable": 1,
                            "data": row * sum(count > 0 for count in rows) + index})
                done.append(index)
        return send

    async def receive(ctx):
        for _ in range(layers * sum(rows) * (writes + 1)):
            await pause(ctx, rng, 1 - ready)
            came.append(plain(await get(ctx, dut.o)))
        ctx.set(dut.o.ready, 1)
        for _ in range(SETTLE):
            *_, valid = await ctx.tick().sample(dut.o.valid)
            assert not valid
        assert ctx.get(dut.idle)

    simulate(dut, receive, *(sender(index) for index in range(len(rows))), processes=[stability(dut.o)])
    for number in range(layers):
        count = sum(rows) * (writes + 1)
        announced, seen = 0, []
        for item in came[number * count:(number + 1) * count]:
            if item["part"]:
                assert not item["enable"] and not item["commit"]
                assert seen.count(announced) == writes, "a part is announced before it is complete"
                announced += 1
            else:
                seen.append(item["data"])
        assert announced == sum(rows)
        assert sorted(seen) == [part for part in range(sum(rows)) for _ in range(writes)]


def test_no_cycle_is_lost_where_every_write_completes_a_part_and_none_is_announced_to_nobody():
    dut = Merge(params(2))

    async def bench(ctx):
        ctx.set(dut.takes_part, 0b01)
        ctx.set(dut.o.ready, 1)
        ctx.set(dut.i[0].valid, 1)
        ctx.set(dut.i[0].p.part, 1)
        for announces in (0, 1):
            ctx.set(dut.announces, announces)
            parts = 0
            for _ in range(40):
                *_, valid, part = await ctx.tick().sample(dut.o.valid, dut.o.p.part)
                assert valid
                parts += part
            assert parts == 20 * announces
            assert announces or ctx.get(dut.idle)

    simulate(dut, bench, cycles=100)
