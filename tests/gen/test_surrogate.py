"""The burst quantiser (9), its surrogates (12) and the gradient of gamma."""

import math

import pytest
import torch

from qblif.gen.surrogate import SURROGATES, Burst, round_, scale_gradient, slope

U = [-3.0, -0.5, 0.0, 0.2, 0.49, 0.5, 0.75, 1.0, 1.3, 1.49, 1.5, 1.7, 2.0, 4.0]
GAMMA, LEVELS = 0.5, 3


def relsg_et(u):
    return math.exp(u - GAMMA) if u < GAMMA else 1.0 if u <= LEVELS * GAMMA else math.exp(LEVELS * GAMMA - u)


def box_et(u):
    return math.exp(u) if u < 0 else 1.0 if u <= LEVELS * GAMMA else math.exp(LEVELS * GAMMA - u)


def arctan(u):
    return 1 / (1 + (math.pi * (u - GAMMA)) ** 2)


def sigmoid(u):
    s = 1 / (1 + math.exp(-4 * (u - GAMMA)))
    return 4 * s * (1 - s)


def rectangular(u):
    return 1.0 if GAMMA - 0.5 <= u <= LEVELS * GAMMA + 0.5 else 0.0


def clipped(u):
    return 1.0 if 0 <= u <= LEVELS * GAMMA else 0.0


FORMULAS = {f.__name__: f for f in (relsg_et, box_et, arctan, sigmoid, rectangular, clipped)}


def burst(u, gamma, surrogate="relsg_et", rounds=False, gamma_gradient="surrogate", scale=1.0):
    return Burst.apply(u, gamma, None, LEVELS, rounds, surrogate, gamma_gradient, scale)


def tensors():
    return (torch.tensor(U, dtype=torch.float64, requires_grad=True),
            torch.tensor(GAMMA, dtype=torch.float64, requires_grad=True))


def test_output_is_gamma_times_the_clipped_floor():
    u, gamma = tensors()
    for rounds, h in ((False, 0.0), (True, 0.5)):
        expected = [GAMMA * min(max(math.floor(x / GAMMA + h), 0), LEVELS) for x in U]
        assert burst(u, gamma, rounds=rounds).tolist() == expected


def test_every_surrogate_has_a_formula_here():
    assert set(FORMULAS) == set(SURROGATES)


@pytest.mark.parametrize("name", sorted(FORMULAS))
def test_gradient_of_the_membrane_is_the_formula(name):
    u, gamma = tensors()
    burst(u, gamma, name).sum().backward()
    torch.testing.assert_close(u.grad, torch.tensor([FORMULAS[name](x) for x in U], dtype=torch.float64))


@pytest.mark.parametrize("name", sorted(FORMULAS))
def test_gradient_of_gamma_is_level_minus_surrogate_times_membrane_over_gamma(name):
    u, gamma = tensors()
    weight = torch.linspace(-1, 2, len(U), dtype=torch.float64)
    (burst(u, gamma, name, scale=0.25) * weight).sum().backward()
    expected = sum(float(w) * (min(max(math.floor(x / GAMMA), 0), LEVELS) - FORMULAS[name](x) * x / GAMMA)
                   for w, x in zip(weight, U, strict=True))
    assert float(gamma.grad) == pytest.approx(0.25 * expected)


def test_gradient_of_gamma_can_be_that_of_lsq():
    for x, expected in ((-1.0, 0.0), (0.7, 1 - 0.7 / GAMMA), (5.0, LEVELS)):
        gamma = torch.tensor(GAMMA, dtype=torch.float64, requires_grad=True)
        burst(torch.tensor([x], dtype=torch.float64), gamma, gamma_gradient="lsq").sum().backward()
        assert float(gamma.grad) == pytest.approx(expected)


@pytest.mark.parametrize("rounds", [False, True])
def test_gradient_of_n_is_what_one_level_less_takes_away(rounds):
    u, gamma = tensors()
    learned = torch.tensor(float(LEVELS), dtype=torch.float64, requires_grad=True)
    weight = torch.linspace(-1, 2, len(U), dtype=torch.float64)

    def total(levels):
        return (Burst.apply(u, gamma, learned, levels, rounds, "relsg_et", "surrogate", 0.25) * weight).sum()

    total(LEVELS).backward()
    difference = (total(LEVELS) - total(LEVELS - 1)).detach()
    assert float(learned.grad) == pytest.approx(0.25 * float(difference))
    assert learned.grad != 0


def test_thresholds_of_rounding_neurons_lie_half_a_gamma_lower():
    u = torch.tensor(U, dtype=torch.float64)
    gamma = torch.tensor(GAMMA, dtype=torch.float64)
    torch.testing.assert_close(slope("relsg_et", u, gamma, LEVELS, rounds=True),
                               slope("relsg_et", u + GAMMA / 2, gamma, LEVELS))
    ilif = slope("rectangular", u, torch.tensor(1.0), 2, rounds=True)
    assert ilif.tolist() == [1.0 if 0 <= x <= 2 else 0.0 for x in U]


def test_rounding_passes_gradients_straight_through():
    x = torch.tensor([-1.5, 0.5, 2.5], requires_grad=True)
    y = round_(x)
    assert y.tolist() == [-2.0, 0.0, 2.0]
    y.sum().backward()
    assert x.grad.tolist() == [1.0, 1.0, 1.0]


def test_scale_gradient_changes_the_gradient_only():
    x = torch.tensor([3.0], requires_grad=True)
    y = scale_gradient(x, 0.5)
    y.backward()
    assert y.item() == 3.0 and x.grad.item() == 0.5
