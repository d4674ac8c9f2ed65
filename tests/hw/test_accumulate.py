"""The accumulators add and double exactly what they are told, and keep a sum until it is taken."""

import random

import pytest

from qblif.host.abi import MemoryId
from qblif.hw.accumulate import Accumulators
from qblif.hw.params import CoreParams
from qblif.hw.scan import event as event_layout

from .bench import simulate, stability
from .core_bench import SETTLE, load_rows, plain

PARAMS = CoreParams(lanes=8, word_bits=32, neuron_lanes=2, weight_bits=5, acc_bits=14, weight_depth=32)
ALL = (1 << PARAMS.lanes) - 1


def event(**values):
    return {name: 0 for name, _ in event_layout(PARAMS)} | {"valid": 1} | values


NOTHING = event(valid=0, first=1, last=1, double=1, add=1, mask=ALL, weight=3)
"""Not valid, so without effect, whatever the rest says."""


def add(weight, mask=ALL, **values):
    return event(add=1, weight=weight, mask=mask, **values)


def random_weights(rng, rows=32):
    return [[rng.randint(-16, 15) for _ in range(PARAMS.lanes)] for _ in range(rows)]


def packed(row):
    return sum((weight & 31) << 5 * lane for lane, weight in enumerate(row))


def model(weights, events):
    """Return the sums that the events spell out, in unbounded integers."""
    sums, acc = [], None
    for e in events:
        if not e["valid"]:
            continue
        acc = [0] * PARAMS.lanes if e["first"] else [2 * a if e["double"] else a for a in acc]
        acc = [a + (weights[e["weight"]][lane] if e["add"] and e["mask"] >> lane & 1 else 0)
               for lane, a in enumerate(acc)]
        if e["last"]:
            sums.append(acc)
    return sums


def run(weights, events, rng=None):
    """Return ((cycle, sum) of the sums, cycles of the events); with a generator, sums wait to be taken.

    Then the first event of a sum does, too: it gets to the accumulators when the sum before has left them."""
    dut = Accumulators(PARAMS)
    sums, given = [], []
    valid_events = [e for e in events if e["valid"]]
    state = {"cycle": 0, "ended": 0}

    async def source(ctx):
        await load_rows(ctx, dut.load, MemoryId.WEIGHTS, [packed(row) for row in weights])
        for e in events:
            while rng is not None and e["valid"] and e["first"] and len(sums) < state["ended"]:
                ctx.set(dut.i, NOTHING)
                await ctx.tick()
            ctx.set(dut.i, e)
            given.append(state["cycle"])
            state["ended"] += e["valid"] & e["last"]
            await ctx.tick()
        ctx.set(dut.i, NOTHING)

    async def sink(ctx):
        wanted = sum(e["last"] for e in valid_events)
        quiet = 0
        while quiet < SETTLE:
            ctx.set(dut.o.ready, rng is None or rng.random() < 0.3)
            *_, valid, ready, payload = await ctx.tick().sample(dut.o.valid, dut.o.ready, dut.o.p)
            if valid and ready:
                sums.append((state["cycle"], plain(payload)))
            state["cycle"] += 1
            quiet = quiet + 1 if len(sums) >= wanted else 0
        assert ctx.get(dut.idle)

    simulate(dut, sink, source, processes=[stability(dut.o)])
    return sums, given


def random_events(rng, sums=25):
    """Return events whose sums stay within acc_bits, with invalid ones in between."""
    events = []
    for _ in range(sums):
        length = rng.randint(1, 9)
        for index in range(length):
            double = index > 0 and rng.random() < 0.3
            adds = rng.random() < 0.8
            events.append(event(first=int(index == 0), last=int(index == length - 1), double=int(double),
                                add=int(adds), weight=rng.randrange(32), diagonal=rng.randint(0, 1),
                                mask=rng.choice([ALL, rng.getrandbits(8)]) if adds else 0))
            events += [NOTHING] * (rng.random() < 0.2)
    return events


@pytest.mark.parametrize("stalls", [False, True], ids=["taken at once", "stalls"])
def test_sums_are_those_of_plain_integers(stalls):
    rng = random.Random(4)
    weights, events = random_weights(rng), random_events(rng)
    sums, _ = run(weights, events, rng if stalls else None)
    assert [values for _, values in sums] == model(weights, events)


def test_one_event_per_cycle_while_sums_are_taken():
    events = [add(index % 32, first=1, last=1) for index in range(20)] + [add(1, first=1), add(2), add(3, last=1)]
    sums, given = run(random_weights(random.Random(1)), events)
    assert given == list(range(given[0], given[0] + 23))
    assert [cycle for cycle, _ in sums[:20]] == list(range(sums[0][0], sums[0][0] + 20))


def test_a_sum_is_offered_four_cycles_after_its_last_event():
    sums, given = run(random_weights(random.Random(1)), [add(1, first=1), add(2, last=1)])
    assert sums[0][0] - given[1] == 4


def test_a_sum_stays_until_it_is_taken():
    dut = Accumulators(PARAMS)

    async def bench(ctx):
        await load_rows(ctx, dut.load, MemoryId.WEIGHTS, [packed([1] * 8)])
        ctx.set(dut.i, add(0, first=1, last=1))
        await ctx.tick()
        ctx.set(dut.i, NOTHING)
        await ctx.tick().repeat(5)
        for _ in range(10):
            assert ctx.get(dut.o.valid) and not ctx.get(dut.idle)
            assert plain(ctx.get(dut.o.p)) == [1] * 8
            await ctx.tick()
        ctx.set(dut.o.ready, 1)
        await ctx.tick()
        assert not ctx.get(dut.o.valid) and ctx.get(dut.idle)

    simulate(dut, bench)


def test_the_widest_sums_come_out_with_their_sign():
    top = [[-16] * 8, [15] * 8]
    events = [add(row, first=int(step == 0), double=int(step > 0), last=int(step == 8)) for row in (0, 1)
              for step in range(9)]
    (_, low), (_, high) = run(top, events)[0]
    assert low == [-16 * 511] * 8 and high == [15 * 511] * 8      # acc_bits = 14: -8192 to 8191


def test_other_memories_of_the_program_do_not_touch_the_weights():
    dut = Accumulators(PARAMS)

    async def bench(ctx):
        await load_rows(ctx, dut.load, MemoryId.WEIGHTS, [packed([3] * 8)])
        for memory in set(MemoryId) - {MemoryId.WEIGHTS}:
            await load_rows(ctx, dut.load, memory, [packed([5] * 8)])
        ctx.set(dut.i, add(0, first=1, last=1))
        await ctx.tick()
        ctx.set(dut.i, NOTHING)
        *_, values = await ctx.tick().sample(dut.o.p).until(dut.o.valid)
        assert plain(values) == [3] * 8

    simulate(dut, bench)
