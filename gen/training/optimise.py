"""Optimisers and the course of the learning rate."""

from __future__ import annotations

import math

import torch
from torch import nn

from qblif.gen.neuron import neurons

from .recipe import Recipe


def optimiser(module: nn.Module, recipe: Recipe, rate: float) -> torch.optim.Optimizer:
    """Return the recipe's optimiser: weight decay on convolutions and linear layers alone, gamma at its own rate.

    A learned N goes as far in its range, 1 to the most, as a weight goes in [0, 1]."""
    layers = neurons(module).values()
    scales = [m.gamma for m in layers if m.gamma.requires_grad]
    learned = [m for m in layers if m.learned_levels is not None and m.learned_levels.requires_grad]
    own = {id(p) for p in (*scales, *(m.learned_levels for m in learned))}
    others = [p for p in module.parameters() if p.requires_grad and id(p) not in own]
    groups = [
        {"params": [p for p in others if p.dim() > 1], "weight_decay": recipe.decay, "factor": 1.0},
        {"params": [p for p in others if p.dim() <= 1], "weight_decay": 0.0, "factor": 1.0},
        {"params": scales, "weight_decay": 0.0, "factor": recipe.gamma_rate},
        *({"params": [m.learned_levels], "weight_decay": 0.0, "factor": float(m.most_levels)} for m in learned)]
    if recipe.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=rate, momentum=recipe.momentum, nesterov=recipe.momentum > 0)
    return torch.optim.AdamW(groups, lr=rate)


class Schedule:
    """The learning rate over the steps of a phase: a linear warm-up, then half a cosine to 0.

    steps: of the phase; warm: of them, in the warm-up"""

    def __init__(self, rate: float, steps: int, warm: int):
        self.rate, self.steps, self.warm = rate, steps, warm

    @classmethod
    def of(cls, recipe: Recipe, phase: str, epochs: int, rate: float, batches: int) -> Schedule:
        """Return the schedule of a phase of so many epochs of so many batches."""
        steps = max(1, epochs * batches)
        if phase != "float":
            warm = 1
        elif recipe.warmup is None:
            warm = max(1, min(steps // 20, 200))
        else:
            warm = max(1, min(round(recipe.warmup * batches), steps))
        return cls(rate, steps, warm)

    def set(self, opt: torch.optim.Optimizer, step: int) -> float:
        """Set the rates for step `step`, from 1; return the rate of the weights."""
        done = max(0, step - self.warm) / max(1, self.steps - self.warm)
        factor = min(1, step / self.warm) * (1 + math.cos(math.pi * done)) / 2
        for group in opt.param_groups:
            group["lr"] = self.rate * factor * group["factor"]
        return self.rate * factor
