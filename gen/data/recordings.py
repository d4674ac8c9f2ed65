"""From recordings of events to a data set of counts: binned once, kept, and mapped into memory from then on."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import torch

from qblif.gen.errors import DataError

from . import files
from .dataset import DataSet, TensorSplit
from .events import Binning, Events
from .kept import kept


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
            totals += bin_all(recordings, size, binning, out / f"{part}.npy", part)
        (out / "totals.json").write_text(json.dumps([int(n) for n in totals]), encoding="utf-8")

    where = kept(about.name, parameters, make)
    splits = [TensorSplit(_mapped(where / f"{part}.npy"), torch.tensor(list(parts[part].labels), dtype=torch.int64))
              for part in parts]
    events, clipped, dropped = json.loads((where / "totals.json").read_text(encoding="utf-8"))
    return DataSet(about.name, *splits, tuple(classes), binning.shape(size), binning.steps, binning.bits, events,
                   clipped, dropped, folder)


def bin_all(recordings: Recordings, size: tuple[int, int], binning: Binning, path: Path, what: str) -> np.ndarray:
    """Write the counts of all recordings to a .npy file, uint8 (N, T, 2, H, W); return events, clipped and dropped."""
    from tqdm import tqdm

    shape = (len(recordings.labels), binning.steps, *binning.shape(size))
    if not shape[0]:
        raise DataError(f"there are no {what} recordings")
    out = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    totals, done = np.zeros(3, np.int64), 0
    for events in tqdm(recordings.events(), f"binning {what}", shape[0], disable=None, delay=2, leave=False):
        binned = binning.counts(events, size)
        out[done] = binned.counts
        totals += len(events.t), binned.clipped, binned.dropped
        done += 1
    if done != shape[0]:
        raise DataError(f"there are {shape[0]} labels and {done} {what} recordings")
    out.flush()
    return totals


def _mapped(path: Path) -> torch.Tensor:
    """Return a file's counts as (T, N, 2, H, W): a view of it, sample after sample; what is written stays in memory."""
    return torch.from_numpy(np.load(path, mmap_mode="c", allow_pickle=False)).transpose(0, 1)
