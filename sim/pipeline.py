"""`make sim`: the whole chain on handwritten digits or on a network that there is, every integer compared, one table.

    train ──▶ fold ──▶ plan ──▶ golden ──▶ build ──▶ compile ──▶ simulate ──▶ trace ──▶ table

What takes long is kept under the hash of its inputs (sim/stages.py); the golden model and the RTL run every time.
"""

from __future__ import annotations

import dataclasses
import re
import shutil
import sys
from pathlib import Path

import numpy as np

from qblif import host
from qblif.gen.plan import Plan, make_plan
from qblif.gen.training import one_thread
from qblif.host.stats import CoreStats

from . import cache, golden
from .console import Progress
from .deploy import deploy_plan
from .icarus import find_icarus, run_icarus
from .report import Report
from .simulation import Simulation
from .stages import Done, stage, timed
from .subjects import GOLDEN_VECTORS, TRACED, Options, Subject, numbered, subject
from .trace import decode
from .verdict import Verdict
from .verilator import find_tools

BUNDLE = "network.qblif"


@dataclasses.dataclass(frozen=True, eq=False)
class Rtl:
    """What the simulated hardware gave.

    logits: int64 (B, K); cycles: int64 (B,); core: its counters, None where they were not read
    """

    logits: np.ndarray
    cycles: np.ndarray
    core: CoreStats | None = None


def run(options: Options) -> int:
    """Do it all and print the table; return 0 where every integer is equal, else 1 after naming the first mismatch."""
    with one_thread(), cache.starting_over(options.fresh):
        return _run(options)


def _run(options: Options) -> int:
    # What is missing is said now, not after minutes of training
    (find_icarus if options.simulator == "icarus" else find_tools)()
    given = subject(options)
    network, images = given.network, given.images
    plan, planned = timed("plan", lambda: make_plan(network, lanes=given.lanes))
    expected, ran_golden = timed("golden", lambda: golden.run(network, images, count=True, packings=(plan.packing,)))
    built = _build(given, plan)
    stages = [*given.stages, ran_golden, planned, built]

    verdict = Verdict(network)
    if given.by_torch is not None:
        verdict.logits(f"quantised PyTorch: logits of {numbered(given.first, given.count)}", expected.logits,
                       given.by_torch["logits"])
        first_images = golden.run(network, given.by_torch["traced"], record=True)
        verdict.levels(f"quantised PyTorch: all integers of {numbered(0, TRACED)}", first_images.records,
                       given.by_torch["records"])

    simulate = _icarus if options.simulator == "icarus" else _verilator
    rtl = simulate(given, verdict, expected.logits, built, plan, stages)

    accuracies = given.accuracies | {"golden": _accuracy(expected.logits, given.labels),
                                     "RTL": _accuracy(rtl.logits, given.labels)}
    report = Report(network, options.simulator, accuracies, verdict, given.gammas, expected.counts, rtl.core,
                    plan.packing, rtl.cycles, tuple(stages), given.about)
    print(f"\n{report}\n")
    if options.waves is not None:
        _write_waves(plan, given.some(0, 1), options.waves)
    if verdict.first is not None:
        what, mismatch = verdict.first
        print(f"{what}: {mismatch}\nwaveform of an image: make sim FIRST={given.first + mismatch.image} IMAGES=1 "
              f"WAVES=waves.vcd {given.again}\n")
    if options.bundles is not None:
        bundle = _leave(built.folder / BUNDLE, options.bundles, network.name)
        print(f"bundle    {bundle}  (for make bitstream NETWORK=..., qblif selftest ...)\n")
    print(report.result)
    return 1 if verdict.mismatches else 0


def _build(given: Subject, plan: Plan) -> Done:
    def make(folder: Path) -> None:
        deploy_plan(plan, folder / BUNDLE, given.some(0, GOLDEN_VECTORS))

    return stage("build", ("qblif.sim.deploy", "qblif.hw.top"), {"lanes": given.lanes, "subject": given.key}, make)


def _verilator(given: Subject, verdict: Verdict, expected: np.ndarray, built: Done, plan: Plan,
               stages: list[Done]) -> Rtl:
    """Compare the logits of all images, as a user would get them, and all integers of some of them.

    Appends what was done to `stages`."""
    accelerator, opened = timed("compile", lambda: host.open(built.folder / BUNDLE, "sim"))
    with accelerator, Progress("simulate", unit="images") as bar:
        logits, simulated = timed("simulate", lambda: accelerator.run_batch(given.images, progress=bar))
        rtl = Rtl(logits, accelerator.last_cycles, accelerator.stats().cores[0])
    differs = verdict.logits(f"RTL: logits of {numbered(given.first, given.count)}", expected, logits)

    # Where logits differ, look inside the first image that they differ for
    at = differs.image if differs else 0
    some = given.some(at, TRACED)
    count = some.shape[given.axis]

    def trace() -> None:
        with Simulation(plan.design, trace=True) as sim:
            sim.program(plan.program)
            sim.infer(plan.input_layout.pack(some), plan.network.classes)
            _compare_levels(verdict, plan, some, sim.traces, given.first + at)

    print(f"{'trace':<12} the same core with trace ports, {count} images", file=sys.stderr, flush=True)
    _, traced = timed("trace", trace)
    stages += [opened, simulated, traced]
    return rtl


def _icarus(given: Subject, verdict: Verdict, expected: np.ndarray, built: Done, plan: Plan,
            stages: list[Done]) -> Rtl:
    """Compare everything of all images in one run; appends what was done to `stages`."""
    print(f"{'simulate':<12} Icarus Verilog: perhaps half a minute for an image", file=sys.stderr, flush=True)
    with Progress("simulate", unit="images") as bar:
        result, simulated = timed("simulate", lambda: run_icarus(
            plan.design, plan.program, plan.input_layout.pack(given.images), plan.network.classes, trace=True,
            progress=lambda done: bar(done, given.count)))
    verdict.logits(f"RTL: logits of {numbered(given.first, given.count)}", expected, result.logits)
    _compare_levels(verdict, plan, given.images, result.traces, given.first)
    stages.append(simulated)
    return Rtl(result.logits, result.cycles)


def _compare_levels(verdict: Verdict, plan: Plan, images: np.ndarray, traces: dict, first: int) -> None:
    """Compare all integers of `images`, the first of which is test image `first`."""
    expected = golden.run(plan.network, images, record=True)
    verdict.levels(f"RTL: all integers of {numbered(first, len(expected.logits))}", expected.records,
                   [vars(record) for record in decode(plan, traces)])


def _leave(bundle: Path, folder: Path, name: str) -> Path:
    """Copy a bundle to where people find it, named after its network; raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copyfile(bundle, folder / f"{re.sub(r'[^A-Za-z0-9_.-]', '_', name)}.qblif"))


def _write_waves(plan: Plan, image: np.ndarray, path: Path) -> None:
    with Simulation(plan.design, waves=path) as sim:
        sim.program(plan.program)
        sim.infer(plan.input_layout.pack(image), plan.network.classes)
    print(f"waveform of the first of these images: {path}\n")


def _accuracy(logits: np.ndarray, labels: np.ndarray | None) -> float | None:
    return None if labels is None else float((logits.argmax(1) == labels).mean())
