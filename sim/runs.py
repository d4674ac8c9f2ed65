"""A finished training with what was made of it: its network's file, its card and its log."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from qblif.gen import network_file, zoo
from qblif.gen.network import Network
from qblif.gen.training import finished
from qblif.gen.training.finished import FinishedRun, RunError

from .trained import CARD

__all__ = ["RunError", "TrainedRun", "is_run", "load"]

LOG = "log.jsonl"


@dataclasses.dataclass(frozen=True, eq=False)
class TrainedRun(FinishedRun):
    """A finished training.

    path: of its network's file; network: what it was folded to; card: card.json as it is
    history: entries of log.jsonl, one per epoch
    """

    path: Path
    network: Network
    card: dict
    history: list[dict]

    @property
    def gammas(self) -> dict[str, float]:
        """Layer -> learned scale after the last epoch."""
        return dict(self.history[-1].get("gammas", {})) if self.history else {}


    @property
    def series(self) -> str:
        """What runs that differ in the penalty on operations have in common, for people."""
        neuron, most = self.recipe.neuron, "/".join(map(str, self.card["levels"]))
        if not neuron.get("learn_levels"):
            return f"{self.recipe.name}, N = {most}"
        start = neuron.get("start_levels")
        return f"{self.recipe.name}, N learned" + ("" if start is None else f" from {start}")


def is_run(text: str | Path) -> bool:
    """Return whether this names the folder of a finished training, of neurons that fold or not; a name of the zoo
    comes first."""
    return str(text) not in zoo.names() and (finished.is_finished(text) or (Path(text) / CARD).is_file())


def load(folder: Path) -> TrainedRun:
    """Return the training in a folder; raises RunError, CheckpointError, NetworkFileError, RecipeError."""
    folder = Path(folder)
    if not finished.is_finished(folder) and (folder / CARD).is_file():
        card = json.loads(_text(folder / CARD))
        raise RunError(f"{folder} has no network of integers, its neurons do not fold: {card['unfoldable']}. In "
                       f"floating point it reaches {100 * card['float_accuracy']:.2f} % of {card['test_images']:,} "
                       "test samples", hint="`qblif runs` shows it beside other runs")
    found = finished.load(folder)
    card = json.loads(_text(folder / CARD))
    path = found.folder / f"{found.recipe.name}.network"
    history = [json.loads(line) for line in _text(found.folder / LOG).splitlines() if line.strip()]
    mine = {field.name: getattr(found, field.name) for field in dataclasses.fields(found)}
    return TrainedRun(**mine, path=path, network=network_file.load(path), card=card, history=history)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise RunError(f"{path} cannot be read, `qblif train` leaves it in the folder: {error.strerror}") from error
