"""Losslessly packed small colour images: parts of planes of prediction residuals, compressed by xz, and labels.npz.

A part is an xz stream of: the bytes MGX1; N, H, W (uint32, little endian); then the planes G, R-G and B-G, each N*H*W
residuals modulo 256. A residual is the pixel minus its prediction from its neighbours left (a), above (b) and above
left (c): the median of a, b and a+b-c; in the first row a, in the first column b, at the corner 0.

labels.npz: y_train and y_test (uint8, N), exact_train and exact_test (bool, N): whether a pixel-exact original was had.
"""

from __future__ import annotations

import lzma
import zipfile
from pathlib import Path

import numpy as np

from qblif.gen.errors import DataError

from . import files
from .kept import kept

MAGIC = b"MGX1"


def decode(path: Path) -> np.ndarray:
    """Return the images of a part, uint8 (N, 3, H, W), planes R, G, B. Raises DataError where it is no such part."""
    try:
        raw = lzma.decompress(path.read_bytes())
    except (lzma.LZMAError, EOFError) as error:
        raise DataError(f"{path} cannot be decompressed: {error}") from error
    n, h, w = (int(v) for v in np.frombuffer(raw[4:16].ljust(12, b"\0"), "<u4"))
    if raw[:4] != MAGIC or len(raw) != 16 + 3 * n * h * w:
        raise DataError(f"{path} is no packed part: it begins with {raw[:4]!r} and announces {n} images of {h} x {w}, "
                        f"which are {16 + 3 * n * h * w} bytes; there are {len(raw)}")
    residuals = np.frombuffer(raw, np.uint8, offset=16).reshape(3, n, h, w)
    green = _plane(residuals[0], None)
    red, blue = (_plane(residuals[k], green) + green for k in (1, 2))
    return np.stack([plane.transpose(2, 0, 1).astype(np.uint8) for plane in (red, green, blue)], axis=1)


def _plane(residuals: np.ndarray, green: np.ndarray | None) -> np.ndarray:
    """Return a plane (H, W, N), int16; with `green`, the difference to it. All images advance pixel by pixel."""
    n, h, w = residuals.shape
    residuals = np.ascontiguousarray(residuals.transpose(1, 2, 0)).astype(np.int16)  # rows of N values, in memory order
    plane = np.empty((h, w, n), np.int16)
    for i in range(h):
        for j in range(w):
            if i and j:
                a, b, c = plane[i, j - 1], plane[i - 1, j], plane[i - 1, j - 1]
                guess = np.clip(a + b - c, np.minimum(a, b), np.maximum(a, b))
            else:
                guess = plane[i, j - 1] if j else plane[i - 1, j] if i else np.int16(0)
            value = (residuals[i, j] + guess) & 255
            # a difference is known modulo 256, and green plus it is a byte
            plane[i, j] = value if green is None else ((value + green[i, j]) & 255) - green[i, j]
    return plane


def read(folder: Path, part: str, exact: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return images (N, 3, 32, 32) and labels (N,) of "train" or "test"; exact: only those that are marked so."""
    paths = sorted(folder.glob(f"{part}*.xz"))

    def make(out: Path) -> None:
        np.save(out / "x.npy", np.concatenate([decode(path) for path in paths]))

    x = np.load(kept(f"packed-{part}", ["packed"], {"files": files.fingerprint(paths)}, make) / "x.npy")
    try:
        with (folder / "labels.npz").open("rb") as file, np.load(file, allow_pickle=False) as labels:
            y, good = labels[f"y_{part}"], labels[f"exact_{part}"]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{folder / 'labels.npz'} is not read: {error}") from error
    if x.shape[1:] != (3, 32, 32) or y.shape != (len(x),) or good.shape != y.shape:
        raise DataError(f"{folder} has {part} images {x.shape} and labels {y.shape}, needed are (N, 3, 32, 32), (N,)")
    return (x[good], y[good].astype(np.int64)) if exact else (x, y.astype(np.int64))
