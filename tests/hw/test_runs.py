"""Runs hold exactly the bits of a field's taps that lie inside the map, each with its weight row."""

import random

import pytest

from qblif.hw.params import CoreParams
from qblif.hw.runs import RunGenerator
from qblif.hw.sequencer import field as field_layout

from .bench import simulate, stability
from .core_bench import SETTLE, feed, gather, take

PARAMS = CoreParams(lanes=4, word_bits=32, neuron_lanes=2, map_depth=1024, weight_depth=1024)


def field(**values):
    """Return a field: one tap of one bit at (0, 0), well inside the map, where nothing else is said."""
    plain = {name: 0 for name, _ in field_layout(PARAMS)}
    return plain | {"tap_rows": 1, "tap_cols": 1, "run_bits": 1, "y_limit": 100, "x_limit": 1000} | values


def taps(f):
    """Yield (y, x, address, weight row) of each tap: its first bit."""
    for r in range(f["tap_rows"]):
        for c in range(f["tap_cols"]):
            yield (f["y"] + r * f["tap_dy"], f["x"] + c * f["tap_col_step"], f["address"] + r * f["tap_row_step"],
                   f["weight"] + r * f["tap_row_weights"] + c * f["tap_col_weights"])


def tokens_of_fields(fields):
    """Return, in order, the beginnings and ends of sums, doublings, and (map word of bit 0, bit, weight row)."""
    found = []
    for f in fields:
        found += ["first"] * f["first"] + ["double"] * f["doublings"]
        for y, x, address, weight in taps(f):
            if not 0 <= y < f["y_limit"]:
                continue
            found += [(address % PARAMS.map_depth, bit, (weight + (0 if f["diagonal"] else bit - x))
                       % PARAMS.weight_depth, f["diagonal"], f["again"])
                      for bit in range(x, x + f["run_bits"]) if 0 <= bit < f["x_limit"]]
        found += ["last"] * f["last"]
    return found


def tokens_of_runs(runs):
    found = []
    for run in runs:
        found += ["first"] * run["first"] + ["double"] * run["doublings"]
        if not run["empty"]:
            assert run["bit_first"] <= run["bit_last"]
            found += [(run["address"], bit, (run["weight"] + (0 if run["diagonal"] else bit)) % PARAMS.weight_depth,
                       run["diagonal"], run["again"])
                      for bit in range(run["bit_first"], run["bit_last"] + 1)]
        found += ["last"] * run["last"]
    return found


def run(fields, rng=None, count=None):
    """Return (cycle, run) of all runs of the fields; with a generator (no cycles then), `count` are expected."""
    dut = RunGenerator(PARAMS)
    found = []

    async def source(ctx):
        await feed(ctx, dut.i, fields, rng)

    async def sink(ctx):
        if rng is None:
            found.extend(await gather(ctx, dut.o, sum(f["tap_rows"] * f["tap_cols"] for f in fields) + SETTLE))
        else:
            found.extend((None, item) for item in await take(ctx, dut.o, count, rng))
        assert ctx.get(dut.idle)

    simulate(dut, source, sink, processes=[stability(dut.o)])
    return found


def runs_of(*fields):
    return [item for _, item in run(fields)]


def random_field(rng):
    """Return a field that may hang over any border of a small map, or miss it altogether."""
    x_limit = rng.randint(1, 90)
    f = field(first=rng.randint(0, 1), last=rng.randint(0, 1), diagonal=rng.randint(0, 1), again=rng.randint(0, 1),
              y=rng.randint(-6, 8), x=rng.randint(-40, x_limit + 5), address=rng.randrange(1024),
              weight=rng.randrange(1024), tap_rows=rng.randint(1, 4), tap_cols=rng.randint(1, 3),
              tap_dy=rng.randint(0, 3), tap_row_step=rng.randrange(40), tap_row_weights=rng.randrange(50),
              tap_col_step=rng.randint(0, 30), tap_col_weights=rng.randrange(50), run_bits=rng.randint(1, 70),
              y_limit=rng.randint(1, 9), x_limit=x_limit)
    return f | {"doublings": 0 if f["first"] else rng.choice([0, 0, 1, 5, 40])}


@pytest.mark.parametrize("seed", range(3))
def test_runs_hold_the_bits_inside_the_map_in_order_of_the_taps(seed):
    rng = random.Random(seed)
    fields = [random_field(rng) for _ in range(120)]
    assert tokens_of_runs(runs_of(*fields)) == tokens_of_fields(fields)


def test_pauses_on_both_sides_change_nothing():
    rng = random.Random(5)
    fields = [random_field(rng) for _ in range(40)]
    plain = runs_of(*fields)
    assert [item for _, item in run(fields, rng, len(plain))] == plain


@pytest.mark.parametrize("x, bits", [(-3, [0, 1]), (-5, []), (-4, [0]), (0, [0, 1, 2, 3, 4]), (7, [7, 8, 9]), (9, [9]),
                                     (10, []), (40, [])])
def test_a_run_is_clipped_at_the_left_and_right_border(x, bits):
    f = field(x=x, run_bits=5, x_limit=10, weight=100)
    assert [token[1:3] for token in tokens_of_runs(runs_of(f))] == [(bit, 100 + bit - x) for bit in bits]


@pytest.mark.parametrize("y, rows", [(-3, []), (-2, [2]), (-1, [1, 2]), (0, [0, 1, 2]), (2, [0, 1]), (3, [0]), (4, [])])
def test_rows_above_and_below_the_map_are_left_out(y, rows):
    f = field(y=y, tap_rows=3, tap_dy=1, tap_row_step=10, tap_row_weights=7, y_limit=4, address=50)
    assert [token[0] for token in tokens_of_runs(runs_of(f))] == [50 + 10 * row for row in rows]


def test_a_run_longer_than_the_map_is_cut_on_both_sides():
    (found,) = runs_of(field(x=-7, run_bits=50, x_limit=20, weight=3))
    assert (found["bit_first"], found["bit_last"], found["weight"]) == (0, 19, 10)


@pytest.mark.parametrize("flags", [{"first": 1}, {"last": 1}, {"doublings": 3}, {"first": 1, "last": 1}],
                         ids=lambda flags: "+".join(flags))
def test_flags_survive_where_a_field_lies_outside_the_map(flags):
    found = runs_of(field(y=-9, tap_rows=3, tap_cols=2, **flags))
    assert all(item["empty"] for item in found)
    assert tokens_of_runs(found) == ["first"] * flags.get("first", 0) + ["double"] * flags.get("doublings", 0) + \
        ["last"] * flags.get("last", 0)


def test_a_field_outside_the_map_that_carries_no_flag_leaves_no_run():
    assert runs_of(field(y=-9, tap_rows=3, tap_cols=2), field(x=1000)) == []


def test_taps_at_the_largest_coordinates_are_told_apart():
    wide = {"x_limit": (1 << 20) - 1, "y_limit": 4095}
    (found,) = runs_of(field(x=(1 << 20) - 9, y=4094, run_bits=100, **wide))
    assert (found["bit_first"], found["bit_last"]) == ((1 << 20) - 9, (1 << 20) - 2)
    assert runs_of(field(x=-(1 << 19), run_bits=(1 << 16) - 1, **wide), field(y=4095, **wide)) == []


def test_one_run_per_cycle_also_across_fields():
    fields = [field(tap_rows=3, tap_cols=2, tap_dy=1, y=0) for _ in range(5)]
    cycles = [cycle for cycle, _ in run(fields)]
    assert cycles == list(range(cycles[0], cycles[0] + 30)) and cycles[0] <= 3


def test_runs_that_are_dropped_cost_one_cycle_at_most():
    cycles = [cycle for cycle, _ in run([field(y=-9, tap_rows=8, tap_dy=1, first=1, last=1), field()])]
    assert cycles[-1] <= 3 + 8
