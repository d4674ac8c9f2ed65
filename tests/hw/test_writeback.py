"""Levels are written as bit planes, each where the layer's row says, and never more are let in than fit."""

import dataclasses
import itertools
import random

import pytest

from qblif.host import abi
from qblif.hw.neuron import LATENCY
from qblif.hw.params import CoreParams
from qblif.hw.writeback import WriteBack

from .bench import simulate, stability
from .core_bench import SETTLE, plain

FOUR_BANKS = CoreParams(lanes=8, word_bits=32, neuron_lanes=2)
ONE_BANK = CoreParams(lanes=32, word_bits=32, neuron_lanes=16)
ALL_LANES = CoreParams(lanes=16, word_bits=32, neuron_lanes=16, level_bits=3)
ONE_LANE = dataclasses.replace(FOUR_BANKS, neuron_lanes=1, level_bits=8)


def layer(**values):
    row = {name: 0 for name, *_ in abi.LAYER_FIELDS} | dict.fromkeys(("rows", "groups", "cols", "steps"), 1)
    return row | {"out_planes": 5} | values


def groups(row):
    """Return the number of lane groups of levels that a layer makes, over all positions and steps."""
    return row["rows"] * row["groups"] * row["cols"] * row["steps"]


def writes(params, row, levels):
    """Return (address, bank, bits of the lanes, row is complete) of each write, in order; levels: a list per group."""
    found, levels = [], iter(levels)
    last = tuple(row[name] - 1 for name in ("groups", "cols", "steps", "out_planes"))
    for y, group, x, step in itertools.product(*map(range, (row["rows"], row["groups"], row["cols"], row["steps"]))):
        word, bank = divmod(row["out_chunk"] + group * row["out_group_step"] + x * row["out_col_step"], params.banks)
        at = row["out_base"] + y * row["out_row_step"] + step * row["out_step_step"] + word
        lanes = next(levels)
        found += [(at + plane * row["out_plane_step"], bank,
                   sum((level >> plane & 1) << lane for lane, level in enumerate(lanes)),
                   int((group, x, step, plane) == last))
                  for plane in range(row["out_planes"])]
    return found


def run(params, jobs, rng=None, ready=0.5):
    """Write the levels of layers (row, levels) one after the other; return for each the writes and their cycles.

    Chunks are issued while there is credit and arrive as many cycles later as the neuron unit's pipeline is long."""
    dut, results = WriteBack(params), []
    n = params.neuron_lanes

    async def bench(ctx):
        for row, levels in jobs:
            ctx.set(dut.layer, row)
            ctx.set(dut.begin, 1)
            await ctx.tick()
            ctx.set(dut.begin, 0)
            chunks = [lanes[at:at + n] for lanes in levels for at in range(0, params.lanes, n)]
            pipeline, found, quiet, cycle = [None] * LATENCY, [], 0, 0
            issued = False
            while quiet < SETTLE:
                credit = ctx.get(dut.credit)
                issue = bool(chunks) and credit and (rng is None or rng.random() < 0.8)
                pipeline.append(chunks.pop(0) if issue else None)
                arriving = pipeline.pop(0)
                ctx.set(dut.issued, issued)
                issued = issue
                ctx.set(dut.i.valid, arriving is not None)
                if arriving is not None:
                    ctx.set(dut.i.payload, arriving)
                ctx.set(dut.o.ready, rng is None or rng.random() < ready)
                *_, valid, taken, item = await ctx.tick().sample(dut.o.valid, dut.o.ready, dut.o.p)
                if valid and taken:
                    found.append((cycle, *placed(params, plain(item))))
                cycle += 1
                quiet = quiet + 1 if not chunks and len(found) >= groups(row) * row["out_planes"] and ctx.get(
                    dut.idle) else 0
            results.append(found)

    simulate(dut, bench, processes=[stability(dut.o)])
    return results


def placed(params, write):
    """Return (address, bank, bits, row is complete) of a write; it goes to one bank and is no commit."""
    bank = write["enable"].bit_length() - 1
    assert write["enable"] == 1 << bank and not write["commit"]
    return write["address"], bank, write["data"] >> bank * params.lanes & (1 << params.lanes) - 1, write["part"]


def random_job(rng, params):
    row = layer(**{name: rng.randint(1, 3) for name in ("rows", "groups", "cols", "steps")},
                **{name: rng.randrange(9) for name in ("out_chunk", "out_group_step", "out_col_step")},
                **{name: rng.randrange(1 << 16) for name in ("out_base", "out_row_step", "out_step_step",
                                                             "out_plane_step")},
                out_planes=rng.randint(1, params.level_bits))
    return row, [[rng.getrandbits(row["out_planes"]) for _ in range(params.lanes)] for _ in range(groups(row))]


@pytest.mark.parametrize("params", [FOUR_BANKS, ONE_BANK, ALL_LANES, ONE_LANE],
                         ids=["four banks", "one bank", "one chunk", "one lane at a time"])
def test_planes_are_written_where_the_layer_s_row_says(params):
    rng = random.Random(params.lanes)
    jobs = [random_job(rng, params) for _ in range(3)]
    for (row, levels), found in zip(jobs, run(params, jobs, rng), strict=True):
        assert [write for _, *write in found] == [list(write) for write in writes(params, row, levels)]


def test_lane_0_of_plane_0_is_bit_0_of_the_first_chunk():
    (found,) = run(FOUR_BANKS, [(layer(out_base=40, out_plane_step=3), [[1, 2, 4, 8, 16, 31, 0, 0]])])
    assert [tuple(write) for _, *write in found] == [(40, 0, 0b100001, 0), (43, 0, 0b100010, 0), (46, 0, 0b100100, 0),
                                                    (49, 0, 0b101000, 0), (52, 0, 0b110000, 1)]


def test_chunks_fill_the_banks_of_a_word_and_then_the_next_word():
    row = layer(cols=3, groups=2, out_planes=1, out_col_step=2, out_group_step=1, out_base=7)
    (found,) = run(FOUR_BANKS, [(row, [[0] * 8] * 6)])
    assert [(address, bank) for _, address, bank, *_ in found] == [(7, 0), (7, 2), (8, 0), (7, 1), (7, 3), (8, 1)]


def test_nothing_is_lost_while_the_map_is_not_to_be_written():
    rng = random.Random(5)
    job = random_job(rng, FOUR_BANKS)
    (found,) = run(FOUR_BANKS, [job], rng, ready=0.1)
    assert [tuple(write) for _, *write in found] == writes(FOUR_BANKS, *job)


def test_credit_ends_when_nothing_is_taken_and_comes_back():
    dut = WriteBack(FOUR_BANKS)

    async def bench(ctx):
        ctx.set(dut.layer, layer())
        ctx.set(dut.begin, 1)
        await ctx.tick()
        ctx.set(dut.begin, 0)
        count = 0
        for _ in range(200):
            credit = ctx.get(dut.credit)
            ctx.set(dut.issued, credit)
            ctx.set(dut.i.valid, credit)
            count += credit
            await ctx.tick()
        assert not credit and count >= 4 * FOUR_BANKS.chunks
        ctx.set(dut.issued, 0)
        ctx.set(dut.i.valid, 0)
        assert not ctx.get(dut.idle)
        ctx.set(dut.o.ready, 1)
        await ctx.tick().repeat(5 * count)
        assert ctx.get(dut.credit)

    simulate(dut, bench)


@pytest.mark.parametrize("planes", [1, 4, 5])
def test_one_plane_per_cycle_and_one_between_lane_groups_while_the_next_is_gathered(planes):
    count, pace = 12, max(planes + 1, FOUR_BANKS.chunks)
    (found,) = run(FOUR_BANKS, [(layer(cols=count, out_planes=planes), [[31] * 8] * count)])
    cycles = [cycle for cycle, *_ in found]
    # The read side of the queue may cost a cycle or two at the beginning.
    assert cycles[-1] - cycles[0] <= (count - 1) * pace + planes - 1 + 2


def test_a_narrower_map_than_the_hardware_s_levels_gets_its_planes_only():
    (found,) = run(FOUR_BANKS, [(layer(out_planes=2, out_plane_step=1), [[3] * 8])])
    assert [write[0] for _, *write in found] == [0, 1]
