"""What is trained on and tested with: inputs of unsigned integers and their classes."""

from __future__ import annotations

import dataclasses

import torch

from qblif.host.errors import InputError


@dataclasses.dataclass(frozen=True, eq=False)
class Samples:
    """Inputs in memory and their classes, in the form of a split of `gen.data`.

    x: (N, ...) or, with axis=1, (T, N, ...); y: int64 (N,)
    """

    x: torch.Tensor
    y: torch.Tensor
    axis: int = 0

    def __len__(self) -> int:
        return len(self.y)

    @property
    def labels(self) -> torch.Tensor:
        """The classes, int64 (N,)."""
        return self.y

    def batch(self, index: torch.Tensor, generator: torch.Generator | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the inputs and classes with these numbers, int64 (B,); nothing is drawn from the generator."""
        return self.x.index_select(self.axis, index), self.y[index]


@dataclasses.dataclass(frozen=True)
class Data:
    """Inputs of unsigned integers and their classes, for training and for testing: tensors or numpy arrays.

    train_x, test_x: (N, ...) or (T, N, ...), pixels or counts, 0 and up; train_y, test_y: (N,), integers from 0
    axis: the one that counts the samples: 0 for (N, ...), 1 for (T, N, ...)

    Raises InputError with everything that is wrong.
    """

    train_x: torch.Tensor
    train_y: torch.Tensor
    test_x: torch.Tensor
    test_y: torch.Tensor
    axis: int = 0

    def __post_init__(self):
        problems = []
        for field in ("train_x", "train_y", "test_x", "test_y"):
            try:
                object.__setattr__(self, field, torch.as_tensor(getattr(self, field)))
            except (TypeError, ValueError, RuntimeError) as e:
                problems.append(f"{field} is a {type(getattr(self, field)).__name__}, allowed are tensors and numpy "
                                f"arrays of numbers ({e})")
        if not problems:
            problems = [p for part in ("train", "test") for p in self._problems(part)]
        if not problems:
            object.__setattr__(self, "train_y", self.train_y.long())
            object.__setattr__(self, "test_y", self.test_y.long())
            shapes = [[n for i, n in enumerate(x.shape) if i != self.axis] for x in (self.train_x, self.test_x)]
            if shapes[0] != shapes[1]:
                problems.append(f"the samples of train_x and test_x differ in shape: {shapes[0]} and {shapes[1]}")
        if problems:
            raise InputError("; ".join(problems))

    def _problems(self, part):
        x, y = getattr(self, f"{part}_x"), getattr(self, f"{part}_y")
        if self.axis not in (0, 1) or x.dim() < self.axis + 2:
            yield (f"{part}_x has shape {tuple(x.shape)} with axis={self.axis}, allowed are (N, ...) with axis=0 and "
                   "(T, N, ...) with axis=1")
            return
        if y.dim() != 1 or y.is_floating_point() or y.is_complex() or y.dtype == torch.bool:
            yield (f"{part}_y has shape {tuple(y.shape)} and type {y.dtype}, allowed are integers (N,): the number of "
                   "each sample's class")
            return
        if len(y) != x.shape[self.axis] or not len(y):
            yield f"{part}_x has {x.shape[self.axis]} samples and {part}_y {len(y)}, needed are as many, and 1 or more"
            return
        if y.min() < 0:
            yield f"{part}_y goes down to {int(y.min())}, allowed are classes from 0"
        if x.is_complex() or not ((x >= 0).all() and (not x.is_floating_point() or (x == x.floor()).all())):
            yield (f"{part}_x has values that are no unsigned integers: give pixels or counts, and put the scaling "
                   "into the module, as InputScale")

    @property
    def train(self) -> Samples:
        """What is trained on."""
        return Samples(self.train_x, self.train_y, self.axis)

    @property
    def test(self) -> Samples:
        """What is tested with."""
        return Samples(self.test_x, self.test_y, self.axis)
