"""Random networks are valid, reproducible, within their limits, and between them show everything."""

import functools
import math

import numpy as np
import pytest

from qblif.gen.bounds import bounds
from qblif.gen.network import MaxPool, NeuronLayer, Reset, layer_sources
from qblif.gen.network_file import dumps
from qblif.gen.packing import unpacked
from qblif.gen.verify import verify
from qblif.sim import golden
from qblif.sim.random_networks import Limits, random_input, random_network


@functools.cache
def networks():
    return [random_network(seed) for seed in range(150)]


def all_sources():
    return [source for network in networks() for layer in network.layers for source in layer_sources(layer)]


def all_neurons():
    return [layer for network in networks() for layer in network.layers if isinstance(layer, NeuronLayer)]


def test_a_seed_fixes_the_network_and_the_input():
    for seed in range(5):
        assert dumps(random_network(seed)) == dumps(networks()[seed])
        np.testing.assert_array_equal(random_input(networks()[seed], 3, 2), random_input(networks()[seed], 3, 2))


def test_all_are_valid_and_fit_the_default_core():
    for network in networks():
        verify(network)
        assert max(bound.bits for bound in bounds(network)) <= 24


def test_all_take_little_time():
    for seed in range(0, 150, 5):
        network = networks()[seed]
        assert golden.row_adds(network, random_input(network, seed, 4), unpacked(network, 16)).sum(0).max() <= 60_000


@pytest.mark.parametrize("limits", [Limits(weight_bits=4, levels=15, steps=2, channels=8, side=5, bits=16, layers=2)])
def test_limits_are_kept(limits):
    for seed in range(30):
        network = random_network(seed, limits)
        assert network.weight_bits <= 4 and network.steps <= 2 and len(network.layers) <= 3
        assert max(bound.bits for bound in bounds(network)) <= 16
        assert all(layer.neuron.levels <= 15 for layer in network.layers if isinstance(layer, NeuronLayer))


def test_limits_that_nothing_fits_are_refused():
    with pytest.raises(ValueError, match="no network within"):
        random_network(0, Limits(map_words=0))


def test_every_kind_of_source_comes_up():
    sources = all_sources()
    assert {source.kernel[axis] for source in sources for axis in (0, 1)} >= {1, 2, 3, 4, 5}
    assert {source.stride[axis] for source in sources for axis in (0, 1)} == {1, 2, 3}
    assert {source.padding[axis] for source in sources for axis in (0, 1)} >= {0, 1, 2, 3, 4}
    assert {source.exponent for source in sources} >= {0, 1, 2, 3, 4, 5, 6}
    assert any(source.kernel[0] != source.kernel[1] for source in sources)
    assert any(source.diagonal and source.pool != (1, 1) for source in sources)
    assert any(source.diagonal and source.stride != (1, 1) for source in sources)
    assert any(source.pool != (1, 1) and source.kernel != (1, 1) for source in sources)
    assert any(0 < stride < pool for source in sources for pool, stride in zip(source.pool, source.pool_stride,
                                                                                strict=True))
    assert any(pool < stride for source in sources for pool, stride in zip(source.pool, source.pool_stride,
                                                                            strict=True))
    assert {(int(source.weight.min()), int(source.weight.max())) for source in sources} >= {(-128, 127), (-2, 1)}


def test_every_kind_of_neuron_comes_up():
    neurons = all_neurons()
    assert {layer.neuron.style for layer in neurons} == set(Reset)
    assert {layer.neuron.rounds for layer in neurons} == {False, True}
    for kind in ("decay", "reset"):
        assert {getattr(layer.neuron, kind) for layer in neurons} >= {None, 0, 1, 2, 3, 14}
    assert {layer.neuron.levels for layer in neurons} >= {1, 2, 5, 10, 15, 20, 31}
    assert {int(f) for layer in neurons for f in layer.shift} == set(range(21))


def test_every_kind_of_network_comes_up():
    assert {network.steps for network in networks()} == set(range(1, 9))
    assert {network.weight_bits for network in networks()} == set(range(2, 9))
    assert {network.input.bits for network in networks()} == set(range(1, 9))
    assert {network.input.static for network in networks()} == {False, True}
    assert any(network.input.shape[1:] == (1, 1) for network in networks())
    assert any(network.input.shape[1] == 1 < network.input.shape[2] for network in networks())
    assert any(any(network.input.zero_point) and any(network.input.padding) for network in networks())
    assert any(isinstance(layer, MaxPool) and any(layer.padding) for network in networks() for layer in network.layers)
    assert any(len({source.map for source in layer_sources(layer)}) > 1 for network in networks()
               for layer in network.layers)
    assert max(math.ceil(layer.shape[0] / 16) for network in networks() for layer in network.layers) == 3
    assert any(source.pool == network.map_shape(source.map)[1:] != (1, 1) for network in networks()
               for source in network.layers[-1].sources)


def test_most_layers_are_lively():
    lively = []
    for seed in range(0, 150, 3):
        records = golden.run(networks()[seed], random_input(networks()[seed], seed, 4), record=True).records
        lively += [len(np.unique(record.levels)) > 2 for record in records if record.current is not None
                   and record.levels is not None]
    assert np.mean(lively) > 0.6


def test_density_is_what_was_asked_for():
    network = networks()[4]
    assert not random_input(network, 0, 4, density=0).any()
    assert random_input(network, 0, 4, density=1).all()
    assert 0.2 < (random_input(network, 0, 20, density=0.3) > 0).mean() < 0.4
