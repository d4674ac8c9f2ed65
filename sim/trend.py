"""The picture of all results of `make bench` in a folder: cycles, use, size and clock, from commit to commit."""

from __future__ import annotations

import json
from pathlib import Path

from qblif.hw.resources import Resources


def draw(folder: Path) -> Path | None:
    """Draw the runs in a folder, a line for each network on each layout; return trend.png, None without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return None
    runs = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.glob("*.json"))]
    lines: dict[str, list[tuple[int, dict]]] = {}
    for index, run in enumerate(runs):
        for row in run["rows"]:
            lines.setdefault(name(row), []).append((index, row))
    figure = Figure(figsize=(12, 11), layout="constrained")
    axes = figure.subplots(len(PANELS), 1, sharex=True)
    for at, (label, points) in enumerate(sorted(lines.items())):
        for axis, (value, _) in zip(axes, PANELS, strict=True):
            places = [(index, value(row)) for index, row in points]
            axis.plot(*zip(*places, strict=True), marker="osv^Dd"[at % 6], color=f"C{at % 10}", label=label)
    for axis, (_, settings) in zip(axes, PANELS, strict=True):
        axis.set(**settings)
        axis.grid(alpha=0.3)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper", fontsize="small")
    axes[-1].set_xticks(range(len(runs)), [_label(run) for run in runs], rotation=45)
    path = folder / "trend.png"
    figure.savefig(path, dpi=100)
    return path


def name(row: dict) -> str:
    """Return what a line is of: "mnist-small, 2x64 + 1x64"."""
    return f"{row['network']}, " + " + ".join(f"{core['clusters']}x{core['lanes']}" for core in row["hardware"])


def _label(run: dict) -> str:
    """Return the commit of a run, with "+" where the sources were changed; its date where there is none."""
    return run["commit"][:8] + run["commit"][12:] or run["made"][:10]


def _clock(row: dict) -> float:
    return row["clock_hz"] / 1e6 if row["clock_hz"] else float("nan")


def _luts_per_lane(row: dict) -> float:
    """Return LUT4 a lane, all in: of the device, routed or predicted; of old rows, which do not have it, the netlist's.
    """
    known = row["resources"]
    placed = known.get("placed_lut", {})
    used = placed.get("routed") or placed.get("predicted") or Resources(
        **(known["synthesised"] or known["predicted"])).slots
    return used / sum(core["clusters"] * core["lanes"] for core in row["hardware"])


PANELS = (
    (lambda row: row["cycles"]["rtl"], {"yscale": "log", "ylabel": "cycles per image (RTL)"}),
    (lambda row: row["scan_efficiency"], {"ylim": (0.5, 1.01), "ylabel": "scan efficiency"}),
    (lambda row: row["lane_utilisation"], {"ylim": (0, 1.01), "ylabel": "lane utilisation"}),
    (_luts_per_lane, {"ylim": (0, 400), "ylabel": "LUT4 a lane, all in\n(routed, else predicted)"}),
    (_clock, {"ylabel": "clock, MHz\n(routed)"}))
"""What is drawn of a row, and its axis."""
