"""The promise of docs/numerics.md, first half: the quantised forward pass in PyTorch equals the golden model."""

import numpy as np
import pytest

from qblif.gen import fold, quantise
from qblif.gen.network import NeuronLayer
from qblif.gen.verify import verify
from qblif.sim import golden

from . import zoo
from .test_folding import case


@pytest.mark.parametrize("name", sorted(zoo.all_cases()))
def test_every_logit_level_and_membrane_of_a_folded_module_is_the_golden_models(name):
    module, x = case(name, zoo.make_random)
    quantised = quantise(module, x, input_bits=3)
    network = verify(fold(quantised))
    images = x.long().numpy().reshape(x.shape[:1 if network.input.static else 2] + network.input.shape)
    result = golden.run(network, images, record=True)
    np.testing.assert_array_equal(result.logits, quantised.integers(x).numpy())
    seen = quantised.record(x)
    for layer, record in zip(network.layers[:-1], result.records, strict=False):
        levels = seen[layer.name]["s"].numpy()
        np.testing.assert_array_equal(record.levels, np.broadcast_to(levels, record.levels.shape), err_msg=layer.name)
        if isinstance(layer, NeuronLayer):
            np.testing.assert_array_equal(record.membrane, seen[layer.name]["v"].numpy(), err_msg=layer.name)
