"""The neuron unit computes the integers of docs/numerics.md, and goes no further than its surroundings allow."""

import dataclasses
import itertools
import random

import pytest

from qblif.host import abi
from qblif.host.abi import LayerKind, MemoryId, ResetStyle
from qblif.hw.neuron import LATENCY, PIPELINE_CYCLES, NeuronUnit
from qblif.hw.params import CoreParams

from .bench import simulate, stability
from .core_bench import SETTLE, load_rows, plain

PARAMS = CoreParams(lanes=8, word_bits=32, neuron_lanes=4, channel_depth=32)
SHAPES = [PARAMS, dataclasses.replace(PARAMS, neuron_lanes=8), dataclasses.replace(PARAMS, neuron_lanes=1)]
"""Two chunks per lane group, one, and more than the pipeline is long."""


@dataclasses.dataclass
class Job:
    """A layer: its row, (bias, shift) of each stored channel, and the sums in the order in which they come."""

    row: dict
    channels: list
    sums: list


# The model, in plain integers -------------------------------------------------------------------------------

def shifted(x, exponent):
    return 0 if exponent == abi.ZERO_FACTOR else x >> exponent


def membrane(row, f, v, s, c):
    """Return v one step later; s: the level of the step before."""
    if row["style"] == ResetStyle.GATE_SUM:
        a = shifted(v, row["decay"]) + c
        return shifted(a, row["reset"]) if s > 0 else a
    if row["style"] == ResetStyle.GATE_MEMBRANE:
        return shifted(shifted(v, row["reset"]) if s > 0 else v, row["decay"]) + c
    back = 0 if row["reset"] == abi.ZERO_FACTOR else (s << f) >> row["reset"]
    return shifted(v - back, row["decay"]) + c


def level(row, f, v):
    h = 1 << f >> 1 if row["rounds"] else 0
    return max(0, min(row["levels"], (v + h) >> f))


def records(job, lanes):
    """Yield (step, row, group, col, currents, membranes, levels), one entry per lane each, in order."""
    row, sums = job.row, iter(job.sums)
    places = itertools.product(range(row["rows"]), range(row["groups"]), range(row["cols"]))
    for y, group, x in places:
        channels = job.channels[group * lanes:(group + 1) * lanes]
        v = s = [0] * lanes
        for step in range(row["steps"]):
            if row["kind"] == LayerKind.MAX:
                c = v = s = [max(0, *tap) for tap in zip(*[next(sums) for _ in range(row["sources"])], strict=True)]
            else:
                if step == 0 or not row["static"]:
                    total = next(sums)
                c = [part + bias for part, (bias, _) in zip(total, channels, strict=True)]
                if row["kind"] == LayerKind.READOUT:
                    v = [a + b for a, b in zip(v, c, strict=True)]
                else:
                    v = [membrane(row, f, *state) for (_, f), *state in zip(channels, v, s, c, strict=True)]
                    s = [level(row, f, value) for (_, f), value in zip(channels, v, strict=True)]
            yield step, y, group, x, c, v, s


def expected(job, params):
    """Return (chunks of levels, logits with their last flags)."""
    found = list(records(job, params.lanes))
    if job.row["kind"] == LayerKind.READOUT:
        logits = [v for step, _, _, _, _, vs, _ in found if step == job.row["steps"] - 1 for v in vs]
        logits = logits[:job.row["classes"]]
        return [], [(value, int(index == len(logits) - 1)) for index, value in enumerate(logits)]
    n = params.neuron_lanes
    return [s[at:at + n] for *_, s in found for at in range(0, params.lanes, n)], []


# The hardware -----------------------------------------------------------------------------------------------

def run(params, jobs, rng=None, cycles=20_000):
    """Run layers one after the other; return, for each, (chunks of levels, logits, cycles from the first sum)."""
    dut = NeuronUnit(params)
    n, results = params.neuron_lanes, []
    job_at = [None]

    async def source(ctx):
        while job_at[0] != "over":
            if job_at[0] is None:
                await ctx.tick()
                continue
            job, job_at[0] = job_at[0], None
            await feed_sums(ctx, dut, params, job.sums, rng)

    async def bench(ctx):
        for job in jobs:
            await load_rows(ctx, dut.load, MemoryId.CHANNELS, channel_rows(job.channels, n), job.row["channel_first"])
            ctx.set(dut.layer, job.row)
            await ctx.tick()        # the row is there a cycle before
            ctx.set(dut.begin, 1)
            await ctx.tick()
            ctx.set(dut.begin, 0)
            job_at[0] = job
            results.append(await collect(ctx, dut, *map(len, expected(job, params)), rng, params.chunks))
        job_at[0] = "over"

    simulate(dut, bench, source, processes=[stability(dut.logits)], cycles=cycles)
    return results


async def feed_sums(ctx, dut, params, sums, rng=None):
    """Give the sums, each as its chunks in consecutive cycles, at most params.sums_kept that have not been released."""
    n, unreleased, sums = params.neuron_lanes, 0, list(sums)
    chunks = []
    while sums or chunks or unreleased:
        if not chunks and sums and unreleased < params.sums_kept and (rng is None or rng.random() < 0.6):
            chunks = [sums[0][at:at + n] for at in range(0, params.lanes, n)]
            del sums[0]
            unreleased += 1
        ctx.set(dut.i.valid, bool(chunks))
        if chunks:
            ctx.set(dut.i.payload, chunks.pop(0))
        *_, released = await ctx.tick().sample(dut.released)
        unreleased -= released
        assert unreleased >= 0, "more sums released than were given"
    ctx.set(dut.i.valid, 0)


async def collect(ctx, dut, chunk_count, logit_count, rng, chunks_per_group=2):
    """Take chunks and logits, with random credit and back-pressure; see that the layer ends and no more come."""
    chunks, logits, issued, quiet, cycle, ended, before = [], [], 0, 0, 0, 0, 0
    while quiet < SETTLE:
        ctx.set(dut.credit, rng is None or rng.random() < 0.5)
        ctx.set(dut.logits.ready, rng is None or rng.random() < 0.5)
        *_, credit, sent, valid, levels, out, ready, logit = await ctx.tick().sample(
            dut.credit, dut.issued, dut.o.valid, dut.o.payload, dut.logits.valid, dut.logits.ready, dut.logits.p)
        cycle += 1
        assert before or not sent or issued % chunks_per_group, "a lane group was begun without credit"
        before = credit
        issued += sent
        if valid:
            chunks.append(plain(levels))
        if out and ready:
            value = plain(logit)["value"]
            logits.append((value - (value >> 31 << 32), plain(logit)["last"]))
        if valid or (out and ready):
            ended = cycle
        complete = len(chunks) >= chunk_count and len(logits) >= logit_count and ctx.get(dut.idle)
        quiet = quiet + 1 if complete else 0
    assert issued == len(chunks)
    return chunks, logits, ended


def channel_rows(channels, n):
    """Return rows of n channels each."""
    return [sum(abi.pack(abi.CHANNEL_FIELDS, {"bias": bias, "shift": shift}) << 32 * lane
                for lane, (bias, shift) in enumerate(channels[at:at + n])) for at in range(0, len(channels), n)]


def check(params, jobs, rng=None):
    for job, (chunks, logits, _) in zip(jobs, run(params, jobs, rng), strict=True):
        assert (chunks, logits) == expected(job, params), f"layer {job.row}, channels {job.channels}, sums {job.sums}"


# Layers -----------------------------------------------------------------------------------------------------

def layer(kind=LayerKind.NEURON, **values):
    row = {name: 0 for name, *_ in abi.LAYER_FIELDS}
    row |= dict.fromkeys(("steps", "rows", "groups", "cols", "sources"), 1)
    return row | {"kind": kind, "style": ResetStyle.GATE_SUM, "levels": 31} | values


def neuron_job(rng, params=PARAMS, **values):
    """Return a layer whose currents spread over the levels and on both sides of zero; |v| stays below 2**23."""
    row = layer(**values)
    row["group_channels"] = params.chunks
    least = row["reset"] if row["style"] == ResetStyle.SUBTRACT and row["reset"] != abi.ZERO_FACTOR else 0
    shifts = [rng.randint(least, 20) for _ in range(params.lanes * row["groups"])]

    def current(f):
        most = min((row["levels"] + 3) << f, 1 << 19)
        return rng.choice([rng.randint(-most, most), rng.randint(-most, most), (1 << f) - 1, -1, 0])

    channels = [(current(f) if rng.random() < 0.5 else 0, f) for f in shifts]
    fields = row["rows"] * row["cols"] * (1 if row["static"] else row["steps"])
    sums = []
    for number in range(fields * row["groups"]):
        group = number // (fields // row["rows"]) % row["groups"]
        sums.append([current(f) for _, f in channels[group * params.lanes:(group + 1) * params.lanes]])
    return Job(row, channels, sums)


FACTORS = (abi.ZERO_FACTOR, 0, 1, 3)


@pytest.mark.parametrize("style", ResetStyle, ids=lambda style: style.name.lower())
@pytest.mark.parametrize("rounds", [0, 1], ids=["floors", "rounds"])
def test_levels_are_those_of_plain_integers_for_every_decay_and_reset(style, rounds):
    rng = random.Random(f"{style} {rounds}")
    jobs = [neuron_job(rng, style=style, rounds=rounds, decay=decay, reset=reset, steps=4,
                       levels=rng.choice([1, 2, 5, 20, 31]))
            for decay, reset in [*itertools.product(FACTORS, FACTORS), (14, 14), (2, 14), (14, 2)]]
    check(PARAMS, jobs)


@pytest.mark.parametrize("params", SHAPES, ids=lambda params: f"{params.chunks} chunks")
def test_rows_groups_columns_and_steps_come_in_order_and_pauses_change_nothing(params):
    rng = random.Random(params.chunks)
    jobs = [neuron_job(rng, params, style=style, decay=1, reset=1, rows=2, groups=2, cols=2, steps=steps)
            for style, steps in [(ResetStyle.GATE_SUM, 3), (ResetStyle.SUBTRACT, 1)]]
    check(params, jobs, rng)


@pytest.mark.parametrize("params", SHAPES, ids=lambda params: f"{params.chunks} chunks")
def test_a_static_layer_uses_one_sum_for_all_steps(params):
    rng = random.Random(3)
    check(params, [neuron_job(rng, params, static=1, steps=5, cols=3, decay=1, reset=0, style=ResetStyle.SUBTRACT)],
          rng)


def one_lane(sums, f, bias=0, **values):
    """Return the levels of a neuron that gets these sums, one per step."""
    job = Job(layer(steps=len(sums), **values), [(bias, f)] * 8, [[value] * 8 for value in sums])
    (chunks, _, _), = run(PARAMS, [job])
    return [chunk[0] for chunk in chunks[::2]]


def test_the_paper_s_equation_with_tau_2():
    # v: 10, 10 (fired: (5 + 15) / 2), 2 (fired: 5 / 2); f = 1
    assert one_lane([10, 15, 0], f=1, decay=1, reset=1) == [5, 5, 1]


def test_a_reset_is_floored_where_the_level_is_rounded():
    # v: 3, 3 >> 1 = 1, 1: with f = 0 there is nothing to round. With f = 1: 5 (level 3), 6 >> 1 = 3 (2), 5 >> 1 = 2 (1)
    gated = dict(rounds=1, style=ResetStyle.GATE_SUM, decay=abi.ZERO_FACTOR, reset=1)
    assert one_lane([3, 3, 3], f=0, **gated) == [3, 1, 1]
    assert one_lane([5, 6, 5], f=1, **gated) == [3, 2, 1]


def test_negative_membranes_are_kept_and_decay_towards_minus_infinity():
    # v: -5, -3 + 3 = 0, 1
    assert one_lane([-5, 3, 1], f=0, decay=1, reset=0) == [0, 0, 1]


def test_levels_are_clipped_at_n_and_the_membrane_is_not():
    # v: 40, 20, 10, 5 without a reset
    assert one_lane([40, 0, 0, 0], f=0, levels=12, decay=1, reset=0) == [12, 12, 10, 5]


def test_subtraction_takes_what_was_sent():
    # v: 7 (level 3), 7 - 6 + 0 = 1 (0), 1 + 1 = 2 (1)
    assert one_lane([7, 0, 1], f=1, style=ResetStyle.SUBTRACT, decay=0, reset=0) == [3, 0, 1]


@pytest.mark.parametrize("rounds, levels", [(0, [0, 1, 7]), (1, [1, 1, 8])], ids=["floors", "rounds"])
def test_the_ends_of_the_number_range_do_not_wrap(rounds, levels):
    top = (1 << 23) - 1
    sums = [1 << 19, 1 << 20, top]
    jobs = [Job(layer(rounds=rounds, decay=abi.ZERO_FACTOR), [(0, 20)] * 8, [[value] * 8]) for value in sums]
    jobs.append(Job(layer(rounds=rounds), [(-1, 20)] * 8, [[-top] * 8]))
    assert [chunks[0][0] for chunks, _, _ in run(PARAMS, jobs)] == [*levels, 0]


@pytest.mark.parametrize("params", SHAPES, ids=lambda params: f"{params.chunks} chunks")
def test_max_is_the_largest_tap_of_each_window_and_step(params):
    rng = random.Random(11)
    row = layer(LayerKind.MAX, sources=4, steps=2, cols=2, groups=2, group_channels=params.chunks)
    sums = [[rng.randint(0, 31) for _ in range(8)] for _ in range(4 * 2 * 2 * 2)]
    row2 = layer(LayerKind.MAX, sources=1, cols=2)
    check(params, [Job(row, [(0, 0)] * 16, sums), Job(row2, [(0, 0)] * 8, sums[:2])], rng)


@pytest.mark.parametrize("params", SHAPES, ids=lambda params: f"{params.chunks} chunks")
@pytest.mark.parametrize("classes", [1, 8, 11])
def test_logits_are_the_sums_over_all_steps_one_by_one_with_the_last_marked(params, classes):
    rng = random.Random(classes)
    groups = -(-classes // 8)
    row = layer(LayerKind.READOUT, classes=classes, groups=groups, steps=3, group_channels=params.chunks)
    channels = [(rng.randint(-1 << 16, 1 << 16), 0) for _ in range(8 * groups)]
    sums = [[rng.randint(-1 << 20, 1 << 20) for _ in range(8)] for _ in range(3 * groups)]
    static = Job(row | {"static": 1}, channels, sums[:groups])
    check(params, [Job(row, channels, sums), static, Job(row, channels, sums[::-1])], rng)


def test_the_channel_table_is_read_where_the_layer_says():
    rng = random.Random(2)
    job = neuron_job(rng, groups=2, rows=2, steps=2, channel_first=9)
    check(PARAMS, [job])
    # Four channels per row: the lane groups read rows 5, 6 and 12, 13.
    apart = Job(layer(groups=2, channel_first=5, group_channels=7), [(0, 0)] * 8 + [(9, 9)] * 20 + [(1, 0)] * 8,
                [[3] * 8] * 2)
    (chunks, _, _), = run(PARAMS, [apart])
    assert chunks == [[3] * 4, [3] * 4, [4] * 4, [4] * 4]


def test_one_chunk_per_cycle_where_steps_do_not_wait_for_each_other():
    four = dataclasses.replace(PARAMS, neuron_lanes=2)
    many = neuron_job(random.Random(1), four, cols=12)
    (_, _, cycles), = run(four, [many])
    assert cycles <= 12 * 4 + LATENCY + 4
    long = neuron_job(random.Random(1), SHAPES[2], cols=2, steps=4)
    (_, _, cycles), = run(SHAPES[2], [long])
    assert cycles <= 8 * 8 + LATENCY + 4


@pytest.mark.parametrize("lanes", [8, 4, 2, 1])
@pytest.mark.parametrize("kind", ["neuron", "static", "max", "readout"])
def test_every_sum_is_released_once_and_another_may_follow_three_cycles_later(kind, lanes):
    """The chunks of the next sum overwrite those of the released one while these are still being read."""
    params = dataclasses.replace(PARAMS, neuron_lanes=lanes)
    rng, steps = random.Random(3), 3
    if kind == "readout":
        job_row = layer(kind=LayerKind.READOUT, steps=steps, classes=8)
    elif kind == "max":
        job_row = layer(kind=LayerKind.MAX, steps=steps, sources=4, cols=2)
    else:
        job_row = layer(steps=steps, static=int(kind == "static"), cols=4, group_channels=params.chunks)
    count = job_row["cols"] * (job_row["sources"] if kind == "max" else 1) * (1 if kind == "static" else steps)
    job = Job(job_row, [(0, 0)] * 8, [[rng.randrange(9) for _ in range(8)] for _ in range(count)])
    dut, released, chunks, logits = NeuronUnit(params), [], [], []

    async def bench(ctx):
        await load_rows(ctx, dut.load, MemoryId.CHANNELS, channel_rows(job.channels, lanes))
        ctx.set(dut.layer, job_row)
        ctx.set(dut.credit, 1)
        ctx.set(dut.logits.ready, 1)
        await ctx.tick()        # the row is there a cycle before
        ctx.set(dut.begin, 1)
        await ctx.tick()
        ctx.set(dut.begin, 0)
        given, coming, room = 0, [], [0] * params.sums_kept
        for cycle in range(60 * count + 200):
            if not coming and given < count and room and room[0] <= cycle:
                room.pop(0)
                coming = [job.sums[given][at:at + lanes] for at in range(0, 8, lanes)]
                given += 1
            ctx.set(dut.i.valid, bool(coming))
            ctx.set(dut.i.payload, coming.pop(0) if coming else [-1] * lanes)
            *_, valid, level, out, logit, release = await ctx.tick().sample(
                dut.o.valid, dut.o.payload, dut.logits.valid, dut.logits.p, dut.released)
            room.extend([cycle + 3] * release)
            released.extend([cycle] * release)
            chunks.extend([plain(level)] * valid)
            logits.extend([(plain(logit)["value"], plain(logit)["last"])] * out)
        assert ctx.get(dut.idle)

    simulate(dut, bench)
    assert len(released) == count and (chunks, logits) == expected(job, params)


def test_time_steps_of_a_lane_group_are_as_far_apart_as_the_pipeline_is_long():
    (_, _, cycles), = run(PARAMS, [neuron_job(random.Random(1), steps=10, static=1)])
    assert cycles <= 10 * PIPELINE_CYCLES + 2 + 4


def test_the_trace_tells_place_current_membrane_and_level():
    params = dataclasses.replace(PARAMS, trace=True)
    dut, found = NeuronUnit(params), []
    job = neuron_job(random.Random(6), rows=2, groups=2, cols=2, steps=2, decay=1, reset=1)

    async def bench(ctx):
        await load_rows(ctx, dut.load, MemoryId.CHANNELS, channel_rows(job.channels, 4))
        ctx.set(dut.layer, job.row)
        ctx.set(dut.layer_index, 9)
        await ctx.tick()        # the row is there a cycle before
        ctx.set(dut.begin, 1)
        await ctx.tick()
        ctx.set(dut.begin, 0)
        await collect(ctx, dut, len(expected(job, params)[0]), 0, None)

    async def source(ctx):
        await ctx.tick().repeat(5)
        await feed_sums(ctx, dut, params, job.sums)

    async def recorder(ctx):
        async for _, _, valid, record in ctx.tick().sample(dut.trace.valid, dut.trace.p):
            if valid:
                found.append(plain(record))

    simulate(dut, bench, source, processes=[recorder])
    places = [(record["step"], record["row"], record["chunk"], record["col"], record["current"], record["membrane"],
               record["level"]) for record in found]
    assert places == [(step, y, group * 2 + chunk, x, *(part[4 * chunk:4 * chunk + 4] for part in parts))
                      for step, y, group, x, *parts in records(job, 8) for chunk in (0, 1)]
    assert {record["layer"] for record in found} == {9}
