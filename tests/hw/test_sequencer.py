"""The sequencer visits the fields of a layer in the order and with the addresses that its docstring states."""

import itertools
import random

import pytest

from qblif.host import abi
from qblif.host.abi import LayerKind, MemoryId
from qblif.hw.params import CoreParams
from qblif.hw.sequencer import Sequencer

from .bench import pause, simulate, stability
from .core_bench import gather, load_rows, plain, take

PARAMS = {"lanes": 4, "word_bits": 32, "neuron_lanes": 2, "map_depth": 512, "weight_depth": 512, "source_depth": 32,
          "layer_depth": 4, "contexts": 8}
DOUBLE, UNARY = CoreParams(**PARAMS), CoreParams(**PARAMS, fanout="unary")

SAME = ("tap_rows", "tap_dy", "tap_cols", "tap_col_step", "run_bits", "y_limit", "x_limit")
"""Parts of a field that are the source's own; the others are addresses, modulo a memory's size."""


def source(exponent=0, planes=1, **values):
    """Return a source row; the fields not given are 0, or 1 where they count something."""
    row = {name: 0 for name, *_ in abi.SOURCE_FIELDS} | {"tap_rows": 1, "tap_cols": 1, "run_bits": 1, "plane_step": 1}
    row |= {"exponent": exponent, "planes": planes} | values
    return row | {"plane_top": (planes - 1) * row["plane_step"]}


def layer(sources, kind=LayerKind.NEURON, first=0, **values):
    """Return a layer row for a list of source rows that stand from row `first` on."""
    row = {name: 0 for name, *_ in abi.LAYER_FIELDS} | dict.fromkeys(("steps", "rows", "groups", "cols"), 1)
    return row | {"kind": kind, "source_first": first, "sources": len(sources),
                  "planes": max(s["exponent"] + s["planes"] for s in sources)} | values


def fields(params, layer, sources, buffer=0):
    """Return the fields of a layer in order, by the loop nest of the docstring. Addresses are not wrapped."""
    is_max, unary = layer["kind"] == LayerKind.MAX, params.fanout == "unary"
    steps = 1 if layer["static"] else layer["steps"]
    found = []
    for row in range(layer["rows"]):
        for group in range(layer["groups"]):
            for col in range(layer["cols"]):
                for step in range(steps):
                    for sum_of in ([[s] for s in sources] if is_max else [sources]):
                        found += one_sum(sum_of, layer, row, group, col, step, unary, buffer)
    return found


def one_sum(sources, layer, row, group, col, step, unary, buffer):
    """Return the fields of one sum; doublings count scan steps since the field before."""
    parts, seen = [], layer["planes"] - 1
    for q in reversed(range(layer["planes"])):
        for again in range(2 ** q if unary else 1):
            for s in sources:
                plane = q - s["exponent"]
                if not 0 <= plane < s["planes"]:
                    continue
                parts.append({name: s[name] for name in SAME} | {
                    "first": int(not parts), "last": 0, "doublings": 0 if unary else seen - q,
                    "diagonal": s["diagonal"], "again": int(again > 0),
                    "address": s["row_init"] + buffer * s["input"] + row * s["row_step"] + step * s["step_step"]
                    + plane * s["plane_step"],
                    "y": s["y_init"] + row * s["y_step"],
                    "x": s["x_init"] + col * s["x_step"] + (group * layer["group_bits"] if s["diagonal"] else 0),
                    "weight": s["weight_first"] + group * layer["group_weights"],
                    "tap_row_step": s["tap_row_step"], "tap_row_weights": s["tap_row_weights"],
                    "tap_col_weights": s["tap_col_weights"]})
                seen = q
    parts[-1]["last"] = 1
    return parts


def wrapped(params, field):
    """Return the field with addresses modulo the memories; doublings mean nothing where a sum begins."""
    wrap = {"address": params.map_depth, "tap_row_step": params.map_depth,
            **dict.fromkeys(("weight", "tap_row_weights", "tap_col_weights"), params.weight_depth)}
    field = field | {name: field[name] % depth for name, depth in wrap.items()}
    return field | {"doublings": 0 if field["first"] else field["doublings"]}


def expected(params, *job):
    return [wrapped(params, field) for field in fields(params, *job)]


def visits(params, layer):
    """Return how often a source is visited, whether it takes part or not."""
    scans = sum(2 ** q if params.fanout == "unary" else 1 for q in range(layer["planes"]))
    steps = 1 if layer["static"] else layer["steps"]
    return layer["rows"] * layer["groups"] * layer["cols"] * steps * scans * layer["sources"]


def random_job(rng, params):
    """Return (layer, sources, buffer); the source rows hold arbitrary geometry."""
    kind = rng.choice([LayerKind.NEURON, LayerKind.NEURON, LayerKind.READOUT, LayerKind.MAX])
    count, top, exponents = rng.randint(1, 4), *((3, 2) if params.fanout == "unary" else (8, 6))
    planes = rng.randint(1, top)
    sources = []
    for index in range(count):
        signed = {"y_init": rng.randint(-9, 9), "x_init": rng.randint(-200, 200),
                  "row_step": rng.randint(-99, 99) & (1 << 24) - 1}
        geometry = {name: rng.getrandbits(min(bits, 7)) for name, bits, *_ in abi.SOURCE_FIELDS
                    if name not in signed and name not in ("exponent", "planes", "plane_top")}
        geometry["diagonal"] = 1 if kind == LayerKind.MAX else rng.randint(0, 1)
        exponent = 0 if kind == LayerKind.MAX or index == count - 1 else rng.randint(0, exponents)
        sources.append(source(exponent, planes if kind == LayerKind.MAX else rng.randint(1, top), **geometry | signed))
    shape = {"rows": rng.randint(1, 3), "groups": rng.randint(1, 2), "cols": rng.randint(1, 3),
             "steps": rng.randint(1, 3)}
    row = layer(sources, kind, rng.randrange(9), **shape, static=int(kind != LayerKind.MAX and rng.random() < 0.2),
                group_weights=rng.randrange(200), group_bits=rng.randrange(200))
    return row, sources, rng.choice([0, rng.randrange(200)])


def run(params, jobs, rng=None, cycles=20_000):
    """Run layers one after the other; return, for each, its fields and the cycles from `begin` to each of them."""
    dut = Sequencer(params)
    results = []

    async def bench(ctx):
        ctx.set(dut.o.ready, 0)
        ctx.set(dut.complete, 1)
        for row, sources, buffer in jobs:
            await load_rows(ctx, dut.load, MemoryId.SOURCES, [abi.pack(abi.SOURCE_FIELDS, s) for s in sources],
                            row["source_first"])
            ctx.set(dut.layer, row)
            ctx.set(dut.buffer, buffer)
            await pause(ctx, rng)
            assert ctx.get(dut.idle)
            await ctx.tick()        # the row is there a cycle before
            ctx.set(dut.begin, 1)
            await ctx.tick()
            ctx.set(dut.begin, 0)
            if rng is None:
                timed = await gather(ctx, dut.o, visits(params, row) + 4)
            else:
                timed = [(None, field) for field in await take(ctx, dut.o, len(fields(params, row, sources)), rng)]
            results.append(([cycle for cycle, _ in timed], [wrapped(params, field) for _, field in timed]))
            assert ctx.get(dut.idle), "the layer did not end in time"

    simulate(dut, bench, processes=[stability(dut.o)], cycles=cycles)
    return results


@pytest.mark.parametrize("params", [DOUBLE, UNARY], ids=["double", "unary"])
def test_fields_of_random_layers_come_in_order(params):
    rng = random.Random(7)
    jobs = [random_job(rng, params) for _ in range(6)]
    for job, (_, found) in zip(jobs, run(params, jobs, rng), strict=True):
        assert found == expected(params, *job)


@pytest.mark.parametrize("params", [DOUBLE, UNARY], ids=["double", "unary"])
def test_a_visit_takes_one_cycle_whether_the_source_takes_part_or_not(params):
    rng = random.Random(8)
    jobs = [random_job(rng, params) for _ in range(4)]
    for job, (_, found) in zip(jobs, run(params, jobs), strict=True):   # which allows one cycle per visit, and four
        assert found == expected(params, *job)


def test_the_first_field_comes_four_cycles_after_begin_and_then_one_every_cycle():
    sources = [source(planes=3, row_init=5)]
    (cycles, found), = run(DOUBLE, [(layer(sources, rows=2, cols=2, steps=2), sources, 0)])
    assert len(found) == 3 * 8
    assert cycles == list(range(cycles[0], cycles[0] + 24)) and cycles[0] <= 4


def test_planes_run_from_the_top_and_double_between():
    sources = [source(planes=4, row_init=10, plane_step=3)]
    (_, found), = run(DOUBLE, [(layer(sources), sources, 0)])
    assert [field["address"] for field in found] == [19, 16, 13, 10]
    assert [field["doublings"] for field in found] == [0, 1, 1, 1]
    assert [(field["first"], field["last"]) for field in found] == [(1, 0), (0, 0), (0, 0), (0, 1)]


def test_a_source_with_an_exponent_takes_part_in_the_scan_steps_above_it():
    sources = [source(exponent=3, planes=2, row_init=100), source(exponent=0, planes=1, row_init=200)]
    (_, found), = run(DOUBLE, [(layer(sources), sources, 0)])
    assert [(field["address"], field["doublings"]) for field in found] == [(101, 0), (100, 1), (200, 3)]


def test_all_sources_finish_a_plane_before_the_next():
    sources = [source(planes=2, row_init=100), source(planes=2, row_init=200)]
    (_, found), = run(DOUBLE, [(layer(sources), sources, 0)])
    assert [(field["address"], field["doublings"]) for field in found] == [(101, 0), (201, 0), (100, 1), (200, 0)]


def test_each_tap_of_a_max_pooling_is_a_sum_of_its_own():
    sources = [source(planes=2, row_init=base, diagonal=1) for base in (100, 200)]
    (_, found), = run(DOUBLE, [(layer(sources, LayerKind.MAX, steps=2), sources, 0)])
    assert [field["address"] for field in found] == [101, 100, 201, 200] * 2
    assert [(field["first"], field["last"]) for field in found] == [(1, 0), (0, 1)] * 4


def test_unary_scans_plane_p_again_2_to_the_p_times_and_never_doubles():
    sources = [source(planes=3, row_init=10)]
    (_, found), = run(UNARY, [(layer(sources), sources, 0)])
    assert [field["address"] for field in found] == [12] * 4 + [11] * 2 + [10]
    assert [field["again"] for field in found] == [0, 1, 1, 1, 0, 1, 0]
    assert not any(field["doublings"] for field in found)


def test_a_static_layer_is_summed_once_for_all_steps():
    sources = [source(planes=2)]
    (_, found), = run(DOUBLE, [(layer(sources, static=1, steps=5, cols=2), sources, 0)])
    assert len(found) == 2 * 2


def test_only_input_sources_read_from_the_buffer_in_work():
    sources = [source(input=1, row_init=10), source(input=0, row_init=20)]
    (_, found), = run(DOUBLE, [(layer(sources, rows=2), sources, 64)])
    assert [field["address"] for field in found] == [74, 20] * 2


def test_a_layer_without_rows_is_over_at_once():
    sources = [source()]
    results = run(DOUBLE, [(layer(sources, rows=0), sources, 0), (layer(sources), sources, 0)])
    assert [len(found) for _, found in results] == [0, 1]


class Rows:
    """A sequencer of a layer whose output rows wait for parts of the input map; what it offers is taken at once."""

    def __init__(self, first, step, rows=4):
        self.dut, self.sources = Sequencer(DOUBLE), [source(input=1, row_step=1)]
        self.row = layer(self.sources, rows=rows, cols=2, input_first=first, input_step=step)
        self.found = []

    def run(self, bench):
        async def whole(ctx):
            dut = self.dut
            await load_rows(ctx, dut.load, MemoryId.SOURCES, [abi.pack(abi.SOURCE_FIELDS, s) for s in self.sources])
            ctx.set(dut.layer, self.row)
            ctx.set(dut.o.ready, 1)
            await ctx.tick()
            await ctx.tick()        # the row is there a cycle before
            ctx.set(dut.begin, 1)
            await ctx.tick()
            ctx.set(dut.begin, 0)
            await bench(ctx, dut)

        async def collect(ctx):
            async for _, _, valid, field in ctx.tick().sample(self.dut.o.valid, self.dut.o.p):
                if valid:
                    self.found.append(plain(field)["address"])

        simulate(self.dut, whole, processes=[collect])


@pytest.mark.parametrize("first, step", [(2, 1), (1, 2), (3, 6), (0, 1), (0, 0), (7, 0)])
def test_an_output_row_begins_when_the_parts_that_it_reads_are_there_and_not_before(first, step):
    rows = Rows(first, step)

    async def come(ctx, dut):
        for parts in range(first + 3 * step + 2):
            ctx.set(dut.parts, parts)
            await ctx.tick().repeat(20)
            there = 4 if step == 0 else min(4, (parts - first) // step + 1)
            there = there if parts >= first else 0
            assert rows.found == [row for row in range(there) for _ in range(2)]
            assert ctx.get(dut.waits) == (there < 4) and ctx.get(dut.idle) == (there == 4)

    rows.run(come)


def test_rows_of_a_complete_map_never_wait():
    rows = Rows(100, 100)

    async def come(ctx, dut):
        ctx.set(dut.parts, 3)
        await ctx.tick().repeat(30)
        assert rows.found == [] and ctx.get(dut.waits)
        ctx.set(dut.complete, 1)
        ctx.set(dut.parts, 0)       # from here on those of the next map are counted
        await ctx.tick().repeat(20)
        assert rows.found == [0, 0, 1, 1, 2, 2, 3, 3] and ctx.get(dut.idle) and not ctx.get(dut.waits)

    rows.run(come)


def test_a_layer_that_nobody_computes_waits_for_nothing():
    rows = Rows(5, 1, rows=0)

    async def come(ctx, dut):
        await ctx.tick().repeat(5)
        assert ctx.get(dut.idle) and not ctx.get(dut.waits)

    rows.run(come)


ASKING = CoreParams(**PARAMS, occupancy=32)


def asking_job(rng):
    """Return (layer, sources, which windows are blank, by row and column) of a layer that asks."""
    row, sources, _ = random_job(rng, DOUBLE)
    while row["kind"] == LayerKind.MAX:
        row, sources, _ = random_job(rng, DOUBLE)
    row |= {name: 0 for name, *_ in abi.WINDOW_FIELDS} | {"window_bits": 3, "input_first": 2, "input_step": 1}
    blank = [[rng.random() < 0.5 for _ in range(row["cols"])] for _ in range(row["rows"])]
    return row, sources, blank


def fields_of_what_is_not_blank(row, sources, blank):
    """Return the fields of a layer that asks; of a blank sum one, outside the map, of which only the ends matter."""
    steps, found = 1 if row["static"] else row["steps"], []
    for at, group, col, step in itertools.product(range(row["rows"]), range(row["groups"]), range(row["cols"]),
                                                  range(steps)):
        if blank[at][col]:
            found.append({"first": 1, "last": 1, "tap_rows": 1, "tap_cols": 1, "y_limit": 0, "doublings": 0})
        else:
            found += [wrapped(ASKING, field) for field in one_sum(sources, row, at, group, col, step, False, 0)]
    return found


@pytest.mark.parametrize("seed", range(8))
def test_of_a_blank_sum_nothing_is_visited_but_its_end(seed):
    """Contexts go on as if all had been visited; each row is asked for once, columns are told in every lane group."""
    rng = random.Random(seed)
    jobs, dut, asked, work = [asking_job(rng) for _ in range(4)], Sequencer(ASKING), [], []

    async def bench(ctx):
        for row, sources, blank in jobs:
            asked.clear()
            work.append((row, sources, blank))
            await load_rows(ctx, dut.load, MemoryId.SOURCES, [abi.pack(abi.SOURCE_FIELDS, s) for s in sources],
                            row["source_first"])
            ctx.set(dut.layer, row)
            ctx.set(dut.complete, 1)
            await ctx.tick().repeat(2)
            ctx.set(dut.begin, 1)
            await ctx.tick()
            ctx.set(dut.begin, 0)
            wanted = fields_of_what_is_not_blank(row, sources, blank)
            found = await take(ctx, dut.o, len(wanted), rng)
            for one, other in zip(found, wanted, strict=True):
                assert {name: value for name, value in wrapped(ASKING, one).items() if name in other} == other
            assert ctx.get(dut.idle) and asked == [2 + at for at in range(row["rows"])]

    async def occupancy(ctx):
        """Answer a while after it was asked, and go through the columns as they begin."""
        col = at = wait = 0
        told = (dut.ask, dut.needed, dut.moves, dut.ends, dut.last)
        async for _, _, ask, needed, moves, ends, last in ctx.tick().sample(*told):
            if not work:
                continue
            row, _, blank = work[-1]
            ctx.set(dut.known, 0)
            if ask:
                asked.append(needed)
                at, col, wait = needed - 2, 0, rng.randint(2, 9)
            elif wait:
                wait -= 1
                ctx.set(dut.known, wait == 1)
                if wait == 0:
                    assert last == (row["cols"] == 1)
            elif moves:
                col = (col + 1) % row["cols"]
                assert ends == (col == row["cols"] - 1)
            ctx.set(dut.blank, int(blank[at][col]) if asked else 0)

    simulate(dut, bench, processes=[occupancy], cycles=60_000)
