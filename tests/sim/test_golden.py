"""The golden model computes docs/numerics.md: it equals the plain-Python reference, integer for integer."""

import numpy as np
import pytest

from qblif.gen.bounds import bounds
from qblif.sim import golden, reference
from qblif.sim.random_networks import Limits, random_input, random_network

SMALL = Limits(row_adds=6000)


def image(network, x, index):
    return x[index] if network.input.static else x[:, index]


@pytest.mark.parametrize("seed", range(60))
def test_every_integer_of_a_random_network_equals_the_reference(seed):
    network = random_network(seed, SMALL)
    x = random_input(network, seed, batch=2)
    result = golden.run(network, x, record=True)
    for index in range(2):
        logits, layers = reference.run(network, image(network, x, index))
        assert result.logits[index].tolist() == logits
        for layer, record in zip(layers, result.records, strict=True):
            for kind, expected in layer.items():
                found = getattr(record, kind)[:, index]
                np.testing.assert_array_equal(found, expected, err_msg=f"{record.name} {kind}")


@pytest.mark.parametrize("seed", range(60))
def test_every_integer_of_a_random_network_lies_within_its_bounds(seed):
    network = random_network(seed, SMALL)
    result = golden.run(network, random_input(network, seed, batch=4), record=True)
    for bound, record in zip(bounds(network), result.records, strict=True):
        for kind in ("current", "membrane"):
            found = getattr(record, kind)
            if found is not None:
                low, high = getattr(bound, kind)
                assert low <= found.min() and found.max() <= high
