"""Collects what the report shows and writes the page: pictures inside it, and as files beside it."""

from __future__ import annotations

import base64
import dataclasses
import json
import platform
from pathlib import Path

import jinja2
import numpy as np
import torch

import qblif
from qblif.gen import methods, zoo
from qblif.gen.errors import ZooError
from qblif.gen.training.recipe import RecipeFile, from_tree

from .. import energy, named, runs
from ..assess import assess
from ..evaluation import Evaluation
from ..tables import percent
from . import paper, pictures


@dataclasses.dataclass(frozen=True)
class Made:
    """What was written. page: the HTML file; pictures: the folder of the same pictures as PNG files."""

    page: Path
    pictures: Path


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture of the page. name: of its file; png: its bytes; alt: what it shows; caption: below it."""

    name: str
    png: bytes
    alt: str
    caption: str

    @property
    def source(self) -> str:
        """The picture as a data URL."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode()


def write(networks: list[str], out: Path, *, data: str | None = None, root: Path | None = None,
          limit: int | None = None) -> Made:
    """Evaluate the first network in detail, take the others' figures from their cards, and write the page.

    networks: names of the zoo, files or folders of runs; none: the whole zoo. A network without a card is evaluated.
    data, root, limit: as for assess.

    Raises what assess raises, ZooError where there is nothing to show, OSError."""
    networks = list(networks) or zoo.names()
    if not networks:
        raise ZooError("the zoo is empty: name a network's file or the folder of a run")
    first = assess([networks[0]], data=data, root=root, limit=limit)[0]
    gammas, history, about, recipe = _known(networks[0])
    rows = [_row(first, _card(networks[0]))] + [_other(text, data, root, limit) for text in networks[1:]]
    for row, text in zip(rows, networks, strict=True):
        if runs.is_run(text):
            row |= _of_run(Path(text))
    shown = [layer.levels for layer in first.layers if layer.levels is not None]
    neuron = None if recipe is None else _neuron(recipe)
    drawn = list(_pictures(first, shown, gammas, history, rows, None if neuron is None else neuron.surrogate))
    folder = out.with_name(f"{out.stem}-pictures")
    folder.mkdir(parents=True, exist_ok=True)
    for picture in drawn:
        (folder / f"{picture.name}.png").write_bytes(picture.png)
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True,
                                     undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"percent": percent, "million": _million, "number": lambda value: f"{value:,.0f}"}
    text = environment.get_template("page.html").render(
        first=first, rows=rows, levels=shown, gammas=gammas, about=about, pictures={p.name: p for p in drawn},
        paper=paper, lost=first.lost, differs=_differs(first, neuron), constants=(energy.FLOP, energy.SOP, energy.SIGN),
        tools={"qblif": qblif.__version__, "python": platform.python_version(), "torch": torch.__version__,
               "numpy": np.__version__})
    out.write_text(text, encoding="utf-8")
    return Made(out, folder)


def _card(text: str) -> dict | None:
    """Return the card of a run or of a network of the zoo; None where there is none."""
    if runs.is_run(text):
        return runs.load(Path(text)).card
    card = named.find(text).card
    return None if card is None else dataclasses.asdict(card)


def _known(text: str) -> tuple[dict, list[dict], list[tuple[str, str]], RecipeFile | None]:
    """Return learned scales, log, facts and recipe of a network, as far as its run, its card or its file has them."""
    if runs.is_run(text):
        trained = runs.load(Path(text))
        return trained.gammas, trained.history, _facts(trained.card, trained.recipe), trained.recipe
    one = named.find(text)
    kept = one.network.meta.get("recipe")
    recipe = None if kept is None else from_tree(json.loads(kept))
    if one.card is None:
        return {}, [], [("file", str(one.path)), *_neuron_facts(recipe)], recipe
    return one.card.gammas, [], _facts(dataclasses.asdict(one.card), recipe), recipe


def _neuron(recipe: RecipeFile) -> torch.nn.Module:
    """Return a neuron as the recipe makes them, with all that it leaves at its default."""
    options = dict(recipe.neuron)
    return methods.neuron(options.pop("method"), **options)()


def _neuron_facts(recipe: RecipeFile | None) -> list[tuple[str, str]]:
    if recipe is None:
        return []
    made = _neuron(recipe)
    return [("neuron", f"{recipe.neuron['method']}, surrogate {made.surrogate}, γ from {made.gamma.item():g}"),
            ("model", ", ".join(f"{key} {value}" for key, value in recipe.model.items()))]


def _differs(first: Evaluation, neuron: torch.nn.Module | None) -> str:
    """Return how the network in detail differs from the paper's in size, surrogate and start."""
    how = "how it was trained is not in its file" if neuron is None else (
        f"it was trained with {pictures.LABELS[neuron.surrogate]}, γ from {neuron.gamma.item():g}")
    return (f"The paper's network of tables 5 and 6 has 11.2 M parameters, by our reading, and is trained with "
            f"ReLSG-ET, equation (12). {first.network} has {first.parameters:,} parameters; {how}.")


def _facts(card: dict, recipe: RecipeFile | None) -> list[tuple[str, str]]:
    """Return what a card tells beside figures, and the recipe of neuron and model."""
    told = [("recipe", card["recipe"]), ("trained by", card["command"]), ("seed", str(card["seed"])),
            ("training images", f"{card['train_images']:,}"), ("training time", f"{card['training_seconds']:,.0f} s"),
            ("machine", card["machine"]), ("versions", ", ".join(f"{k} {v}" for k, v in card["versions"].items())),
            ("weights", f"{card['weight_bytes']:,} bytes"), ("SHA-256", card["sha256"])]
    return [(name, str(value)) for name, value in told] + _neuron_facts(recipe)


def _row(one: Evaluation, card: dict | None = None) -> dict:
    """Return the row of a network that was evaluated; card: of it, for the accuracies in PyTorch that its file has not.
    """
    whole = one.images == one.available
    images = f"all {one.images:,}" if whole else f"{one.images:,} of {one.available:,}"
    source, in_float, quantised = f"{images}, now", one.float_accuracy, one.quantised_accuracy
    if quantised is None and card is not None and card["data"] == one.data:
        in_float, quantised = card["float_accuracy"], card["quantised_accuracy"]
        source += "; float and quantised: card"
    return {"name": one.network, "data": one.data, "steps": one.steps, "levels": ", ".join(map(str, one.levels)),
            "weight_bits": one.weight_bits, "accuracy": one.golden_accuracy, "quantised": quantised,
            "float": in_float, "sops": one.sops, "additions": one.additions["double"],
            "unary": one.additions["unary"], "macs": one.macs,
            "source": source, "part": "" if whole else f"{images} images"}


def _of_run(folder: Path) -> dict:
    """Return what a run's row has beside: the folder's name, which tells it from others of its recipe; its penalty."""
    found = runs.load(folder)
    return {"name": folder.resolve().name, "series": found.series, "penalty": found.recipe.train.sop_penalty}


def _other(text: str, data: str | None, root: Path | None, limit: int | None) -> dict:
    """Return the row of a further network: by its card where it has one of this data."""
    card = _card(text)
    if card is None or data not in (None, card["data"]):
        return _row(assess([text], data=data, root=root, limit=limit)[0])
    return {"name": card["name"], "data": card["data"], "steps": card["steps"],
            "levels": ", ".join(map(str, card["levels"])), "weight_bits": card["weight_bits"],
            "accuracy": card["golden_accuracy"], "quantised": card["quantised_accuracy"],
            "float": card["float_accuracy"], "sops": card["sops"], "additions": card["additions"]["double"],
            "unary": card["additions"]["unary"], "macs": card["macs"],
            "source": f"{card['test_images']:,}, card"}


def _pictures(first: Evaluation, levels: list, gammas: dict, history: list[dict], rows: list[dict],
              surrogate: str | None):
    """Draw all pictures; surrogate: that the network was trained with, None where that is not known."""
    for name, figure, alt, caption in (
            ("work", pictures.accuracy_against_work(rows), "Accuracy against operations of an image.",
             "Accuracy against work. Data sets differ in difficulty: compare networks of the same data."),
            ("histograms", pictures.histograms(levels, gammas), "Histogram of the burst levels of each layer.",
             ("Burst levels by layer, as figure 5 of the paper: share of each level over all test images, steps, "
              "channels and positions; level 0 in grey. Logarithmic; shares below 0.00001 are not drawn.")),
            ("layers", pictures.by_layer(levels, gammas), "Scale, entropy, effective levels and activity by layer.",
             "Learned scale, entropy, effective levels and activity by layer, as figure 6 of the paper."),
            ("information", pictures.information(levels), "Bits of binary and burst spikes by layer.",
             "What a neuron says in one time step: as the burst level it emits, and as the binary spike it would be."),
            ("surrogates", pictures.surrogates(surrogate), "Burst function and surrogate gradients.",
             ("The burst function and surrogate gradients, as figure 4 of the paper, drawn from the functions that "
              f"train. {_own(surrogate, first.network)}")),
            ("paper", pictures.of_the_paper(), "Accuracy and energy against SOPs in the paper.",
             f"Table 6, {paper.LABEL}: {paper.TABLE_6_CONDITIONS}.")):
        yield Picture(name, pictures.png(figure), alt, caption)
    if swept := pictures.swept(rows):
        yield Picture("penalty", pictures.png(pictures.penalised(swept)), "Accuracy against additions by penalty.",
                      "What a penalty on operations (train.sop_penalty, the figure at each mark) trades accuracy for.")
    if history:
        yield Picture("training", pictures.png(pictures.training(history)), "Loss and accuracy by epoch.",
                      "Training: loss and accuracy by epoch. The test set is looked at and chooses nothing.")


def _own(surrogate: str | None, network: str) -> str:
    if surrogate is None:
        return f"Which of them {network} was trained with is not in its file."
    return f"{network} was trained with {pictures.LABELS[surrogate]}."


def _million(value: float) -> str:
    """Return a count in millions."""
    return f"{value / 1e6:,.3f} M"
