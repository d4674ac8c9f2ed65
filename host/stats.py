"""What the hardware counted, and the ratios made of it."""

from __future__ import annotations

import dataclasses

LOSSES = ("doublings", "starved", "neuron_stalls", "turnaround")
"""Counters of cluster cycles in which nothing was accumulated, by cause."""


@dataclasses.dataclass(frozen=True)
class CoreStats:
    """Counters of one core, summed over its clusters (abi.COUNTERS), since the last reset."""

    clusters: int
    counters: dict[str, int]

    @property
    def cluster_cycles(self) -> int:
        """Cycles of work, counted once per cluster."""
        return self.counters["cycles"] * self.clusters

    @property
    def scan_efficiency(self) -> float:
        """Weight rows that any strategy has to add / cluster cycles: 1 where no cycle is idle; 0 before any work.

        Those are the set bits, and of diagonal sources and max pooling the non-empty lane masks (their repetitions
        too if fan-out is unary: it then flatters such layers). It shows idle cycles;
        idle lanes take the network's shapes to know."""
        needed = self.counters["set_bits"] + self.counters["masks"]
        return needed / self.cluster_cycles if self.cluster_cycles else 0.0

    @property
    def breakdown(self) -> dict[str, float]:
        """Shares of the cluster cycles, by what was done or waited for; `other` is the rest.

        `output_stalls` is beside them: while the output is not taken, clusters go on working, stall or starve."""
        total = self.cluster_cycles
        if not total:
            return {}
        shares = {name: self.counters[name] / total for name in ("adds", *LOSSES)}  # masks are among the adds
        stalls = self.counters["output_stalls"] / self.counters["cycles"]
        return {**shares, "other": 1.0 - sum(shares.values()), "output_stalls": stalls}


@dataclasses.dataclass(frozen=True)
class Stats:
    """Counters of an accelerator.

    cores: one entry per core of the chain; images: output frames since the last reset (modulo 2**32);
    seconds: time that the host spent in jobs since opening, for `host_images` images.
    """

    cores: tuple[CoreStats, ...]
    images: int
    host_images: int
    seconds: float

    @property
    def scan_efficiency(self) -> float:
        """That of the slowest core, which sets the pace of a chain."""
        return max(self.cores, key=lambda core: core.counters["cycles"]).scan_efficiency

    @property
    def cycles_per_image(self) -> float:
        """Cycles of work of the slowest core per image; 0 before the first image."""
        return max(core.counters["cycles"] for core in self.cores) / self.images if self.images else 0.0

    def __str__(self) -> str:
        rate = f"{self.cycles_per_image:.0f} cycles each, scan efficiency {self.scan_efficiency:.3f}"
        lines = [f"{self.images} image(s), {rate}"]
        for index, core in enumerate(self.cores):
            counts = ", ".join(f"{name}={value}" for name, value in core.counters.items())
            lines.append(f"core {index}: {counts}")
        return "\n".join(lines)
