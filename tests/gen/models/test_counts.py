"""Sizes of the paper's networks, docs/numerics.md, and their golden models at full width."""

import numpy as np
import pytest
import torch

from qblif.gen import fold, models, quantise, sizes
from qblif.gen.models.counts import macs, parameters
from qblif.sim import golden

from .helpers import images, lively

SIZES = {
    # parameters with one gamma per layer of neurons; multiply-accumulates per step
    "resnet20": ((3, 32, 32), 10, 11_247_965, 215_684_096),
    "resnet19": ((3, 32, 32), 10, 12_569_243, 2_285_245_440),
    "resnet18": ((3, 224, 224), 1000, 11_689_529, 1_814_073_344),
    "resnet34": ((3, 224, 224), 1000, 21_797_705, 3_663_761_408),
    "resnet20-classic": ((3, 32, 32), 10, 272_493, 40_813_184),
}
ROUNDED = {"resnet20": "11.248", "resnet19": "12.569", "resnet18": "11.69", "resnet34": "21.80"}
"""Millions of parameters in docs/numerics.md."""


@pytest.mark.parametrize("name", sorted(SIZES))
def test_parameters_and_multiply_accumulates(name):
    shape, classes, weights, operations = SIZES[name]
    with torch.random.fork_rng(devices=[]):
        module = models.build(name, shape=shape, classes=classes)
    assert parameters(module) == weights
    assert macs(module, torch.zeros(1, *shape)) == operations
    if name in ROUNDED:
        digits = len(ROUNDED[name].partition(".")[2])
        assert f"{weights / 1e6:.{digits}f}" == ROUNDED[name]


def test_the_first_layer_of_resnet20_costs_what_table_6_counts():
    module = models.build("resnet20", shape=(3, 32, 32))
    assert 2 * macs(module.first, torch.zeros(1, 3, 32, 32)) == pytest.approx(3.54e6, rel=1e-3)


def test_counts_do_not_depend_on_steps_and_leave_the_module_alone():
    module = models.build("vgg", shape=(1, 12, 12), T=3)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    assert macs(module, torch.zeros(5, 1, 12, 12)) == macs(models.build("vgg", shape=(1, 12, 12)),
                                                          torch.zeros(1, 1, 12, 12))
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert not any(m._forward_hooks for m in module.modules())


def golden_of(name, size, classes):
    """Compare logits at full width, for one image."""
    x = images((3, size, size), count=2 if size <= 64 else 1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = lively(models.build(name, shape=(3, size, size), classes=classes), x)
    quantised = quantise(module, x[:1])
    network = fold(quantised)
    result = golden.run(network, x[:1].long().numpy())
    np.testing.assert_array_equal(result.logits, quantised.integers(x[:1]).numpy())
    assert len(np.unique(result.logits)) > classes // 2
    shortcuts = sum(source.weight.size * layer.shape[1] * layer.shape[2] for layer in network.layers
                    for source in getattr(layer, "sources", ()) if source.diagonal)
    total = sum(sizes.macs(network, layer) for layer in network.layers)
    assert total - shortcuts == macs(module, x)  # those of identities are additions in PyTorch


def test_the_papers_resnet20_runs_on_the_golden_model_at_full_width():
    golden_of("resnet20", 32, 10)


@pytest.mark.long
@pytest.mark.parametrize(("name", "size", "classes"), [
    ("resnet19", 32, 10), ("resnet18", 64, 1000), ("resnet34", 64, 1000), ("resnet20-classic", 32, 10),
    ("resnet18", 224, 1000), ("resnet34", 224, 1000)])
def test_the_others_run_on_the_golden_model_at_full_width(name, size, classes):
    golden_of(name, size, classes)
