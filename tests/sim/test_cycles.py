"""The cycle model against the simulated RTL: the same cycles for every image, whatever the network and the design.

A failure names image and layer. ``QBLIF_SEED=<seed> pytest -m "long or not long" tests/sim/test_cycles.py`` runs that
random network alone."""

import dataclasses
import os
import re

import numpy as np
import pytest
import torch

from qblif.gen import zoo
from qblif.gen.errors import DataMissing
from qblif.gen.plan import allowed_cuts, make_plan
from qblif.hw import boards
from qblif.hw.params import DesignParams
from qblif.sim import golden, named
from qblif.sim.cycles import CycleModel, difference, layer_ends, measured_ends
from qblif.sim.random_networks import random_input, random_network
from qblif.sim.reads import blank, entries, without_blank, without_empty
from qblif.sim.simulation import Simulation

from .designs import CORE, ONE_CORE
from .test_random_networks_rtl import BUILDS

IMAGES = 3
EMPTY = 0.01
"""Share of the cycles that reading what is empty may cost where the first layer asks."""

SMALL = {"digits"}
"""Networks of the zoo whose simulation takes no longer than a quick test may, on the build of the random networks."""

ROOMY = DesignParams((dataclasses.replace(CORE, weight_depth=32768),))
"""The same core with the weights of any network of the zoo."""

QUICK = {"traced": range(12)}
LONG = {"traced": range(50), "chain": range(1000, 1050), "unlike cores": range(1000, 1050),
        "three clusters": range(1000, 1025), "four lanes": range(1000, 1025), "wide words": range(1000, 1025),
        "unary": range(1000, 1025), "unary chain": range(1000, 1050), "wide lanes": range(1000, 1025)}


@pytest.fixture(scope="module")
def simulation():
    """Return a function from a design to a traced simulation of it, started once."""
    running = {}

    def start(design):
        if design not in running:
            running[design] = Simulation(design, trace=True, threads=1)
        return running[design]

    yield start
    for sim in running.values():
        sim.close()


def images_of(one):
    """Return a few test images of a network of the zoo; random ones where its data is not at hand."""
    try:
        x = one.test_set().test.x.numpy()
    except DataMissing:
        return random_input(one.network, 0, IMAGES, density=0.2)
    return x[:IMAGES] if one.network.input.static else x[:, :IMAGES]


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.long] * (name not in SMALL))
                                  for name in zoo.names()])
def test_cycles_of_zoo_networks_are_predicted(simulation, name):
    one, design = named.find(name), ONE_CORE if name in SMALL else ROOMY
    plan, x, sim = make_plan(one.network, design=design), images_of(one), simulation(design)
    sim.program(plan.program)
    result = sim.infer(plan.input_layout.pack(x), one.network.classes)
    assert difference(plan, CycleModel(plan).predict(x), result) is None


def test_without_empty_words_the_same_is_added_in_fewer_cycles():
    network = named.find("digits").network
    plan, x = make_plan(network, lanes=16), named.images_of(named.find("digits"), 3)[0]
    model = CycleModel(plan)
    found, without = model.predict(x), CycleModel(plan, skip_empty=True).predict(x)
    assert (without.cycles < found.cycles).all()
    for image, other in zip(found.layers, without.layers, strict=True):
        assert [(layer.adds, layer.doublings, len(layer.updates[0])) for layer in image] == [
            (layer.adds, layer.doublings, len(layer.updates[0])) for layer in other]


@pytest.mark.datasets("mnist", "fashion-mnist")
@pytest.mark.parametrize("name, clusters", [("mnist", 1), ("mnist-small", 1), ("fashion-mnist", 2)])
def test_what_is_empty_costs_next_to_nothing_where_the_first_layer_asks(name, clusters):
    """docs/decisions.md, Empty words: the ULX3S's core."""
    one = named.find(name)
    x = named.images_of(one, 6)[0]
    design, = boards.find("ulx3s")[0].implementation().default_design().cores
    design = DesignParams((dataclasses.replace(design, clusters=clusters),))
    costs = []
    for asks in (True, False):
        plan = make_plan(one.network, design=design, asks=asks)
        cycles, without = (CycleModel(plan, skip_empty=skips).predict(x).cycles.sum() for skips in (False, True))
        costs.append(1 - without / cycles)
    assert costs[0] <= EMPTY < 0.02 < costs[1]


@pytest.mark.datasets("mnist")
def test_a_sum_that_is_not_read_has_nothing_to_add():
    """And each that has nothing, where all of it is in one window."""
    plan = make_plan(named.find("mnist").network, lanes=64, neuron_lanes=8)
    model, x = CycleModel(plan), named.images_of(named.find("mnist"), 1)[0]
    core = model._cores[0]
    (row, read), memory = core.shares[0][0], np.zeros((core.params.map_depth, core.params.word_bits // 8), np.uint8)
    words = model._contents(torch.from_numpy(x))[0]
    memory[:len(words)] = words
    bits = entries(read, memory)
    found = blank(row, core.config, core.params, memory, 0)
    some = np.bitwise_or.reduceat(bits.some, np.concatenate(([0], read.sum_words[:-1])))
    assert (found == ~some).all() and 0.1 < found.mean() < 0.9
    fewer, same = without_blank(read, bits, found, row["sources"])
    again = entries(fewer, memory)
    assert (again.adds, fewer.sums) == (bits.adds, read.sums) and (same.some == again.some).all()
    assert fewer.visits.sum() == read.visits.sum() - found.sum() * (read.visits.sum() // read.sums - row["sources"])


@pytest.mark.parametrize("seed", range(5))
def test_what_is_left_without_empty_words_are_the_entries(seed):
    """The words with bits, in their order, and one for each sum without any; each field that is left is visited."""
    network = random_network(seed)
    model = CycleModel(make_plan(network, design=ONE_CORE))
    memory = np.random.default_rng(seed).integers(0, 256, (CORE.map_depth, CORE.word_bits // 8), np.uint8)
    memory[np.random.default_rng(seed).random(len(memory)) < 0.7] = 0
    for (_, read), in model._cores[0].shares:
        bits = entries(read, memory)
        fewer, same = without_empty(read, bits)
        again = entries(fewer, memory)
        assert len(fewer.address) == len(same.some) == len(bits.cycles) and fewer.sums == read.sums
        assert (fewer.address[same.some] == read.address[bits.some]).all() and again.adds == bits.adds
        assert (same.some == again.some).all() and (again.groups == bits.groups).all()
        assert fewer.words.sum() == len(fewer.address) and (fewer.words > 0).all()
        assert fewer.visits[0] > 0 and fewer.visits.sum() <= read.visits.sum()
        assert (np.diff(fewer.sum_words, prepend=0) > 0).all()


def cases():
    if "QBLIF_SEED" in os.environ:
        return [(name, [int(os.environ["QBLIF_SEED"])]) for name in LONG]
    return [*QUICK.items(), *(pytest.param(*case, marks=pytest.mark.long) for case in LONG.items())]


@pytest.mark.parametrize("name, seeds", cases())
def test_cycles_of_random_networks_are_predicted(simulation, name, seeds):
    build, sim = BUILDS[name], simulation(BUILDS[name].design)
    compared, failures = 0, []
    for seed in seeds:
        network = random_network(seed, build.limits)
        if len(allowed_cuts(network)) + 1 < len(build.cores):
            continue                            # a chain needs as many segments as it has cores
        plan = make_plan(network, design=build.design, asks=bool(seed % 2))
        x = random_input(network, seed, batch=IMAGES)
        sim.program(plan.program)
        result = sim.infer(plan.input_layout.pack(x), network.classes)
        found = difference(plan, CycleModel(plan).predict(x), result)
        compared += 1
        if found is not None:
            failures.append(f"seed {seed}: {found}")
    assert not failures, f"{len(failures)} of {compared} predictions on build {name!r}:\n" + "\n".join(failures)
    assert compared >= len(seeds) // 3


def test_every_neuron_update_is_predicted_and_counters_agree(simulation):
    network, sim = random_network(1), simulation(ONE_CORE)
    plan, x = make_plan(network, design=ONE_CORE), random_input(network, 1, batch=IMAGES)
    sim.reset()
    sim.program(plan.program)
    result = sim.infer(plan.input_layout.pack(x), network.classes)
    prediction = CycleModel(plan).predict(x)
    np.testing.assert_array_equal(layer_ends(plan, prediction), measured_ends(plan, result))
    layers = [layer for image in prediction.layers for layer in image]
    counters = sim.counters()
    assert counters["adds"] == sum(layer.adds for layer in layers) == golden.row_adds(network, x, plan.packing).sum()
    assert counters["doublings"] == sum(layer.doublings for layer in layers)


def test_a_difference_names_the_layer(simulation):
    network, sim = random_network(1), simulation(ONE_CORE)
    plan, x = make_plan(network, design=ONE_CORE), random_input(network, 1, batch=2, density=0.5)
    sim.program(plan.program)
    result = sim.infer(plan.input_layout.pack(x), network.classes)
    other = x.copy()
    other[1] = 0
    said = difference(plan, CycleModel(plan).predict(other), result)
    assert re.fullmatch(r"image 1: [\d,]+ cycles predicted, [\d,]+ measured \(latency .*\); first in image 1, layer "
                        r"'conv1': [\d,]+ cycles predicted from the end of the layer before to its own, [\d,]+ "
                        "measured",
                        said)


def test_predictions_are_made_in_blocks_as_the_simulation_is():
    network = random_network(5)
    plan = make_plan(network, design=ONE_CORE)
    x = np.concatenate([random_input(network, 5, batch=1)] * 14)
    cycles = CycleModel(plan).predict(x).cycles
    assert cycles[12] == cycles[0] and cycles[13] == cycles[1] and len(set(cycles[2:12].tolist())) == 1


@pytest.fixture(autouse=True)
def one_thread():
    """Predictions are timed by people on busy machines; torch's threads would only get in each other's way."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
