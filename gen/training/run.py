"""A training with a folder: it can stop after any epoch and go on as if it had not.

The folder has checkpoint.safetensors (all that is needed to go on), float.safetensors (the module after the float
phase), weights.safetensors (the quantised module at the end), log.jsonl and tensorboard/. The network is that of the
last epoch: the test set is looked at, and chooses nothing.
"""

from __future__ import annotations

import dataclasses
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from qblif.gen.layers import InputScale
from qblif.gen.neuron import fix_levels, gammas, levels
from qblif.gen.quantised import QuantisedNetwork, quantise
from qblif.gen.weights import load_weights

from . import checkpoint, penalty, sanity
from .checkpoint import CheckpointError
from .distributed import ALONE, Team
from .logs import Log
from .phase import Phase
from .recipe import RecipeError, RecipeFile
from .score import accuracy

SAID = {"limit": "--limit", "from": "--from", "processes": "processes (torchrun --nproc-per-node)"}
"""How people say what a run has beside its recipe."""

CHECKPOINT, FLOAT, WEIGHTS = "checkpoint.safetensors", "float.safetensors", "weights.safetensors"


@dataclasses.dataclass(frozen=True)
class Finished:
    """What a run gives.

    module, quantised: in evaluation mode; quantised is None where the method does not fold
    dataset: what it was trained on; float_accuracy, quantised_accuracy: on the test set, after each phase
    seconds: of training, all sessions together; history: the log's entries
    """

    module: nn.Module
    quantised: QuantisedNetwork | None
    dataset: object
    float_accuracy: float
    quantised_accuracy: float | None
    seconds: float
    history: list[dict]


class Run:
    """A training of `recipe` in `folder`.

    resume: go on from the folder's checkpoint; start: folder of a finished run whose float weights are the first ones
    limit: train and test on the first so many samples alone; device: "cpu" or "cuda"; data_root: of the data set
    told: called with the log's entry of each epoch, in place of what is printed and of TensorBoard's files
    """

    def __init__(self, recipe: RecipeFile, folder: Path, *, resume: bool = False, start: Path | None = None,
                 limit: int | None = None, device: str = "cpu", data_root: Path | None = None, team: Team = ALONE,
                 told: Callable[[dict], None] | None = None):
        self.recipe, self.folder, self.team = recipe, Path(folder), team
        self.start, self.limit, self.data_root, self.told = start, limit, data_root, told
        self.device = torch.device("cuda", team.local) if device == "cuda" else torch.device("cpu")
        self.saved: tuple[dict, dict] | None = None
        path = self.folder / CHECKPOINT
        if resume and path.is_file():
            self.saved = checkpoint.read(path)
            self._same_run(self.saved[1])
        elif not resume and path.exists():
            raise CheckpointError(f"{self.folder} has a training already", hint="--resume goes on with it; --out names "
                                  "another folder; or delete it")

    def _same_run(self, facts: dict) -> None:
        mine, theirs = self._settings(), facts["settings"]
        differing = [f"{SAID.get(key, f'{table}.{key}')}: {_get(theirs, table, key)!r} there, "
                     f"{_get(mine, table, key)!r} here"
                     for table in ("data", "model", "neuron", "train", "run")
                     for key in sorted({*mine[table], *theirs.get(table, {})})
                     if _get(mine, table, key) != _get(theirs, table, key)]
        if mine["augment"] != theirs["augment"]:
            differing.append("augment differs")
        if differing:
            raise CheckpointError(f"{self.folder} was trained otherwise: {'; '.join(differing)}",
                                  hint="give the same as then, or another --out")

    def _settings(self) -> dict:
        start = str(Path(self.start).resolve()) if self.start else None
        return {**self.recipe.tree(), "run": {"limit": self.limit, "processes": self.team.size, "from": start}}

    # --- the parts ------------------------------------------------------------------------------------------------

    def load(self):
        """Return the data set and its augmentation."""
        from qblif.gen import data
        from qblif.gen.data import augment as augment_

        options = dict(self.recipe.data)
        name, limit = options.pop("name"), options.pop("limit", None)
        if name in data.DATASETS and "steps" in data.DATASETS[name].options():
            options["steps"] = self.recipe.T
        try:
            dataset = data.load(name, root=self.data_root, **options)
            augment = augment_.build(list(self.recipe.augment)) if self.recipe.augment else None
        except (TypeError, ValueError) as error:
            raise RecipeError(f"recipe {self.recipe.name}: {error}") from error
        if dataset.bits < 8 and any(step["name"] == "autoaugment" for step in self.recipe.augment):
            raise RecipeError(f"recipe {self.recipe.name}: autoaugment works on pixels of 8 bits, those of the data "
                              f"have {dataset.bits} (data.bits)")
        least = min(n for n in (limit, self.limit, len(dataset.train)) if n is not None)
        train = First(dataset.train, least) if least < len(dataset.train) else dataset.train
        test = dataset.test
        if self.limit is not None and self.limit < len(test):
            test = First(test, self.limit)
        return dataclasses.replace(dataset, train=train, test=test), augment

    def build(self, dataset) -> nn.Module:
        """Return the recipe's module for a data set, with new weights from the recipe's seed."""
        from qblif.gen import methods, models

        options, neuron = dict(self.recipe.model), dict(self.recipe.neuron)
        torch.manual_seed(self.recipe.train.seed)
        try:
            make = methods.neuron(neuron.pop("method"), **neuron)
            return models.build(options.pop("name"), shape=tuple(dataset.shape), classes=len(dataset.classes),
                                T=self.recipe.T, neuron=make, bits=dataset.bits, static=dataset.steps is None,
                                **options)
        except (TypeError, ValueError) as error:
            raise RecipeError(f"recipe {self.recipe.name}: {error}") from error

    def train(self) -> Finished:
        """Do what is left of both phases."""
        if self.device.type == "cuda":
            torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
        dataset, augment = self.load()
        facts = self.saved[1] if self.saved else {}
        log = Log(self.folder, list(facts.get("history", [])), quiet=not self.team.first, told=self.told)
        try:
            return self._train(log, facts, dataset, augment)
        finally:
            log.close()

    def _train(self, log: Log, facts: dict, dataset, augment) -> Finished:
        from qblif.gen import methods

        recipe, how = self.recipe, self.recipe.train
        axis = 0 if dataset.steps is None else 1
        example = dataset.train.batch(torch.arange(min(2, len(dataset.train))))[0]
        module = self.build(dataset)
        if not any(isinstance(m, InputScale) for m in module.modules()):
            raise RecipeError(f"recipe {recipe.name}: the model has no InputScale")
        folds = methods.METHODS[recipe.neuron["method"]].folds
        if how.sop_penalty and not folds:
            raise RecipeError(f"recipe {recipe.name}: train.sop_penalty counts what a network of integers does, and "
                              f"{recipe.neuron['method']} does not fold")
        log.say(f"{recipe.name}: {len(dataset.train):,} training and {len(dataset.test):,} test samples of "
                f"{dataset.name}, {'x'.join(map(str, dataset.shape))} each; {self.device.type}, "
                f"{self.team.size} process(es), {torch.get_num_threads()} thread(s)")
        if dataset.lost:
            log.say(dataset.lost)
        for note in sanity.data(dataset, axis):
            log.say(f"warning: {note}")
        if self.start is not None and not self.saved:
            own = {m: {name: value.clone() for name, value in m.named_buffers()}
                   for m in module.modules() if isinstance(m, InputScale)}
            load_weights(module, Path(self.start) / FLOAT)
            for scale, buffers in own.items():      # of this recipe's data, whose pixels may have other bits
                scale.load_state_dict(buffers)
        graph = None
        if folds:
            log.say(sanity.size(sanity.deployable(module, example, recipe.weight_bits)))
            graph = quantise(module.eval(), example, weight_bits=recipe.weight_bits).graph
        else:
            log.say(f"warning: {recipe.neuron['method']} does not fold: the float phase is all that is trained")
        module.to(self.device)
        if not self.saved and how.epochs and self.start is None:
            log.say("checking: does a copy learn 32 samples by heart?")
            note = sanity.learns(module, dataset.train)
            if note:
                log.say(f"warning: {note}")
        self.seconds, self.float_accuracy = facts.get("seconds", 0.0), facts.get("float_accuracy")

        self.folder.mkdir(parents=True, exist_ok=True)
        log.begin()
        if facts.get("phase", "float") == "float":
            self.float_accuracy = self._phase("float", module, module, dataset, augment, graph, log)
            log.say(f"float accuracy on the test set: {100 * self.float_accuracy:.2f} %")
            if self.team.first:
                checkpoint.write(self.folder / FLOAT, module.state_dict(), {"float_accuracy": self.float_accuracy})
        if not folds:
            return Finished(module, None, dataset, self.float_accuracy, None, self.seconds, log.history)
        fix_levels(module)
        with warnings.catch_warnings():
            if facts.get("phase") == "quantised":  # weights are not here yet, those that come are not clipped
                warnings.simplefilter("ignore")
            quantised = quantise(module.eval(), example.to(self.device), weight_bits=recipe.weight_bits)
        score = self._phase("quantised", quantised, module, dataset, augment, None, log)
        log.say(f"quantised accuracy on the test set: {100 * score:.2f} %")
        if self.team.first:
            checkpoint.write(self.folder / WEIGHTS, quantised.state_dict(), {
                "recipe": recipe.tree(), "float_accuracy": self.float_accuracy, "quantised_accuracy": score})
        return Finished(module, quantised, dataset, self.float_accuracy, score, self.seconds, log.history)

    def _phase(self, name, trained, module, dataset, augment, graph, log) -> float:
        """Do what is left of a phase, leave a checkpoint after each epoch, and return the accuracy after the last."""
        how = self.recipe.train
        epochs, rate = how.phase(name)
        if self.saved and self.saved[1]["phase"] == name:
            tensors, facts = self.saved
            trained.load_state_dict({key[7:]: value for key, value in tensors.items() if key.startswith("module:")})
        cost = penalty.of(trained, how, graph)
        loop = Phase(trained, dataset.train, how, epochs, rate, name=name, augment=augment, penalty=cost,
                     team=self.team, classes=len(dataset.classes))
        if self.saved and self.saved[1]["phase"] == name:
            loop.restore({key[6:]: value for key, value in tensors.items() if key.startswith("phase:")}, facts["loop"])
            log.say(f"going on after epoch {loop.done} of {epochs} of the {name} phase")
        self.saved = None
        warned = set()
        try:
            while loop.done < epochs:
                started = time.monotonic()
                progress, close = log.bar(f"{name} {loop.done + 1}/{epochs}", len(dataset.train))
                try:
                    epoch = loop.epoch(progress)
                finally:
                    close()
                self.seconds += time.monotonic() - started
                look = loop.done % how.evaluate_every == 0 or loop.done == epochs
                test = accuracy(trained.eval(), dataset.test) if look else None
                log.epoch({"phase": name, "epoch": loop.done, "of": epochs, "loss": epoch.loss, "train": epoch.accuracy,
                           "test": test, "rate": epoch.rate, "seconds": time.monotonic() - started,
                           "count": epoch.penalty or None, "counted": how.sop_count, "gammas": gammas(module),
                           "levels": levels(module)})
                for layer, note in sanity.fallen(module).items():
                    if layer not in warned:
                        log.say(f"warning: {note}")
                    warned.add(layer)
                self._save(loop, trained, log)
        finally:
            if cost is not None:
                cost.close()
        trained.train().eval()  # train() first: a checkpoint's integers may be older than its weights
        last = log.history[-1] if epochs else {}
        known = last.get("test") if (last.get("phase"), last.get("epoch")) == (name, epochs) else None
        return accuracy(trained, dataset.test) if known is None else known

    def _save(self, loop: Phase, trained: nn.Module, log: Log) -> None:
        if not self.team.first:
            return
        tensors, facts = loop.state()
        everything = {f"module:{name}": value for name, value in trained.state_dict().items()}
        everything |= {f"phase:{name}": value for name, value in tensors.items()}
        checkpoint.write(self.folder / CHECKPOINT, everything, {
            "phase": loop.name, "loop": facts, "settings": self._settings(), "history": log.history,
            "seconds": self.seconds, "float_accuracy": self.float_accuracy})


@dataclasses.dataclass(frozen=True, eq=False)
class First:
    """The first samples of a split."""

    split: object
    count: int

    def __len__(self) -> int:
        return self.count

    @property
    def labels(self) -> torch.Tensor:
        """The classes, int64 (N,)."""
        return self.split.labels[:self.count]

    def batch(self, index: torch.Tensor, generator: torch.Generator | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the inputs and classes with these numbers."""
        return self.split.batch(index, generator)


def _get(tree: dict, table: str, key: str):
    return tree.get(table, {}).get(key)
