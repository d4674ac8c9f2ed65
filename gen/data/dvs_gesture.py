"""DVS128-Gesture: the published recordings with tables of labels, or a file for each gesture.

Ref: A. Amir et al., A low power, fully event-based gesture recognition system, CVPR 2017.
"""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from qblif.gen.errors import DataError

from . import aedat, files
from .dataset import DataSet
from .events import Binning, Events
from .recordings import Recordings, data_set

SIZE = (128, 128)
CLASSES = ("hand clapping", "right hand wave", "left hand wave", "right arm clockwise", "right arm counter-clockwise",
           "left arm clockwise", "left arm counter-clockwise", "arm roll", "air drums", "air guitar", "other gestures")
"""In the order of the labels of the published tables, which count from 1."""

MILLISECOND = 1000


def dvs_gesture(about, root, *, steps: int = 16, bits: int = 6, by: str = "time", window: int | None = None,
                pool: int = 1) -> DataSet:
    """Read DVS128-Gesture as counts; the options are those of `events.Binning`. Test: users 24 to 29."""
    binning = Binning(steps, bits, by, window, pool)

    def published(folder: Path) -> DataSet:
        used, parts = [], []
        for part in ("train", "test"):
            names = (folder / f"trials_to_{part}.txt").read_text(encoding="utf-8").split()
            trials = [(path, _gestures(path)) for path in (folder / name for name in names)]
            used += [path for path, _ in trials]
            parts.append(Recordings([label for _, gestures in trials for label, _, _ in gestures],
                                    lambda trials=trials: _cut(trials)))
        return data_set(about, folder, [*used, *folder.glob("*_labels.csv")], CLASSES, *parts, SIZE, binning)

    def single(patterns: tuple[str, str], label, read):
        def load(folder: Path) -> DataSet:
            found = [sorted(folder.glob(pattern)) for pattern in patterns]
            for path in found[0] + found[1]:
                if not label(path).isdecimal():
                    raise DataError(f"{path}: {label(path)!r} is no label, needed are the numbers 0 to 10")
            parts = [Recordings([int(label(path)) for path in paths], lambda paths=paths: map(read, paths))
                     for paths in found]
            return data_set(about, folder, found[0] + found[1], CLASSES, *parts, SIZE, binning)

        return load

    by_user = ("ibmGestureTrain/user*/*.npy", "ibmGestureTest/user*/*.npy")
    by_class = ("events_np/train/*/*.npz", "events_np/test/*/*.npz")
    form, folder = files.find(about, root, (
        files.Form("recordings", ("trials_to_train.txt", "trials_to_test.txt", "*.aedat", "*_labels.csv"), published),
        files.Form(".npy files by user, as Tonic has them", by_user,
                   single(by_user, lambda path: path.stem, read_npy)),
        files.Form(".npz files by class, as SpikingJelly makes them", by_class,
                   single(by_class, lambda path: path.parent.name, read_npz))))
    return form.read(folder)


def _gestures(path: Path) -> list[tuple[int, int, int]]:
    """Return label (from 0), first and end microsecond of each gesture in a recording, from the table beside it."""
    table = path.with_name(f"{path.stem}_labels.csv")
    try:
        with table.open(newline="", encoding="utf-8") as file:
            rows = [(int(row["class"]) - 1, int(row["startTime_usec"]), int(row["endTime_usec"]))
                    for row in csv.DictReader(file)]
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise DataError(f"{table} is not read: {error!r}. Needed are the columns class, startTime_usec and "
                        "endTime_usec, all integers") from error
    if not rows:
        raise DataError(f"{table} lists no gestures")
    return rows


def _cut(trials) -> Iterator[Events]:
    """Yield the events of each gesture of each recording, which is read once."""
    for path, gestures in trials:
        events = aedat.read_aedat3(path)
        for _, first, end in gestures:
            chosen = (events.t >= first) & (events.t < end)
            yield Events(*(a[chosen] for a in events))


def read_npy(path: Path) -> Events:
    """Return the events of a .npy file: columns x, y, p and t, in milliseconds."""
    try:
        rows = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise DataError(f"{path} is not read: {error}") from error
    if rows.ndim != 2 or rows.shape[1] != 4:
        raise DataError(f"{path} has an array {rows.shape}, needed are 4 columns: x, y, p and t")
    x, y, p, t = rows.astype(np.int64).T
    return Events(x, y, p, t * MILLISECOND)


def read_npz(path: Path) -> Events:
    """Return the events of a .npz file: arrays x, y, p and t, in microseconds."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return Events(*(arrays[name].astype(np.int64) for name in "xypt"))
    except (ValueError, KeyError, EOFError, OSError, AttributeError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is not read: {error}") from error
