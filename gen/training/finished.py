"""A finished training read back from its folder (run.py): its data and its modules, as training left them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import torch

from qblif.gen.data import DataSet
from qblif.gen.folding import fold
from qblif.gen.network import Network
from qblif.gen.quantised import QuantisedNetwork, quantise
from qblif.gen.weights import load_weights
from qblif.host.errors import QblifError

from . import checkpoint, recipe
from .run import FLOAT, WEIGHTS, Run


class RunError(QblifError):
    """A folder is not that of a finished training, or what lies in it does not belong together."""


@dataclasses.dataclass(frozen=True, eq=False)
class FinishedRun:
    """A finished training. folder; recipe; float_accuracy, quantised_accuracy: on the test set, after each phase."""

    folder: Path
    recipe: recipe.RecipeFile
    float_accuracy: float
    quantised_accuracy: float

    def dataset(self, root: Path | None = None) -> DataSet:
        """Return the data set that it was trained on, whole; raises DataError."""
        return self._builder(root).load()[0]

    def module(self, dataset: DataSet, steps: int | None = None) -> torch.nn.Module:
        """Return the module in evaluation mode, with the weights that the float phase ended with.

        steps: another T than the recipe's, for static images"""
        module = self._builder(steps=steps).build(dataset)
        load_weights(module, self.folder / FLOAT)
        return module.eval()

    def quantised(self, dataset: DataSet, steps: int | None = None) -> QuantisedNetwork:
        """Return the quantised module in evaluation mode, with its integers as they were trained; steps: as above."""
        example = dataset.test.batch(torch.arange(1))[0]
        found = quantise(self._builder(steps=steps).build(dataset).eval(), example, weight_bits=self.recipe.weight_bits)
        load_weights(found, self.folder / WEIGHTS)
        return found

    def folded(self, dataset: DataSet) -> Network:
        """Return the network of integers that the trained module is: `qblif train` saved one of the same integers."""
        return fold_trained(self.quantised(dataset), self.recipe, dataset)

    def _builder(self, root: Path | None = None, steps: int | None = None) -> Run:
        recipe = self.recipe if steps is None else dataclasses.replace(self.recipe, T=steps)
        # A folder that is not there: nothing is gone on with and nothing written
        return Run(recipe, self.folder / "evaluation", data_root=root)


def fold_trained(quantised: QuantisedNetwork, recipe: recipe.RecipeFile, dataset: DataSet, **meta: str) -> Network:
    """Return the network of integers that a recipe's quantised module is. meta: further notes to keep with it."""
    notes = {"data": dataset.name, "recipe": json.dumps(recipe.tree()), **meta, "seed": str(recipe.train.seed)}
    return fold(quantised, name=recipe.name, meta=notes)


def is_finished(folder: str | Path) -> bool:
    """Return whether this is the folder of a finished training."""
    return (Path(folder) / WEIGHTS).is_file()


def load(folder: Path) -> FinishedRun:
    """Return the training in a folder; raises RunError, CheckpointError, RecipeError."""
    folder = Path(folder)
    if not is_finished(folder):
        raise RunError(f"{folder} is not the folder of a finished training: it has no {WEIGHTS}, which `qblif train` "
                       "writes at the end")
    _, facts = checkpoint.read(folder / WEIGHTS)
    return FinishedRun(folder, recipe.from_tree(facts["recipe"]), facts["float_accuracy"], facts["quantised_accuracy"])
