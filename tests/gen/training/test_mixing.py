"""Mixup and cutmix mix labels as they mix samples."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qblif.gen.training import mixing
from qblif.host.errors import InputError

IMAGES = torch.randint(0, 256, (16, 3, 12, 10), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
EVENTS = torch.randint(0, 16, (3, 16, 2, 12, 10), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
LABELS = torch.arange(16) % 5


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("x", [IMAGES, EVENTS], ids=["images", "events"])
@pytest.mark.parametrize("name", mixing.MIXINGS)
def test_mixing_mixes_labels_as_it_mixes_samples(name, x):
    mix = mixing.build([{"name": name, "alpha": 1.0}], 5)
    mixed, targets = mix(x, LABELS, generator(5))
    assert mixed.dtype == torch.uint8 and mixed.shape == x.shape
    assert targets.shape == (16, 5) and torch.allclose(targets.sum(1), torch.ones(16))
    again, _ = mix(x, LABELS, generator(5))
    assert torch.equal(mixed, again) and not torch.equal(mixed, mix(x, LABELS, generator(6))[0])


def test_mixup_rounds_the_weighted_mean():
    order = torch.arange(16).flip(0)
    mixed, share = mixing.mixup(IMAGES, order, generator(1), alpha=0.8)
    exact = IMAGES.double() * share + IMAGES.flip(0).double() * (1 - share)
    assert 0 < share < 1 and float((mixed.double() - exact).abs().max()) <= 0.5 + 1e-4


@given(st.integers(0, 2 ** 31))
def test_cutmix_weighs_by_the_pixels_that_were_replaced(seed):
    ours, theirs = torch.zeros(1, 1, 9, 7, dtype=torch.uint8), torch.ones(1, 1, 9, 7, dtype=torch.uint8)
    mixed, share = mixing.cutmix(torch.cat([ours, theirs]), torch.tensor([1, 0]), generator(seed), alpha=1.0)
    assert math.isclose(float(mixed[0].float().mean()), 1 - share, abs_tol=1e-6)
    hole = mixed[0, 0].bool()
    assert torch.equal(hole, hole.any(1)[:, None] & hole.any(0)[None, :])


def test_of_several_mixings_each_is_drawn_and_without_any_labels_become_one_hot():
    mix = mixing.build([{"name": "mixup"}, {"name": "cutmix"}], 5)
    kinds = set()
    for seed in range(20):
        mixed, _ = mix(IMAGES, LABELS, generator(seed))
        kinds.add(bool((mixed == IMAGES).flatten(1).float().mean() > 0.1))
    assert kinds == {True, False}
    x, targets = mixing.build([], 5)(IMAGES, LABELS, generator())
    assert x is IMAGES and torch.equal(targets.argmax(1), LABELS) and targets.sum() == 16


@pytest.mark.parametrize(("spec", "message"), [
    ({"name": "flip"}, "no augmentation 'flip'; allowed are mixup, cutmix"),
    ({"name": "mixup", "alpha": 0}, "alpha is 0, allowed are numbers above 0")])
def test_mixing_refuses_others(spec, message):
    with pytest.raises(InputError, match=message):
        mixing.build([spec], 5)
