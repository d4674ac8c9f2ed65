"""Lanes that work on several positions at once compute the same network; the planner packs where that is faster."""

import dataclasses
import re

import numpy as np
import pytest

from qblif.gen.errors import PlanError
from qblif.gen.fill import choose
from qblif.gen.gather import gathers
from qblif.gen.network import Input, MaxPool, Network, Readout, Source
from qblif.gen.packing import Packing, unpacked
from qblif.gen.plan import make_plan
from qblif.host.abi import MemoryId
from qblif.sim import golden
from qblif.sim.random_networks import random_input, random_packing

from ..program_image import parse
from .planned import chain, conv, frozen, layer, network, shortcut
from .table_machine import TableMachine


def computed(plan, x):
    """Return (logits, weight rows added) of the tables of a plan for images x."""
    machine = TableMachine(parse(plan.program, plan.design), plan.design)
    logits = [machine.run(frame) for frame in plan.input_layout.pack(x)]
    return np.array(logits), sum(core.rows for core in machine.cores)


OPTIONS = [{"lanes": 16}, {"lanes": 64, "neuron_lanes": 8}, {"lanes": 32, "clusters": 3},
           {"lanes": 32, "word_bits": 32, "cores": "max"}]


@pytest.mark.parametrize("seed", range(100, 140))
def test_any_packing_computes_the_golden_model_s_logits_with_the_rows_that_it_counts(seed):
    net, options = network(seed), OPTIONS[seed % len(OPTIONS)]
    x = random_input(net, seed, batch=2)
    plan = make_plan(net, **options, packing=random_packing(net, options["lanes"], seed))
    logits, rows = computed(plan, x)
    np.testing.assert_array_equal(logits, golden.run(net, x).logits)
    assert rows == golden.row_adds(net, x, plan.packing).sum()


def one(*sources, size=9, channels=4, out=None):
    """Return a network of one layer on the input and a read-out."""
    side = out or size
    return Network("one", 2, Input((channels, size, size), 3), (
        layer("conv", (channels, side, side), *sources),
        Readout("head", (conv(1, 3, channels, side),), frozen([0, 0, 0], np.int32))))


@pytest.mark.parametrize("net, positions", [
    (one(conv(0, 4, 4, 3, padding=(1, 1))), (0, 4, 1)),
    (one(conv(0, 4, 4, 3, stride=(2, 2)), out=4), (0, 4, 1)),
    (one(conv(0, 4, 4, 1, stride=(3, 3)), out=3), (0, 4, 1)),                    # windows apart: a run for each
    (one(conv(0, 4, 4, 1, pool=(2, 2), pool_stride=(2, 2)), size=8, out=4), (0, 4, 1)),
    (one(conv(0, 4, 4, 2, pool=(2, 2)), out=7), (0, 4, 1)),                      # pooling windows under a kernel
    (one(conv(0, 4, 4, 3, padding=(1, 1)), Source(0, frozen([1, 2, 3, -4]), exponent=1)), (4, 4, 1)),    # lane masks
    (one(Source(0, frozen([1, 2, 3, -4]), stride=(2, 2)), conv(0, 4, 4, 1, stride=(2, 2)), out=5), (4, 4, 1)),
    (one(Source(0, frozen([1, 2, 3, -4])), conv(0, 4, 4, 1)), (2, 4, 1)),        # unlike packings: bit by bit
], ids=range(8))
def test_kinds_of_sources(net, positions):
    x = random_input(net, 1, 3, density=0.5)
    plan = make_plan(net, lanes=16, packing=Packing(16, positions))
    logits, rows = computed(plan, x)
    np.testing.assert_array_equal(logits, golden.run(net, x).logits)
    assert rows == golden.row_adds(net, x, plan.packing).sum()


@pytest.mark.parametrize("positions", [(0, 4, 4, 1), (0, 4, 1, 1), (0, 1, 4, 1), (0, 1, 1, 1), (0, 2, 4, 1)])
@pytest.mark.parametrize("kernel, stride, padding, side", [(2, 2, 0, 4), (3, 2, 1, 4), (2, 1, 0, 7), (1, 1, 0, 8)])
def test_max_pooling_between_any_two_packings(positions, kernel, stride, padding, side):
    net = Network("pool", 2, Input((2, 8, 8), 3, static=False), (
        layer("a", (4, 8, 8), conv(0, 4, 2, 3, padding=(1, 1)), levels=31),
        MaxPool("max", 1, (kernel, kernel), (stride, stride), (padding, padding), (4, side, side)),
        Readout("head", (conv(2, 3, 4, side),), frozen([0, 0, 0], np.int32))))
    x = random_input(net, 1, 2, density=0.6)
    plan = make_plan(net, lanes=16, packing=Packing(16, positions))
    logits, rows = computed(plan, x)
    expected = golden.run(net, x, record=True)
    assert expected.records[1].levels.any()
    np.testing.assert_array_equal(logits, expected.logits)
    assert rows == golden.row_adds(net, x, plan.packing).sum()


def test_few_channels_fill_the_lanes_and_the_rows_that_are_added_become_fewer():
    net = chain(channels=4, side=8)
    x = random_input(net, 0, 4, density=0.5)
    plan = make_plan(net, lanes=16)
    assert plan.packing.positions == (0, 4, 4, 4, 1)
    packed, plain = (golden.row_adds(net, x, p).sum() for p in (plan.packing, unpacked(net, 16)))
    # 6 instead of 12 columns for 4 positions, the edges apart; the read-out cannot be packed
    assert packed < 0.6 * plain
    assert "4 positions at once" in plan.describe()


def test_a_shortcut_around_packed_layers_stays_a_lane_mask():
    plan = make_plan(shortcut(), lanes=16)
    assert plan.packing.positions == (0, 4, 4, 4, 4, 1)
    sources = parse(plan.program, plan.design).table(0, 0, MemoryId.SOURCES)
    assert [source["diagonal"] for source in sources] == [0, 0, 0, 1, 0, 0]


def masks(net):
    return any(gather.mask for index in range(len(net.layers)) for gather in gathers(net, index, unpacked(net, 32)))


@pytest.mark.parametrize("seed", [seed for seed in range(60) if not masks(network(seed))])
def test_packed_convolutions_add_no_more_rows_than_not_packed(seed):
    net = network(seed)
    x = random_input(net, seed, 4, density=0.4)
    packed, plain = (golden.row_adds(net, x, packing).sum(1) for packing in (choose(net, 32), unpacked(net, 32)))
    assert (packed <= plain).all()


def test_what_does_not_fit_is_packed_less():
    """A dense input takes 36 weight rows, 48 for two positions and 72 for four; a pooled read-out 16, 8 and 4."""
    net = one(conv(0, 4, 4, 3, padding=(1, 1)))
    head = Readout("head", (conv(1, 3, 4, pool=(9, 9)),), frozen([0, 0, 0], np.int32))
    net = dataclasses.replace(net, layers=(net.layers[0], head))
    assert make_plan(net, lanes=16).packing.positions == (0, 4, 1)
    assert make_plan(net, lanes=16, weight_depth=64).packing.positions == (0, 2, 1)
    with pytest.raises(PlanError, match="needs weight_depth >= 52, the build has 32"):
        make_plan(net, lanes=16, weight_depth=32)


@pytest.mark.parametrize("seed", range(100, 140))
def test_packing_takes_no_more_sources_of_a_layer(seed):
    """Only weights can become more, so only they are held against the hardware when a packing is chosen."""
    net = network(seed)
    for index in range(len(net.layers)):
        packed, plain = (sum(len(gather.fields) for gather in gathers(net, index, packing))
                         for packing in (random_packing(net, 32, seed), unpacked(net, 32)))
        assert packed <= plain


@pytest.mark.parametrize("packing, what", [
    (Packing(8, (0, 1, 1, 1, 1)), "on 8 lanes, needed is one of 5 maps on 16"),
    (Packing(16, (0, 1, 1)), "one of 3 maps on 16 lanes, needed is one of 5"),
    (Packing(16, (0, 8, 1, 1, 1)), re.escape("puts 8 positions of map 1 side by side, allowed is one of [1, 2, 4]")),
    (Packing(16, (3, 1, 1, 1, 1)), re.escape("puts 3 positions of map 0 side by side, allowed is one of [0, 1, 2, 4]")),
    (Packing(16, (0, 0, 1, 1, 1)), "puts 0 positions of map 1"),
    (Packing(16, (0, 1, 1, 1, 2)), re.escape("puts 2 positions of map 4 side by side, allowed is one of [1]")),
])
def test_a_packing_that_the_lanes_do_not_hold_is_refused(packing, what):
    with pytest.raises(PlanError, match=what):
        make_plan(chain(), lanes=16, packing=packing)
