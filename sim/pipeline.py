"""`make sim`: the whole chain on handwritten digits, every integer compared, one table at the end.

    train ──▶ fold ──▶ golden ──▶ plan ──▶ build ──▶ compile ──▶ simulate ──▶ trace ──▶ table

What takes long is kept under the hash of its inputs (sim/stages.py); the golden model and the RTL run every time.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np

from qblif import gen, host
from qblif.gen import digits, network_file
from qblif.gen.plan import Plan, make_plan
from qblif.gen.training import DIGITS, Data, Recipe, digits_data
from qblif.host.stats import CoreStats

from . import cache, golden
from .console import Progress, Waiting
from .deploy import deploy_plan
from .icarus import find_icarus, run_icarus
from .report import Report
from .simulation import Simulation
from .stages import Done, stage, timed
from .trace import decode
from .verdict import Verdict
from .verilator import find_tools

LANES = 16
"""Lanes of the one core: the digits network has 16 and 32 channels, so that none of them idles before the read-out."""

TRACED = 20
"""Images of which every current, membrane and level is compared."""

GOLDEN_VECTORS = 4
"""Images that the bundle carries for its self-test."""

WEIGHTS, NETWORK, INTEGERS, BUNDLE = "weights.safetensors", "network.safetensors", "integers.npz", "digits.qblif"


@dataclasses.dataclass(frozen=True)
class Options:
    """What to run.

    simulator: "verilator" or "icarus"; first, images: which of the 360 test images; steps: T; levels: N;
    fresh: do every stage again; waves: VCD file to write for the first of these images, or None;
    recipe: how to train
    """

    simulator: str = "verilator"
    first: int = 0
    images: int = 360
    steps: int = 2
    levels: int = 20
    fresh: bool = False
    waves: Path | None = None
    recipe: Recipe = DIGITS


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
    with digits.one_thread(), cache.starting_over(options.fresh):
        return _run(options)


def _run(options: Options) -> int:
    # What is missing is said now, not after minutes of training
    (find_icarus if options.simulator == "icarus" else find_tools)()
    data = digits_data()
    chosen = slice(options.first, options.first + options.images)
    images, labels = data.test_x.numpy()[chosen], data.test_y.numpy()[chosen]

    trained = _train(options)
    folded = _fold(options, trained, data)
    network = network_file.load(folded.folder / NETWORK)
    expected, ran_golden = timed("golden", lambda: golden.run(network, images, count=True, lanes=(LANES,)))
    plan, planned = timed("plan", lambda: make_plan(network, lanes=LANES))
    built = _build(options, folded, plan, data)
    stages = [trained, folded, ran_golden, planned, built]

    verdict = Verdict(network)
    by_torch = _load_integers(folded)
    verdict.logits(f"quantised PyTorch: logits of {_named(options.first, len(images))}", expected.logits,
                   by_torch["logits"][chosen])
    first_images = golden.run(network, data.test_x.numpy()[:TRACED], record=True)
    verdict.levels(f"quantised PyTorch: all integers of {_named(0, TRACED)}", first_images.records,
                   by_torch["records"])

    simulate = _icarus if options.simulator == "icarus" else _verilator
    rtl = simulate(options, verdict, expected.logits, built, plan, images, stages)

    noted = digits.facts(trained.folder / WEIGHTS)
    accuracies = {"float": noted["float_accuracy"], "quantised": noted["quantised_accuracy"],
                  "golden": _accuracy(expected.logits, labels), "RTL": _accuracy(rtl.logits, labels)}
    report = Report(network, options.simulator, accuracies, verdict, by_torch["gammas"], expected.counts, rtl.core,
                    LANES, rtl.cycles, tuple(stages))
    print(f"\n{report}\n")
    if options.waves is not None:
        _write_waves(plan, images[:1], options.waves)
    if verdict.first is not None:
        what, mismatch = verdict.first
        print(f"{what}: {mismatch}\nwaveform of an image: make sim FIRST={options.first + mismatch.image} IMAGES=1 "
              f"WAVES=waves.vcd T={options.steps} N={options.levels}\n")
    print(report.result)
    return 1 if verdict.mismatches else 0


def folded(options: Options, data: Data) -> Done:
    """Train and fold the digits network, or find it kept from before; its folder holds NETWORK."""
    return _fold(options, _train(options), data)


def _train(options: Options) -> Done:
    def make(folder: Path) -> None:
        with Progress("train", unit="epochs") as bar:
            digits.train(folder / WEIGHTS, options.steps, options.levels, options.recipe, progress=epochs(bar))

    def epochs(bar: Progress):
        first, second = options.recipe.epochs, options.recipe.quantised_epochs
        return lambda phase, done, _, loss: bar(done + first * (phase == "quantised"), first + second,
                                                f"({phase}), loss {loss:.3f}")

    parameters = {"steps": options.steps, "levels": options.levels, "recipe": dataclasses.asdict(options.recipe)}
    return stage("train", ("qblif.gen.digits",), parameters, make)


def _fold(options: Options, trained: Done, data: Data) -> Done:
    """Write the network, and what quantised PyTorch computes: logits of all images, all integers of the first ones."""
    def make(folder: Path) -> None:
        quantised = digits.load(trained.folder / WEIGHTS)
        network = gen.fold(quantised, name="digits", meta={"data": "scikit-learn digits, 360 test images, stratified"})
        network_file.save(network, folder / NETWORK)
        arrays = {"logits": quantised.integers(data.test_x).numpy()}
        for name, kinds in quantised.record(data.test_x[:TRACED]).items():
            arrays |= {f"{name}/{kind}": values.numpy().astype(np.int32) for kind, values in kinds.items()}
        np.savez_compressed(folder / INTEGERS, gammas=json.dumps(gen.gammas(quantised.module)),
                            layers=json.dumps([layer.name for layer in network.layers]), **arrays)

    return stage("fold", ("qblif.gen.digits", "qblif.gen.folding", "qblif.gen.network_file"), {"images": TRACED}, make,
                 after=(trained,))


def _load_integers(folded: Done) -> dict:
    """Return logits, gammas, and records as Verdict.levels takes them, of quantised PyTorch.

    As "membrane" of the read-out the other two have the running sum of its currents; it is formed here."""
    with np.load(folded.folder / INTEGERS, allow_pickle=False) as arrays:
        records = [{kind: arrays[f"{name}/{short}"] for kind, short in
                    (("current", "c"), ("membrane", "v"), ("levels", "s")) if f"{name}/{short}" in arrays}
                   for name in json.loads(str(arrays["layers"]))]
        records[-1]["membrane"] = records[-1]["current"].cumsum(0)
        return {"logits": arrays["logits"], "gammas": json.loads(str(arrays["gammas"])), "records": records}


def _build(options: Options, folded: Done, plan: Plan, data: Data) -> Done:
    def make(folder: Path) -> None:
        with Waiting("build", "emitting SystemVerilog: about a quarter of a minute"):
            deploy_plan(plan, folder / BUNDLE, data.test_x.numpy()[:GOLDEN_VECTORS])

    return stage("build", ("qblif.sim.deploy", "qblif.hw.top"), {"lanes": LANES}, make, after=(folded,))


def _verilator(options: Options, verdict: Verdict, expected: np.ndarray, built: Done, plan: Plan, images: np.ndarray,
               stages: list[Done]) -> Rtl:
    """Compare the logits of all images, as a user would get them, and all integers of some of them.

    Appends what was done to `stages`."""
    with Waiting("compile", "Verilator and g++: about a minute the first time, for the same hardware seconds"):
        accelerator, opened = timed("compile", lambda: host.open(built.folder / BUNDLE, "sim"))
    with accelerator, Progress("simulate", unit="images") as bar:
        logits, simulated = timed("simulate", lambda: accelerator.run_batch(images, progress=bar))
        rtl = Rtl(logits, accelerator.last_cycles, accelerator.stats().cores[0])
    differs = verdict.logits(f"RTL: logits of {_named(options.first, len(images))}", expected, logits)

    # Where logits differ, look inside the first image that they differ for
    at = differs.image if differs else 0
    some = images[at:at + TRACED]

    def trace() -> None:
        with Simulation(plan.design, trace=True) as sim:
            sim.program(plan.program)
            sim.infer(plan.input_layout.pack(some), plan.network.classes)
            _compare_levels(verdict, plan, some, sim.traces, options.first + at)

    with Waiting("trace", f"the same core with trace ports, {len(some)} images: about a minute the first time"):
        _, traced = timed("trace", trace)
    stages += [opened, simulated, traced]
    return rtl


def _icarus(options: Options, verdict: Verdict, expected: np.ndarray, built: Done, plan: Plan, images: np.ndarray,
            stages: list[Done]) -> Rtl:
    """Compare everything of all images in one run; appends what was done to `stages`."""
    print(f"{'simulate':<12} Icarus Verilog: perhaps half a minute for an image", file=sys.stderr, flush=True)
    with Progress("simulate", unit="images") as bar:
        result, simulated = timed("simulate", lambda: run_icarus(
            plan.design, plan.program, plan.input_layout.pack(images), plan.network.classes, trace=True,
            progress=lambda done: bar(done, len(images))))
    verdict.logits(f"RTL: logits of {_named(options.first, len(images))}", expected, result.logits)
    _compare_levels(verdict, plan, images, result.traces, options.first)
    stages.append(simulated)
    return Rtl(result.logits, result.cycles)


def _compare_levels(verdict: Verdict, plan: Plan, images: np.ndarray, traces: dict, first: int) -> None:
    """Compare all integers of `images`, the first of which is test image `first`."""
    verdict.levels(f"RTL: all integers of {_named(first, len(images))}",
                   golden.run(plan.network, images, record=True).records,
                   [vars(record) for record in decode(plan, traces)])


def _named(first: int, count: int) -> str:
    """Return how the table names test images."""
    return f"images {first} to {first + count - 1}" if count > 1 else f"image {first}"


def _write_waves(plan: Plan, image: np.ndarray, path: Path) -> None:
    with Simulation(plan.design, waves=path) as sim:
        sim.program(plan.program)
        sim.infer(plan.input_layout.pack(image), plan.network.classes)
    print(f"waveform of the first of these images: {path}\n")


def _accuracy(logits: np.ndarray, labels: np.ndarray) -> float:
    return float((logits.argmax(1) == labels).mean())
