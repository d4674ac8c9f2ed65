"""The work that the search counts is that of the golden model and of the plan's own tables."""

import numpy as np
import pytest
import torch

from qblif.gen.network import MaxPool, layer_inputs
from qblif.gen.plan import make_plan
from qblif.gen.split import WHOLE, Share
from qblif.sim import golden, named
from qblif.sim.activity import Activity
from qblif.sim.cycles import CycleModel
from qblif.sim.random_networks import Limits, random_input, random_network, random_packing
from qblif.sim.reads import blank

LANES = (4, 16, 32)


def plan_of(seed, clusters=1):
    network = random_network(seed, Limits(row_adds=6000, channels=20))
    packing = random_packing(network, LANES[seed % 3], seed)
    return make_plan(network, packing=packing, lanes=packing.lanes, clusters=clusters, neuron_lanes=4, occupancy=0)


@pytest.mark.parametrize("seed", range(24))
def test_weight_rows_are_those_of_the_golden_model(seed):
    plan = plan_of(seed)
    x = random_input(plan.network, seed, 3)
    activity, expected = Activity(plan.network, x), golden.row_adds(plan.network, x, plan.packing)
    for layer, rows in enumerate(expected):
        assert activity.rows(layer, plan.packing) == pytest.approx(rows.mean())
        assert activity.rows(layer, plan.packing, 2) == pytest.approx(rows[:2].mean())


@pytest.mark.parametrize("seed", range(24))
@pytest.mark.parametrize("clusters", [1, 2])
def test_cycles_are_the_most_of_rows_words_and_updates_of_each_sum_of_the_tables(seed, clusters):
    """Words are those that the tables read, but for the empty ones that only mark the ends of a sum."""
    plan = plan_of(seed, clusters)
    network, (core,), (segment,) = plan.network, plan.design.cores, plan.segments
    x = random_input(network, seed, 1)
    activity = Activity(network, x)
    memory = np.zeros((core.map_depth, core.word_bits // 8), np.uint8)
    model = CycleModel(plan)
    (contents,) = [model._contents(image) for image in [torch.from_numpy(golden.checked(network, x))]]
    for layer, shares in enumerate(model._cores[0].shares):
        base = segment.bases[layer]
        memory[base:base + len(contents[layer])] = contents[layer]
        pooling = isinstance(network.layers[layer], MaxPool)
        static = not pooling and all(map(network.map_static, layer_inputs(network.layers[layer])))
        updates = core.chunks * (network.steps if static else 1)
        for share, (_, read) in zip(segment.shares[layer], shares, strict=True):
            expected = 0 if read is None else most(read, memory, updates)
            assert activity(layer, plan.packing, share, core) == expected
    assert activity(0, plan.packing, WHOLE, core) > 0


@pytest.mark.datasets("mnist")
@pytest.mark.parametrize("name", ["mnist", "mnist-small"])
def test_blank_sums_of_a_layer_that_asks_are_one_word(name):
    network = named.find(name).network
    plan, x = make_plan(network, lanes=64, clusters=2, neuron_lanes=8), named.images_of(named.find(name), 1)[0]
    (core,), model = plan.design.cores, CycleModel(plan)
    memory = np.zeros((core.map_depth, core.word_bits // 8), np.uint8)
    contents = model._contents(torch.from_numpy(golden.checked(network, x)))[0]
    memory[:len(contents)] = contents
    updates = core.chunks * (network.steps if network.map_static(0) else 1)
    for share, (row, read) in zip(plan.segments[0].shares[0], model._cores[0].shares[0], strict=True):
        blanks = blank(row, model._cores[0].config, core, memory, 0)
        assert blanks.any() and most(read, memory, updates, blanks) < most(read, memory, updates)
        found = Activity(network, x)(0, plan.packing, share, core)
        assert found == most(read, memory, updates, blanks)


def most(read, memory, updates, blanks=False):
    """Return the sum over the sums of a share of what takes most cycles."""
    bits = np.unpackbits(memory[read.address] & read.mask, axis=1).sum(1, dtype=np.int64)
    rows = np.where(read.diagonal, bits > 0, bits)
    begins = np.concatenate(([0], read.sum_words[:-1]))
    words = np.where(blanks, 1, np.add.reduceat(read.mask.any(1).astype(np.int64), begins))
    return int(np.maximum(np.maximum(np.add.reduceat(rows, begins), words), updates).sum())


@pytest.mark.parametrize("seed", range(6))
def test_the_shares_of_clusters_add_up_to_the_layer(seed):
    plan = plan_of(seed)
    network, packing, (core,) = plan.network, plan.packing, plan.design.cores
    activity = Activity(network, random_input(network, seed, 2))
    for layer in range(len(network.layers)):
        for axis in ("row", "col", "group"):
            shares = [activity(layer, packing, Share(**{axis: (part, 3)}), core) for part in range(3)]
            assert sum(shares) == pytest.approx(activity(layer, packing, WHOLE, core), rel=1e-12)
