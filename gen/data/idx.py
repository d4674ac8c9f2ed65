"""MNIST and Fashion-MNIST: idx files, as they are or compressed by gzip.

Ref: Y. LeCun, C. Cortes, The MNIST database: "the IDX file format".
"""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
import torch

from qblif.gen.errors import DataError

from . import files
from .dataset import DataSet, TensorSplit, upper_bits

UBYTE = 0x08
"""The code of unsigned bytes, the one type of these sets."""

FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


def read_idx(path: Path) -> np.ndarray:
    """Return the uint8 array of an idx file; a name that ends in .gz is decompressed.

    Raises DataError where the file is not of this form, or its size is not what its header says."""
    raw = path.read_bytes()
    if path.suffix == ".gz":
        try:
            raw = gzip.decompress(raw)
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{path} cannot be decompressed: {error}. It was cut off or is no gzip file: get it "
                            "again") from error
    if len(raw) < 4 or raw[:3] != bytes([0, 0, UBYTE]) or not 1 <= raw[3] <= 4:
        raise DataError(f"{path} begins with the bytes {raw[:4].hex(' ') or '(none)'}, an idx file of unsigned bytes "
                        "begins with 00 00 08 and the number of dimensions, 1 to 4")
    start = 4 + 4 * raw[3]
    shape = tuple(int(n) for n in np.frombuffer(raw[4:start].ljust(start - 4, b"\0"), ">u4"))
    if len(raw) - start != math.prod(shape):
        raise DataError(f"{path} has {max(0, len(raw) - start)} bytes of data, its header announces "
                        f"{' x '.join(map(str, shape))} = {math.prod(shape)}: it was cut off or changed")
    return np.frombuffer(raw, np.uint8, offset=start).reshape(shape)


def _load(about, root, classes, bits) -> DataSet:
    parts = {part: [f"{part}-{what}-idx{n}-ubyte.gz|{part}-{what}-idx{n}-ubyte|{part}-{what}.idx{n}-ubyte"
                    for what, n in (("images", 3), ("labels", 1))] for part in ("train", "t10k")}

    def read(folder: Path) -> DataSet:
        splits = [_split(*(files.first(folder, name) for name in names), bits) for names in parts.values()]
        return DataSet(about.name, *splits, classes, about.shape, bits=bits, folder=folder)

    form, folder = files.find(about, root, [files.Form("idx files", (*parts["train"], *parts["t10k"]), read)])
    return form.read(folder)


def _split(images: Path, labels: Path, bits: int) -> TensorSplit:
    x, y = read_idx(images), read_idx(labels)
    if x.ndim != 3 or x.shape[1:] != (28, 28):
        raise DataError(f"{images} holds an array {x.shape}, needed are images of 28 x 28")
    if y.shape != (len(x),):
        raise DataError(f"{labels} holds an array {y.shape}, needed are {len(x)} labels, one for each image")
    return TensorSplit(upper_bits(torch.from_numpy(x[:, None].copy()), bits), torch.from_numpy(y.astype(np.int64)))


def mnist(about, root, *, bits: int = 8) -> DataSet:
    """Read MNIST. bits: of a pixel, 1 to 8: its upper ones."""
    return _load(about, root, tuple("0123456789"), bits)


def fashion_mnist(about, root, *, bits: int = 8) -> DataSet:
    """Read Fashion-MNIST, whose files are named as MNIST's. bits: of a pixel, 1 to 8: its upper ones."""
    return _load(about, root, FASHION, bits)
