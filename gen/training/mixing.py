"""Mixing of samples and of their labels: mixup and cutmix.

    mix = build([{"name": "mixup", "alpha": 0.8}, {"name": "cutmix", "alpha": 1.0}], classes=10)
    x, targets = mix(x, y, generator)          # uint8 as x; float32 (N, K), rows of sum 1: for cross entropy

A batch is mixed with a random order of itself, in one share for the whole batch, as the papers do; of several mixings
one is drawn for each batch. Mixed pixels are rounded to integers, which the input of a network is made of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch.nn import functional as F

from qblif.gen.data.augment import find
from qblif.host.errors import InputError

Mix = Callable[[torch.Tensor, torch.Tensor, torch.Generator], tuple[torch.Tensor, torch.Tensor]]


def build(specs: Iterable[dict], classes: int) -> Mix:
    """Return the function that mixes batches. specs: each "mixup" or "cutmix" with alpha; none: labels become one-hot.

    Raises InputError for other names or arguments, and for an alpha that is not above 0."""
    functions = [find(spec, MIXINGS) for spec in specs]
    for function in functions:
        if not function.keywords.get("alpha", 1.0) > 0:
            raise InputError(f"alpha is {function.keywords['alpha']}, allowed are numbers above 0")

    def mix(x: torch.Tensor, y: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        targets = F.one_hot(y, classes).float()
        if not functions:
            return x, targets
        function = functions[int(torch.randint(len(functions), (), generator=generator))]
        order = torch.randperm(len(y), generator=generator)
        x, share = function(x, order, generator)
        return x, targets * share + targets[order] * (1 - share)

    return mix


def mixup(x: torch.Tensor, order: torch.Tensor, generator: torch.Generator, *,
          alpha: float = 0.8) -> tuple[torch.Tensor, float]:
    """Return weighted means of samples, rounded, and the weight of the first. Ref: Zhang et al., ICLR 2018."""
    share = _beta(alpha, generator)
    other = x.index_select(x.dim() - 4, order)
    return (x.float() * share + other.float() * (1 - share)).round_().to(x.dtype), share


def cutmix(x: torch.Tensor, order: torch.Tensor, generator: torch.Generator, *,
           alpha: float = 1.0) -> tuple[torch.Tensor, float]:
    """Return samples with a rectangle of others, and the share of pixels that are their own.

    Ref: Yun et al., CutMix, ICCV 2019."""
    height, width = x.shape[-2:]
    side = (1 - _beta(alpha, generator)) ** 0.5  # of the rectangle, as a share of the image's
    top, bottom = _interval(height, side, generator)
    left, right = _interval(width, side, generator)
    x = x.clone()
    x[..., top:bottom, left:right] = x.index_select(x.dim() - 4, order)[..., top:bottom, left:right]
    return x, 1 - (bottom - top) * (right - left) / (height * width)


MIXINGS = {"mixup": mixup, "cutmix": cutmix}
"""Name in a recipe -> function."""


def _beta(alpha: float, generator: torch.Generator) -> float:
    """Return a sample of Beta(alpha, alpha) from the generator."""
    # torch.distributions draws from the global state alone
    return float(np.random.default_rng(int(torch.randint(2 ** 62, (), generator=generator))).beta(alpha, alpha))


def _interval(n: int, share: float, generator: torch.Generator) -> tuple[int, int]:
    """Return first and end of about share * n pixels around a random centre, cut at the borders."""
    half, centre = int(n * share) // 2, int(torch.randint(n, (), generator=generator))
    return max(0, centre - half), min(n, centre + half)
