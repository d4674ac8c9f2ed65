"""From recordings of events to a data set of counts: binned once, kept, and mapped into memory from then on."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import torch

from . import files
from .dataset import DataSet, TensorSplit
from .events import Binning, Events
from .kept import kept

READERS = ("events", "recordings", "aedat", "nmnist", "cifar10_dvs", "dvs_gesture")
"""The modules that decide what counts a recording has."""


@dataclasses.dataclass(frozen=True)
class Recordings:
    """Recordings of a split. labels: one for each; events(): yields them, in that order."""

    labels: Sequence[int]
    events: Callable[[], Iterable[Events]]


def data_set(about, folder: Path, used: Iterable[Path], classes: Sequence[str], train: Recordings, test: Recordings,
             size: tuple[int, int], binning: Binning) -> DataSet:
    """Return the counts of recordings from a sensor of (height, width); used: the files that the result depends on."""
    parameters = {"binning": dataclasses.asdict(binning), "files": files.fingerprint(used)}
    parts = {"train": train, "test": test}

    def make(out: Path) -> None:
        totals = np.zeros(3, np.int64)
        for part, recordings in parts.items():
            shape = _shape(len(recordings.labels), size, binning)
            counts = np.lib.format.open_memmap(out / f"{part}.npy", mode="w+", dtype=np.uint8, shape=shape)
            totals += bin_all(recordings.events(), counts, size, binning, part)
            counts.flush()
        (out / "totals.json").write_text(json.dumps([int(n) for n in totals]), encoding="utf-8")

    where = kept(about.name, READERS, parameters, make)
    splits = [TensorSplit(_mapped(where / f"{part}.npy"), torch.tensor(list(parts[part].labels), dtype=torch.int64))
              for part in parts]
    events, clipped, dropped = json.loads((where / "totals.json").read_text(encoding="utf-8"))
    return DataSet(about.name, *splits, tuple(classes), binning.shape(size), binning.steps, binning.bits, events,
                   clipped, dropped, folder)


def from_events(name: str, train: Sequence, test: Sequence, classes: Sequence[str], size: tuple[int, int], *,
                steps: int, bits: int = 8, by: str = "time", window: int | None = None, pool: int = 1) -> DataSet:
    """Return the counts of recordings of your own, or of a data set of Tonic's, in memory.

    train, test: sequences of (events, label), where events["x"], ["y"], ["p"] and ["t"] are integer arrays of one
        length, as in a structured array; t in microseconds
    size: (height, width) of the sensor; the rest: see `events.Binning`
    """
    binning = Binning(steps, bits, by, window, pool)
    totals, splits = np.zeros(3, np.int64), []
    for what, part in (("train", train), ("test", test)):
        labels: list[int] = []
        counts = np.empty(_shape(len(part), size, binning), np.uint8)
        totals += bin_all(_labelled(part, labels), counts, size, binning, what)
        splits.append(TensorSplit(torch.from_numpy(counts).transpose(0, 1), torch.tensor(labels, dtype=torch.int64)))
    return DataSet(name, *splits, tuple(classes), binning.shape(size), steps, bits, *(int(n) for n in totals))


def _labelled(part: Sequence, labels: list[int]) -> Iterable[Events]:
    """Yield the events of recordings, and append their labels to a list."""
    for i in range(len(part)):
        events, label = part[i]
        labels.append(int(label))
        yield Events(*(events[name] for name in "xypt"))


def _shape(count: int, size: tuple[int, int], binning: Binning) -> tuple[int, ...]:
    return count, binning.steps, *binning.shape(size)


def bin_all(recordings: Iterable[Events], counts: np.ndarray, size: tuple[int, int], binning: Binning,
            what: str) -> np.ndarray:
    """Write the counts of recordings to an array, uint8 (N, T, 2, H, W); return events, clipped and dropped, int64."""
    from tqdm import tqdm

    totals = np.zeros(3, np.int64)
    progress = tqdm(recordings, f"binning {what}", len(counts), disable=None, delay=2, leave=False)
    for events, out in zip(progress, counts, strict=True):
        binned = binning.counts(events, size)
        out[...] = binned.counts
        totals += len(events.t), binned.clipped, binned.dropped
    return totals


def _mapped(path: Path) -> torch.Tensor:
    """Return a file's counts as (T, N, 2, H, W): a view of it, sample after sample; what is written stays in memory."""
    return torch.from_numpy(np.load(path, mmap_mode="c", allow_pickle=False)).transpose(0, 1)
