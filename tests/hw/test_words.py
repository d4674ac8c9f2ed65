"""The word reader hands on the set bits of runs, and nothing that costs the scan a cycle for nothing."""

import random
from collections import Counter

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.memory import Memory

from qblif.hw.params import CoreParams
from qblif.hw.runs import run as run_layout
from qblif.hw.words import WordReader

from .bench import simulate, stability
from .core_bench import feed, gather, take

W, DEPTH = 32, 64
PARAMS = CoreParams(lanes=8, word_bits=W, neuron_lanes=2, map_depth=DEPTH, weight_depth=4096)
LATENCY = 12


class Bench(wiring.Component):
    """The reader with the feature-map memory that its docstring asks for."""

    def __init__(self, words):
        self.words, self.reader = words, WordReader(PARAMS)
        super().__init__({})

    def elaborate(self, platform):
        m = Module()
        m.submodules.reader = self.reader
        m.submodules.memory = memory = Memory(shape=W, depth=DEPTH, init=self.words)
        port = memory.read_port()
        m.d.comb += [port.addr.eq(self.reader.address), self.reader.data.eq(port.data)]
        return m


def run(address=0, bit_first=0, bit_last=W - 1, weight=0, **flags):
    return {name: 0 for name, _ in run_layout(PARAMS)} | {
        "address": address, "bit_first": bit_first, "bit_last": bit_last, "weight": weight} | flags


def sums_of_runs(words, runs):
    """Return one Counter per sum: how often what is added, and how often that is doubled until the sum's end.

    What: a weight row, or (weight row, lane mask) where diagonal; with `again`."""
    sums = []
    for r in runs:
        if r["first"]:
            sums.append([])
        sums[-1] = [(what, doublings + r["doublings"]) for what, doublings in sums[-1]]
        if r["empty"]:
            continue
        for bit in range(r["bit_first"], r["bit_last"] + 1):
            if words[r["address"] + bit // W] >> bit % W & 1:
                row = r["weight"] if r["diagonal"] else (r["weight"] + bit) % PARAMS.weight_depth
                sums[-1].append(((row, bit % PARAMS.lanes if r["diagonal"] else None, r["again"]), 0))
    return [Counter(added) for added in sums]


def sums_of_entries(entries):
    sums = []
    for e in entries:
        if e["first"]:
            sums.append([])
        sums[-1] = [(what, doublings + e["before"] + e["after"]) for what, doublings in sums[-1]]
        sums[-1] += [(((e["weight"] if e["diagonal"] else (e["weight"] + bit) % PARAMS.weight_depth),
                       bit % PARAMS.lanes if e["diagonal"] else None, e["again"]), e["after"])
                     for bit in range(W) if e["bits"] >> bit & 1]
    return [Counter(added) for added in sums]


def entries_of(words, runs, rng=None, count=None, cycles=None):
    """Return (cycle, entry) of the entries; with a generator (no cycles then), `count` are expected."""
    dut, found = Bench(words), []
    reader = dut.reader
    if cycles is None:
        cycles = sum(1 + r["bit_last"] // W - r["bit_first"] // W for r in runs) + LATENCY

    async def source(ctx):
        await feed(ctx, reader.i, runs, rng)

    async def sink(ctx):
        if rng is None:
            found.extend(await gather(ctx, reader.o, cycles))
        else:
            found.extend((None, entry) for entry in await take(ctx, reader.o, count, rng, 0.6))
        assert ctx.get(reader.idle)

    simulate(dut, source, sink, processes=[stability(reader.o)])
    return found


def entries(words, *runs):
    return [entry for _, entry in entries_of(words, runs)]


def random_words(rng, density):
    return [sum((rng.random() < density) << bit for bit in range(W)) if rng.random() < 0.7 else 0 for _ in range(DEPTH)]


def random_sum(rng):
    """Return the runs of one sum: some empty, some masked lane chunks, some several words long."""
    runs = []
    for index in range(rng.randint(1, 7)):
        first = rng.randrange(4 * W)
        last = min(5 * W - 1, first + rng.choice([0, 3, 20, 60, 100]))
        diagonal = rng.random() < 0.3
        if diagonal:
            first = first // PARAMS.lanes * PARAMS.lanes
            last = first + PARAMS.lanes - 1
        runs.append(run(rng.randrange(DEPTH - 5), first, last, rng.randrange(4096), diagonal=int(diagonal),
                        again=rng.randint(0, 1), empty=int(rng.random() < 0.2),
                        doublings=rng.choice([0, 0, 1, 1, 2, 6]) if index else 0))
    runs[0]["first"] = runs[-1]["last"] = 1
    return runs


def jobs(seed, density, sums=25):
    rng = random.Random(seed)
    words = random_words(rng, density)
    return words, [r for _ in range(sums) for r in random_sum(rng)], rng


DENSITIES = [0, 0.02, 0.2, 1]


@pytest.mark.parametrize("density", DENSITIES)
def test_every_set_bit_is_handed_on_once_and_doubled_as_often_as_its_run_says(density):
    words, runs, _ = jobs(1, density)
    assert sums_of_entries(entries(words, *runs)) == sums_of_runs(words, runs)


@pytest.mark.parametrize("density", DENSITIES)
def test_entries_have_set_bits_except_that_of_a_sum_without_any(density):
    words, runs, _ = jobs(2, density)
    found = entries(words, *runs)
    for e in found:
        assert e["bits"] or (e["first"] and e["last"] and not e["before"] and not e["after"])
        assert not (e["first"] and e["before"]), "doublings of nothing"
        assert not (e["after"] and not e["last"])
    assert [1, *(e["last"] for e in found)] == [*(e["first"] for e in found), 1]


def test_pauses_on_both_sides_change_nothing():
    words, runs, rng = jobs(3, 0.1, sums=15)
    plain = entries(words, *runs)
    assert [entry for _, entry in entries_of(words, runs, rng, len(plain))] == plain


def words_with(**at):
    """Return memory contents: word_3=0b1 and so on, all else empty."""
    return [at.get(f"word_{index}", 0) for index in range(DEPTH)]


def test_the_first_and_last_word_of_a_run_are_masked():
    words = [(1 << W) - 1] * DEPTH
    found = entries(words, run(10, 30, 65, 0, first=1, last=1))
    assert [e["bits"] for e in found] == [0b11 << 30, (1 << W) - 1, 0b11]
    assert [e["weight"] for e in found] == [0, W, 2 * W]


def test_empty_words_are_dropped():
    found = entries(words_with(word_7=2), run(0, 0, 20 * W - 1, first=1, last=1))
    assert [(e["bits"], e["weight"]) for e in found] == [(2, 7 * W)]


def test_doublings_of_planes_without_bits_travel_with_the_next_entry():
    words = words_with(word_1=1, word_5=1)
    planes = [run(plane, doublings=min(plane, 1)) for plane in range(9)]
    planes[0]["first"] = planes[-1]["last"] = 1
    top, low = entries(words, *planes)
    assert (top["first"], top["before"], top["last"]) == (1, 0, 0)      # what is doubled above it is nothing
    assert (low["first"], low["before"], low["last"], low["after"]) == (0, 4, 1, 3)


def test_a_sum_without_set_bits_is_one_entry():
    found = entries(words_with(), run(first=1), run(1, doublings=2), run(2, doublings=1, last=1))
    assert [(e["bits"], e["first"], e["last"]) for e in found] == [(0, 1, 1)]


def test_an_end_without_bits_goes_to_the_last_entry_of_its_sum():
    words = words_with(word_0=1, word_1=2)
    found = entries(words, run(0, first=1), run(1), run(2, empty=1), run(3, last=1), run(1, first=1, last=1))
    assert [(e["bits"], e["first"], e["last"]) for e in found] == [(1, 1, 0), (2, 0, 1), (2, 1, 1)]


def test_a_diagonal_run_keeps_its_bits_in_place_and_adds_one_weight_row():
    (found,) = entries(words_with(word_2=0x00A5_0000), run(1, W + 16, W + 23, 9, diagonal=1, first=1, last=1))
    assert (found["bits"], found["weight"], found["diagonal"]) == (0x00A5_0000, 9, 1)


def test_one_word_per_cycle_also_across_runs():
    words = [1] * DEPTH
    runs = [run(0, 5 * W, 8 * W - 1, first=1), *(run(index) for index in range(8)), run(9, 0, 4 * W - 1, last=1)]
    cycles = [cycle for cycle, _ in entries_of(words, runs)]
    assert len(cycles) == 3 + 8 + 4 and cycles == list(range(cycles[0], cycles[0] + 15))


def test_empty_words_cost_one_cycle_each_at_most():
    runs = [run(0, 0, 30 * W - 1, first=1), run(63, last=1)]
    (cycle, _), = entries_of(words_with(word_63=1), runs)
    assert cycle <= 31 + LATENCY


def test_the_reader_runs_ahead_of_a_scan_that_is_busy():
    """While the scan takes nothing, the reader passes over empty words and gathers entries."""
    words = [1] * DEPTH
    dut = Bench(words)
    runs = [run(index % DEPTH, first=1, last=1) for index in range(12)]
    taken = []

    async def source(ctx):
        await feed(ctx, dut.reader.i, runs)
        taken.append("all")

    async def sink(ctx):
        await ctx.tick().repeat(30)
        assert taken, "the reader waited"
        taken.extend(await gather(ctx, dut.reader.o, 14))

    simulate(dut, source, sink)
    assert len(taken) == 13 and taken[-1][0] <= 13
