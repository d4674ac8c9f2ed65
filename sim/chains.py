"""`qblif chains`: networks on chains of cores, and where the cycles of each core go (docs/decisions.md)."""

from __future__ import annotations

import dataclasses

import numpy as np

from qblif.gen.network import Network
from qblif.gen.plan import make_plan
from qblif.host.stats import LOSSES, CoreStats

from . import golden
from .console import table
from .simulation import BLOCK, Simulation

ALONE = 4
"""Images whose latency is measured."""


@dataclasses.dataclass(frozen=True)
class Measured:
    """A chain at work on images, measured in RTL simulation.

    segments: first and last layer of each core; interval: cycles from the last logit of an image to that of the next,
    mean, with the chain full; latency: cycles from the first input beat of an image to its last logit, nothing else in
    the chain, mean; cores: their counters over all images in blocks of BLOCK; images: how many these are
    """

    segments: tuple[tuple[int, int], ...]
    interval: float
    latency: float
    cores: tuple[CoreStats, ...]
    images: int

    def efficiency(self, index: int) -> float:
        """Weight rows that a core has to add for an image / cycles of its clusters from image to image."""
        core = self.cores[index]
        needed = core.counters["set_bits"] + core.counters["masks"]
        return needed / self.images / (self.interval * core.clusters)

    @property
    def slowest(self) -> int:
        """The core that works longest, waiting for input apart."""
        return max(range(len(self.cores)), key=lambda index: self.cores[index].worked)


def measure(network: Network, images: np.ndarray, **plan) -> Measured:
    """Run images through the network planned with `plan` (arguments of make_plan); RuntimeError at a wrong logit.

    images: quantised, whole blocks of BLOCK; the first ones of a block fill the chain and do not count for `interval`.
    Raises ValueError where they cannot."""
    made = make_plan(network, **plan)
    expected = golden.run(network, images).logits
    frames, depth = made.input_layout.pack(images), len(made.design.cores)
    if not len(images) or len(images) % BLOCK or depth >= BLOCK:
        raise ValueError(f"{len(images)} images do not fill a chain of {depth} cores in blocks of {BLOCK}")
    with Simulation(made.design) as sim:
        sim.program(made.program)
        result = sim.infer(frames, network.classes)
        cores = tuple(CoreStats(core.clusters, sim.counters(index)) for index, core in enumerate(made.design.cores))
        alone = [sim.infer(frame[None], network.classes) for frame in frames[:ALONE]]
    logits = np.concatenate([result.logits, *(one.logits for one in alone)])
    if (logits != np.concatenate([expected, expected[:ALONE]])).any():
        raise RuntimeError(f"wrong logits of {network.name} on {plan}")
    full = np.arange(len(images)) % BLOCK >= depth
    return Measured(tuple((s.first, s.last) for s in made.segments), float(result.cycles[full].mean()),
                    float(np.mean([one.latency for one in alone])), cores, len(images))


def report(title: str, found: Measured) -> str:
    """Return what a chain does: a line on all of it, and a table of its cores, cycles per image and cluster."""
    names = ("adds", *LOSSES, "output_stalls")
    rows = []
    for index, (core, (first, last)) in enumerate(zip(found.cores, found.segments, strict=True)):
        shares = (f"{core.counters[name] / found.images / core.clusters:,.0f}" for name in names)
        rows.append((f"{index}{' (slowest)' if index == found.slowest else ''}", f"{first} to {last}",
                     f"{found.efficiency(index):.3f}", *shares))
    return (f"{title}: {found.interval:,.0f} cycles per image, {found.latency:,.0f} from first beat to last logit of "
            f"a single one\n" + table(rows, ("core", "layers", "scan efficiency",
                                             *(name.replace("_", " ") for name in names))))
