"""Recipes: how to train, and files that say what to train on what and how.

A file is TOML with the tables data, model, neuron, train, any number of augment, and about; docs/training.md explains
every key. Keys that nothing reads are errors, since a misspelt option would otherwise be left at its default unseen.
"""

from __future__ import annotations

import dataclasses
import difflib
from importlib import resources
from pathlib import Path

import tomllib

from qblif.host.errors import QblifError

PHASES = ("float", "quantised")
OPTIMISERS = ("adamw", "sgd")
COUNTS = ("sops", "additions")


class RecipeError(QblifError):
    """A recipe is missing, or says something that is not understood."""


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How to train: the keys of a recipe's table `train`, all but T and weight_bits.

    epochs, quantised_epochs: of the two phases; batch: images per step, of all processes together
    optimiser: "adamw" or "sgd" (with Nesterov's momentum)
    rate, quantised_rate: highest learning rates (a warm-up, then cosine to 0)
    warmup: epochs of the float phase in which the rate rises; None: a twentieth of them, at most 200 steps
    gamma_rate: factor on the learning rate for gamma. With 1, Adam drives gamma down to a few hundredths, which costs
        twice the events and, once weights exceed what f = 0 can hold, accuracy
    decay: weight decay of convolutions and linear layers (none on gamma, biases and BatchNorm)
    momentum: of SGD
    smoothing: label smoothing, 0 to 1; clip: largest gradient norm, 0 for none
    mixup, cutmix: parameters of their Beta distributions, 0 for none; where both are set, each batch gets one of
        them by the toss of a coin. Mixed inputs are rounded to integers. mixup_off: float epochs after which both are
        off (None: never); in the quantised phase they are off
    amp: bfloat16 where exactness is not needed: the float phase. Most processors are slower with it, GPUs faster
    sop_penalty: added to the loss per million of `sop_count` and image; 0: none. sop_count: "sops" (levels times
        fan-out, as in the paper's Table 6) or "additions" (set bits times fan-out, what this hardware does)
    evaluate_every: epochs between two looks at the test set, which choose nothing; the last epoch is always looked at
    seed: of the shuffling and the augmentation, and in runs from recipes of the initial weights
    """

    epochs: int = 40
    quantised_epochs: int = 10
    batch: int = 64
    optimiser: str = "adamw"
    rate: float = 4e-3
    quantised_rate: float = 1e-3
    warmup: float | None = None
    gamma_rate: float = 0.1
    decay: float = 1e-2
    momentum: float = 0.9
    smoothing: float = 0.1
    clip: float = 5.0
    mixup: float = 0.0
    cutmix: float = 0.0
    mixup_off: int | None = None
    amp: bool = False
    sop_penalty: float = 0.0
    sop_count: str = "additions"
    evaluate_every: int = 5
    seed: int = 0

    def __post_init__(self):
        wrong = [f"{name} is {getattr(self, name)!r}, allowed is {allowed}" for name, allowed, right in (
            ("epochs", "an integer from 0", _whole(self.epochs, 0)),
            ("quantised_epochs", "an integer from 0", _whole(self.quantised_epochs, 0)),
            ("batch", "an integer from 2", _whole(self.batch, 2)),
            ("evaluate_every", "an integer from 1", _whole(self.evaluate_every, 1)),
            ("seed", "an integer from 0", _whole(self.seed, 0)),
            ("mixup_off", "an integer from 0", self.mixup_off is None or _whole(self.mixup_off, 0)),
            ("optimiser", f"one of {', '.join(OPTIMISERS)}", self.optimiser in OPTIMISERS),
            ("sop_count", f"one of {', '.join(COUNTS)}", self.sop_count in COUNTS),
            ("smoothing", "0 up to below 1", _between(self.smoothing, 0, 0.999)),
            ("momentum", "0 up to below 1", _between(self.momentum, 0, 0.999)),
            ("warmup", "a number of epochs from 0", self.warmup is None or _between(self.warmup, 0)),
            ("amp", "true or false", isinstance(self.amp, bool)),
            *((name, "a number from 0", _between(getattr(self, name), 0)) for name in (
                "rate", "quantised_rate", "gamma_rate", "decay", "clip", "mixup", "cutmix", "sop_penalty")),
        ) if not right]
        if wrong:
            raise RecipeError("; ".join(wrong))

    def phase(self, name: str) -> tuple[int, float]:
        """Return epochs and highest learning rate of phase "float" or "quantised"."""
        return (self.epochs, self.rate) if name == "float" else (self.quantised_epochs, self.quantised_rate)


def _whole(value, least):
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _between(value, low, high=float("inf")):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high


@dataclasses.dataclass(frozen=True)
class RecipeFile:
    """A recipe as a whole.

    name: of the recipe, and of the network that comes of it; data, model, neuron: names and options, for
    `gen.data.load`, `gen.models.build` and `gen.methods.neuron`; T: time steps; weight_bits: 2 to 8; train: how;
    augment: one table per step of the augmentation; about: text for people
    """

    name: str
    data: dict
    model: dict
    neuron: dict
    T: int = 1
    weight_bits: int = 8
    train: Recipe = Recipe()
    augment: tuple[dict, ...] = ()
    about: dict = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        wrong = []
        if not _whole(self.T, 1) or self.T > 255:
            wrong.append(f"train.T is {self.T!r}, allowed is 1 to 255")
        if not _whole(self.weight_bits, 2) or self.weight_bits > 8:
            wrong.append(f"train.weight_bits is {self.weight_bits!r}, allowed is 2 to 8")
        for table, key in (("data", "name"), ("model", "name"), ("neuron", "method")):
            if not isinstance(getattr(self, table).get(key), str):
                wrong.append(f"{table}.{key} is missing, needed is a name in quotes")
        limit = self.data.get("limit")
        if limit is not None and not _whole(limit, 2):
            wrong.append(f"data.limit is {limit!r}, allowed is an integer from 2")
        wrong += [f"an [[augment]] has no name: {step}" for step in self.augment
                  if not isinstance(step.get("name"), str)]
        if wrong:
            raise RecipeError(f"recipe {self.name}: " + "; ".join(wrong))

    def tree(self) -> dict:
        """Return the recipe as the tables of its file, with every default written out: JSON-able."""
        train = {"T": self.T, "weight_bits": self.weight_bits, **dataclasses.asdict(self.train)}
        return {"name": self.name, "data": self.data, "model": self.model, "neuron": self.neuron, "train": train,
                "augment": list(self.augment), "about": self.about}


def names() -> tuple[str, ...]:
    """Return the names of the recipes that come with the package."""
    return tuple(sorted(Path(entry.name).stem for entry in _folder().iterdir() if entry.name.endswith(".toml")))


def load(recipe: str, settings: tuple[str, ...] = ()) -> RecipeFile:
    """Return a recipe: by its name in the package, or from a .toml file, with `settings` such as "train.epochs=3".

    Raises RecipeError."""
    path = Path(recipe)
    if path.suffix == ".toml":
        if not path.is_file():
            raise RecipeError(f"there is no file {recipe!r}")
        text, name = path.read_text(encoding="utf-8"), path.stem
    elif recipe in names():
        text, name = (_folder() / f"{recipe}.toml").read_text(encoding="utf-8"), recipe
    else:
        raise RecipeError(f"there is no recipe {recipe!r}{_nearest(recipe, names())}; there are "
                          f"{', '.join(names())}, and .toml files of your own")
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"recipe {recipe!r} is no TOML: {error}") from error
    for setting in settings:
        _set(tree, setting)
    return from_tree({"name": name, **tree})


def from_tree(tree: dict) -> RecipeFile:
    """Return the recipe of the tables of a file (RecipeFile.tree); raises RecipeError."""
    name = tree.get("name", "recipe")
    tables = ("name", "data", "model", "neuron", "train", "augment", "about")
    own = tuple(field.name for field in dataclasses.fields(Recipe))
    train = tree.get("train", {})
    wrong = [f"{key!r} is no table of a recipe{_nearest(key, tables)}" for key in tree if key not in tables]
    wrong += [f"{table} is no table" for table in ("data", "model", "neuron", "train", "about")
              if not isinstance(tree.get(table, {}), dict)]
    if not isinstance(tree.get("augment", []), (list, tuple)):
        wrong.append("augment is no list of tables: write [[augment]]")
    if not wrong:
        known = ("T", "weight_bits", *own)
        wrong += [f"train.{key} is not known{_nearest(key, known)}" for key in train if key not in known]
    if wrong:
        raise RecipeError(f"recipe {name}: " + "; ".join(wrong))
    try:
        how = Recipe(**{key: value for key, value in train.items() if key in own})
    except RecipeError as error:
        raise RecipeError(f"recipe {name}, [train]: {error}") from error
    return RecipeFile(name, tree.get("data", {}), tree.get("model", {}), tree.get("neuron", {}), train.get("T", 1),
                      train.get("weight_bits", 8), how, tuple(tree.get("augment", ())), tree.get("about", {}))


def _folder():
    return resources.files("qblif.gen") / "recipes"


def _set(tree: dict, setting: str) -> None:
    """Put "table.key=value" into the tables; the value is TOML, or else a text."""
    where, equals, text = setting.partition("=")
    table, dot, key = where.strip().partition(".")
    if not (equals and dot and key.isidentifier() and table in ("data", "model", "neuron", "train")):
        raise RecipeError(f"--set {setting!r} is not understood: TABLE.KEY=VALUE, with data, model, neuron or train as "
                          "the table, for instance train.epochs=3")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = None if text.strip() == "none" else text
    tree.setdefault(table, {})[key] = value


def _nearest(word: str, allowed) -> str:
    near = difflib.get_close_matches(word, allowed, 1, 0.5)
    return f" (did you mean {near[0]!r}?)" if near else f" (allowed are {', '.join(allowed)})"
