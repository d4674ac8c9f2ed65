"""CIFAR10-DVS: a folder for each class, of .aedat recordings (as published first), .aedat4 (published later) or .mat.

Ref: H. Li et al., CIFAR10-DVS: an event-stream dataset for object classification, 2017.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from qblif.gen.errors import DataError
from qblif.host.errors import InputError

from . import aedat, files
from .cifar import CIFAR10
from .dataset import DataSet
from .events import Binning, Events
from .recordings import Recordings, data_set

SIZE = (128, 128)


def cifar10_dvs(about, root, *, steps: int = 10, bits: int = 4, by: str = "time", window: int | None = None,
                pool: int = 1, test_share: float = 0.1) -> DataSet:
    """Read CIFAR10-DVS as counts; the options are those of `events.Binning`, and:

    test_share: the set comes without a split: the last tenth (by number) of each class is to test, as most papers do.
    """
    if not 0 < test_share < 1:
        raise InputError(f"test_share is {test_share!r}, allowed are shares between 0 and 1")
    binning = Binning(steps, bits, by, window, pool)

    def form(suffix: str, read) -> files.Form:
        def load(folder: Path) -> DataSet:
            train, test = [], []
            for label, name in enumerate(CIFAR10):
                paths = sorted(folder.glob(f"{name}/*{suffix}"), key=_number)
                kept = len(paths) - max(1, round(len(paths) * test_share))
                train += [(path, label) for path in paths[:kept]]
                test += [(path, label) for path in paths[kept:]]
            parts = [Recordings([label for _, label in part], lambda part=part: (read(path) for path, _ in part))
                     for part in (train, test)]
            return data_set(about, folder, [path for path, _ in train + test], CIFAR10, *parts, SIZE, binning)

        return files.Form(f"class folders of {suffix}", tuple(f"{name}/*{suffix}" for name in CIFAR10), load)

    found, folder = files.find(about, root, (form(".aedat", aedat.read_dvs128), form(".aedat4", aedat.read_aedat4),
                                             form(".mat", read_mat)))
    return found.read(folder)


def read_mat(path: Path) -> Events:
    """Return the events of a .mat file: a matrix out1 whose first column is t, and whose last are x, y and 1 or -1.

    Such files are made of .aedat by the authors' script dat2mat.m: 4 columns, or 6, the second and third unused."""
    from scipy.io import loadmat

    try:
        rows = loadmat(path, variable_names=["out1"])["out1"].astype(np.int64)
    except Exception as error:  # each kind of damage has a class of its own, some of them of zlib and struct
        raise DataError(f"{path} is not read: {error!r}. Needed is a matrix out1, saved by MATLAB in version 7 or "
                        "earlier") from error
    if rows.ndim != 2 or rows.shape[1] not in (4, 6):
        raise DataError(f"{path} has a matrix out1 of {' x '.join(map(str, rows.shape))}, needed are 4 or 6 columns")
    t, x, y, sign = rows[:, [0, -3, -2, -1]].T
    return Events(x, y, (sign > 0).astype(np.int64), t)


def _number(path: Path) -> tuple[int, str]:
    """Return the last number in a file's name, by which recordings are ordered, and the name."""
    numbers = re.findall(r"\d+", path.stem)
    return (int(numbers[-1]) if numbers else -1), path.name
