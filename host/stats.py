"""What the hardware counted, what the host measured, and the ratios made of them."""

from __future__ import annotations

import dataclasses

LOSSES = ("doublings", "starved", "neuron_stalls", "turnaround", "input_stalls")
"""Counters of cluster cycles in which nothing was accumulated, by cause."""


@dataclasses.dataclass(frozen=True)
class Clock:
    """What an accelerator runs at. hz: clock cycles per second; source: where that is known from."""

    hz: float
    source: str

    def __str__(self) -> str:
        return f"{self.hz / 1e6:.6g} MHz ({self.source})"


@dataclasses.dataclass
class JobStats:
    """Jobs of a board (host/jobs.py) that ran to their end.

    jobs, images: how many; cycles: clock cycles from start to idle, fetching and writing included;
    read_stalls, write_stalls: of these, cycles in which memory was waited for;
    copy_seconds: the host copied to and from shared memory and kept caches coherent, mostly while a job ran;
    wait_seconds: the host waited for jobs to end.
    """

    jobs: int = 0
    images: int = 0
    cycles: int = 0
    read_stalls: int = 0
    write_stalls: int = 0
    copy_seconds: float = 0.0
    wait_seconds: float = 0.0


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
    def worked(self) -> float:
        """Cycles of work, without those in which nothing was added for want of rows of the input map."""
        return self.counters["cycles"] - self.counters["input_stalls"] / self.clusters

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
    """Counters of an accelerator, and times of the host that uses it.

    cores: one entry per core of the chain; images: output frames since the last reset (modulo 2**32);
    seconds: time that the host spent in jobs since opening, for `host_images` images in `batches` calls;
    pack_seconds: time in which frames were made, mostly beside the accelerator's work;
    clock: None where nobody knows it; jobs: since opening, None where frames do not come by jobs.
    """

    cores: tuple[CoreStats, ...]
    images: int
    host_images: int
    seconds: float
    batches: int = 0
    pack_seconds: float = 0.0
    clock: Clock | None = None
    jobs: JobStats | None = None

    @property
    def scan_efficiency(self) -> float:
        """That of the slowest core, which sets the pace of a chain; others wait for it."""
        return max(self.cores, key=lambda core: core.worked).scan_efficiency

    @property
    def cycles_per_image(self) -> float:
        """Cycles of work of the slowest core per image, waiting for input apart; 0 before the first image."""
        return max(core.worked for core in self.cores) / self.images if self.images else 0.0

    @property
    def core_rate(self) -> float | None:
        """Images per second that the cores alone would do at the clock; None where that is unknown."""
        cycles = self.cycles_per_image
        return self.clock.hz / cycles if self.clock and cycles else None

    @property
    def job_rate(self) -> float | None:
        """Images per second within jobs, memory included, the host's work not; None where that is unknown."""
        counted = self.jobs is not None and self.jobs.cycles
        return self.clock.hz * self.jobs.images / self.jobs.cycles if self.clock and counted else None

    @property
    def end_to_end_rate(self) -> float | None:
        """Images per second that the caller saw, everything included; None before the first image."""
        return self.host_images / self.seconds if self.seconds else None

    def __str__(self) -> str:
        each = f"{self.cycles_per_image:.0f} cycles each, scan efficiency {self.scan_efficiency:.3f}"
        lines = [f"{self.images} image(s), {each}",
                 f"core: {_rate(self.core_rate)} at {self.clock}" if self.clock else "core: the clock is unknown"]
        if self.jobs is not None and self.jobs.images:
            jobs = self.jobs
            lines.append(f"jobs: {_rate(self.job_rate)}, {jobs.cycles / jobs.images:.0f} cycles each with memory; "
                         f"{jobs.images} image(s) in {jobs.jobs} job(s), stalls: {jobs.read_stalls} reading, "
                         f"{jobs.write_stalls} writing")
        if self.batches:
            times = f"{self.seconds:.3f} s, packing {self.pack_seconds:.3f} s"
            if self.jobs is not None:
                times += f", copying {self.jobs.copy_seconds:.3f} s, waiting {self.jobs.wait_seconds:.3f} s"
            lines.append(f"end to end: {_rate(self.end_to_end_rate)}, {self.host_images} image(s) in {self.batches} "
                         f"batch(es); {times} (these overlap)")
        for index, core in enumerate(self.cores):
            counts = ", ".join(f"{name}={value}" for name, value in core.counters.items())
            lines.append(f"core {index}: {counts}")
        return "\n".join(lines)


def _rate(rate: float | None) -> str:
    return "-" if rate is None else f"{rate:.1f} images/s"
