"""`qblif chains`: networks on chains of cores, and where the cycles of the slowest core go (docs/decisions.md)."""

from __future__ import annotations

import dataclasses

import numpy as np

from qblif.gen.network import Network
from qblif.gen.plan import make_plan
from qblif.host.stats import LOSSES, CoreStats

from . import golden
from .console import table
from .simulation import BLOCK, Simulation

HEADINGS = ("network", "chain", "layers of each core", "cycles per image", "latency of one", "slowest core",
            "weight rows", "scan efficiency", *(name.replace("_", " ") for name in LOSSES), "output stalls")

ALONE = 4
"""Images whose latency is measured."""


@dataclasses.dataclass(frozen=True)
class Measured:
    """A chain at work on images, measured in RTL simulation.

    segments: layers of each core; interval: cycles from the last logit of an image to that of the next, mean, with the
    chain full; latency: cycles from the first input beat of an image to its last logit, nothing else in the chain,
    mean; cores: their counters over the images of `interval` and those that fill the chain; images: how many these are
    """

    segments: tuple[tuple[int, int], ...]
    interval: float
    latency: float
    cores: tuple[CoreStats, ...]
    images: int

    @property
    def slowest(self) -> int:
        """The core that adds the most weight rows, per cluster."""
        return max(range(len(self.cores)), key=lambda i: self.cores[i].counters["adds"] / self.cores[i].clusters)

    @property
    def scan_efficiency(self) -> float:
        """Weight rows that the slowest core has to add for an image / cycles of its clusters between two images."""
        core = self.cores[self.slowest]
        needed = core.counters["set_bits"] + core.counters["masks"]
        return needed / self.images / (self.interval * core.clusters)


def measure(network: Network, images: np.ndarray, **plan) -> Measured:
    """Run images through the network planned with `plan` (arguments of make_plan); RuntimeError at a wrong logit.

    images: quantised, more than the chain has cores; the first and the last of a block of BLOCK fill and empty it"""
    made = make_plan(network, **plan)
    expected = golden.run(network, images).logits
    frames, depth = made.input_layout.pack(images), len(made.design.cores)
    if len(images) < BLOCK or len(images) % BLOCK or depth >= BLOCK:
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


def row(name: str, chain: str, found: Measured) -> tuple[str, ...]:
    """Return a line of the table: what HEADINGS says; losses as shares of the cycles in which the core worked."""
    core = found.cores[found.slowest]
    breakdown = core.breakdown
    return (name, chain, " ".join(f"{first}-{last}" for first, last in found.segments), f"{found.interval:,.0f}",
            f"{found.latency:,.0f}", f"{found.slowest}", f"{core.counters['adds'] / found.images:,.0f}",
            f"{found.scan_efficiency:.3f}", *(f"{breakdown[name]:.1%}" for name in (*LOSSES, "output_stalls")))


def report(rows) -> str:
    """Return the table of lines made by `row`."""
    return table(rows, HEADINGS)
