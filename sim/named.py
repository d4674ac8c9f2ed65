"""What a command's NETWORK stands for: a network of the zoo or a file, with the test data that belongs to it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np

from qblif.gen import data, network_file, zoo
from qblif.gen.data import DataSet
from qblif.gen.errors import DataMissing
from qblif.gen.network import Network
from qblif.host.errors import InputError

from . import golden
from .random_networks import random_input


@dataclasses.dataclass(frozen=True, eq=False)
class Named:
    """A network as somebody named it. text: what they wrote; path: its file; card: its card, None outside the zoo."""

    text: str
    path: Path
    network: Network
    card: zoo.Card | None

    @property
    def data(self) -> tuple[str, dict] | None:
        """Name and options of its data set, from its card or from the notes in its file; None where none says."""
        if self.card is not None:
            return self.card.data, self.card.data_options
        name = self.network.meta.get("data")
        if name not in data.DATASETS:
            return None
        try:
            options = dict(json.loads(self.network.meta.get("recipe", "{}"))["data"])
        except (ValueError, KeyError, TypeError):       # notes are anybody's
            options = {}
        allowed = data.DATASETS[name].options()
        return name, {key: value for key, value in options.items() if key in allowed}

    def test_set(self, name: str | None = None, root: str | Path | None = None) -> DataSet:
        """Return its data set, or the one of that name, checked against the network; raises DataError, InputError.

        Event data is counted in as many steps and bits as the network takes, unless its card says otherwise."""
        own = self.data
        if name is None and own is None:
            raise InputError(f"nothing says which data {self.text!r} was trained for: name it with --data, one of "
                             f"{', '.join(data.DATASETS)}")
        name, options = own if name is None or (own and own[0] == name) else (name, {})
        if name in data.DATASETS:
            fitting = {"steps": self.network.steps, "bits": self.network.input.bits}
            if fitting.keys() <= data.DATASETS[name].options().keys():
                options = fitting | options
        found = data.load(name, root, **options)
        given = self.network.input
        problems = []
        if tuple(found.shape) != given.shape:
            problems.append(f"samples of {_by(found.shape)}, the network takes {_by(given.shape)}")
        if found.steps is None and not given.static:
            problems.append("single images, the network takes one input per time step")
        if found.steps is not None and given.static:
            problems.append("one input per time step, the network takes single images")
        if found.bits > given.bits:
            problems.append(f"values of {found.bits} bits, the network takes {given.bits}")
        if problems:
            raise InputError(f"data set {name!r} does not fit network {self.network.name!r}: it has "
                             + "; ".join(problems))
        return found


    def at_hand(self) -> DataSet:
        """Return its data set or, where that is not here, what comes with qblif of it (`data.or_sample`); raises what
        `test_set` raises."""
        return data.or_sample(lambda root: self.test_set(root=root))


def images_of(one: Named, count: int, own: np.ndarray | None = None,
              file: Path | None = None) -> tuple[np.ndarray, str]:
    """Return images to measure with, as golden.run takes them, and what they are: the first of `own` where a file of
    them is given, else test images where the network's data is at hand, else the few of them that come with qblif, else
    random ones."""
    if own is not None:
        x = golden.checked(one.network, own)
        x = x[:count] if one.network.input.static else x[:, :count]
        return x, f"the first {x.shape[0 if one.network.input.static else 1]} images of {file}"
    try:
        dataset = one.at_hand()
    except (DataMissing, InputError):
        return (random_input(one.network, 0, count, density=0.2),
                f"{count} random images, 20 % of the values not 0 (no test data at hand)")
    x, count = dataset.test.x.numpy(), min(count, len(dataset.test))
    told = f"the first {count} test images of {dataset.name}"
    if data.is_sample(dataset):
        told += f" ({len(dataset.test)} of them come with qblif, the set is not here)"
    return x[:count] if one.network.input.static else x[:, :count], told


def find(text: str | Path) -> Named:
    """Return the network that a name of the zoo or a path stands for; raises ZooError, NetworkFileError."""
    path = zoo.resolve(text)
    if str(text) in zoo.names():
        return Named(str(text), path, zoo.load(str(text)), zoo.card(str(text)))
    return Named(str(text), path, network_file.load(path), None)


def _by(shape) -> str:
    return "x".join(map(str, shape))
