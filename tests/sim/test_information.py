"""Equations (4) to (7) against values worked out by hand, and against a joint distribution."""

import math

import numpy as np
import pytest

from qblif.sim.information import Levels, capacity, entropy


@pytest.mark.parametrize("histogram, bits", [
    ([1, 1, 1, 1], 2.0),                     # equally likely: log2 4
    ([8, 0, 0], 0.0),                        # certain
    ([2, 1, 1], 1.5),                        # 1/2 * 1 + 2 * 1/4 * 2
    ([4, 2, 1, 1], 1.75),                    # 1/2 + 1/4 * 2 + 2 * 1/8 * 3
    ([0.9, 0.1], 0.4689955935892812),        # 0.9 * log2(10/9) + 0.1 * log2(10)
    ([0, 0], 0.0)])
def test_entropy_equals_what_is_worked_out_by_hand(histogram, bits):
    assert entropy(histogram) == pytest.approx(bits, abs=1e-12)


def test_entropy_refuses_what_is_no_histogram():
    with pytest.raises(ValueError, match="counts of 0 or more, not -1"):
        entropy([3, -1])


def test_capacity_is_that_of_the_paper():
    assert capacity(1) == 1.0                                      # equation (5): 1 bit a time step
    assert capacity(3) == 2.0
    assert capacity(20) == pytest.approx(4.39, abs=5e-3)           # section 5.4
    with pytest.raises(ValueError, match="N is 0, allowed is 1 or more"):
        capacity(0)


def test_the_statistics_of_a_layer_are_those_worked_out_by_hand():
    levels = Levels("layer", np.array([500, 250, 245, 5]))         # N = 3
    assert levels.probabilities.tolist() == [0.5, 0.25, 0.245, 0.005]
    assert levels.activity == 0.5
    assert levels.effective == 3                                   # level 3 has p = 0.005
    assert levels.mean == pytest.approx((250 + 490 + 15) / 500)
    assert levels.popcount == pytest.approx((250 + 245 + 10) / 500)
    assert levels.saturation == 0.005
    assert levels.binary_entropy == 1.0                            # silent half of the time
    assert levels.gain == pytest.approx(levels.entropy - 1)
    assert levels.entropy < levels.capacity == 2.0


def test_the_gain_is_the_difference_of_conditional_entropies_of_equation_7():
    """H(U|S) from the joint distribution of a membrane on a fine grid and its level, for binary and burst spikes."""
    membranes = np.random.default_rng(0).normal(1.0, 2.5, 100_000)
    grid = np.floor(8 * membranes).astype(int)                      # U in eighths of gamma
    burst = np.clip(grid // 8, 0, 5)

    def conditional(levels) -> float:
        return sum((levels == s).mean() * entropy(np.unique(grid[levels == s], return_counts=True)[1])
                   for s in np.unique(levels))

    of_burst, of_binary = conditional(burst), conditional(burst > 0)
    measured = Levels("layer", np.bincount(burst, minlength=6))
    assert of_burst < of_binary
    assert measured.gain == pytest.approx(of_binary - of_burst, abs=1e-9)
    # the first line of (7): H(U|S) = H(U) - I(U;S)
    assert of_burst == pytest.approx(entropy(np.unique(grid, return_counts=True)[1]) - measured.entropy, abs=1e-9)


def test_a_silent_and_a_binary_layer_carry_what_they_can():
    assert Levels("silent", np.array([7, 0, 0])).entropy == 0
    assert Levels("silent", np.array([7, 0, 0])).mean == 0
    binary = Levels("binary", np.array([1, 3]))
    assert binary.entropy == binary.binary_entropy == pytest.approx(2 - 0.75 * math.log2(3))
    assert binary.gain == 0
