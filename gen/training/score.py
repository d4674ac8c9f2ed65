"""How well a module does: logits and accuracy, in batches."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def predict(module: nn.Module, x: torch.Tensor, axis: int = 0, batch: int = 256) -> torch.Tensor:
    """Return the logits (N, K) of `module` for inputs x, in batches."""
    p = next(module.parameters())
    return torch.cat([module(part.to(p.device, p.dtype)).cpu() for part in x.split(batch, dim=axis)])


def classes(logits: torch.Tensor) -> torch.Tensor:
    """Return the class of each row of logits (..., K), int64 (...); ties go to the lowest, as torch documents it."""
    return logits.argmax(-1)


def evaluate(module: nn.Module, x: torch.Tensor, y: torch.Tensor, axis: int = 0) -> float:
    """Return the share of inputs whose class is found; ties go to the lowest class."""
    return float((classes(predict(module, x, axis)) == y).float().mean())


@torch.no_grad()
def predictions(module: nn.Module, split, batch: int = 256) -> torch.Tensor:
    """Return the classes that `module` finds for a split of `gen.data` or Samples, int64 (N,)."""
    p = next(module.parameters())
    found = [classes(module(split.batch(index)[0].to(p.device, p.dtype))).cpu()
             for index in torch.arange(len(split)).split(batch)]
    return torch.cat(found)


def accuracy(module: nn.Module, split) -> float:
    """Return the share of a split whose class `module` finds."""
    return float((predictions(module, split) == split.labels).float().mean())
