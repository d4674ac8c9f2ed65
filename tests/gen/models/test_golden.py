"""Every network folds, and the golden model computes the integers of its quantised form."""

import numpy as np
import pytest
import torch

from qblif.gen import fold, methods, quantise
from qblif.gen.network import NeuronLayer
from qblif.sim import golden

from .helpers import build, images

SMALL = {
    "resnet20": ((3, 16, 16), {"width": 4}),
    "resnet19": ((3, 8, 8), {"width": 4}),
    "resnet18": ((3, 32, 32), {"width": 4}),
    "resnet34": ((3, 32, 32), {"width": 4}),
    "resnet20-classic": ((3, 8, 8), {"widths": (4, 6, 8)}),
    "vgg": ((1, 12, 12), {}),
    "mlp": ((1, 8, 8), {"hidden": (24, 16, 12)}),
    "digits": ((1, 8, 8), {}),
}


def check(module, x, static=True):
    """Compare every level and logit; every layer has to have levels worth comparing."""
    quantised = quantise(module, x)
    network = fold(quantised)
    result = golden.run(network, x.long().numpy(), record=True)
    np.testing.assert_array_equal(result.logits, quantised.integers(x).numpy())
    seen = quantised.record(x)
    for layer, record in zip(network.layers[:-1], result.records[:-1], strict=True):
        levels = seen[layer.name]["s"].numpy()
        np.testing.assert_array_equal(record.levels, np.broadcast_to(levels, record.levels.shape), err_msg=layer.name)
        if isinstance(layer, NeuronLayer):
            assert 0.02 < (levels > 0).mean() and len(np.unique(levels)) > 1, layer.name
    assert len({tuple(row) for row in result.logits.tolist()}) == len(result.logits)
    return network


@pytest.mark.parametrize("name", sorted(SMALL))
def test_the_golden_model_computes_a_narrow_one_bit_for_bit(name):
    shape, options = SMALL[name]
    x = images(shape)
    check(build(name, x, mean=127.0, neuron=methods.neuron("qblif"), **options), x)


@pytest.mark.parametrize("name", sorted(SMALL))
def test_event_frames_go_through_the_same_networks(name):
    shape, options = SMALL[name]
    shape = (2, *shape[1:])
    x = torch.stack([images(shape, seed=t, bits=3) for t in range(3)])
    network = check(build(name, x, static=False, bits=3, **options), x)
    assert network.steps == 3 and not network.input.static


@pytest.mark.parametrize("method", [name for name, method in methods.METHODS.items() if method.folds])
@pytest.mark.parametrize("surrogate", ["relsg_et", "box_et"])
def test_methods_that_fold_run(method, surrogate):
    x = images((1, 12, 12))
    check(build("vgg", x, neuron=methods.neuron(method, surrogate=surrogate)), x)


@pytest.mark.parametrize("pool", ["max", "average"])
def test_levels_are_pooled_between_the_convolutions_on_request(pool):
    x = images((1, 12, 12))
    check(build("vgg", x, pool=pool, kernel=5, channels=(4, 6, 8)), x)
