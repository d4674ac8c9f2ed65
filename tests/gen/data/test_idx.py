"""MNIST and Fashion-MNIST, on small files in the real format."""

import gzip

import numpy as np
import pytest
import torch

from qblif.gen import data
from qblif.gen.data import DataError
from qblif.gen.data.idx import read_idx

from . import formats

RANDOM = np.random.default_rng(1)
IMAGES = {part: RANDOM.integers(0, 256, (n, 28, 28), np.uint8) for part, n in (("train", 7), ("t10k", 3))}
LABELS = {"train": np.arange(7, dtype=np.uint8), "t10k": np.arange(3, dtype=np.uint8)}


def write(folder, images="{}-images-idx3-ubyte.gz", labels="{}-labels-idx1-ubyte.gz"):
    folder.mkdir(parents=True, exist_ok=True)
    for part in IMAGES:
        formats.idx(folder / images.format(part), IMAGES[part])
        formats.idx(folder / labels.format(part), LABELS[part])


@pytest.mark.parametrize(("name", "folder"), [
    ("mnist", "mnist"), ("mnist", "MNIST/raw"), ("fashion-mnist", "fashion_mnist"),
    ("fashion-mnist", "FashionMNIST/raw")])
@pytest.mark.parametrize("names", [(), ("{}-images-idx3-ubyte", "{}-labels-idx1-ubyte"),
                                   ("{}-images.idx3-ubyte", "{}-labels.idx1-ubyte")], ids=["gz", "plain", "dotted"])
def test_images_and_labels_come_back(tmp_path, name, folder, names):
    write(tmp_path / folder, *names)
    ds = data.load(name, root=tmp_path)
    for split, part in ((ds.train, "train"), (ds.test, "t10k")):
        assert torch.equal(split.x[:, 0], torch.tensor(IMAGES[part]))
        assert split.labels.tolist() == LABELS[part].tolist()
    assert ds.shape == (1, 28, 28) and ds.steps is None and ds.folder == tmp_path / folder


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_pixels_of_fewer_bits_are_the_upper_ones(tmp_path, name, bits):
    write(tmp_path / "mnist")
    write(tmp_path / "fashion-mnist")
    ds = data.load(name, root=tmp_path, bits=bits)
    assert ds.bits == bits and f"of {bits} bits" in repr(ds)
    for split, part in ((ds.train, "train"), (ds.test, "t10k")):
        assert split.x[:, 0].tolist() == (IMAGES[part] // 2 ** (8 - bits)).tolist()


@pytest.mark.parametrize("bits", [0, 9, 2.0, True, "4"])
def test_other_widths_of_pixels_are_refused(tmp_path, bits):
    write(tmp_path / "mnist")
    with pytest.raises(DataError, match="bits of a pixel are .*, allowed are 1 to 8"):
        data.load("mnist", root=tmp_path, bits=bits)


RAW = bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3]) + bytes(range(6))


@pytest.mark.parametrize(("name", "raw", "message"), [
    ("a", b"", r"begins with the bytes \(none\)"),
    ("a", b"\x89PNG\r\n", "begins with the bytes 89 50 4e 47"),
    ("a", bytes([0, 0, 13, 2]) + RAW[4:], "begins with the bytes 00 00 0d 02"),
    ("a", bytes([0, 0, 8, 0]), "number of dimensions, 1 to 4"),
    ("a", RAW[:9], "has 0 bytes of data"),
    ("a", RAW[:-1], "has 5 bytes of data, its header announces 2 x 3 = 6"),
    ("a", RAW + b"\0", "has 7 bytes of data"),
    ("a.gz", RAW, "cannot be decompressed"),
    ("a.gz", gzip.compress(RAW, mtime=0)[:-6], "cannot be decompressed"),
    ("a.gz", gzip.compress(RAW, mtime=0)[:20], "cannot be decompressed"),
])
def test_damaged_files_are_refused(tmp_path, name, raw, message):
    (tmp_path / name).write_bytes(raw)
    with pytest.raises(DataError, match=message):
        read_idx(tmp_path / name)


def test_files_that_do_not_belong_together_are_refused(tmp_path):
    write(tmp_path)
    formats.idx(tmp_path / "t10k-labels-idx1-ubyte.gz", LABELS["train"])
    with pytest.raises(DataError, match=r"needed are 3 labels"):
        data.load("mnist", root=tmp_path)
    formats.idx(tmp_path / "t10k-images-idx3-ubyte.gz", IMAGES["train"][:, :20])
    with pytest.raises(DataError, match="needed are images of 28 x 28"):
        data.load("mnist", root=tmp_path)
