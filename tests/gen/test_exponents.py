"""The choice of f and e."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qblif.gen.exponents import SHIFT_MAX, SHIFT_OF_NOTHING, choose, largest_weight, magnitudes

drawn = st.lists(st.one_of(st.just(0.0), st.floats(1e-6, 4.0)), min_size=4, max_size=4).map(np.array)


@given(st.lists(drawn, min_size=1, max_size=3), drawn, st.integers(3, 8))
def test_weights_and_biases_fit_and_one_exponent_is_zero(sources, bias, bits):
    limit = largest_weight(bits)
    f, e = choose(sources, bias, [limit] * len(sources), 24)
    assert min(e) == 0 and f.min() >= 0 and f.max() <= SHIFT_MAX
    for m, exponent in zip(sources, e, strict=True):
        fits = m * 2.0 ** (f - exponent) <= limit
        assert (fits | (f == 0)).all()
    assert (bias * 2.0**f <= 1 << 20).all() or (f == 0).any()


def test_f_is_as_large_as_the_weights_allow():
    f, _ = choose([np.array([1.0, 0.5, 0.49, 127.0])], np.zeros(4), [127], 24)
    assert f.tolist() == [6, 7, 8, 0]


def test_f_is_at_most_20_and_leaves_room_for_the_bias():
    f, _ = choose([np.array([1e-9, 1e-3, 1e-3])], np.array([0.0, 0.0, 1000.0]), [127], 24)
    assert f.tolist() == [20, 16, 10]


def test_channels_without_weights_take_the_median_and_layers_without_a_constant():
    f, _ = choose([np.array([1.0, 0.0, 0.25, 0.5])], np.zeros(4), [127], 24)
    assert f.tolist() == [6, 7, 8, 7]
    f, e = choose([np.zeros(2), np.zeros(2)], np.zeros(2), [127, 127], 24)
    assert f.tolist() == [SHIFT_OF_NOTHING] * 2 and e == [0, 0]


def test_the_coarser_source_carries_the_excess():
    f, e = choose([np.full(3, 0.01), np.full(3, 1.0)], np.zeros(3), [127, 127], 24)
    assert f.tolist() == [13, 13, 13] and e == [0, 7]


def test_the_readout_has_one_f_of_any_sign():
    f, _ = choose([np.array([1.0, 4096.0])], np.zeros(2), [127], 24, shared=True)
    assert f.tolist() == [-6, -6]


@pytest.mark.parametrize(("bits", "limit"), [(2, 1), (4, 7), (8, 127)])
def test_the_range_of_weights_is_symmetric(bits, limit):
    assert largest_weight(bits) == limit


def test_narrow_weights_are_clipped_where_that_makes_the_smaller_error():
    w = np.array([[0.375, -0.375, 0.375, 0.375, 0.375, 1.0], [1.0, -1.0, 0.0, 1.0, 0.0, 0.0]])
    assert magnitudes(w, 1).tolist() == [0.5, 1.0]
    assert magnitudes(w, 127).tolist() == [1.0, 1.0]
    assert magnitudes(np.zeros((1, 4)), 1).tolist() == [0.0]
