"""Augmentations change batches of integers as announced, by the generator alone."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from qblif.gen.data import augment, autoaugment
from qblif.host.errors import InputError

IMAGES = torch.randint(1, 256, (16, 3, 12, 10), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
EVENTS = torch.randint(1, 16, (4, 16, 2, 12, 10), generator=torch.Generator().manual_seed(2)).to(torch.uint8)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


ALL = sorted(augment.AUGMENTATIONS)
OF_EVENTS = sorted(set(ALL) - {"autoaugment"})


@pytest.mark.parametrize(("name", "x"), [*((name, IMAGES) for name in ALL), *((name, EVENTS) for name in OF_EVENTS)],
                         ids=[*(f"{name} images" for name in ALL), *(f"{name} events" for name in OF_EVENTS)])
def test_the_generator_alone_decides_and_shape_and_type_stay(name, x):
    before, function = x.clone(), augment.build([{"name": name}])
    torch.manual_seed(1)
    first = function(x, generator(3))
    torch.manual_seed(2)
    assert torch.equal(first, function(x, generator(3))) and not torch.equal(first, function(x, generator(4)))
    assert first.shape == x.shape and first.dtype == torch.uint8 and torch.equal(x, before)


@pytest.mark.parametrize("name", OF_EVENTS)
def test_all_steps_and_channels_of_a_sample_move_alike(name):
    still = EVENTS[:1].expand(4, -1, -1, -1, -1)
    moved = augment.build([{"name": name}])(still, generator())
    assert all(torch.equal(step, moved[0]) for step in moved)
    assert torch.equal(augment.build([{"name": name}])(still[0], generator()), moved[0])


def naive_move(image, down, right, wrap):
    out = torch.zeros_like(image)
    height, width = image.shape[-2:]
    for i in range(height):
        for j in range(width):
            a, b = i - down, j - right
            if wrap or (0 <= a < height and 0 <= b < width):
                out[:, i, j] = image[:, a % height, b % width]
    return out


@settings(max_examples=30)
@given(st.integers(0, 2 ** 31), st.booleans())
def test_crop_and_roll_move_by_up_to_so_many_pixels(seed, wrap):
    spec = {"name": "roll", "pixels": 2} if wrap else {"name": "crop", "padding": 2}
    moved = augment.build([spec])(IMAGES[:2], generator(seed))
    for image, result in zip(IMAGES, moved, strict=False):
        assert any(torch.equal(result, naive_move(image, down, right, wrap))
                   for down in range(-2, 3) for right in range(-2, 3))


def test_crop_reaches_every_place():
    moved = augment.build([{"name": "crop", "padding": 1}])(IMAGES[:1].expand(300, -1, -1, -1), generator())
    assert len({tuple(image.flatten().tolist()) for image in moved}) == 9


def test_flip_mirrors_a_share():
    x = IMAGES[:1].expand(400, -1, -1, -1)
    flipped = augment.build([{"name": "flip"}])(x, generator())
    mirrored = (flipped == x.flip(-1)).flatten(1).all(1)
    assert (mirrored | (flipped == x).flatten(1).all(1)).all() and 150 < int(mirrored.sum()) < 250
    assert torch.equal(augment.build([{"name": "flip", "share": 1.0}])(x, generator()), x.flip(-1))


def test_cutout_cuts_squares_that_may_reach_over_the_border():
    out = augment.build([{"name": "cutout", "size": 4}])(IMAGES[:1].expand(500, -1, -1, -1), generator())
    sizes = set()
    for image, hole in zip(out, out == 0, strict=True):
        assert (hole == hole[:1]).all() and torch.equal(image[~hole], IMAGES[0][~hole])
        rows, columns = hole[0].any(1), hole[0].any(0)
        assert torch.equal(hole[0], rows[:, None] & columns[None, :])
        sizes.add((int(rows.sum()), int(columns.sum())))
    assert sizes == {(a, b) for a in (2, 3, 4) for b in (2, 3, 4)}
    assert augment.build([{"name": "cutout", "size": 100}])(IMAGES, generator()).sum() == 0


def test_affine_without_spread_changes_nothing_and_a_shift_is_a_share():
    nothing = {"name": "affine", "rotate": 0, "zoom": 0, "shear": 0, "shift": [0, 0]}
    assert torch.equal(augment.build([nothing])(IMAGES, generator()), IMAGES)
    x = torch.zeros(200, 1, 40, 20, dtype=torch.uint8)
    x[:, :, 20, 10] = 200
    moved = augment.build([nothing | {"shift": [0.25, 0.1]}])(x, generator())
    mass = moved[:, 0].double()
    down = (mass.sum(2) * torch.arange(40)).sum(1) / mass.sum((1, 2)) - 20
    right = (mass.sum(1) * torch.arange(20)).sum(1) / mass.sum((1, 2)) - 10
    assert 3.5 < down.abs().max() < 4.1 and 4.5 < right.abs().max() < 5.1      # 0.1 of 40, 0.25 of 20


def test_affine_turns_by_degrees():
    x = torch.zeros(300, 1, 41, 41, dtype=torch.uint8)
    x[:, :, 20, 39:41] = 255
    moved = augment.build([{"name": "affine", "rotate": 30, "zoom": 0, "shear": 0, "shift": [0, 0]}])(x, generator())
    mass = moved[:, 0].double()
    down = (mass.sum(2) * torch.arange(-20, 21)).sum(1) / mass.sum((1, 2)).clamp(min=1)
    angles = torch.asin(down / 19.5).rad2deg().abs()
    assert 27 < angles.max() < 32


def test_augmentations_are_applied_in_order():
    both = augment.build([{"name": "flip", "share": 1.0}, {"name": "crop", "padding": 3}])
    assert torch.equal(both(IMAGES, generator()), augment.crop(IMAGES.flip(-1), _after_flip(), padding=3))
    assert torch.equal(augment.build([])(IMAGES, generator()), IMAGES)


def _after_flip():
    used = generator()
    torch.rand(len(IMAGES), generator=used)
    return used


@pytest.mark.parametrize(("spec", "message"), [
    ({"name": "cutot"}, r"no augmentation 'cutot' \(did you mean 'cutout'\?\); allowed are affine, crop"),
    ({}, "no augmentation None"),
    ({"name": "crop", "pixels": 2}, "'crop' has no argument 'pixels'; allowed are padding")])
def test_unknown_names_and_arguments_are_answered_with_those_there_are(spec, message):
    with pytest.raises(InputError, match=message):
        augment.build([spec])


def test_affine_refuses_one_shift():
    with pytest.raises(InputError, match="needed are two shares"):
        augment.build([{"name": "affine", "shift": [0.1]}])(IMAGES, generator())


# --- AutoAugment -------------------------------------------------------------------------------------------------


def test_the_policies_have_25_sub_policies_of_known_operations():
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8))
    for policy in autoaugment.POLICIES.values():
        assert len(policy) == 25 and all(len(pair) == 2 for pair in policy)
        for name, share, level in (part for pair in policy for part in pair):
            assert 0 <= share <= 1 and 0 <= level <= 9
            assert autoaugment.operation(image, name, level, 1).size == (30, 20)


@pytest.mark.parametrize(("name", "level", "expected"), [
    ("invert", 3, lambda x: 255 - x), ("posterize", 9, lambda x: x & 0xf0), ("posterize", 0, lambda x: x),
    ("solarize", 9, lambda x: 255 - x), ("solarize", 0, lambda x: x), ("brightness", 0, lambda x: x),
    ("translate_x", 0, lambda x: x), ("rotate", 0, lambda x: x)])
def test_operations_do_what_the_paper_says(name, level, expected):
    x = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    assert np.array_equal(np.array(autoaugment.operation(Image.fromarray(x), name, level, 1)), expected(x))


def test_translation_and_shear_have_the_ranges_of_the_paper():
    x = np.zeros((331, 331, 3), np.uint8)
    x[165, 165] = 255
    for sign in (1, -1):
        for name, axis in (("translate_x", 1), ("translate_y", 0)):
            moved = np.array(autoaugment.operation(Image.fromarray(x), name, 9, sign))
            assert np.argwhere(moved[..., 0])[0][axis] - 165 == -150 * sign
    x[:] = 0
    x[100] = 255
    sheared = np.array(autoaugment.operation(Image.fromarray(x), "shear_y", 9, 1))[..., 0]
    assert abs(np.argwhere(sheared[:, 300])[0][0] - np.argwhere(sheared[:, 0])[0][0] + 0.3 * 300) < 2
    assert math.isclose(30, 30 * 9 / (autoaugment.LEVELS - 1))


def test_every_sub_policy_is_drawn():
    x = IMAGES[:1].expand(600, -1, -1, -1)
    assert len({tuple(image.flatten().tolist()) for image in augment.autoaugment(x, generator())}) > 40


@pytest.mark.parametrize(("x", "policy", "message"), [
    (IMAGES[:, :1], "cifar10", r"takes colour images, uint8 \(N, 3, H, W\), not torch.uint8 \(16, 1, 12, 10\)"),
    (EVENTS, "cifar10", "takes colour images"), (IMAGES, "svhn", "no policy 'svhn'; allowed are cifar10, imagenet")])
def test_autoaugment_refuses_what_it_was_not_made_for(x, policy, message):
    with pytest.raises(InputError, match=message):
        augment.build([{"name": "autoaugment", "policy": policy}])(x, generator())
