"""The fused time steps against QBLIF.step, one step after the other, in double precision."""

import itertools

import pytest
import torch

from qblif.gen import QBLIF, Repeat, multistep
from qblif.gen.surrogate import SURROGATES, inside, slope

SHAPE = (2, 3, 4, 3)
"""N, C, H, W"""


def gradients(neuron, x, weight):
    """Return S and the gradients of x, of gamma and, where it is learned, of N."""
    x = x.clone(memory_format=torch.preserve_format).requires_grad_()
    neuron.gamma.grad = None
    s = neuron(x) if neuron.step_mode == "m" else torch.stack([neuron(step) for step in x])
    (s * weight).sum().backward()
    neuron.reset()
    learned = () if neuron.learned_levels is None else (neuron.learned_levels.grad,)
    return s.detach(), x.grad, neuron.gamma.grad, *learned


def both(x, **options):
    """Return what the fused and the stepped neuron give, for the same random weights of S."""
    return [gradients(QBLIF(step_mode=mode, **options).double(), x, weights(x)) for mode in "ms"]


def weights(x):
    return torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=x.dtype)


def currents(steps, shape=SHAPE, dtype=torch.float64):
    return torch.randn(steps, *shape, generator=torch.Generator().manual_seed(0), dtype=dtype) * 1.5 + 0.3


def assert_equal(fused, stepped):
    assert torch.equal(fused[0], stepped[0])
    for a, b in zip(fused[1:], stepped[1:], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


RESETS = [("gate_sum", False), ("gate_membrane", False), ("subtract", False), ("subtract", True)]


@pytest.mark.parametrize(("reset", "detach"), RESETS)
@pytest.mark.parametrize(("steps", "levels"), [(1, 4), (2, 20), (4, 1), (4, 4)])
def test_levels_and_gradients_equal_those_of_single_steps(reset, detach, steps, levels):
    for surrogate, gradient, rounds in itertools.product(sorted(SURROGATES), ("surrogate", "lsq"), (False, True)):
        assert_equal(*both(currents(steps), levels=levels, tau=4.0, gamma=0.37, reset=reset, detach_reset=detach,
                           surrogate=surrogate, gamma_gradient=gradient, rounds=rounds, decay_input=levels == 4))


@pytest.mark.parametrize(("reset", "detach"), RESETS)
@pytest.mark.parametrize(("steps", "beta"), [(1, 0.75), (4, 0.75), (3, 0.0)])
def test_a_learned_n_gets_the_gradient_of_single_steps_and_of_plain_autograd(reset, detach, steps, beta):
    for surrogate, gradient, rounds in itertools.product(("relsg_et", "rectangular"), ("surrogate", "lsq"),
                                                         (False, True)):
        options = {"levels": 6, "learn_levels": True, "start_levels": 3, "beta": beta, "alpha": 0.3, "gamma": 0.37,
                   "reset": reset, "detach_reset": detach, "surrogate": surrogate, "gamma_gradient": gradient,
                   "rounds": rounds, "decay_input": beta != 0}
        x = currents(steps)
        fused, stepped = both(x, **options)
        assert_equal(fused, stepped)
        assert_equal(fused, gradients(Plain(**options).double(), x, weights(x)))
        assert fused[3] != 0


class Plain(QBLIF):
    """One step after the other in plain torch operations, without a function of our own."""

    def forward(self, x):
        scale = self.gamma_scale(x[0, 0].numel())
        gamma, n = (y.detach() + (y - y.detach()) * scale for y in (self.gamma, self.learned_levels))
        self.reset()
        out = []
        for current in x:
            u = self.v = self._membrane(current)
            level = torch.floor((u / self.gamma + self.rounds / 2).detach())
            level = torch.where(level >= n, n, level).clamp(min=0)  # N has a gradient where it is what limits the level
            h = slope(self.surrogate, u.detach(), self.gamma.detach(), self.levels, self.rounds)
            inner = h if self.gamma_gradient == "surrogate" else inside(u.detach(), self.levels * self.gamma.detach())
            fixed = u.detach()
            self.s = (self.gamma.detach() * level + h * (u - fixed)
                      + (level.detach() - inner * fixed / self.gamma.detach()) * (gamma - gamma.detach()))
            out.append(self.s)
        return torch.stack(out)


@pytest.mark.parametrize("reset", ["gate_sum", "gate_membrane", "subtract"])
@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_any_leak_and_reset_factor(reset, beta, alpha):
    assert_equal(*both(currents(4), levels=3, beta=beta, alpha=alpha, reset=reset))


def test_on_the_plateau_a_current_counts_as_often_as_it_is_still_in_the_membrane():
    neuron = QBLIF(31, beta=0.5, alpha=0.0, gamma=1.0, learn_gamma=False).double()
    x = (torch.rand(3, 2, 4, dtype=torch.float64) + 2).requires_grad_()
    grad = torch.autograd.grad(neuron(x).sum(), x)[0]
    assert grad[:, 0, 0].tolist() == [1.75, 1.5, 1.0]


@pytest.mark.parametrize("layout", ["channels last", "repeated", "sliced", "transposed"])
def test_currents_may_lie_in_memory_in_any_order(layout):
    x = currents(4)
    if layout == "channels last":
        x = x.flatten(0, 1).to(memory_format=torch.channels_last).unflatten(0, x.shape[:2])
    elif layout == "repeated":
        x = x[:1].expand(4, *SHAPE)
    elif layout == "sliced":
        x = currents(4, (2, 6, 4, 6))[:, :, ::2, :, ::2]
    else:
        x = x.transpose(0, 1).contiguous().transpose(0, 1)
    weight = torch.randn(x.shape, dtype=x.dtype)
    results = []
    for y in (x, x.contiguous()):
        y = y.detach().requires_grad_()
        neuron = QBLIF(5).double()
        s = neuron(y)
        (s * weight).sum().backward()
        results.append((s.detach(), y.grad, neuron.gamma.grad))
    assert_equal(*results)
    if layout == "channels last":
        assert results[0][0].flatten(0, 1).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("reset", ["gate_sum", "gate_membrane", "subtract"])
@pytest.mark.parametrize("beta", [0.0, 0.5])
def test_a_repeated_current_gets_the_sum_of_its_gradients(reset, beta):
    weight = torch.randn(4, *SHAPE, dtype=torch.float64)
    results = []
    for make in (Repeat(4), lambda x: torch.stack([x] * 4)):
        x = currents(1)[0].requires_grad_()
        neuron = QBLIF(5, beta=beta, alpha=0.5 if beta else 0.0, reset=reset, decay_input=True).double()
        s = neuron(make(x))
        (s * weight).sum().backward()
        results.append((s.detach(), x.grad, neuron.gamma.grad))
    assert_equal(*results)


def test_chunks_make_no_difference(monkeypatch):
    x = currents(3)
    whole = both(x, levels=4, reset="subtract", learn_levels=True)[0]
    monkeypatch.setattr(multistep, "CHUNK", 7)
    chunked = both(x, levels=4, reset="subtract", learn_levels=True)[0]
    assert_equal(chunked, whole)


def test_without_gradients_the_same_levels_come_out():
    for reset in ("gate_sum", "gate_membrane", "subtract"):
        neuron, x = QBLIF(5, reset=reset, decay_input=True).double(), currents(4)
        kept = x.clone()
        with torch.no_grad():
            s = neuron(x)
        assert torch.equal(s, neuron(x.requires_grad_()).detach()) and torch.equal(x, kept)


def test_sixteen_bit_currents_are_computed_in_32():
    x = currents(2, dtype=torch.float32).bfloat16()
    neuron = QBLIF(31, gamma=0.1)
    assert torch.equal(neuron(x), neuron(x.float()).bfloat16())
    assert torch.equal(torch.stack([QBLIF(31, gamma=0.1, step_mode="s")(step) for step in x[:1]]), neuron(x[:1]))


def test_nothing_but_gamma_and_nothing_but_the_current_can_be_learned():
    x, neuron = currents(3), QBLIF(4).double()
    neuron(x).sum().backward()
    assert neuron.gamma.grad is not None
    fixed = QBLIF(4, learn_gamma=False).double()
    fixed(x.requires_grad_()).sum().backward()
    assert x.grad is not None and fixed.gamma.grad is None
    top = QBLIF(2, learn_gamma=False, learn_levels=True).double()
    top(currents(3)).sum().backward()
    assert top.learned_levels.grad > 0 and top.gamma.grad is None
