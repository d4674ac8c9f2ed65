"""Events of a camera, binned to counts: integers of a few bits, one map for each time step and polarity."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np

from qblif.gen.errors import DataError
from qblif.host.errors import InputError


class Events(NamedTuple):
    """A recording: integer arrays of one length; t in microseconds; p is 0 (darker) or 1 (brighter)."""

    x: np.ndarray
    y: np.ndarray
    p: np.ndarray
    t: np.ndarray


class Binned(NamedTuple):
    """counts: uint8 (T, 2, H, W); sum of counts + clipped + dropped == number of events."""

    counts: np.ndarray
    clipped: int
    dropped: int


@dataclasses.dataclass(frozen=True)
class Binning:
    """How events become counts.

    steps: T, 1 to 255
    bits: of a count, 1 to 8: events above 2^bits - 1 of a pixel, polarity and step are clipped, and counted
    by: "time": steps of equal length; "count": steps of equally many events, up to one
    window: microseconds of a step, from the first event on: events behind the last step are dropped, and counted; None:
        the recording's own length is divided by T. Only by time
    pool: pixels of a square of so many share a count; has to divide the sensor's height and width

    Raises InputError with everything that is wrong."""

    steps: int
    bits: int = 8
    by: str = "time"
    window: int | None = None
    pool: int = 1

    def __post_init__(self):
        problems = [f"{name} is {value!r}, allowed is {low} to {high}" for name, value, low, high in (
            ("steps", self.steps, 1, 255), ("bits", self.bits, 1, 8), ("pool", self.pool, 1, 255))
            if type(value) is not int or not low <= value <= high]
        if self.by not in ("time", "count"):
            problems.append(f"by is {self.by!r}, allowed are 'time' and 'count'")
        if self.window is not None and (type(self.window) is not int or self.window < 1 or self.by != "time"):
            problems.append(f"window is {self.window!r}, allowed are microseconds from 1, and None; by time alone")
        if problems:
            raise InputError("; ".join(problems))

    def shape(self, size: tuple[int, int]) -> tuple[int, int, int]:
        """Return (2, H, W) of counts from a sensor of (height, width)."""
        if size[0] % self.pool or size[1] % self.pool:
            raise InputError(f"pool is {self.pool}, which does not divide the sensor's {size[0]} x {size[1]} pixels")
        return 2, size[0] // self.pool, size[1] // self.pool

    def counts(self, events: Events, size: tuple[int, int]) -> Binned:
        """Return the counts of a recording from a sensor of (height, width); no events give zeros.

        Raises DataError where events lie outside the sensor or arrays differ in length."""
        x, y, p, t = (np.asarray(a, np.int64) for a in events)
        if not x.ndim == 1 or not len(x) == len(y) == len(p) == len(t):
            raise DataError(f"x, y, p and t have the shapes {x.shape}, {y.shape}, {p.shape} and {t.shape}, needed is "
                            "one of each for every event")
        _, height, width = shape = self.shape(size)
        bad = (x < 0) | (x >= size[1]) | (y < 0) | (y >= size[0]) | (p < 0) | (p > 1)
        if bad.any():
            i = int(bad.argmax())
            raise DataError(f"{int(bad.sum())} of {len(x)} events are not of this sensor, the first with x={x[i]}, "
                            f"y={y[i]}, p={p[i]}; allowed are x below {size[1]}, y below {size[0]}, p 0 and 1")
        step = self._steps(t)
        cell = ((step * 2 + p) * height + y // self.pool) * width + x // self.pool
        cell = cell[step < self.steps]
        found = np.bincount(cell, minlength=self.steps * 2 * height * width).reshape(self.steps, *shape)
        counts = np.minimum(found, 2 ** self.bits - 1).astype(np.uint8)
        return Binned(counts, len(cell) - int(counts.sum(dtype=np.int64)), len(x) - len(cell))

    def _steps(self, t: np.ndarray) -> np.ndarray:
        """Return the step of each event; T or more: behind the last one. All in integers, so there are no ties."""
        if not len(t):
            return t
        if self.by == "count":
            step = np.empty_like(t)
            step[np.argsort(t, kind="stable")] = np.arange(len(t)) * self.steps // len(t)
            return step
        since = t - t.min()
        return since // self.window if self.window else since * self.steps // (int(since.max()) + 1)
