"""Mixup and cutmix: batches whose images and labels are mixtures of two.

Ref: Zhang et al., "mixup", ICLR 2018; Yun et al., "CutMix", ICCV 2019. Mixed inputs are rounded, since the networks
take integers alone.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F


class Mixer:
    """Mixes batches; mixup, cutmix: parameters of the Beta distributions of the shares, 0 for none.

    axis: the one of the samples: 0 for (N, ...), 1 for (T, N, ...)"""

    def __init__(self, mixup: float, cutmix: float, axis: int = 0):
        self.mixup, self.cutmix, self.axis = mixup, cutmix, axis

    def __call__(self, x: torch.Tensor, y: torch.Tensor, generator: torch.Generator):
        """Return inputs, two classes for each of them, and the share of the first."""
        if not (self.mixup or self.cutmix):
            return x, y, y, 1.0
        coin, share = torch.rand(2, generator=generator).tolist()
        cut = self.cutmix and (not self.mixup or coin < 0.5)
        share = _beta(self.cutmix if cut else self.mixup, share)
        order = torch.randperm(len(y), generator=generator)
        other = x.index_select(self.axis, order)
        if not cut:
            mixed = (x.float() * share + other.float() * (1 - share)).round_()
            return mixed.to(x.dtype), y, y[order], share
        (top, bottom), (left, right) = (_span(n, (1 - share) ** 0.5, generator) for n in x.shape[-2:])
        x = x.clone()
        x[..., top:bottom, left:right] = other[..., top:bottom, left:right]
        return x, y, y[order], 1 - (bottom - top) * (right - left) / (x.shape[-2] * x.shape[-1])


def _beta(parameter: float, uniform: float) -> float:
    """Return the quantile `uniform` of Beta(parameter, parameter), by bisection: torch draws it from no generator."""
    grid = torch.linspace(0, 1, 4097, dtype=torch.float64)
    middle = (grid[1:] + grid[:-1]) / 2
    mass = (parameter - 1) * (middle.log() + (1 - middle).log())
    sums = (mass - mass.max()).exp().cumsum(0)
    return float(middle[torch.searchsorted(sums, uniform * sums[-1]).clamp(max=len(middle) - 1)])


def _span(size: int, part: float, generator: torch.Generator) -> tuple[int, int]:
    """Return from and to of a piece of about part * size around a random centre, cut at the edges."""
    length = int(size * part)
    start = int(torch.randint(size, (), generator=generator)) - length // 2
    return max(0, start), min(size, start + length)


def loss(logits: torch.Tensor, first: torch.Tensor, second: torch.Tensor, share: float, smoothing: float):
    """Return the cross-entropy with labels mixed by `share` of the first."""
    value = F.cross_entropy(logits, first, label_smoothing=smoothing)
    if share == 1:
        return value
    return value * share + F.cross_entropy(logits, second, label_smoothing=smoothing) * (1 - share)
