"""ImageNet's class folders, on small photographs written by Pillow."""

import numpy as np
import pytest
import torch
from PIL import Image

from qblif.gen import data
from qblif.gen.data import DataError
from qblif.gen.data.imagenet import centre, random_box
from qblif.host.errors import InputError

RANDOM = np.random.default_rng(4)


@pytest.fixture
def root(tmp_path):
    """Two classes: a grey and a coloured JPEG, a PNG with transparency, and something that is no image."""
    for part in ("train", "val"):
        for name in ("n02", "n01"):
            (tmp_path / part / name).mkdir(parents=True)
        Image.fromarray(RANDOM.integers(0, 256, (40, 60), np.uint8)).save(tmp_path / part / "n01" / "a.JPEG")
        Image.fromarray(RANDOM.integers(0, 256, (33, 20, 3), np.uint8)).save(tmp_path / part / "n02" / "b.jpg")
        Image.fromarray(RANDOM.integers(0, 256, (9, 9, 4), np.uint8)).save(tmp_path / part / "n02" / "c.png")
        (tmp_path / part / "n02" / "note.txt").touch()
    return tmp_path


def test_folders_are_classes_and_images_are_read_when_asked_for(root):
    ds = data.load("imagenet", root=root, size=16, resize=20)
    assert ds.classes == ("n01", "n02") and ds.train.labels.tolist() == ds.test.labels.tolist() == [0, 1, 1]
    x, y = ds.test.batch(torch.tensor([2, 0]))
    assert x.shape == (2, 3, 16, 16) and x.dtype == torch.uint8 and y.tolist() == [1, 0] and ds.shape == (3, 16, 16)
    assert torch.equal(x[1, 0], x[1, 1])      # grey
    with pytest.raises(DataError, match="too large to be held in memory"):
        ds.to_data()


def test_the_default_is_the_centre_of_224_of_256_and_an_image_of_that_size_is_only_cut(tmp_path):
    pixels = RANDOM.integers(0, 256, (256, 300, 3), np.uint8)
    for part in ("train", "val"):
        (tmp_path / part / "n01").mkdir(parents=True)
        Image.fromarray(pixels).save(tmp_path / part / "n01" / "a.png")
    x, _ = data.load("imagenet", root=tmp_path).test.batch(torch.tensor([0]))
    assert torch.equal(x[0].permute(1, 2, 0), torch.tensor(pixels[16:240, 38:262]))


def test_the_short_side_is_scaled_and_the_centre_taken():
    assert centre(300, 256, 224, 256) == (38, 16, 262, 240)
    assert centre(100, 200, 224, 256) == (6.25, 56.25, 93.75, 143.75)


def test_training_crops_are_drawn_by_the_generator_and_lie_inside(root):
    split = data.load("imagenet", root=root, size=16, resize=20, threads=2).train

    def draw(seed):
        return split.batch(torch.tensor([0, 1, 0]), torch.Generator().manual_seed(seed))[0]

    assert torch.equal(draw(1), draw(1)) and not torch.equal(draw(1), draw(2))
    assert not torch.equal(draw(1)[0], draw(1)[2])
    boxes = [random_box(60, 40, torch.rand(41, generator=torch.Generator().manual_seed(seed)).tolist())
             for seed in range(200)]
    areas = [(right - left) * (bottom - top) / 2400 for left, top, right, bottom in boxes]
    ratios = [(right - left) / (bottom - top) for left, top, right, bottom in boxes]
    assert all(0 <= left < right <= 60 + 1e-9 and 0 <= top < bottom <= 40 + 1e-9 for left, top, right, bottom in boxes)
    assert 0.08 <= min(areas) < 0.15 and 0.8 < max(areas) <= 1 and 0.74 < min(ratios) and max(ratios) < 1.34
    assert random_box(1000, 1, [0.5] * 41) == centre(1000, 1, 1, 1)      # no box fits


def test_other_folders_and_broken_images_are_refused(root):
    (root / "train" / "n02" / "b.jpg").write_bytes((root / "train" / "n02" / "b.jpg").read_bytes()[:300])
    with pytest.raises(DataError, match="b.jpg is not read"):
        data.load("imagenet", root=root).train.batch(torch.tensor([1]))
    (root / "val" / "n03").mkdir()
    with pytest.raises(DataError, match="2 class folders and .*val 3, needed are the same; n03 is in one"):
        data.load("imagenet", root=root)
    with pytest.raises(InputError, match="size is 300 and resize 256"):
        data.load("imagenet", root=root, size=300)
