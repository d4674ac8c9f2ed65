"""`make bench`: what networks cost on a board's hardware, in RTL simulation, beside what the models predict.

Cycles come from the RTL, the clock from place and route where a report is at hand, everything per second from both:
no board is asked, and every figure says so. One JSON file per run, with the commit; a picture of all files together.
sim/benchmark_tables.py prints the rows.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import json
import subprocess
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from qblif.gen.plan import Plan
from qblif.gen.sizes import macs
from qblif.host.errors import InputError, QblifError
from qblif.host.stats import LOSSES, CoreStats
from qblif.hw import boards, calibrate, resources
from qblif.hw.ecp5_report import Report
from qblif.hw.params import DesignParams
from qblif.hw.parts import PARTS
from qblif.hw.sizing import Size, misfits

from . import board_link, energy, golden, trend
from .cycles import CycleModel, Prediction, layer_ends
from .named import Named, images_of
from .simulation import BLOCK, Simulation

MISSING = "missing: no report of place and route for this hardware (make bitstream, then --report)"

SIMULATED = "cycle-accurate simulation at the post-route clock"


def routed(path: Path) -> Report:
    """Read report.json of `make bitstream`; raises InputError for anything else."""
    try:
        return Report.from_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"{path} is no report of place and route: {error}",
                         hint="it is the file report.json in the folder that `make bitstream` made") from error


def is_of(report: Report, design: DesignParams, board: boards.Board) -> bool:
    """Return whether a report is of hardware with these parameters for a board; `state` says of which sources."""
    return report.board == board.name and report.build_hash == f"{design.build_hash:016x}"


def find_report(design: DesignParams, board: boards.Board, files: Iterable[Path]) -> Report | None:
    """Return the first report of this very design among files, of which some need not be there. Raises InputError."""
    return next((report for report in map(routed, filter(Path.is_file, files)) if is_of(report, design, board)), None)


def state(sources: str) -> str:
    """Return of which sources of the hardware something is: "today's", "other" than those, or "unknown" ones.

    sources: their hash, "" where it was not told. A build hash covers the parameters alone. Sources that make the same
    netlists as today's (sim/same_logic.py) are today's."""
    if not sources:
        return "unknown"
    today = boards.sources_hash()
    return "today's" if sources == today or {sources, today} <= _same() else "other"


@functools.cache
def _same() -> set[str]:
    return set(calibrate.load().get("same", ()))


def from_sources(sources: str) -> str:
    """Return what `state` finds as words to go behind the name of a thing."""
    return {"today's": "", "other": ", from other hardware sources than today's",
            "unknown": ", from older or unknown hardware sources"}[state(sources)]


def measure(one: Named, board: boards.Board, plan: Plan, count: int, report: Report | None,
            simulation=Simulation) -> dict:
    """Return a row of the table: all figures of one network on one board.

    plan: of the network; count: images, more than there are cores; report: of place and route, not taken where it is
    of other hardware; simulation: makes a simulation of a design. Raises InputError for too few images."""
    network, design = one.network, plan.design
    x, data = images_of(one, count)
    frames = plan.input_layout.pack(x)
    images, depth = len(frames), len(design.cores)
    steady = np.arange(images) % BLOCK >= depth         # those before fill the chain
    if not steady.any():
        raise InputError(f"{images} images do not fill a chain of {depth} cores", hint=f"take {depth + 1} or more")
    expected = golden.run(network, x, count=True, packings=(plan.packing,))
    with simulation(design) as sim:
        sim.reset()
        sim.program(plan.program)
        result, cores = _count(sim, frames, plan)
    if (result.logits != expected.logits).any():
        raise QblifError(f"the simulated hardware gives wrong logits for {network.name!r}")
    prediction = CycleModel(plan).predict(x)
    block = slice(BLOCK) if network.input.static else (slice(None), slice(BLOCK))
    ideal = CycleModel(plan, skip_empty=True).predict(x[block])
    cycles = {"rtl": float(result.cycles[steady].mean()), "predicted": float(prediction.cycles[steady].mean())}
    latency = {"rtl": int(result.latency[0]), "predicted": int(prediction.latency[0])}
    report = report if report and is_of(report, design, board) else None
    predicted = resources.estimate(design)
    row = {
        "network": one.text, "board": board.name, "images": images, "counted": int(steady.sum()), "data": data,
        "build_hash": f"{design.build_hash:016x}", "program_hash": f"{plan.program_hash:016x}",
        "sources": boards.sources_hash(),
        "too_large": misfits(Size.of(predicted), PARTS[board.part]),
        "hardware": [{"lanes": core.lanes, "clusters": core.clusters, "neuron_lanes": core.neuron_lanes}
                     for core in design.cores],
        "cycles": cycles, "latency_cycles": latency,
        **_use(plan, expected.counts, cores, prediction, steady),
        "empty_words": float(1 - (ideal.cycles / prediction.cycles[:BLOCK])[steady[:BLOCK]].mean()),
        "largest_layer": _largest(plan, expected.counts, prediction, steady), **_clock(report),
        "resources": {"predicted": dataclasses.asdict(predicted),
                      "synthesised": dataclasses.asdict(resources.total({"modules": report.modules})) if report
                      else None,
                      "placed_lut": {"routed": report.used.get("TRELLIS_COMB", [None])[0] if report else None,
                                     "predicted": round(Size.of(predicted).lut)}},
        "energy": {"model": "the paper's table 6, arithmetic alone; not measured",
                   "joules": _energy(network, expected.counts, images)},
        "link": board_link.of_board(board, frames, network.classes),
        "simulation": _pace(result, expected.counts),
    }
    return row | {"rates": _rates(row, network, expected.counts, images)}


def _clock(report: Report | None) -> dict:
    """Return the clock that place and route reached, and the one asked for, at which the bitstream runs, in Hz."""
    if report is None:
        return {"clock_hz": None, "asked_hz": None, "clock_source": MISSING, "report": None, "critical_path": None}
    path = report.path
    return {"clock_hz": report.reached * 1e6, "asked_hz": report.asked * 1e6,
            "clock_source": f"{report.board}, made {report.made}{from_sources(report.sources)}",
            "report": {"key": report.key, "made": report.made, "sources": state(report.sources),
                       "seed": report.seed},
            "critical_path": None if not path else {
                "ns": round(sum(step.delay for step in path), 2), "from": path[0].source, "to": path[-1].target,
                "routing_ns": round(sum(step.delay for step in path if step.kind == "routing"), 2)}}


def _count(sim, frames: np.ndarray, plan: Plan):
    """Run frames and return the result, and the counters of each core: of the images for which a chain is full, alone.

    What fills the chain, the first images of each block, is run once more, and what that counts is taken off."""
    def read() -> list[dict[str, int]]:
        return [sim.counters(index) for index in range(depth)]

    depth, classes = len(plan.design.cores), plan.network.classes
    result = sim.infer(frames, classes)
    counted = read()
    if depth > 1:
        for first in range(0, len(frames), BLOCK):
            sim.infer(frames[first:first + depth], classes)
        counted = [{name: 2 * before[name] - after[name] for name in before}
                   for before, after in zip(counted, read(), strict=True)]
    return result, [CoreStats(core.clusters, found) for core, found in zip(plan.design.cores, counted, strict=True)]


def _busiest(cores: list[CoreStats]) -> int:
    """Return the core that works longest. Waiting is no work, neither for input nor for the next core to take rows."""
    return max(range(len(cores)), key=lambda index: cores[index].worked - cores[index].counters["output_stalls"])


def _use(plan: Plan, counts, cores: list[CoreStats], prediction: Prediction, steady: np.ndarray) -> dict:
    """Return scan efficiency of each core, and of all; for the core that works longest, waiting for its input and for
    its output to be taken apart, where its other cycles went, and its lane utilisation. Losses and efficiency add up to
    1; output_stalls stand beside them.

    One core: weight rows needed / cluster cycles of its work (host/stats.py), over all images. Cores of a chain: rows
    needed / cycles of its clusters from a core's end of one image to that of the next, by the cycle model, of the core
    where these are most: it sets the pace, while those before it may still run ahead into empty input maps. So waiting
    for other cores is lost: for rows, while a core has begun, as input_stalls, else as `other`.
    cores: counted over the images that count; steady: bool (images,), which of them count in a chain; never the first
    of a block."""
    alone = len(cores) == 1
    rows = [sum(int(count.row_adds[plan.packing][... if alone else steady].sum())
                for count in counts[one.first:one.last + 1]) for one in plan.segments]
    ends = layer_ends(plan, prediction)[:, [one.last for one in plan.segments]]
    pace = int((ends - np.roll(ends, 1, axis=0))[steady].sum(0).max())
    totals = [core.cluster_cycles if alone else pace * core.clusters for core in cores]
    at = _busiest(cores)
    core, segment, total, efficiency = cores[at], plan.segments[at], totals[at], rows[at] / totals[at]
    losses = {name: core.counters[name] / total for name in LOSSES}
    losses["other"] = 1 - efficiency - sum(losses.values())
    losses["output_stalls"] = core.counters["output_stalls"] * core.clusters / total
    useful = sum(int(count.additions["double"][... if alone else steady].sum())
                 for count in counts[segment.first:segment.last + 1])
    return {"core": at, "scan_efficiency": efficiency,
            "core_efficiencies": [needed / of for needed, of in zip(rows, totals, strict=True)],
            "chain_efficiency": sum(rows) / sum(totals),
            "losses": {name: round(share, 6) for name, share in losses.items()},
            "lane_utilisation": useful / (plan.design.cores[at].lanes * total)}


def _largest(plan: Plan, counts, prediction: Prediction, steady: np.ndarray) -> dict:
    """Return the scan efficiency of the layer that adds most weight rows: rows needed / cycles of its core's clusters,
    from the end of the layer before it on the core to its own, by the cycle model.

    Before a core's first layer that is the last one, of the image before: waiting for input counts as loss.
    steady: bool (images,), which count; never the first of a block."""
    rows = [int(count.row_adds[plan.packing][steady].sum()) for count in counts]
    at = int(np.argmax(rows))
    core, segment = next((index, one) for index, one in enumerate(plan.segments) if one.first <= at <= one.last)
    ends = layer_ends(plan, prediction)
    begins = ends[:, at - 1] if at > segment.first else np.roll(ends[:, segment.last], 1)
    cycles = int((ends[:, at] - begins)[steady].sum())
    return {"layer": plan.network.layers[at].name, "core": core,
            "scan_efficiency": rows[at] / (cycles * plan.design.cores[core].clusters)}


def _pace(result, counts) -> dict:
    """Return what the RTL simulation does in a second of one processor: the speed of one of its threads."""
    additions = sum(int(count.additions["double"].sum()) for count in counts)
    return {"cycles_per_second": result.simulated / result.processor,
            "additions_per_second": additions / result.processor}


def _energy(network, counts, images: int) -> float:
    sops, of_input = (sum(int(getattr(count, name).sum()) for count in counts) / images
                      for name in ("sops", "input_sops"))
    return energy.of_counts(network, sops, of_input).joules


def _rates(row: dict, network, counts, images: int) -> dict:
    """Return what a second brings, where the clock is known: at the one reached, frames also at the one asked for.

    label: what kind of figures these are. LUTs are those of the device, all in."""
    additions, sops = (sum(int(value.sum()) for value in values) / images for values in (
        [count.additions["double"] for count in counts], [count.sops for count in counts]))
    dense = sum(macs(network, layer) for layer in network.layers)
    work = {"additions": additions, "sops": sops, "dense_macs": dense}
    if row["clock_hz"] is None:
        return {"label": MISSING, "per_image": work}
    frames, luts = row["clock_hz"] / row["cycles"]["rtl"], row["resources"]["placed_lut"]
    gops = 2 * dense * frames / 1e9
    return {"label": SIMULATED, "per_image": work, "frames_per_second": frames,
            "frames_per_second_asked": row["asked_hz"] / row["cycles"]["rtl"],
            "latency_seconds": row["latency_cycles"]["rtl"] / row["clock_hz"],
            "additions_per_second": additions * frames, "sops_per_second": sops * frames,
            "dense_equivalent_gops": gops,
            "dense_equivalent_gops_per_klut": gops / ((luts["routed"] or luts["predicted"]) / 1000)}


def commit() -> str:
    """Return the commit of the sources, with "+" where they were changed; "" outside of a clone."""
    def git(*arguments):
        return subprocess.run(["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True,
                              check=True).stdout.strip()

    try:
        return git("rev-parse", "--short=12", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def save(rows: list[dict], folder: Path) -> Path:
    """Write a run's rows with date and commit, and the picture of all runs in the folder; return the file.

    Its name ends in "-changed" where the sources were not those of the commit."""
    folder.mkdir(parents=True, exist_ok=True)
    made, of = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"), commit()
    name = of.replace("+", "-changed") or "unknown"
    file = folder / f"{made.replace(':', '')[:17]}-{name}.json"
    file.write_text(json.dumps({"made": made, "commit": of, "rows": rows}, indent=1) + "\n", encoding="utf-8")
    trend.draw(folder)
    return file
