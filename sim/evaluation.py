"""Accuracy and work of a network on a whole test set: golden model, and beside it quantised and float PyTorch.

One pass over the data: each batch goes through the golden model layer by layer, and what is counted is added up. The
read-out's running sum gives the accuracy after every time step up to T, because a step never changes earlier ones.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable

import numpy as np
import torch

from qblif.gen.network import Network, NeuronLayer
from qblif.gen.sizes import parameters
from qblif.gen.training.score import classes
from qblif.gen.verify import verify
from qblif.host.errors import InputError

from . import energy, golden
from .counts import STRATEGIES, count_layer
from .information import Levels

BATCH = 128
"""Images in work at a time."""

Progress = Callable[[int, int, str], None]
"""Called with images done, images in all and a text, as sim.console.Progress."""


@dataclasses.dataclass(frozen=True, eq=False)
class LayerWork:
    """One layer; counts are means of an image (sim/counts.py defines them).

    name: of the layer; shape: (C, H, W) of its output; levels: its histogram, None for pooling and the read-out
    """

    name: str
    shape: tuple[int, int, int]
    levels: Levels | None
    set_bits: float
    sops: float
    additions: dict[str, float]
    macs: int


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluation:
    """What a network does on a test set.

    network: its name; data: the set's name; images: how many were used of `available`; steps: T; levels: the N of its
    layers, one for all of them or one for each; weight_bits; parameters
    labels, predictions: int64 (images,), of the golden model after all T steps
    by_step: accuracy, 0 to 1, of the golden model's read-out after 1..T steps
    quantised_accuracy, float_accuracy: of the same network in PyTorch, None where there was none
    different: predictions of the golden model that differ from quantised PyTorch's, as (image, golden, quantised);
        None where there was no quantised network
    lost: what was lost when events were counted, in words; nothing for images
    input: histogram of the input; layers: in order; energy: by the paper's model; seconds: of the golden model
    """

    network: str
    data: str
    images: int
    available: int
    steps: int
    levels: tuple[int, ...]
    weight_bits: int
    parameters: int
    labels: np.ndarray
    predictions: np.ndarray
    by_step: tuple[float, ...]
    input: Levels
    layers: tuple[LayerWork, ...]
    energy: energy.Energy
    seconds: float
    quantised_accuracy: float | None = None
    float_accuracy: float | None = None
    different: tuple[tuple[int, int, int], ...] | None = None
    lost: str = ""

    @property
    def golden_accuracy(self) -> float:
        """Accuracy of the golden model after all T steps, 0 to 1."""
        return self.by_step[-1]

    @property
    def sops(self) -> float:
        """SOPs of an image, mean."""
        return sum(layer.sops for layer in self.layers)

    @property
    def additions(self) -> dict[str, float]:
        """Fan-out strategy -> additions of an image, mean."""
        return {name: sum(layer.additions[name] for layer in self.layers) for name in STRATEGIES}

    @property
    def macs(self) -> int:
        """Dense multiply-accumulates of an image, all T steps."""
        return sum(layer.macs for layer in self.layers)

    def to_dict(self) -> dict:
        """Return everything as JSON-able values, with the figures that are derived; predictions are left out."""
        def layer(work: LayerWork) -> dict:
            plain = {"name": work.name, "shape": list(work.shape), "set_bits": work.set_bits, "sops": work.sops,
                     "additions": work.additions, "macs": work.macs}
            return plain | ({"levels": _levels(work.levels)} if work.levels else {})

        kept = ("network", "data", "images", "available", "steps", "weight_bits", "parameters", "golden_accuracy",
                "quantised_accuracy", "float_accuracy", "sops", "additions", "macs", "seconds", "lost")
        plain = {name: getattr(self, name) for name in kept}
        return plain | {"levels": list(self.levels), "by_step": list(self.by_step),
                        "different": None if self.different is None else [list(one) for one in self.different],
                        "energy": dataclasses.asdict(self.energy) | {"microjoules": self.energy.microjoules},
                        "input": _levels(self.input), "layers": [layer(work) for work in self.layers]}


def _levels(levels: Levels) -> dict:
    derived = {name: getattr(levels, name) for name in ("activity", "mean", "popcount", "entropy", "binary_entropy",
                                                        "capacity", "gain", "effective", "saturation")}
    return {"histogram": levels.histogram.tolist()} | derived


def evaluate_network(network: Network, split, limit: int | None = None, *, data: str = "", lost: str = "",
                     steps: int | None = None, quantised: torch.nn.Module | None = None,
                     module: torch.nn.Module | None = None, batch: int = BATCH,
                     progress: Progress | None = None) -> Evaluation:
    """Run a network on a test set and return accuracies and counts.

    Parameters
    ----------
    split: len(), labels (N,) and batch(index) -> (x, y): x unsigned integers (B, C, H, W), or (T, B, C, H, W)
    limit: use only so many images, evenly spaced over the set; default: all
    data, lost: name of the set and what it lost of events (DataSet.lost), to be kept
    steps: another T than the network's; static input only
    quantised: the QuantisedNetwork that the network was folded from: its predictions are compared, one by one
    module: the float module, for its accuracy
    progress: told after every batch

    Raises InputError for images or labels that do not fit the network.
    """
    network = with_steps(network, steps)
    index = chosen(len(split), limit)
    tally = _Tally(network)
    golden_hits, others, different = [], {"quantised": 0, "float": 0}, []
    labels, predictions, seconds = [], [], 0.0
    for part in torch.split(index, batch):
        x, y = split.batch(part)
        y = _classes(network, y)
        started = time.monotonic()
        sums = tally.add(torch.from_numpy(golden.checked(network, x)))
        found = classes(sums)
        seconds += time.monotonic() - started
        labels.append(y)
        predictions.append(found[-1])
        golden_hits.append((found == y).sum(1))
        if quantised is not None:
            by_torch = classes(quantised.integers(x))
            others["quantised"] += int((by_torch == y).sum())
            different += [(int(part[i]), int(found[-1][i]), int(by_torch[i]))
                          for i in (by_torch != found[-1]).nonzero().flatten()]
        if module is not None:
            with torch.no_grad():
                others["float"] += int((classes(module(x.to(torch.get_default_dtype()))) == y).sum())
        if progress is not None:
            done = sum(map(len, labels))
            progress(done, len(index), f"golden {100 * int(sum(hits[-1] for hits in golden_hits)) / done:.2f} %")
    count = len(index)
    by_step = tuple(hits / count for hits in sum(golden_hits).tolist())
    return Evaluation(
        network.name, data, count, len(split), network.steps, tuple(_neuron_levels(network)), network.weight_bits,
        sum(map(parameters, network.layers)), torch.cat(labels).numpy(), torch.cat(predictions).numpy(),
        by_step, tally.input(), tally.layers(count), tally.energy(count), seconds,
        None if quantised is None else others["quantised"] / count, None if module is None else others["float"] / count,
        None if quantised is None else tuple(different), lost)


def with_steps(network: Network, steps: int | None) -> Network:
    """Return the network for another number of time steps; raises InputError, or VerifyError where sums overflow."""
    if steps in (None, network.steps):
        return network
    if not network.input.static:
        raise InputError(f"network {network.name!r} takes an input per time step: its T is {network.steps}, that of "
                         f"the data, and cannot be {steps}")
    if not 1 <= steps <= 255:
        raise InputError(f"steps is {steps}, allowed is 1 to 255")
    return verify(dataclasses.replace(network, steps=steps))


def chosen(count: int, limit: int | None) -> torch.Tensor:
    """Return the indices of all `count` images, or of `limit` of them, evenly spaced; int64."""
    if limit is not None and limit < 1:
        raise InputError(f"limit is {limit}, allowed is 1 or more images")
    if not count:
        raise InputError("the test set is empty")
    if limit is None or limit >= count:
        return torch.arange(count)
    return torch.arange(limit) * count // limit


class _Tally:
    """Adds up counts and histograms of a network, batch by batch."""

    def __init__(self, network: Network):
        self._network = network
        self._names = ["input", *(layer.name for layer in network.layers)]
        self._histograms = [torch.zeros(network.map_peak(i) + 1, dtype=torch.int64) for i in self._counted()]
        self._work = [{"set_bits": 0, "sops": 0, "input_sops": 0, "macs": 0, **dict.fromkeys(STRATEGIES, 0)}
                      for _ in network.layers]

    def _counted(self) -> list[int]:
        """Maps with a histogram: the input and what neurons emit."""
        return [0, *(i + 1 for i, layer in enumerate(self._network.layers) if isinstance(layer, NeuronLayer))]

    def add(self, x: torch.Tensor) -> torch.Tensor:
        """Run checked images and count; return the read-out's running sums, int32 (T, B, K)."""
        network = self._network
        steps = list(golden.walk(network, x))
        maps = [golden.pad_input(network, x), *(step.levels for step in steps)]
        raw = [x, *maps[1:]]      # the host's padding is no event of the data
        for histogram, at in zip(self._histograms, self._counted(), strict=True):
            histogram += torch.bincount(raw[at].flatten(), minlength=len(histogram))
        for index, work in enumerate(self._work):
            counts = count_layer(network, index, maps)
            work["macs"] = counts.macs
            for name in ("set_bits", "sops", "input_sops"):
                work[name] += int(getattr(counts, name).sum())
            for name in STRATEGIES:
                work[name] += int(counts.additions[name].sum())
        return steps[-1].membrane[..., 0, 0]

    def input(self) -> Levels:
        return Levels("input", self._histograms[0].numpy())

    def layers(self, images: int) -> tuple[LayerWork, ...]:
        histograms = dict(zip(self._counted(), self._histograms, strict=True))
        return tuple(LayerWork(layer.name, layer.shape,
                               Levels(layer.name, histograms[i + 1].numpy()) if i + 1 in histograms else None,
                               work["set_bits"] / images, work["sops"] / images,
                               {name: work[name] / images for name in STRATEGIES}, work["macs"])
                     for i, (layer, work) in enumerate(zip(self._network.layers, self._work, strict=True)))

    def energy(self, images: int) -> energy.Energy:
        return energy.of_counts(self._network, *(sum(work[name] for work in self._work) / images
                                                 for name in ("sops", "input_sops")))


def _neuron_levels(network: Network) -> list[int]:
    found = [layer.neuron.levels for layer in network.layers if isinstance(layer, NeuronLayer)]
    return found if len(set(found)) > 1 else found[:1]


def _classes(network: Network, y) -> torch.Tensor:
    y = torch.as_tensor(y).long()
    if len(y) and not 0 <= int(y.min()) <= int(y.max()) < network.classes:
        raise InputError(f"the labels go from {int(y.min())} to {int(y.max())}, network {network.name!r} has "
                         f"{network.classes} classes: is this the data that it was trained for?")
    return y
