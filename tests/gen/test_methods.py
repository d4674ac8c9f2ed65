"""Neurons by name, and the baselines against their equations, in plain Python."""

import math

import pytest
import torch
from torch import nn

from qblif.gen import ILIF, LIF, QBLIF, Flatten, MeanOverTime, ModelError, QLinear, Repeat, fold, methods, reset_net
from qblif.gen.baselines import MLF, Ternary, ann
from qblif.gen.surrogate import slope


def column(values):
    return torch.tensor(values, dtype=torch.float64).reshape(-1, 1, 1)


CURRENTS = [0.6, 1.7, -0.4, -2.5, 0.3, 2.9, 3.1, -0.2]


def test_ternary_spikes_follow_their_equations():
    u = s = 0
    expected = []
    for i in CURRENTS:
        u = 0.25 * u * (1 - abs(s)) + i
        s = 1 if u >= 1 else -1 if u <= -1 else 0
        expected.append(s)
    assert Ternary(tau=4 / 3)(column(CURRENTS)).flatten().tolist() == expected
    assert {-1, 0, 1} == set(expected)


def test_multi_level_firing_keeps_a_membrane_for_each_threshold():
    thresholds, us, ss, expected = [0.5, 1.5, 2.5], [0] * 3, [0] * 3, []
    for i in CURRENTS:
        us = [0.25 * u * (1 - s) + i for u, s in zip(us, ss, strict=True)]
        ss = [int(u >= threshold) for u, threshold in zip(us, thresholds, strict=True)]
        expected.append(sum(ss))
    assert MLF(3, tau=4 / 3, v_threshold=0.5)(column(CURRENTS)).flatten().tolist() == expected
    assert set(expected) == {0, 1, 2, 3}


@pytest.mark.parametrize("name", ["relsg_et", "box_et"])
def test_gradients_of_the_baselines_are_surrogates_of_their_thresholds(name):
    x = column([1.2]).requires_grad_()
    MLF(2, surrogate=name)(x).backward()
    one = torch.tensor(1.2, dtype=torch.float64)
    assert x.grad.item() == pytest.approx(float(slope(name, one, 1.0, 1) + slope(name, one, 2.0, 1)))
    for value in (0.4, -1.3):
        x = column([value]).requires_grad_()
        Ternary(surrogate=name)(x).backward()
        assert x.grad.item() == pytest.approx(float(slope(name, torch.tensor(abs(value)), 1.0, 1)))


def test_the_quantised_activation_is_lsq():
    gamma, levels = 0.5, 3
    values = [-0.3, 0.2, 0.3, 0.8, 1.4, 5.0]
    x = torch.tensor(values, dtype=torch.float64).reshape(1, 1, -1).requires_grad_()
    neuron = ann(levels, gamma=gamma).double()
    out = neuron(x)
    assert (out / gamma).flatten().tolist() == [min(max(math.floor(v / gamma + 0.5), 0), levels) for v in values]
    out.sum().backward()
    assert x.grad.flatten().tolist() == [0, 1, 1, 1, 1, 0]
    inner = [v / gamma if 0 < v < levels * gamma else 0 for v in values]
    step = sum(min(max(math.floor(v / gamma + 0.5), 0), levels) - i for v, i in zip(values, inner, strict=True))
    assert neuron.gamma.grad.item() == pytest.approx(step / math.sqrt(len(values) * levels))


def test_the_quantised_activation_sees_each_step_by_itself():
    x = torch.randn(4, 2, 3)
    neuron = ann(5)
    assert torch.equal(neuron(x), torch.stack([neuron(step[None])[0] for step in x]))


def test_names_give_neurons_with_their_defaults_and_with_what_is_asked_for():
    qblif, lif, ilif = (methods.neuron(name)() for name in ("qblif", "lif", "ilif"))
    assert type(qblif) is QBLIF and (qblif.levels, qblif.beta, qblif.surrogate) == (15, 0.5, "relsg_et")
    assert type(lif) is LIF and (lif.levels, lif.input_gain) == (1, 1.0)
    assert type(ilif) is ILIF and (ilif.levels, ilif.beta) == (4, pytest.approx(0.25))
    other = methods.neuron("qblif", levels=3, surrogate="box_et", tau=math.inf, alpha=0.5)()
    assert (other.levels, other.surrogate, other.beta, other.alpha) == (3, "box_et", 1.0, 0.5)
    assert methods.neuron("ilif", tau=math.inf)().beta == 1.0
    assert methods.neuron("ann")().surrogate == "clipped" and methods.neuron("mlf", levels=5)().levels == 5
    make = methods.neuron("qblif")
    assert make() is not make()


@pytest.mark.parametrize(("name", "arguments", "message"), [
    ("qbliff", {}, "'qbliff' is not a known method; .*; did you mean 'qblif'"),
    ("lif", {"levels": 4}, "method 'lif' has no levels to choose: levels is 4, allowed is 1"),
    ("ternary", {"levels": 2}, "no levels to choose"),
    ("ann", {"tau": 2.0}, "'ann' has no membrane: tau is 2.0"),
    ("qblif", {"surrogate": "relsg"}, "'relsg' is not a known surrogate; .*; did you mean 'relsg_et'"),
    ("qblif", {"gama": 1.0}, "'gama' is not a known option of method 'qblif'; .*; did you mean 'gamma'"),
    ("qblif", {"levels": 40}, "levels is 40"),
    ("mlf", {"levels": 0}, "levels is 0"),
    ("mlf", {"spacing": 0.0}, "spacing is 0.0"),
    ("ternary", {"tau": 0.5}, "tau is 0.5, allowed is 1 to infinity"),
    ("ternary", {"v_threshold": 0.0}, "v_threshold is 0.0"),
])
def test_what_a_method_does_not_know_is_refused_where_it_is_asked_for(name, arguments, message):
    with pytest.raises(ValueError, match=message):
        methods.neuron(name, **arguments)


@pytest.mark.parametrize(("name", "message"), [
    ("ternary", "2: Ternary cannot be folded: ternary spikes are signed events, .*: use QBLIF with levels=2 or more"),
    ("mlf", "2: MLF cannot be folded: multi-level firing keeps one membrane per threshold, .*: use QBLIF or ILIF"),
])
def test_fold_says_why_it_takes_neither_ternary_nor_multi_level_neurons(name, message):
    assert not methods.METHODS[name].folds
    module = nn.Sequential(Repeat(2), QLinear(3, 4), methods.neuron(name)(), Flatten(), QLinear(4, 2), MeanOverTime())
    with pytest.raises(ModelError, match=message):
        fold(module.eval(), torch.zeros(1, 3))


def test_single_steps_of_the_baselines_keep_their_state_until_reset():
    for name in ("ternary", "mlf"):
        x = torch.rand(4, 2, 3) * 2
        whole = methods.neuron(name)()
        single = methods.neuron(name, step_mode="s")()
        assert torch.equal(whole(x), torch.stack([single(step) for step in x]))
        reset_net(single)
        assert single.v is None
