"""The one table of `make sim`."""

from __future__ import annotations

import dataclasses

import numpy as np

from qblif.gen.network import Network
from qblif.gen.packing import Packing
from qblif.host.stats import CoreStats

from .console import table
from .counts import LayerCounts
from .stages import Done
from .verdict import Verdict

CLOCK = 100e6
"""Hz: what cycles are translated to a time with, for comparison only. No build of the hardware is tied to it."""

CAUSES = {
    "doublings": "doublings that no addition could carry",
    "starved": "accumulators waiting for the scan",
    "neuron_stalls": "finished sums waiting for the neuron unit",
    "turnaround": "turnaround between layers",
    "input_stalls": "rows of the input still to come",
    "output_stalls": "waiting for the output to be taken",
    "other": "pipelines filling and draining",
}
"""Entries of CoreStats.breakdown in which nothing is added -> what they mean."""


@dataclasses.dataclass(frozen=True)
class Report:
    """What a run of the whole chain found out.

    network: what ran; simulator: its name; accuracies: name -> share of right answers, "RTL" among them;
    verdict: what was compared; gammas: layer -> learned scale; counts: work of each layer, over all images;
    core: the hardware's counters for them, None where the simulator has none; packing: of the plan;
    cycles: int64 (images,); stages: all that was done, in order; about: which images these were.
    """

    network: Network
    simulator: str
    accuracies: dict[str, float | None]
    verdict: Verdict
    gammas: dict[str, float]
    counts: tuple[LayerCounts, ...]
    core: CoreStats | None
    packing: Packing
    cycles: np.ndarray
    stages: tuple[Done, ...]
    about: str

    @property
    def result(self) -> str:
        """The last line, for people and scripts: accuracy is the RTL's in percent, cycles the mean of an image."""
        accuracy = self.accuracies["RTL"]
        accuracy = "none" if accuracy is None else f"{100 * accuracy:.2f}"
        return (f"result: images={len(self.cycles)} mismatches={self.verdict.mismatches} accuracy={accuracy} "
                f"cycles={round(float(self.cycles.mean()))}")

    def __str__(self) -> str:
        """Return the table, section by section."""
        title = (f"{self.network.name}: T={self.network.steps}, RTL on {self.simulator}, {len(self.cycles)} images:\n"
                 f"  {self.about}")
        parts = [title, self._accuracies(), self._layers(), self._hardware(), self._times()]
        return "\n\n".join(part for part in parts if part)

    def _accuracies(self) -> str:
        rows = [(name, "-" if value is None else f"{100 * value:.2f} %") for name, value in self.accuracies.items()]
        same = [(c.what, f"{c.different} of {c.compared:,}") for c in self.verdict.comparisons]
        note = "  all integers: every current, membrane and level of every layer, position, channel and time step"
        return "\n\n".join([table(rows, ("accuracy", "")),
                            table(same, ("compared with the golden model", "different")) + "\n" + note])

    def _layers(self) -> str:
        """Per layer, means of one image."""
        def mean(values) -> int:
            return round(float(np.mean(values)))

        rows = []
        for layer, counts in zip(self.network.layers, self.counts, strict=True):
            gamma = self.gammas.get(layer.name)
            rows.append((layer.name, "x".join(map(str, layer.shape)), "" if gamma is None else f"{gamma:.3g}",
                         mean(counts.set_bits), mean(counts.sops), mean(counts.additions["double"]), counts.macs))
        rows.append(("all", "", "", *(sum(row[column] for row in rows) for column in range(3, 7))))
        note = ("  a SOP counts level k as k additions: high levels, as of pixels, can take more SOPs than\n"
                "  dense MACs; docs/numerics.md defines the words")
        return table(rows, ("layer, per image", "output", "γ", "input bits set", "SOPs", "additions",
                            "dense MACs")) + "\n" + note

    def _hardware(self) -> str:
        cycles = self.cycles
        mean = float(cycles.mean())
        additions = sum(int(counts.additions["double"].sum()) for counts in self.counts)
        rows = [("cycles per image", f"{mean:,.0f} (least {cycles.min():,}, most {cycles.max():,})"),
                (f"  at a hypothetical {CLOCK / 1e6:.0f} MHz",
                 f"{1e6 * mean / CLOCK:.0f} us per image; simulated, not measured on a board")]
        if self.core is not None:
            total, lanes = self.core.cluster_cycles, self.packing.lanes
            row_adds = sum(int(counts.row_adds[self.packing].sum()) for counts in self.counts)
            rows += [("scan efficiency", f"{row_adds / total:.3f}"),
                     ("lane utilisation", f"{additions / (lanes * total):.3f} of {lanes} lanes")]
            rows += [(f"  lost: {cause}", f"{100 * self.core.breakdown[name]:.1f} %")
                     for name, cause in CAUSES.items() if self.core.breakdown[name] >= 0.0005]
        spent = sum(done.processor for done in self.stages if done.name == "simulate" and done.processor)
        if spent:
            rows.append(("simulated, one thread", self._pace(additions, spent)))
        return table(rows, ("hardware", ""))

    def _pace(self, additions: int, seconds: float) -> str:
        """Return what the simulation did in a second. seconds: of one processor, so that other work does not count."""
        return (f"{additions / seconds / 1e6:.2f} million additions and "
                f"{self.cycles.sum() / seconds / 1e6:.2f} million cycles a second of processor time")

    def _times(self) -> str:
        rows = [(done.name, f"{done.seconds:.1f} s" + (" (kept from before)" if done.cached else ""))
                for done in self.stages]
        rows.append(("all", f"{sum(done.seconds for done in self.stages):.1f} s"))
        return table(rows, ("stage", "wall time"))
