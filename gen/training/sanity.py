"""What is looked at before hours are spent, labels, ranges, whether the module can be deployed, whether it learns;
and after each epoch, whether gamma still is of use."""

from __future__ import annotations

import copy
import math
import warnings

import torch
from torch import nn

from qblif.gen.errors import PlanError
from qblif.gen.folding import fold
from qblif.gen.network import Network
from qblif.gen.neuron import GAMMA_MIN, neurons
from qblif.gen.plan import make_plan
from qblif.host.errors import InputError

from .phase import Phase
from .recipe import Recipe

STEPS = 40
"""Steps on one batch in which the loss has to fall."""


def data(dataset, axis: int) -> list[str]:
    """Return warnings about a data set; raises InputError where nothing can be learned from it."""
    notes, count = [], len(dataset.classes)
    for part, split in (("training", dataset.train), ("test", dataset.test)):
        labels = split.labels
        if not len(split):
            raise InputError(f"the {part} set of {dataset.name} is empty")
        if int(labels.min()) < 0 or int(labels.max()) >= count:
            raise InputError(f"the {part} labels of {dataset.name} go from {int(labels.min())} to {int(labels.max())}, "
                             f"allowed with {count} classes is 0 to {count - 1}")
        missing = sorted(set(range(count)) - set(labels.unique().tolist()))
        if missing:
            notes.append(f"the {part} set has no sample of class{'es' * (len(missing) > 1)} "
                         f"{', '.join(map(str, missing[:10]))}: accuracies mean little")
        spread = torch.linspace(0, len(split) - 1, min(64, len(split))).long().unique()
        x, y = split.batch(spread)
        if x.shape[axis] != len(y) or x.dim() != axis + 4 or tuple(x.shape[-3:]) != tuple(dataset.shape):
            raise InputError(f"a batch of the {part} set of {dataset.name} has shape {tuple(x.shape)}, needed is "
                             f"{'(T, B, C, H, W)' if axis else '(B, C, H, W)'} with (C, H, W) = {dataset.shape}")
        if int(x.max()) >= 1 << dataset.bits or int(x.min()) < 0:
            raise InputError(f"the {part} inputs of {dataset.name} go from {int(x.min())} to {int(x.max())}, allowed "
                             f"with {dataset.bits} bits is 0 to {(1 << dataset.bits) - 1}")
        if int(x.max()) == int(x.min()):
            raise InputError(f"64 {part} inputs of {dataset.name} hold nothing but {int(x.max())}: damaged files?")
        if not torch.equal(y, labels[spread]):
            raise InputError(f"the {part} set of {dataset.name} gives other labels than it lists")
    return notes


def fallen(module: nn.Module) -> dict[str, str]:
    """Return warnings about layers whose learned gamma has fallen to its floor, by the layer's name."""
    found = {}
    for name, m in neurons(module).items():
        if m.levels > 1 and m.gamma.requires_grad and float(m.gamma.detach()) <= GAMMA_MIN * 1.01:
            hint = "" if m.surrogate == "clipped" else (
                '. neuron.surrogate = "clipped" with neuron.gamma = 0.25 may keep it up')
            found[name] = (f"gamma of {name} has fallen to its floor, {GAMMA_MIN:g}: its neurons emit 0 or N = "
                           f"{m.levels}, additions for each synapse: {m.levels.bit_count()}, and little between{hint}")
    return found


def deployable(module: nn.Module, example: torch.Tensor, weight_bits: int) -> Network:
    """Return the network that the untrained module folds to; raises ModelError where it does not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # weights that are clipped: it is not trained yet
        return fold(module.eval(), example, weight_bits=weight_bits)


def size(network: Network) -> str:
    """Return a line about the size of a network, and about the board that it fits or does not fit."""
    from qblif.gen.sizes import macs, parameters

    words = sum(map(parameters, network.layers))
    cost = sum(macs(network, layer) for layer in network.layers)
    return (f"{words:,} parameters, {cost / 1e6:.2f} M dense MACs an image (T = {network.steps}); "
            f"{fitting(network)[1]}")


def fitting(network: Network, board: str = "ulx3s") -> tuple[bool, str]:
    """Return whether a network fits a board as `qblif bitstream` builds it, and a line that says so, or why not."""
    from qblif.hw import boards

    found, _ = boards.find(board)
    try:
        make_plan(network, design=found.implementation().default_design())
    except PlanError as error:
        return False, f"warning: does not fit the {found.title}: {str(error).splitlines()[-1].strip()}"
    return True, f"fits the {found.title}"


def learns(module: nn.Module, split) -> str | None:
    """Return a warning where a copy of the module does not learn one small batch by heart; None where it does."""
    few = _Few(split)
    recipe = Recipe(batch=max(2, len(few)), optimiser="adamw", smoothing=0.0)
    with torch.random.fork_rng():
        loop = Phase(copy.deepcopy(module).train(), few, recipe, STEPS, 4e-3)
        losses = [loop.epoch().loss for _ in range(STEPS)]
    start, end = losses[0], min(losses[-5:])
    if end < 0.9 * start:
        return None
    return (f"the loss of one batch went from {start:.3f} to {end:.3f} in {STEPS} steps (guessing gives "
            f"{math.log(max(2, int(split.labels.max()) + 1)):.3f}): the module hardly learns. Look at the scale of "
            "the input, gamma and the learning rate")


class _Few:
    """The first samples of a split that spread over it, as a split."""

    def __init__(self, split, count: int = 32):
        index = torch.linspace(0, len(split) - 1, min(count, len(split))).long().unique()
        self.x, self.labels = split.batch(index)
        self.axis = 0 if len(self.x) == len(self.labels) and self.x.dim() == 4 else 1

    def __len__(self):
        return len(self.labels)

    def batch(self, index, generator=None):
        return self.x.index_select(self.axis, index), self.labels[index]
