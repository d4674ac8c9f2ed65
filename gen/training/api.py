"""`train`: both phases for a module of your own, in memory; `qblif train` (run.py) keeps a folder."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable

from torch import nn

from qblif.gen.graph import Graph
from qblif.gen.layers import InputScale
from qblif.gen.neuron import fix_levels, gammas
from qblif.gen.quantised import QuantisedNetwork, quantise
from qblif.host.errors import InputError

from . import penalty
from .phase import Phase
from .recipe import Recipe
from .samples import Data
from .score import evaluate

Progress = Callable[[str, int, int, float], None]
"""Called after each epoch with phase ("float" or "quantised"), epochs done, epochs in all and the mean loss."""


@dataclasses.dataclass(frozen=True)
class Trained:
    """What training gives.

    module: with its float parameters after both phases, in evaluation mode
    quantised: the same module in quantised form, in evaluation mode: hand it to `fold`
    float_accuracy: on the test data after the float phase; quantised_accuracy: after the quantised phase
    gammas: per neuron layer; seconds: wall time of both phases
    """

    module: nn.Module
    quantised: QuantisedNetwork
    float_accuracy: float
    quantised_accuracy: float
    gammas: dict[str, float]
    seconds: float

    def __repr__(self) -> str:
        """Return one line; the modules print themselves."""
        return (f"Trained({type(self.module).__name__}: float {100 * self.float_accuracy:.2f} %, "
                f"quantised {100 * self.quantised_accuracy:.2f} %, {self.seconds:.0f} s)")


DEFAULT = Recipe()


def train(module: nn.Module, data: Data, recipe: Recipe = DEFAULT, *, weight_bits: int | None = None,
          input_bits: int | None = None, augment: Callable | None = None, progress: Progress | bool = False) -> Trained:
    """Train `module` in both phases and return the result.

    module: maps inputs to logits (N, K); made of the layers of qblif.gen, or it cannot be quantised (ModelError)
    weight_bits, input_bits: as for `quantise`
    augment: function (inputs, torch.Generator) -> inputs of unsigned integers
    progress: True: a tqdm bar; or a callback
    """
    start = time.monotonic()
    report, close = _reporter(progress, recipe)
    example = data.train_x.narrow(data.axis, 0, min(2, len(data.train_y)))
    if input_bits is None and not any(isinstance(m, InputScale) for m in module.modules()):
        input_bits = max(1, int(data.train_x.max()).bit_length())
    module.eval()
    # what cannot be deployed is not trained
    first = quantise(module, example, weight_bits=weight_bits, input_bits=input_bits)
    classes, most = first.graph.groups[-1].shape[0], int(max(data.train_y.max(), data.test_y.max()))
    if most >= classes:
        raise InputError(f"the labels go up to {most}, allowed with the module's {classes} logits is {classes - 1}")
    try:
        fit(module, data, recipe, recipe.epochs, recipe.rate, augment=augment, report=report, phase="float",
            graph=first.graph)
        float_accuracy = evaluate(module.eval(), data.test_x, data.test_y, data.axis)
        fix_levels(module)
        quantised = quantise(module, example, weight_bits=weight_bits, input_bits=input_bits)
        fit(quantised, data, recipe, recipe.quantised_epochs, recipe.quantised_rate, augment=augment, report=report,
            phase="quantised")
    finally:
        close()
    accuracy = evaluate(quantised.eval(), data.test_x, data.test_y, data.axis)
    return Trained(module, quantised, float_accuracy, accuracy, gammas(module), time.monotonic() - start)


def fit(module: nn.Module, data: Data, recipe: Recipe, epochs: int, rate: float, *, augment=None, report=None,
        phase: str = "float", graph: Graph | None = None):
    """Train `module`, float or quantised, for a number of epochs: one phase of `train`.

    graph: of a float module, needed where the recipe penalises synaptic operations (`quantise(module, x).graph`)"""
    cost = penalty.of(module, recipe, graph)
    loop = Phase(module, data.train, recipe, epochs, rate, name=phase, augment=augment, penalty=cost)
    try:
        while loop.done < epochs:
            mean = loop.epoch().loss
            if report:
                report(phase, loop.done, epochs, mean)
    finally:
        if cost is not None:
            cost.close()
    module.eval()


def _reporter(progress, recipe):
    if not progress:
        return None, lambda: None
    if callable(progress):
        return progress, lambda: None
    from tqdm import tqdm

    bar = tqdm(total=recipe.epochs + recipe.quantised_epochs, unit="epoch", dynamic_ncols=True)

    def report(phase, epoch, epochs, loss):
        bar.set_description(f"{phase} phase")
        bar.set_postfix(loss=f"{loss:.3f}")
        bar.update()

    return report, bar.close


