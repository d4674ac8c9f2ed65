"""CIFAR-10 and CIFAR-100: python batches, binary batches, and losslessly packed parts (CIFAR-10).

Ref: A. Krizhevsky, Learning multiple layers of features from tiny images, 2009; the set's page describes both batches.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from qblif.gen.errors import DataError

from . import batches, files, packed
from .dataset import DataSet, TensorSplit, upper_bits

CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
PLANES = 3 * 32 * 32
"""Bytes of an image: the red, the green and the blue plane, each row by row."""


def cifar10(about, root, *, exact: bool = False, bits: int = 8) -> DataSet:
    """Read CIFAR-10. exact: leave out the images that a packed form marks as not bit-exact (batches have none).

    bits: of a pixel, 1 to 8: its upper ones."""
    numbers = range(1, 6)

    def python(folder: Path) -> DataSet:
        return _set([_python(folder / f"data_batch_{i}", b"labels") for i in numbers],
                    [_python(folder / "test_batch", b"labels")], CIFAR10, folder)

    def binary(folder: Path) -> DataSet:
        return _set([_binary(folder / f"data_batch_{i}.bin", 1) for i in numbers],
                    [_binary(folder / "test_batch.bin", 1)], CIFAR10, folder)

    def parts(folder: Path) -> DataSet:
        return _set([packed.read(folder, "train", exact)], [packed.read(folder, "test", exact)], CIFAR10, folder)

    def _set(train, test, classes, folder):
        return DataSet(about.name, _split(train, bits), _split(test, bits), classes, about.shape, bits=bits,
                       folder=folder)

    form, folder = files.find(about, root, (
        files.Form("python batches", (*(f"data_batch_{i}" for i in numbers), "test_batch"), python),
        files.Form("binary batches", (*(f"data_batch_{i}.bin" for i in numbers), "test_batch.bin"), binary),
        files.Form("packed parts", ("train_*.xz", "test.xz", "labels.npz"), parts)))
    return form.read(folder)


def cifar100(about, root, *, coarse: bool = False, bits: int = 8) -> DataSet:
    """Read CIFAR-100. coarse: label with the 20 superclasses in place of the 100 classes.

    bits: of a pixel, 1 to 8: its upper ones."""
    kind = "coarse" if coarse else "fine"

    def python(folder: Path) -> DataSet:
        names = batches.read(folder / "meta").get(f"{kind}_label_names".encode())
        if not isinstance(names, list) or not all(isinstance(name, bytes) for name in names):
            raise DataError(f"{folder / 'meta'} holds no list {kind}_label_names")
        train, test = (_python(folder / part, f"{kind}_labels".encode()) for part in ("train", "test"))
        return _set(train, test, [name.decode() for name in names], folder)

    def binary(folder: Path) -> DataSet:
        names = (folder / f"{kind}_label_names.txt").read_text(encoding="utf-8").split()
        train, test = (_binary(folder / f"{part}.bin", 2, 0 if coarse else 1) for part in ("train", "test"))
        return _set(train, test, names, folder)

    def _set(train, test, names, folder):
        return DataSet(about.name, _split([train], bits), _split([test], bits), tuple(names), about.shape, bits=bits,
                       folder=folder)

    form, folder = files.find(about, root, (
        files.Form("python batches", ("train", "test", "meta"), python),
        files.Form("binary batches", ("train.bin", "test.bin", f"{kind}_label_names.txt"), binary)))
    return form.read(folder)


def _python(path: Path, labels: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Return images (N, 3, 32, 32) and labels of a python batch."""
    found = batches.read(path)
    x, y = found.get(b"data"), found.get(labels)
    if not isinstance(x, np.ndarray) or x.ndim != 2 or x.shape[1] != PLANES:
        raise DataError(f"{path} has no array 'data' of rows of {PLANES} bytes")
    if not isinstance(y, list) or len(y) != len(x) or not all(type(label) is int for label in y):
        raise DataError(f"{path} has no list {labels.decode()!r} of {len(x)} labels")
    return x.reshape(-1, 3, 32, 32), np.array(y, np.int64)


def _binary(path: Path, labels: int, which: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return images (N, 3, 32, 32) and labels of a binary batch: records of some labels and an image."""
    raw, size = np.fromfile(path, np.uint8), labels + PLANES
    if not len(raw) or len(raw) % size:
        raise DataError(f"{path} has {len(raw)} bytes, needed are records of {size}: it was cut off or is another file")
    rows = raw.reshape(-1, size)
    return rows[:, labels:].reshape(-1, 3, 32, 32), rows[:, which].astype(np.int64)


def _split(parts, bits: int) -> TensorSplit:
    return TensorSplit(upper_bits(torch.from_numpy(np.concatenate([x for x, _ in parts])), bits),
                       torch.from_numpy(np.concatenate([y for _, y in parts])))
