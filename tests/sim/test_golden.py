"""The golden model computes docs/numerics.md: it equals the plain-Python reference, integer for integer."""

import dataclasses

import numpy as np
import pytest
import torch

from qblif.gen.bounds import bounds
from qblif.gen.network import Input, Network, Neuron, NeuronLayer, Readout, Source
from qblif.gen.verify import verify
from qblif.sim import golden, reference
from qblif.sim.random_networks import Limits, random_input, random_network

SMALL = Limits(row_adds=6000)


def frozen(values, dtype=np.int8):
    array = np.array(values, dtype)
    array.setflags(write=False)
    return array


def same(a, b):
    np.testing.assert_array_equal(a.logits, b.logits)
    for one, other in zip(a.records, b.records, strict=True):
        for kind in ("current", "membrane", "levels"):
            np.testing.assert_array_equal(getattr(one, kind), getattr(other, kind))


def equals_reference(seed, limits):
    network = random_network(seed, limits)
    x = random_input(network, seed, batch=2)
    result = golden.run(network, x, record=True)
    for index in range(2):
        logits, layers = reference.run(network, x[index] if network.input.static else x[:, index])
        assert result.logits[index].tolist() == logits
        for layer, record in zip(layers, result.records, strict=True):
            for kind, expected in layer.items():
                found = getattr(record, kind)[:, index]
                np.testing.assert_array_equal(found, expected, err_msg=f"seed {seed}: {record.name} {kind}")


@pytest.mark.parametrize("seed", range(50))
def test_every_integer_of_a_random_network_equals_the_reference(seed):
    equals_reference(seed, SMALL)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1000, 1400))
def test_every_integer_of_many_random_networks_equals_the_reference(seed):
    equals_reference(seed, Limits())


@pytest.mark.parametrize("seed", range(40))
def test_every_integer_of_a_random_network_lies_within_its_bounds(seed):
    network = random_network(seed, SMALL)
    result = golden.run(network, random_input(network, seed, batch=4), record=True)
    for bound, record in zip(bounds(network), result.records, strict=True):
        for kind in ("current", "membrane"):
            found = getattr(record, kind)
            if found is not None:
                low, high = getattr(bound, kind)
                assert low <= found.min() and found.max() <= high


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_neither_batch_size_nor_threads_nor_autocast_change_an_integer(seed):
    network = random_network(seed, SMALL)
    x = random_input(network, seed, batch=7)
    whole = golden.run(network, x, record=True, batch_size=7)
    same(golden.run(network, x, record=True, batch_size=3), whole)
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.enable_grad():
        same(golden.run(network, x, record=True, batch_size=1), whole)


def test_records_have_a_value_for_every_layer_step_image_channel_and_position():
    for seed in range(10):
        network = random_network(seed)
        records = golden.run(network, random_input(network, seed, 2), record=True).records
        for layer, record in zip(network.layers, records, strict=True):
            assert record.name == layer.name
            for array in (record.current, record.membrane, record.levels):
                assert array is None or array.shape == (network.steps, 2, *layer.shape)


def dense(weight, exponent=0, peak_bits=8, side=48):
    """A read-out of one class over side x side inputs, all with the same weight."""
    source = Source(0, frozen(np.full((1, 1, side, side), weight)), 0)
    coarse = dataclasses.replace(source, exponent=exponent)
    return verify(Network("dense", 1, Input((1, side, side), peak_bits),
                          (Readout("out", (source, coarse), frozen([0], np.int32)),)))


@pytest.mark.parametrize("weight", [127, -127])
def test_sums_beyond_24_bits_are_exact(weight):
    network = dense(weight, exponent=4)
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (5, 1, 48, 48))
    x[0] = 255
    expected = 17 * weight * x.sum((1, 2, 3))
    assert (expected.astype(np.float32) != expected).any()
    assert golden.run(network, x).logits.ravel().tolist() == expected.tolist()


def test_a_static_first_layer_is_computed_once_for_all_steps():
    network = next(n for n in map(random_network, range(100)) if n.input.static and n.steps > 2)
    x = torch.from_numpy(random_input(network, 0, 2).astype(np.int32))
    assert len(golden.layer_current(network, network.layers[0], [golden.pad_input(network, x)])) == 1
    record = golden.run(network, x, record=True).records[0]
    assert (record.current == record.current[:1]).all()


def test_the_host_pads_with_the_zero_point():
    kernel = frozen(np.ones((1, 2, 3, 3)))
    layers = (Readout("out", (Source(0, kernel),), frozen([0], np.int32)),)
    network = verify(Network("pad", 1, Input((2, 1, 1), 4, True, (1, 1, 2, 0), (3, 5)), layers))
    assert golden.run(network, np.array([[[[7]], [[9]]]])).logits.tolist() == [[7 + 9 + 8 * (3 + 5)]]


def test_ties_go_to_the_lowest_class():
    layers = (Readout("out", (Source(0, frozen(np.zeros((4, 1, 1, 1)))),), frozen([1, 2, 2, 0], np.int32)),)
    assert golden.run(Network("tie", 1, Input((1, 1, 1), 1), layers), [[[[1]]]]).predictions.tolist() == [1]


def test_equation_2_of_the_paper_gates_the_sum():
    """beta = 1/2, alpha = 1/2, N = 20, gamma = 4 units: computed by hand."""
    layer = NeuronLayer("n", (Source(0, frozen(np.ones((1, 1, 1, 1)))),), frozen([0], np.int32), frozen([2], np.uint8),
                        Neuron(20, 1, 1), (1, 1, 1))
    out = Readout("out", (Source(1, frozen(np.ones((1, 1, 1, 1)))),), frozen([0], np.int32))
    network = verify(Network("hand", 5, Input((1, 1, 1), 8, static=False), (layer, out)))
    x = np.array([3, 9, 255, 1, 0]).reshape(5, 1, 1, 1, 1)
    record = golden.run(network, x, record=True).records[0]
    assert record.membrane.ravel().tolist() == [3, 10, (5 + 255) // 2, (65 + 1) // 2, 16 // 2]
    assert record.levels.ravel().tolist() == [0, 2, 20, 8, 2]
