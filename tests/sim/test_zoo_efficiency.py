"""What the hardware makes of cycles and lanes, on every network of the zoo, in RTL: a floor for all changes.

A few images of each are enough: cycles follow from the bits of the maps, and those of test images are alike."""

import dataclasses

import pytest

from qblif.gen import zoo
from qblif.gen.data import DATASETS
from qblif.gen.packing import Packing
from qblif.gen.plan import make_plan
from qblif.hw import boards
from qblif.hw.boards import ulx3s
from qblif.hw.params import CoreParams, DesignParams
from qblif.sim import benchmark, named

pytestmark = pytest.mark.long

BOARD = boards.find("ulx3s")[0]

SCAN, LARGEST, LANES, CHAIN = 0.90, 0.95, 0.60, 0.85
"""Least scan efficiency of one core and of its largest layer, least lane utilisation, least of a chain."""


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
    assert row["cycles"]["predicted"] == pytest.approx(row["cycles"]["rtl"], rel=0.01)
    lanes = row["lane_utilisation"]
    assert lanes >= LANES or on_one_core(name, 32)["lane_utilisation"] >= LANES


@pytest.mark.parametrize("name", networks("cifar10-classic-6bit"))
def test_the_busiest_core_of_a_chain_is_well_filled(name):
    """The layout 1x32 + 1x32 + 1x32 + 2x32 of `qblif plan cifar10-classic-6bit --board ulx3s`, which was routed."""
    first = CoreParams(lanes=32, word_bits=64, neuron_lanes=4, weight_bits=6, acc_bits=24, level_bits=4, contexts=2,
                       map_depth=4096, weight_depth=512, layer_depth=4, source_depth=4, channel_depth=32)
    middle = dataclasses.replace(first, map_depth=2048, layer_depth=2, channel_depth=16)
    last = dataclasses.replace(first, clusters=2, weight_depth=8192, layer_depth=16, source_depth=32, channel_depth=256)
    row = measured(name, 12, design=DesignParams((first, middle, middle, last)),
                   spans=((0, 2), (3, 4), (5, 6), (7, 19)), packing=Packing(32, (0, *[2] * 7, *[1] * 13)))
    assert row["scan_efficiency"] >= CHAIN
    assert row["cycles"]["predicted"] == pytest.approx(row["cycles"]["rtl"], rel=0.01)
