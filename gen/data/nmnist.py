"""N-MNIST: folders of .bin files, one recording each, or many recordings in one .npz.

Ref: G. Orchard et al., Converting static image datasets to spiking neuromorphic datasets using saccades, 2015.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from qblif.gen.errors import DataError

from . import files
from .dataset import DataSet
from .events import Binning, Events
from .recordings import Recordings, data_set

SIZE = (34, 34)
OVERFLOW_ROW, OVERFLOW = 240, 1 << 13
"""An event of row 240 is no event: the sensor's clock has overflowed, and time goes on 2^13 microseconds later."""


def nmnist(about, root, *, steps: int = 4, bits: int = 4, by: str = "time", window: int | None = None,
           pool: int = 1) -> DataSet:
    """Read N-MNIST as counts; the options are those of `events.Binning`."""
    binning = Binning(steps, bits, by, window, pool)

    def bins(folder: Path) -> DataSet:
        paths = {part: sorted(folder.glob(f"{part}/[0-9]/*.bin")) for part in ("Train", "Test")}
        parts = [Recordings([int(path.parent.name) for path in found], lambda found=found: map(read_bin, found))
                 for found in paths.values()]
        return data_set(about, folder, [*paths["Train"], *paths["Test"]], tuple("0123456789"), *parts, SIZE, binning)

    def archive(folder: Path) -> DataSet:
        path = files.first(folder, "nmnist*.npz")
        labels, is_test, recording = read_npz(path)
        parts = [Recordings(labels[index].tolist(), lambda index=index: map(recording, index))
                 for index in (np.flatnonzero(~is_test), np.flatnonzero(is_test))]
        return data_set(about, folder, [path], tuple("0123456789"), *parts, SIZE, binning)

    form, folder = files.find(about, root, (
        files.Form("folders of .bin files", ("Train/[0-9]/*.bin", "Test/[0-9]/*.bin"), bins),
        files.Form("one archive", ("nmnist*.npz",), archive)))
    return form.read(folder)


def read_bin(path: Path) -> Events:
    """Return the events of a file of 40-bit records: x, y, polarity (1 bit) and microseconds (23 bits), high first."""
    raw = np.fromfile(path, np.uint8)
    if len(raw) % 5:
        raise DataError(f"{path} has {len(raw)} bytes, needed are records of 5: it was cut off or is another file")
    x, y, high, middle, low = raw.reshape(-1, 5).T.astype(np.int64)
    overflow = y == OVERFLOW_ROW
    t = ((high & 127) << 16 | middle << 8 | low) + OVERFLOW * np.cumsum(overflow)
    return Events(*(a[~overflow] for a in (x, y, high >> 7, t)))


def read_npz(path: Path):
    """Return labels (N,), which of them are test recordings (N,) and a function index -> Events of an archive.

    Arrays: x, y (uint8 for each event), p (bits, packed), dt (uint16, microseconds since the previous event of the
    recording), off (N + 1 offsets of recordings), label, is_test (N)."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            x, y, p, dt, off, label, is_test = (archive[name] for name in ("x", "y", "p", "dt", "off", "label",
                                                                           "is_test"))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is not read: {error}") from error
    p = np.unpackbits(p)[:len(x)]
    if not (len(x) == len(y) == len(p) == len(dt) and len(off) == len(label) + 1 == len(is_test) + 1
            and off[0] == 0 and off[-1] == len(x) and (np.diff(off) >= 0).all()):
        raise DataError(f"{path} is inconsistent: {len(x)}, {len(y)}, {len(p)} and {len(dt)} of x, y, p and dt, "
                        f"{len(off)} offsets and {len(label)} labels")

    def recording(index: int) -> Events:
        part = slice(off[index], off[index + 1])
        return Events(x[part], y[part], p[part], np.cumsum(dt[part], dtype=np.int64))

    return label, is_test, recording
