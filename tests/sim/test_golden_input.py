"""The golden model refuses what a network cannot be fed, as the host does, and wraps nothing."""

import dataclasses

import numpy as np
import pytest
import torch

from qblif.gen.network import Input
from qblif.host.errors import InputError
from qblif.sim import golden
from qblif.sim.random_networks import random_input, random_network

STATIC = next(n for n in map(random_network, range(100)) if n.input.static and 1 < n.input.bits < 8)
STEPPED = next(n for n in map(random_network, range(100)) if not n.input.static and n.steps > 2)
GOOD = random_input(STATIC, 0, 3)
EVENTS = random_input(STEPPED, 0, 3)

BAD = {
    "float": (STATIC, GOOD.astype(np.float32), "of type float32, allowed are integers 0 to"),
    "NaN": (STATIC, GOOD + np.nan, "of type float64 and contains NaN"),
    "complex": (STATIC, GOOD * 1j, "of type complex128"),
    "text": (STATIC, "image", "of type <U5"),
    "negative": (STATIC, GOOD.astype(np.int64) - 1, "the input is -1 at index"),
    "too large": (STATIC, np.full_like(GOOD, 1 << STATIC.input.bits),
                  f"integers 0 to {(1 << STATIC.input.bits) - 1}"),
    "wrapping": (STATIC, GOOD.astype(np.int64) + (1 << 32), "the input is 42949673.. at index"),
    "wrapping unsigned": (STATIC, GOOD.astype(np.uint64) + np.uint64(1 << 63),
                          "the input is 92233720368547758.. at index"),
    "no batch": (STATIC, GOOD[0], r"has shape .*, allowed is .* which is \(B, C, H, W\)"),
    "a step too many": (STATIC, GOOD[None], "has shape"),
    "wrong channels": (STATIC, np.concatenate([GOOD, GOOD], axis=1), "has shape"),
    "wrong width": (STATIC, GOOD[:, :, :, 1:], "has shape"),
    "empty": (STATIC, GOOD[:0], "an empty batch"),
    "wrong T": (STEPPED, EVENTS[1:], f"has {STEPPED.steps - 1} time steps .* allowed is {STEPPED.steps}"),
    "no T": (STEPPED, EVENTS[0], "has shape"),
    "empty steps": (STEPPED, EVENTS[:, :0], "an empty batch"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused(case):
    network, x, text = BAD[case]
    with pytest.raises(InputError, match=text):
        golden.run(network, x)


def test_any_integer_type_and_layout_is_taken():
    expected = golden.run(STATIC, GOOD).logits
    wide = torch.from_numpy(GOOD).to(torch.int16)
    for x in (GOOD.astype(np.int64), GOOD.tolist(), wide, np.asfortranarray(GOOD), np.repeat(GOOD, 2, axis=0)[::2],
              np.flip(np.flip(GOOD, 0).copy(), 0)):
        np.testing.assert_array_equal(golden.run(STATIC, x).logits, expected)


def test_bits_may_be_booleans():
    network = dataclasses.replace(STATIC, input=Input(STATIC.input.shape, 1))
    np.testing.assert_array_equal(golden.run(network, GOOD > 3).logits,
                                  golden.run(network, (GOOD > 3).astype(np.uint8)).logits)


def test_the_input_is_left_as_it_was():
    before = EVENTS.copy()
    golden.run(STEPPED, EVENTS, record=True)
    np.testing.assert_array_equal(EVENTS, before)
