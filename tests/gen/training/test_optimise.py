"""What the optimiser is given: weight decay, rates, and what is not to be learned."""

import pytest
import torch

from qblif.gen import QBLIF, neurons
from qblif.gen.neuron import fix_levels
from qblif.gen.training import Recipe
from qblif.gen.training.optimise import Schedule, optimiser


def module(**neuron):
    return torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3), QBLIF(20, **neuron))


def groups(net):
    """Return weight decay and factor of each parameter, by name."""
    names = {id(p): name for name, p in net.named_parameters()}
    return {names[id(p)]: (group["weight_decay"], group["factor"])
            for group in optimiser(net, Recipe(decay=0.01, gamma_rate=0.1), 1e-3).param_groups
            for p in group["params"]}


def test_weights_alone_decay_and_gamma_and_n_have_their_own_rates():
    plain = {"0.weight": (0.01, 1.0), "0.bias": (0.0, 1.0), "1.weight": (0.0, 1.0), "1.bias": (0.0, 1.0),
             "2.gamma": (0.0, 0.1)}
    assert groups(module()) == plain
    assert groups(module(learn_levels=True)) == plain | {"2.learned_levels": (0.0, 20.0)}
    assert "2.gamma" not in groups(module(learn_gamma=False))


def test_a_fixed_n_is_learned_no_more():
    net = module(learn_levels=True)
    fix_levels(net)
    assert "2.learned_levels" not in groups(net)


def test_a_step_of_adamw_moves_n_as_far_in_its_range_as_a_weight_in_its():
    net = module(learn_levels=True, start_levels=8)
    opt = optimiser(net, Recipe(), 4e-3)
    Schedule(4e-3, 10, 1).set(opt, 1)
    n = neurons(net)["2"].learned_levels
    n.grad = torch.tensor(0.7)
    opt.step()
    assert float(n.detach()) == pytest.approx(8 - 20 * 4e-3, rel=1e-4)
