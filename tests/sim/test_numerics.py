"""The claim of docs/numerics.md that floors lose nothing: levels equal those of exact real arithmetic."""

from fractions import Fraction

import numpy as np
import pytest

from qblif.gen.network import Neuron, Reset
from qblif.sim.reference import step


def exact_step(neuron, f, v, s, c):
    """Equations (2), (8) and (9) on fractions, nothing rounded but the level itself; v in units of gamma / 2**f."""
    beta = Fraction(0) if neuron.decay is None else Fraction(1, 2 ** neuron.decay)
    factor = Fraction(0) if neuron.reset is None else Fraction(1, 2 ** neuron.reset)
    if neuron.style is Reset.GATE_SUM:
        v = (beta * v + c) * (factor if s else 1)
    elif neuron.style is Reset.GATE_MEMBRANE:
        v = beta * v * (factor if s else 1) + c
    else:
        v = beta * (v - factor * s * 2 ** f) + c
    h = Fraction(2 ** f, 2) if neuron.rounds and f else 0
    return v, min(max(int((v + h) // 2 ** f), 0), neuron.levels)


@pytest.mark.parametrize("style", Reset)
@pytest.mark.parametrize("rounds", [False, True])
def test_levels_equal_exact_real_arithmetic_in_every_step(style, rounds):
    rng = np.random.default_rng([ord(style.value[-1]), rounds])
    fired = 0
    for _ in range(400):
        f = int(rng.integers(0, 9))
        decay, reset = (None if k == 6 else int(k) for k in rng.integers(0, 7, 2))
        if style is Reset.SUBTRACT and reset is not None:
            reset = min(reset, f)
        neuron = Neuron(int(rng.integers(1, 32)), decay, reset, style, rounds)
        v, exact, s, exact_s = 0, Fraction(0), 0, 0
        for c in rng.integers(-2 ** (f + 2), 2 ** (f + 4), 12):
            v, s = step(neuron, f, v, s, int(c))
            exact, exact_s = exact_step(neuron, f, exact, exact_s, int(c))
            assert s == exact_s
            fired += s > 0
    assert fired > 400


def test_the_claim_does_not_hold_for_other_leaks():
    """beta = 3/4: the reason why only powers of two are allowed."""
    v, exact, different = 0, Fraction(0), 0
    for c in np.random.default_rng(0).integers(-9, 30, 3000):
        v, exact = v * 3 // 4 + int(c), exact * Fraction(3, 4) + int(c)
        different += v // 8 != exact // 8
    assert different > 0
