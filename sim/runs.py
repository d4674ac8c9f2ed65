"""A finished training read back from its folder (qblif.gen.training.run): modules, data, log and network."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import torch

from qblif.gen import network_file, training, zoo
from qblif.gen.data import DataSet
from qblif.gen.network import Network
from qblif.gen.quantised import QuantisedNetwork, quantise
from qblif.gen.training import checkpoint, recipe
from qblif.gen.training.run import FLOAT, WEIGHTS
from qblif.gen.weights import load_weights
from qblif.host.errors import QblifError

from .trained import CARD

LOG = "log.jsonl"


class RunError(QblifError):
    """A folder is not that of a finished training, or what lies in it does not belong together."""


@dataclasses.dataclass(frozen=True, eq=False)
class TrainedRun:
    """A finished training.

    folder; recipe; path: of its network's file; network: what it was folded to; card: card.json as it is
    history: entries of log.jsonl, one per epoch
    """

    folder: Path
    recipe: recipe.RecipeFile
    path: Path
    network: Network
    card: dict
    history: list[dict]

    @property
    def gammas(self) -> dict[str, float]:
        """Layer -> learned scale after the last epoch."""
        return dict(self.history[-1].get("gammas", {})) if self.history else {}

    def dataset(self, root: Path | None = None) -> DataSet:
        """Return the data set that it was trained on, whole; raises DataError."""
        return self._builder(root).load()[0]

    def module(self, dataset: DataSet) -> torch.nn.Module:
        """Return the module in evaluation mode, with the weights that the float phase ended with."""
        return self._module(dataset, self.folder / FLOAT)

    def quantised(self, dataset: DataSet) -> QuantisedNetwork:
        """Return the quantised module in evaluation mode, with its integers as they were trained."""
        example = dataset.test.batch(torch.arange(1))[0]
        module = self._builder(None).build(dataset).eval()
        found = quantise(module, example, weight_bits=self.recipe.weight_bits)
        load_weights(found, self.folder / WEIGHTS)
        return found

    def _module(self, dataset: DataSet, weights: Path) -> torch.nn.Module:
        module = self._builder(None).build(dataset)
        load_weights(module, weights)
        return module.eval()

    def _builder(self, root: Path | None) -> training.Run:
        # A folder that is not there: nothing is gone on with and nothing written
        return training.Run(self.recipe, self.folder / "evaluation", data_root=root)


def is_run(text: str | Path) -> bool:
    """Return whether this names the folder of a finished training; a name of the zoo comes first."""
    return str(text) not in zoo.names() and (Path(text) / WEIGHTS).is_file()


def load(folder: Path) -> TrainedRun:
    """Return the training in a folder; raises RunError, CheckpointError, NetworkFileError, RecipeError."""
    folder = Path(folder)
    if not (folder / WEIGHTS).is_file():
        raise RunError(f"{folder} is not the folder of a finished training: it has no {WEIGHTS}, which `qblif train` "
                       "writes at the end")
    _, facts = checkpoint.read(folder / WEIGHTS)
    chosen = recipe.from_tree(facts["recipe"])
    path = folder / f"{chosen.name}.network"
    card = json.loads(_text(folder / CARD))
    history = [json.loads(line) for line in _text(folder / LOG).splitlines() if line.strip()]
    return TrainedRun(folder, chosen, path, network_file.load(path), card, history)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise RunError(f"{path} cannot be read, `qblif train` leaves it in the folder: {error.strerror}") from error
