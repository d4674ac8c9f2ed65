"""What the hardware makes of cycles and lanes, on every network of the zoo, in RTL: a floor for all changes.

A few images of each are enough: cycles follow from the bits of the maps, and those of test images are alike."""

import pytest

from qblif.gen import zoo
from qblif.gen.data import DATASETS
from qblif.gen.plan import make_plan
from qblif.hw import boards
from qblif.hw.boards import ulx3s
from qblif.sim import benchmark, known, layout_name, named, planner

pytestmark = pytest.mark.long

BOARD = boards.find("ulx3s")[0]

SCAN, LARGEST, LANES, CHAIN = 0.90, 0.95, 0.60, 0.85
"""Least scan efficiency of one core and of its largest layer, least lane utilisation, least efficiency of a chain."""

EMPTY = 0.03
"""Most that words and planes without set bits may cost of the cycles."""


def networks(*names):
    """Return the names as parameters, each marked with the data that its network needs."""
    def of(name):
        data = zoo.card(name).data
        return pytest.param(name, marks=[pytest.mark.datasets(data)] * bool(DATASETS[data].folders))

    return [of(name) for name in names]


def measured(name, images, **planning):
    """Return the row of `make bench` for a network of the zoo; planning: arguments of make_plan."""
    one = named.find(name)
    return benchmark.measure(one, BOARD, make_plan(one.network, **planning), images, None)


def on_one_core(name, lanes):
    """Return the row of a network on the board's hardware of so many lanes, or on a core made for one too large."""
    if name.startswith("cifar10"):
        return measured(name, 3, lanes=lanes)
    return measured(name, 5, design=ulx3s.default_design(lanes))


@pytest.mark.parametrize("name", networks(*zoo.names()))
def test_a_core_of_64_lanes_adds_a_weight_row_in_nearly_every_cycle(name):
    row = on_one_core(name, 64)
    assert row["scan_efficiency"] >= SCAN
    assert LARGEST <= row["largest_layer"]["scan_efficiency"] <= 1, row["largest_layer"]
    assert row["cycles"]["predicted"] == row["cycles"]["rtl"]
    assert 0 <= row["empty_words"] <= EMPTY
    if name == "digits":        # of 8 x 8 pixels: 64 lanes are more than its layers fill
        row = on_one_core(name, 32)
    assert row["lane_utilisation"] >= LANES


@pytest.mark.parametrize(("name", "layout", "images"), [
    pytest.param(*one.values[0:1], layout, images, marks=one.marks, id=one.values[0]) for one, layout, images in zip(
        networks("mnist", "fashion-mnist", "cifar10-classic-6bit"),
        ("2x32/4 + 1x32/4", "2x64/4 + 1x64/4", "2x16/4 + 1x16/4"), (14, 14, 6), strict=True)])
def test_a_balanced_chain_adds_weight_rows_in_most_cycles_of_all_its_clusters(name, layout, images):
    """`qblif plan NAME --board ulx3s --layout LAYOUT --out FILE`, `qblif bench NAME --design FILE`.

    Balanced: the network's layers can be shared out so that the cores work about as long. Those of digits, mnist-small,
    mnist-fast and n-mnist cannot on any layout that was looked at (docs/planning.md)."""
    one = named.find(name)
    search = planner.Planner(one.network, named.images_of(one, 6)[0])
    plan = search.choose(BOARD, layout_name.parse(layout)).plan
    row = benchmark.measure(one, BOARD, plan, images, None)
    assert row["chain_efficiency"] >= CHAIN, row["core_efficiencies"]
    assert 0 <= row["empty_words"] <= EMPTY
    assert row["cycles"]["predicted"] == row["cycles"]["rtl"]


@pytest.mark.parametrize("name", networks("cifar10-classic-6bit"))
def test_the_busiest_core_of_the_chain_that_was_routed_is_well_filled(name):
    one = named.find(name)
    search = planner.Planner(one.network, named.images_of(one, 6)[0])
    plan = search.choose(BOARD, layout_name.parse("1x32/4 + 1x32/4 + 1x32/4 + 2x32/4")).plan
    assert known.placed(plan.design, BOARD)
    row = benchmark.measure(one, BOARD, plan, 12, None)
    assert row["scan_efficiency"] >= CHAIN
    assert row["cycles"]["predicted"] == row["cycles"]["rtl"]
