"""`make bench`: what networks cost on a board's hardware, in RTL simulation, beside what the models predict.

Cycles come from the RTL, the clock from place and route where a report is at hand, everything per second from both:
no board is asked, and every figure says so. One JSON file per run, with the commit; a picture of all files together.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import subprocess
from pathlib import Path

import numpy as np

from qblif.gen.plan import Plan
from qblif.gen.sizes import macs
from qblif.host import serial
from qblif.host.errors import InputError, QblifError
from qblif.host.stats import CoreStats
from qblif.hw import boards, resources
from qblif.hw.ecp5_report import Report
from qblif.hw.parts import PARTS

from . import energy, golden, trend
from .console import table
from .cycles import CycleModel
from .named import Named, images_of
from .simulation import BLOCK, Simulation

PEERS = Path(__file__).with_name("peers.json")

MISSING = "missing: no report of place and route for this hardware (make bitstream, then --report)"

SIMULATED = "cycle-accurate simulation at the post-route clock"


@dataclasses.dataclass(frozen=True)
class Routed:
    """What place and route made of a design. mhz: the clock reached; report: where that is told."""

    mhz: float
    used: resources.Resources
    build_hash: str
    report: str


def routed(path: Path) -> Routed:
    """Read report.json of `make bitstream`; raises InputError for anything else."""
    try:
        found = Report.from_json(path.read_text(encoding="utf-8"))
        return Routed(found.reached, resources.total({"modules": found.modules}), found.build_hash,
                      f"{found.board}, made {found.made}")
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path} is no report of place and route: {error}",
                         hint="it is the file report.json in the folder that `make bitstream` made") from error


def measure(one: Named, board: boards.Board, plan: Plan, count: int, report: Routed | None,
            simulation=Simulation) -> dict:
    """Return a row of the table: all figures of one network on one board.

    plan: of the network; count: images, at least two; simulation: makes a simulation of a design."""
    network = one.network
    x, data = images_of(one, count)
    expected = golden.run(network, x, count=True)
    with simulation(plan.design) as sim:
        sim.reset()
        sim.program(plan.program)
        frames = plan.input_layout.pack(x)
        images = len(frames)
        result = sim.infer(frames, network.classes)
        cores = [CoreStats(core.clusters, sim.counters(index)) for index, core in enumerate(plan.design.cores)]
    if (result.logits != expected.logits).any():
        raise QblifError(f"the simulated hardware gives wrong logits for {network.name!r}")
    prediction = CycleModel(plan).predict(x)
    steady = np.arange(images) % BLOCK != 0             # others are in front of it
    cycles = {"rtl": float(result.cycles[steady].mean()), "predicted": float(prediction.cycles[steady].mean())}
    latency = {"rtl": int(result.latency[0]), "predicted": int(prediction.latency[0])}
    report = report if report and report.build_hash == f"{plan.design.build_hash:016x}" else None
    predicted = resources.estimate(plan.design)
    row = {
        "network": one.text, "board": board.name, "images": images, "data": data,
        "too_large": _too_large(predicted, board),
        "hardware": [{"lanes": core.lanes, "clusters": core.clusters} for core in plan.design.cores],
        "cycles": cycles, "latency_cycles": latency, **_use(plan, expected.counts, cores, images),
        "clock_hz": report.mhz * 1e6 if report else None, "clock_source": report.report if report else MISSING,
        "resources": {"predicted": dataclasses.asdict(predicted),
                      "synthesised": dataclasses.asdict(report.used) if report else None},
        "energy": {"model": "the paper's table 6, arithmetic alone; not measured",
                   "joules": _energy(network, expected.counts, images)},
        "link": _link(board, frames, network.classes),
        "simulation": _pace(result, expected.counts),
    }
    return row | {"rates": _rates(row, network, expected.counts, images, report.used if report else predicted)}


def _too_large(predicted: resources.Resources, board: boards.Board) -> list[str]:
    """Return what the board's part has too little of, for hardware that a network needs and the board cannot hold."""
    part = PARTS[board.part]
    return [f"{name} {need:,} of {has:,}" for name, need, has in (
        ("LUT4", predicted.slots, part.lut), ("FF", predicted.ff, part.ff),
        ("block RAM", predicted.block_ram, part.block_ram)) if need > has]


def _use(plan: Plan, counts, cores: list[CoreStats], images: int) -> dict:
    """Return scan efficiency and lane utilisation of the slowest core, and where its other cycles went."""
    at = max(range(len(cores)), key=lambda index: cores[index].counters["cycles"])
    core, segment, lanes = cores[at], plan.segments[at], plan.design.cores[at].lanes
    useful = sum(int(count.additions["double"].sum()) for count in counts[segment.first:segment.last + 1])
    losses = {name: round(share, 6) for name, share in core.breakdown.items() if name != "adds"}
    return {"scan_efficiency": core.scan_efficiency, "losses": losses,
            "lane_utilisation": useful / (lanes * core.cluster_cycles)}


def _pace(result, counts) -> dict:
    """Return what the RTL simulation does in a second of one processor: the speed of one of its threads."""
    additions = sum(int(count.additions["double"].sum()) for count in counts)
    return {"cycles_per_second": result.simulated / result.processor,
            "additions_per_second": additions / result.processor}


def _energy(network, counts, images: int) -> float:
    sops, of_input = (sum(int(getattr(count, name).sum()) for count in counts) / images
                      for name in ("sops", "input_sops"))
    return energy.of_counts(network, sops, of_input).joules


def _link(board: boards.Board, frames: np.ndarray, classes: int) -> dict:
    """Return how many images a second the board's own link carries, computed."""
    if board.target.startswith("serial"):
        return {"name": f"serial line, {serial.BAUD:,} baud", "images_per_second":
                serial.images_per_second(frames, classes)}
    return {"name": "DMA, one 32-bit beat a cycle", "cycles_per_image": frames.shape[1] + classes}


def _rates(row: dict, network, counts, images: int, used: resources.Resources) -> dict:
    """Return what a second brings, where the clock is known. label: what kind of figure that is."""
    additions, sops = (sum(int(value.sum()) for value in values) / images for values in (
        [count.additions["double"] for count in counts], [count.sops for count in counts]))
    dense = sum(macs(network, layer) for layer in network.layers)
    work = {"additions": additions, "sops": sops, "dense_macs": dense}
    if row["clock_hz"] is None:
        return {"label": MISSING, "per_image": work}
    frames = row["clock_hz"] / row["cycles"]["rtl"]
    gops = 2 * dense * frames / 1e9
    return {"label": SIMULATED, "per_image": work, "frames_per_second": frames,
            "latency_seconds": row["latency_cycles"]["rtl"] / row["clock_hz"],
            "additions_per_second": additions * frames, "sops_per_second": sops * frames,
            "dense_equivalent_gops": gops, "dense_equivalent_gops_per_klut": gops / (used.logic / 1000)}


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
    """Write a run's rows with date and commit, and the picture of all runs in the folder; return the file."""
    folder.mkdir(parents=True, exist_ok=True)
    made, of = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"), commit()
    file = folder / f"{made.replace(':', '')[:17]}-{of.removesuffix('+') or 'unknown'}.json"
    file.write_text(json.dumps({"made": made, "commit": of, "rows": rows}, indent=1) + "\n", encoding="utf-8")
    trend.draw(folder)
    return file


def report(rows: list[dict]) -> str:
    """Return the tables: cycles, use, size and rates of the rows, and peers beside them."""
    def number(value, digits=0):
        return "missing" if value is None else f"{value:,.{digits}f}"

    def share(value):
        return f"{100 * value:.1f} %"

    cycles = [(row["network"], row["board"],
               " + ".join(f"{core['clusters']} x {core['lanes']}" for core in row["hardware"]),
               number(row["cycles"]["rtl"]), number(row["cycles"]["predicted"]), number(row["latency_cycles"]["rtl"]),
               f"{row['scan_efficiency']:.3f}", f"{row['lane_utilisation']:.3f}",
               *(share(row["losses"][name]) for name in ("starved", "neuron_stalls", "turnaround", "doublings")))
              for row in rows]
    rates = [(row["network"], row["board"],
              "missing" if row["clock_hz"] is None else f"{row['clock_hz'] / 1e6:.1f} MHz",
              *(number(row["rates"].get(name), digits) for name, digits in
                (("frames_per_second", 0), ("additions_per_second", 0), ("sops_per_second", 0),
                 ("dense_equivalent_gops", 2), ("dense_equivalent_gops_per_klut", 3))),
              f"{1e6 * row['rates']['latency_seconds']:,.0f} µs" if "latency_seconds" in row["rates"] else "missing",
              f"{1e6 * row['energy']['joules']:.2f} µJ", number(row["link"].get("images_per_second")))
             for row in rows]
    size = []
    for row in rows:
        for how, figures in row["resources"].items():
            if figures:
                used = resources.Resources(**figures)
                size.append((row["network"], row["board"], how, used.logic, used.ff, used.lut_ram, used.block_ram))
    pace = [(row["network"], row["board"], *(f"{row['simulation'][f'{what}_per_second'] / 1e6:.2f} M"
                                             for what in ("additions", "cycles"))) for row in rows]
    peers = json.loads(PEERS.read_text(encoding="utf-8"))
    others = [(peer["name"], peer["chip"], peer["task"], "" if peer["accuracy"] is None else f"{peer['accuracy']} %",
               "" if peer["frames_per_second"] is None else f"{peer['frames_per_second']:,}", peer["energy"] or "",
               peer["mark"], peer["conditions"]) for peer in peers["peers"]]
    marks = "; ".join(f"{mark}: {what}" for mark, what in peers["marks"].items())
    note = (f"  per second: {SIMULATED}; latency: one image alone, transfer apart; dense GOPS: 2 operations a synapse, "
            "as if dense;\n  energy: the paper's model of arithmetic alone, nothing measured")
    beyond = [f"  {row['network']}: larger than {row['board']}: {', '.join(row['too_large'])}; cycles are of this "
              "hardware, on any chip that holds it" for row in rows if row["too_large"]]
    missing = [f"  clock of {row['network']}: {row['clock_source']}" for row in rows if row["clock_hz"] is None]
    return "\n\n".join([
        table(cycles, ("network", "board", "clusters x lanes", "cycles, RTL", "predicted", "latency", "scan eff.",
                       "lane util.", "starved", "neurons", "turnaround", "doublings")),
        table(size, ("network", "board", "resources", "LUT4 and carry", "FF", "LUT RAM", "block RAM"))
        + "".join("\n" + line for line in beyond),
        table(rates, ("network", "board", "clock", "frames/s", "additions/s", "SOP/s", "dense GOPS", "per kLUT",
                      "latency", "energy, model", "link, images/s")) + "\n" + "\n".join([note, *missing]),
        table(pace, ("network", "board", "RTL simulation, one thread: additions/s", "cycles/s")),
        table(others, ("published", "chip", "task", "accuracy", "frames/s", "energy", "mark", "conditions"))
        + f"\n  {marks}; sources in sim/peers.json"])
