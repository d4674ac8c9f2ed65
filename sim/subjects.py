"""What `make sim` runs: the digits network, trained and folded here, or a network that there is, on its test images."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import torch

from qblif import gen
from qblif.gen import data, network_file, training
from qblif.gen.data import DataSet
from qblif.gen.errors import DataMissing
from qblif.gen.network import Network
from qblif.gen.network_file import network_hash
from qblif.gen.sizes import macs
from qblif.gen.training import finished, one_thread, recipe
from qblif.host.errors import InputError

from . import named
from .console import Progress
from .deploy import random_images
from .stages import Done, stage, timed

TRACED = 20
"""Images of which every current, membrane and level is compared."""

LANES = 16
"""Lanes of the digits network's core where nobody says it: it has 16 and 32 channels, and none idles before the
read-out."""

GOLDEN_VECTORS = 4
"""Images that the bundle carries for its self-test."""

MACS = 100_000_000
"""Dense MACs of all images of a network that is named, about, unless the number of images is said: some minutes."""

NETWORK, INTEGERS = "digits.network", "integers.npz"


@dataclasses.dataclass(frozen=True)
class Options:
    """What `make sim` is to run.

    network: a name of the zoo or a file; None: the digits network, trained here. data: of a network's file that does
    not say it; simulator: "verilator" or "icarus"; first, images: which of the test images, None: as many as take a
    minute or two; steps: T and levels: N of the digits network; lanes: of the core, None: the planner's choice, for
    the digits LANES; fresh: do every stage again; waves: VCD file to write for the first of these images, or None;
    settings: changes of the recipe `digits`; bundles: folder to leave the bundle in, named after its network, None:
    nowhere
    """

    simulator: str = "verilator"
    first: int = 0
    images: int | None = None
    steps: int = 2
    levels: int = 20
    fresh: bool = False
    waves: Path | None = None
    settings: tuple[str, ...] = ()
    network: str | None = None
    data: str | None = None
    bundles: Path | None = None
    lanes: int | None = None

    @property
    def again(self) -> str:
        """The variables of `make sim` that ask for the same network on the same hardware."""
        said = {"NETWORK": self.network, "DATA": self.data} if self.network else {"T": self.steps, "N": self.levels}
        return " ".join(f"{name}={value}" for name, value in (said | {"LANES": self.lanes}).items() if value)


@dataclasses.dataclass(frozen=True, eq=False)
class Subject:
    """A network with the images that it is to run on.

    images: uint8 (B, C, H, W) or (T, B, C, H, W); labels: int64 (B,), None where the images are random
    first: number of the first image in the test set; about: one line on where the images are from
    accuracies: what is known beside the golden model's and the RTL's, name -> share; gammas: layer -> scale
    lanes: of the core, None: the planner's choice; stages: what was done; by_torch: logits (B, K) of these images, and
    `traced` with its records for Verdict.levels, where the network was folded here; again: variables of `make sim`
    """

    network: Network
    images: np.ndarray
    labels: np.ndarray | None
    first: int
    about: str
    accuracies: dict[str, float]
    gammas: dict[str, float]
    lanes: int | None
    stages: tuple[Done, ...]
    again: str
    by_torch: dict | None = None

    @property
    def axis(self) -> int:
        """The axis of images that counts them."""
        return 0 if self.network.input.static else 1

    @property
    def count(self) -> int:
        """How many images there are."""
        return self.images.shape[self.axis]

    def some(self, first: int, count: int) -> np.ndarray:
        """Return `count` of the images, from number `first` of them on."""
        return self.images[(slice(None),) * self.axis + (slice(first, first + count),)]

    @property
    def key(self) -> str:
        """Hash of the network and the images that its bundle is to carry."""
        vectors = self.some(0, GOLDEN_VECTORS)
        return hashlib.sha256(network_hash(self.network).encode() + vectors.tobytes()).hexdigest()


def subject(options: Options) -> Subject:
    """Return what the options ask for; trains and folds the digits network unless that was kept from before."""
    return _digits(options) if options.network is None else _named(options)


# --- a network that there is --------------------------------------------------------------------------------------

def _named(options: Options) -> Subject:
    """Find a network and its test images; where the data is not here, those that come with qblif, else random ones,
    and that is said."""
    found, loaded = timed("load", lambda: named.find(options.network))
    network, card = found.network, found.card
    work = sum(macs(network, layer) for layer in network.layers)
    count = options.images or min(TRACED, max(2, MACS // work))
    try:
        images, labels, about = _test_images(found, options, count)
    except DataMissing as error:
        if options.data is not None:
            raise
        # One by one: image number i is the same one in every run
        images = np.concatenate([random_images(network, 1, seed=options.first + i) for i in range(count)],
                                axis=0 if network.input.static else 1)
        labels = None
        about = f"{count} images of random integers: integers are compared, accuracy cannot be told"
        print(f"{error}\nSo {network.name} runs on {about}.\n", file=sys.stderr)
    told = {} if card is None else {"float": card.float_accuracy, "quantised": card.quantised_accuracy,
                                    "golden": card.golden_accuracy}
    accuracies = {f"{name}, by its card": share for name, share in told.items() if share is not None}
    return Subject(network, images, labels, options.first, about, accuracies, {} if card is None else card.gammas,
                   options.lanes, (loaded,), options.again)


def _test_images(found: named.Named, options: Options, count: int) -> tuple[np.ndarray, np.ndarray, str]:
    """Return images, labels and what they are; raises DataMissing, DataError, InputError."""
    dataset = found.at_hand() if options.data is None else found.test_set(options.data)
    if data.is_sample(dataset):
        if options.images is None:
            count = max(1, min(count, len(dataset.test) - options.first))
        if options.first + count > len(dataset.test):
            raise InputError(f"{numbered(options.first, count)} of {dataset.name!r}: the data set is not here, and of "
                             f"its test images the first {len(dataset.test)} come with qblif",
                             hint=f"IMAGES={len(dataset.test)} or fewer, or put the set into a folder that is named in "
                                  f"$QBLIF_DATA, or into ./data. {data.DATASETS[dataset.name].source}")
    last = options.first + count
    if last > len(dataset.test):
        raise InputError(f"images {options.first} to {last - 1} are asked for, the test set of {dataset.name!r} has "
                         f"{len(dataset.test)}")
    x, y = dataset.test.batch(torch.arange(options.first, last))
    about = f"{numbered(options.first, count)} of the test set {dataset.name!r}"
    if data.is_sample(dataset):
        about += f" ({len(dataset.test)} of them come with qblif, the set is not here)"
    return x.numpy(), y.numpy(), about + (f" ({dataset.lost})" if dataset.lost else "")


def numbered(first: int, count: int) -> str:
    """Return how tables name test images."""
    return f"images {first} to {first + count - 1}" if count > 1 else f"image {first}"


# --- the digits network -------------------------------------------------------------------------------------------

def _digits(options: Options) -> Subject:
    trained = _train(options)
    run = finished.load(trained.folder)
    dataset = run.dataset()
    count = len(dataset.test) if options.images is None else options.images
    chosen = torch.arange(len(dataset.test))[options.first:options.first + count]
    images, labels = (part.numpy() for part in dataset.test.batch(chosen))
    made = _fold(options, trained)
    by_torch = _load_integers(made)
    return Subject(network_file.load(made.folder / NETWORK), images, labels, options.first,
                   f"{numbered(options.first, len(labels))} of scikit-learn's digits, of {len(dataset.test)} to test",
                   {"float": run.float_accuracy, "quantised": run.quantised_accuracy}, by_torch["gammas"],
                   options.lanes or LANES, (trained, made), options.again,
                   {"logits": by_torch["logits"][chosen.numpy()], "traced": _first(dataset).numpy(),
                    "records": by_torch["records"]})


def digits_network(options: Options) -> Network:
    """Train and fold the digits network, unless that was kept from before, and return it."""
    with one_thread():
        return network_file.load(_fold(options, _train(options)).folder / NETWORK)


def _train(options: Options) -> Done:
    chosen = recipe.load("digits", (f"train.T={options.steps}", f"neuron.levels={options.levels}", *options.settings))
    first, both = chosen.train.epochs, chosen.train.epochs + chosen.train.quantised_epochs

    def make(folder: Path) -> None:
        with Progress("train", unit="epochs") as bar:
            training.Run(chosen, folder, told=lambda entry: bar(
                entry["epoch"] + first * (entry["phase"] == "quantised"), both,
                f"({entry['phase']}), loss {entry['loss']:.3f}")).train()

    return stage("train", ("qblif.gen.training.run",), chosen.tree(), make)


def _fold(options: Options, trained: Done) -> Done:
    """Write the network, and what quantised PyTorch computes: logits of all images, all integers of the first ones."""
    def make(folder: Path) -> None:
        run = finished.load(trained.folder)
        dataset = run.dataset()
        quantised = run.quantised(dataset)
        network = gen.fold(quantised, name="digits", meta={"data": "digits"})
        network_file.save(network, folder / NETWORK)
        arrays = {"logits": quantised.integers(dataset.test.batch(torch.arange(len(dataset.test)))[0]).numpy()}
        for name, kinds in quantised.record(_first(dataset)).items():
            arrays |= {f"{name}/{kind}": values.numpy().astype(np.int32) for kind, values in kinds.items()}
        np.savez_compressed(folder / INTEGERS, gammas=json.dumps(gen.gammas(quantised.module)),
                            layers=json.dumps([layer.name for layer in network.layers]), **arrays)

    modules = ("qblif.gen.training.finished", "qblif.gen.folding", "qblif.gen.network_file")
    return stage("fold", modules, {"images": TRACED}, make, after=(trained,))


def _first(dataset: DataSet) -> torch.Tensor:
    """Return the images of which every integer is compared."""
    return dataset.test.batch(torch.arange(TRACED))[0]


def _load_integers(folded: Done) -> dict:
    """Return logits, gammas, and records as Verdict.levels takes them, of quantised PyTorch.

    As "membrane" of the read-out the other two have the running sum of its currents; it is formed here."""
    with np.load(folded.folder / INTEGERS, allow_pickle=False) as arrays:
        records = [{kind: arrays[f"{name}/{short}"] for kind, short in
                    (("current", "c"), ("membrane", "v"), ("levels", "s")) if f"{name}/{short}" in arrays}
                   for name in json.loads(str(arrays["layers"]))]
        records[-1]["membrane"] = records[-1]["current"].cumsum(0)
        return {"logits": arrays["logits"], "gammas": json.loads(str(arrays["gammas"])), "records": records}
