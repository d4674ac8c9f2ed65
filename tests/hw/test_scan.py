"""The bit scan turns entries into weight rows: every set bit once, one event per cycle."""

import dataclasses
import random
from collections import Counter

import pytest
from amaranth.hdl import ResetInserter, Signal

from qblif.hw.params import CoreParams
from qblif.hw.scan import BitScanner
from qblif.hw.words import entry as entry_layout

from .bench import simulate
from .core_bench import SETTLE, feed, plain

W = 32
PARAMS = CoreParams(lanes=8, word_bits=W, neuron_lanes=2, weight_depth=4096)


def entry(bits, weight=0, **values):
    return {name: 0 for name, _ in entry_layout(PARAMS)} | {"bits": bits, "weight": weight} | values


def scan(entries, rng=None):
    """Return (cycle, event) of the events."""
    return watch(entries, rng)[0]


def watch(entries, rng=None):
    """Return (cycle, event) of the events, and the cycles stalled; with a generator, entries and releases pause.

    Never are more sums ended and not released than are kept, nor do two end closer together than their chunks go."""
    dut, found, stalls = BitScanner(PARAMS), [], []
    cycles = sum(max(cost(e), PARAMS.chunks) for e in entries) * (2 if rng is None else 8) + SETTLE

    async def source(ctx):
        await feed(ctx, dut.i, entries, rng)

    async def sink(ctx):
        unreleased, ended = 0, -PARAMS.chunks
        for cycle in range(cycles):
            release = unreleased > 0 and (rng is None or rng.random() < 0.2)
            ctx.set(dut.released, release)
            *_, event, stalled = await ctx.tick().sample(dut.o, dut.stalled)
            event = plain(event)
            assert not (event["valid"] and stalled)
            stalls.extend([cycle] * stalled)
            if event["valid"]:
                found.append((cycle, event))
                if event["last"]:
                    assert unreleased < PARAMS.sums_kept, "a sum ended for which there is no room"
                    assert cycle - ended >= PARAMS.chunks, "a sum ended too close behind its predecessor"
                    ended = cycle
            else:
                assert event["skip"] == 0xFF
                assert event["last"] == (cycle == 0), "the end of a sum that nobody asks for comes after a reset only"
            unreleased += (event["valid"] & event["last"]) - release
        assert ctx.get(dut.idle)

    simulate(dut, source, sink)
    return found, stalls


def cost(e):
    """Return the cycles that an entry needs: its additions, and the doublings that cannot ride on one."""
    additions = 1 if e["diagonal"] else bin(e["bits"]).count("1")
    return max(1, additions + max(0, e["before"] - 1) + e["after"])


def sums_of_entries(entries):
    """Return one Counter per sum of ((weight row, lane mask), doublings until the sum's end)."""
    sums = []
    for e in entries:
        if e["first"]:
            sums.append([])
        sums[-1] = [(what, doublings + e["before"]) for what, doublings in sums[-1]]
        if e["diagonal"]:
            sums[-1] += [((e["weight"], e["bits"] >> shift & 0xFF), 0) for shift in range(0, W, 8)
                         if e["bits"] >> shift & 0xFF]
        else:
            sums[-1] += [(((e["weight"] + bit) % 4096, 0xFF), 0) for bit in range(W) if e["bits"] >> bit & 1]
        sums[-1] = [(what, doublings + e["after"]) for what, doublings in sums[-1]]
    return [Counter(added) for added in sums]


def sums_of_events(events):
    """Return the same of events; checks that each sum begins and ends where its flags say."""
    sums = []
    for before, event in zip([{"last": 1}, *events], events, strict=False):
        if before["last"]:
            sums.append([])
        assert event["add"] or event["skip"] == 0xFF
        sums[-1] = [(what, doublings + event["double"]) for what, doublings in sums[-1]]
        if event["add"]:
            sums[-1].append(((event["weight"], 0xFF & ~event["skip"]), 0))
    assert events[-1]["last"]
    return [Counter(added) for added in sums]


def random_entries(rng, sums):
    """Return entries as the word reader makes them."""
    entries = []
    for _ in range(sums):
        if rng.random() < 0.2:
            entries.append(entry(0, first=1, last=1))
            continue
        one = []
        for index in range(rng.randint(1, 5)):
            diagonal, bits = rng.random() < 0.3, 0
            while not bits:
                bits = rng.getrandbits(W) & rng.choice([rng.getrandbits(W), 1 << rng.randrange(W), ~0 << 31, 1])
                bits &= (0xFF << rng.randrange(0, W, 8)) if diagonal else ~0
            one.append(entry(bits, rng.randrange(4096), diagonal=int(diagonal), again=rng.randint(0, 1),
                             before=rng.choice([0, 0, 1, 1, 2, 7]) if index else 0))
        one[0]["first"], one[-1]["last"], one[-1]["after"] = 1, 1, rng.choice([0, 0, 0, 1, 4])
        entries += one
    return entries


@pytest.mark.parametrize("seed", range(3))
def test_every_set_bit_is_added_once_with_its_doublings_and_no_cycle_is_lost(seed):
    entries = random_entries(random.Random(seed), 25)
    found, stalls = watch(entries)
    assert sums_of_events([event for _, event in found]) == sums_of_entries(entries)
    assert len(found) == sum(map(cost, entries))
    cycles = sorted([cycle for cycle, _ in found] + stalls)      # sums of one event come faster than they are released
    assert cycles == list(range(cycles[0], cycles[0] + len(cycles)))


def test_pauses_on_both_sides_change_nothing():
    rng = random.Random(9)
    entries = random_entries(rng, 15)
    assert [event for _, event in scan(entries, rng)] == [event for _, event in scan(entries)]


def test_one_event_per_cycle_also_across_entries():
    entries = [entry(1 << index % W, first=int(index == 0), last=int(index == 39)) for index in range(40)]
    cycles = [cycle for cycle, _ in scan(entries)]
    assert cycles == list(range(cycles[0], cycles[0] + 40)) and cycles[0] <= 6


def test_a_sum_ends_when_there_is_room_for_it_and_not_before():
    dut, entries = BitScanner(PARAMS), [entry(0b11111, first=1, last=1)] * 6
    events, stalls = [], []

    async def source(ctx):
        await feed(ctx, dut.i, entries)

    async def sink(ctx):
        for cycle in range(90):
            ctx.set(dut.released, cycle in (40, 60))
            *_, event, stalled = await ctx.tick().sample(dut.o, dut.stalled)
            events.extend([cycle] * event.valid)
            stalls.extend([cycle] * stalled)

    simulate(dut, source, sink)
    # Four sums at once, and all of the fifth but its end, which goes three cycles after the release.
    assert PARAMS.sums_kept == 4
    assert events[:24] == list(range(events[0], events[0] + 24))
    assert events[24:] == [43, 44, 45, 46, 47, 63]
    assert stalls == [*range(events[23] + 1, 43), *range(48, 63)]


def test_sums_end_as_far_apart_as_they_have_chunks():
    first = entry(0xFF, first=1, last=1)
    found, stalls = watch([first] + [entry(0b1, first=1, last=1)] * 12)
    cycles = [cycle for cycle, _ in found[7:]]
    assert cycles == list(range(cycles[0], cycles[0] + 13 * PARAMS.chunks, PARAMS.chunks))
    assert len(stalls) == 12 * (PARAMS.chunks - 1)


@pytest.mark.parametrize("neuron_lanes", [1, 2, 8])
def test_after_a_reset_the_first_sum_ends_no_earlier_than_what_was_under_way_has_gone(neuron_lanes):
    params = dataclasses.replace(PARAMS, neuron_lanes=neuron_lanes)
    dut, ended = BitScanner(params), []

    async def source(ctx):
        await feed(ctx, dut.i, [entry(0b1, first=1, last=1)])

    async def sink(ctx):
        for cycle in range(40):
            *_, event = await ctx.tick().sample(dut.o)
            ended.extend([cycle] * (event.valid & event.last))

    simulate(dut, source, sink)
    assert len(ended) == 1 and ended[0] >= params.chunks


@pytest.mark.parametrize("under_way", range(1, 9))
def test_what_passes_through_a_reset_ends_a_sum_and_nothing_comes_after_it(under_way):
    dut, found = BitScanner(PARAMS), []
    reset = ResetInserter(dut_reset := Signal())(dut)

    async def source(ctx):
        ctx.set(dut.i.valid, 1)
        ctx.set(dut.i.p, entry(0x0F0F_FFFF, first=1))
        await ctx.tick().repeat(under_way)
        ctx.set(dut_reset, 1)
        await ctx.tick()
        ctx.set(dut_reset, 0)
        ctx.set(dut.i.valid, 0)
        for _ in range(8):
            *_, event = await ctx.tick().sample(dut.o)
            found.append((event.valid, event.last, event.skip))

    simulate(reset, source)
    (*first, skip), *later = found
    assert first == [0, 1] and later == [(0, 0, 0xFF)] * 7
    assert skip == (0 if under_way > 3 else 0xFF)


def test_the_lowest_bit_comes_first():
    found = scan([entry(0x8000_0101, 100, first=1, last=1)])
    assert [event["weight"] for _, event in found] == [100, 108, 131]
    assert [event["last"] for _, event in found] == [0, 0, 1]


def test_a_doubling_rides_on_an_addition_where_it_can():
    (_, only), = scan([entry(1, first=1, last=1)])
    assert not only["double"]
    found = [event for _, event in scan([entry(1, first=1), entry(2, before=1), entry(4, before=3, after=2, last=1)])]
    assert [(event["double"], event["add"]) for event in found] == [(0, 1), (1, 1), (1, 0), (1, 0), (1, 1),
                                                                    (1, 0), (1, 0)]
    assert [event["last"] for event in found] == [0, 0, 0, 0, 0, 0, 1]


@pytest.mark.parametrize("chunk", range(4))
def test_a_diagonal_entry_is_one_addition_under_its_lane_mask(chunk):
    (_, event), = scan([entry(0xA5 << 8 * chunk, 77, diagonal=1, first=1, last=1)])
    assert (event["add"], event["weight"], event["skip"], event["diagonal"]) == (1, 77, 0x5A, 1)


def test_a_sum_without_bits_is_one_event_that_adds_nothing():
    (_, event), = scan([entry(0, first=1, last=1)])
    assert (event["last"], event["add"], event["skip"], event["double"]) == (1, 0, 0xFF, 0)


def test_weight_rows_wrap_at_the_end_of_the_memory():
    (_, event), = scan([entry(1 << 10, 4090, first=1, last=1)])
    assert event["weight"] == 4
