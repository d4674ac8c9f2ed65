"""The loop: one phase of training, epoch by epoch, that can stop after any epoch and go on as if it had not."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

from qblif.host.errors import InputError, QblifError

from . import mixing
from .distributed import ALONE, Team
from .optimise import Schedule, optimiser
from .recipe import Recipe

Augment = Callable[[torch.Tensor, torch.Generator], torch.Tensor]
"""Makes of a batch of unsigned integers another one."""


class Diverged(QblifError):
    """The loss is not a number any more."""


@dataclasses.dataclass(frozen=True)
class Epoch:
    """What an epoch was like.

    loss: mean over the samples that were trained on, with the penalty; penalty: mean count that is penalised, per
    sample, 0 without one; accuracy: share of the training samples found while training, augmented and mixed as they
    were; rate: the last one
    """

    loss: float
    penalty: float
    accuracy: float
    rate: float


class Phase:
    """One phase of training `module`, which is float or quantised.

    split: as in `gen.data`, or Samples; recipe, epochs, rate: how; name: "float" or "quantised"
    penalty: None, or a gen.training.penalty.Penalty of this module; team: the processes that train together
    classes: number of logits K; default: as many as there are labels. For mixup and cutmix

    Raises InputError where no batch has two samples for each process.
    """

    def __init__(self, module: nn.Module, split, recipe: Recipe, epochs: int, rate: float, *, name: str = "float",
                 augment: Augment | None = None, penalty=None, team: Team = ALONE, classes: int | None = None):
        # channels last: convolutions of few channels take about a fifth less time so, on a CPU too
        module.to(memory_format=torch.channels_last)
        largest = min(len(split), recipe.batch)
        if largest < 2 * team.size:
            raise InputError(f"a batch has {largest} of {len(split)} training samples (train.batch is {recipe.batch}), "
                             f"allowed are 2 or more for each of {team.size} process(es): BatchNorm needs them",
                             hint="more samples (--limit, data.limit), a larger train.batch, or fewer processes")
        self.module, self.split, self.recipe, self.name = module, split, recipe, name
        self.epochs, self.augment, self.penalty, self.team = epochs, augment, penalty, team
        self.done = 0
        """Epochs that are done."""
        self.step = 0
        """Steps that are done."""
        self.order = torch.Generator().manual_seed(recipe.seed * 2 + (name != "float"))
        # alone: one generator for everything; in company the order has to stay common
        self.noise = self.order if team.size == 1 else torch.Generator()
        self.optimiser = optimiser(module, recipe, rate)
        self.schedule = Schedule.of(recipe, name, epochs, rate, -(-len(split) // recipe.batch))
        specs = [{"name": kind, "alpha": alpha} for kind, alpha in (("mixup", recipe.mixup), ("cutmix", recipe.cutmix))
                 if alpha and name == "float"]
        self.mix = mixing.build(specs, classes or int(split.labels.max()) + 1) if specs else None
        self._wrapped = team.wrap(module)

    def epoch(self, progress: Callable[[int, int, float], None] | None = None) -> Epoch:
        """Train for one epoch; `progress` is called after each step with samples done, samples in all and loss.

        Raises Diverged."""
        recipe, count = self.recipe, len(self.split)
        mix = self.mix if recipe.mixup_off is None or self.done < recipe.mixup_off else None
        device, dtype = next((p.device, p.dtype) for p in self.module.parameters())
        amp = torch.autocast(device.type, torch.bfloat16, recipe.amp and self.name == "float")
        self._wrapped.train()
        if self.team.size > 1:
            self.noise.manual_seed(1_000_003 * (self.team.rank + 1) + 7919 * self.done + recipe.seed * 2
                                   + (self.name != "float"))
        losses = penalties = found = 0.0
        rate, seen = 0.0, 0
        for batch in torch.randperm(count, generator=self.order).split(recipe.batch):
            if len(batch) < 2 * self.team.size:
                continue  # BatchNorm needs more than one sample
            index = self.team.share(batch)
            x, y = self.split.batch(index, self.noise)
            x = self.augment(x, self.noise) if self.augment else x
            x, target = mix(x, y, self.noise) if mix else (x, y)
            x, y, target = x.to(device, dtype), y.to(device), target.to(device)
            self.step += 1
            rate = self.schedule.set(self.optimiser, self.step)
            self.optimiser.zero_grad(set_to_none=True)
            with amp:
                logits = self._wrapped(x)
                value = F.cross_entropy(logits, target, label_smoothing=recipe.smoothing)
            extra = None
            if self.penalty is not None:
                extra = self.penalty.take() / len(index)
                value = value + recipe.sop_penalty * 1e-6 * extra
            # shares of a batch may differ by a sample
            (value if self.team.size == 1 else value * (len(index) * self.team.size / len(batch))).backward()
            if recipe.clip:
                nn.utils.clip_grad_norm_(self.module.parameters(), recipe.clip)
            self.optimiser.step()
            last = float(value.detach())
            if not math.isfinite(last):
                raise Diverged(f"the loss is {last} in step {self.step} of the {self.name} phase", hint="a lower "
                               "train.rate, more train.warmup, or train.clip; the checkpoint of the last epoch is kept")
            losses += last * len(index)
            penalties += float(extra.detach()) * len(index) if extra is not None else 0.0
            found += int((logits.detach().argmax(1) == y).sum())
            seen += len(index)
            if progress:
                progress(min(count, seen * self.team.size), count, last)
        self.done += 1
        losses, penalties, found, seen = self.team.total(losses, penalties, found, seen)
        return Epoch(losses / seen, penalties / seen, found / seen, rate)

    # --- to stop and to go on -------------------------------------------------------------------------------------

    def state(self) -> tuple[dict[str, torch.Tensor], dict]:
        """Return tensors and JSON-able facts from which `restore` goes on; the module's own are not among them."""
        tensors = {"order": self.order.get_state(), "torch": torch.get_rng_state()}
        if torch.cuda.is_available() and next(self.module.parameters()).is_cuda:
            tensors["cuda"] = torch.cuda.get_rng_state()
        for number, values in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{number}.{key}": value for key, value in values.items() if value is not None}
        return tensors, {"done": self.done, "step": self.step}

    def restore(self, tensors: dict[str, torch.Tensor], facts: dict) -> None:
        """Go on from a `state`."""
        self.done, self.step = facts["done"], facts["step"]
        self.order.set_state(tensors["order"])
        torch.set_rng_state(tensors["torch"])
        if "cuda" in tensors and torch.cuda.is_available():
            torch.cuda.set_rng_state(tensors["cuda"])
        state: dict[int, dict] = {}
        for name, value in tensors.items():
            if name.startswith("optimiser."):
                _, number, key = name.split(".")
                state.setdefault(int(number), {})[key] = value
        self.optimiser.load_state_dict({"state": state, "param_groups": self.optimiser.state_dict()["param_groups"]})
