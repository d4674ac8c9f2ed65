"""What loading a data set gives: two splits of samples and labels, and the facts that a network is built from."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Protocol

import torch

from qblif.gen.errors import DataError


class Split(Protocol):
    """Samples with labels, by index: `labels` int64 (N,), `len(split)` = N, `batch(index)`."""

    labels: torch.Tensor

    def __len__(self) -> int: ...

    def batch(self, index: torch.Tensor, generator: torch.Generator | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Return samples and labels of int64 indices (B,): x uint8 (B, C, H, W), or (T, B, 2, H, W) for events; y (B,).

        generator: draws what is random in reading a sample (the crops of ImageNet's training images); without it, and
        in all splits that have nothing random, samples are read the same every time."""


@dataclasses.dataclass(frozen=True, eq=False)
class TensorSplit:
    """A split in memory, or in a file mapped to it. x: uint8 (N, C, H, W) or (T, N, 2, H, W); y: int64 (N,)."""

    x: torch.Tensor
    y: torch.Tensor

    def __post_init__(self):
        if self.x.dtype != torch.uint8 or self.x.dim() not in (4, 5):
            raise DataError(f"samples are {self.x.dtype} {tuple(self.x.shape)}, needed are uint8 (N, C, H, W) or "
                            "(T, N, 2, H, W)")
        if self.y.dtype != torch.int64 or self.y.dim() != 1 or len(self.y) != self.x.shape[self.axis]:
            raise DataError(f"labels are {self.y.dtype} {tuple(self.y.shape)}, needed are int64 "
                            f"({self.x.shape[self.axis]},): one for each sample")

    @property
    def axis(self) -> int:
        """The axis of x that counts samples: 0, or 1 behind the time steps."""
        return self.x.dim() - 4

    @property
    def labels(self) -> torch.Tensor:
        """Labels, int64 (N,)."""
        return self.y

    def __len__(self) -> int:
        return len(self.y)

    def batch(self, index: torch.Tensor, generator: torch.Generator | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Return samples and labels of int64 indices (B,); nothing is drawn from the generator."""
        # index_select along the second axis takes 50 times as long where samples lie one after the other
        return (self.x[:, index] if self.axis else self.x[index]), self.y[index]

    def __repr__(self) -> str:
        return f"TensorSplit({len(self)} samples, x {tuple(self.x.shape)})"


def upper_bits(x: torch.Tensor, bits: int) -> torch.Tensor:
    """Return pixels, uint8 of 8 bits, by their upper bits alone: x >> (8 - bits). bits: 1 to 8; else DataError."""
    if not isinstance(bits, int) or isinstance(bits, bool) or not 1 <= bits <= 8:
        raise DataError(f"bits of a pixel are {bits!r}, allowed are 1 to 8: so many of its upper bits are kept")
    return x >> (8 - bits)


@dataclasses.dataclass(frozen=True, eq=False)
class DataSet:
    """A data set, split as its authors split it.

    shape: of a sample of one step, (C, H, W); steps: T of event data, None for static images
    bits: width of the input integers: samples are 0 to 2^bits - 1
    classes: their names, by label
    events, clipped, dropped: of event data, in both splits: events in the recordings; those above the highest count
        of a pixel and step; those behind the last window. The sum of all counts is events - clipped - dropped
    folder: where it was found; None where it came with a package
    """

    name: str
    train: Split
    test: Split
    classes: tuple[str, ...]
    shape: tuple[int, int, int]
    steps: int | None = None
    bits: int = 8
    events: int = 0
    clipped: int = 0
    dropped: int = 0
    folder: Path | None = None

    def __post_init__(self):
        where = f" in {self.folder}" if self.folder else ""
        for part, split in (("training", self.train), ("test", self.test)):
            if not len(split):
                raise DataError(f"{self.name}: there are no {part} samples{where}")
            low, high = int(split.labels.min()), int(split.labels.max())
            if low < 0 or high >= len(self.classes):
                raise DataError(f"{self.name}: {part} labels{where} go from {low} to {high}, allowed are 0 to "
                                f"{len(self.classes) - 1}")

    @property
    def lost(self) -> str:
        """What was lost when events were counted, in words; nothing for images."""
        if not self.events:
            return ""
        return (f"{self.name}: {self.events:,} events, {self.clipped:,} clipped at {2 ** self.bits - 1} a pixel and "
                f"step, {self.dropped:,} behind the last window")

    def to_data(self):
        """Return the set as `qblif.gen.Data`, for `qblif.gen.train`. Raises DataError for what is not in memory."""
        from qblif.gen.training import Data

        if not (isinstance(self.train, TensorSplit) and isinstance(self.test, TensorSplit)):
            raise DataError(f"{self.name} is too large to be held in memory: train on its batches")
        return Data(self.train.x, self.train.y, self.test.x, self.test.y, self.train.axis)

    def __repr__(self) -> str:
        """Return one line: sizes, shape and what was clipped."""
        shape = self.shape if self.steps is None else (self.steps, *self.shape)
        text = (f"DataSet({self.name}: {len(self.train)} to train, {len(self.test)} to test, {len(self.classes)} "
                f"classes, {shape} of {self.bits} bits")
        if self.events:
            text += f"; {self.events} events, {self.clipped} clipped, {self.dropped} dropped"
        return text + ")"
