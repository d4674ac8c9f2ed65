"""The report's pictures, drawn with matplotlib: one function each, from measured values to a figure."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from ..information import EFFECTIVE, Levels
from . import paper

INK, MUTED, GRID = "#1f2933", "#5b6875", "#e3e8ee"
BLUE, ORANGE, GREEN, PURPLE, RED = "#2563a8", "#c9651b", "#2f855a", "#7b5ea7", "#b83232"
SERIES = (BLUE, ORANGE, GREEN, PURPLE, RED, "#0f7c8a", "#8a6d1d", MUTED)
"""Colours that are told apart in print and by most colour-blind readers; shapes differ as well."""

SHAPES = "osD^vPX*"
DPI = 144
WIDTH = 9.6
"""Inches of a picture that is as wide as the page."""

STYLE = {
    "font.family": "DejaVu Sans", "font.size": 9, "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": MUTED,
    "axes.titlesize": 9.5, "axes.titleweight": "bold", "axes.titlelocation": "left", "axes.labelsize": 9,
    "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True, "axes.grid": True,
    "axes.grid.axis": "y", "grid.color": GRID, "grid.linewidth": 0.8, "xtick.color": MUTED, "ytick.color": MUTED,
    "xtick.labelcolor": INK, "ytick.labelcolor": INK, "xtick.labelsize": 8, "ytick.labelsize": 8, "legend.fontsize": 8,
    "legend.frameon": False, "figure.facecolor": "white", "savefig.facecolor": "white", "lines.linewidth": 1.8}


@contextmanager
def _figure(rows: int, columns: int, height: float, **options) -> Iterator[tuple]:
    """Give a figure and its axes (rows, columns); without a display, and without touching the user's settings."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, height), layout="constrained", dpi=DPI)
        yield figure, figure.subplots(rows, columns, squeeze=False, **options)


def png(figure) -> bytes:
    """Return a figure as PNG; the same figure gives the same bytes."""
    data = io.BytesIO()
    figure.savefig(data, format="png", metadata={"Software": None})
    return data.getvalue()


def histograms(layers: list[Levels], gammas: dict[str, float]):
    """Burst levels of each layer, as figure 5: share of each level 0..N."""
    columns = min(3, len(layers))
    rows = -(-len(layers) // columns)
    with _figure(rows, columns, 2.1 * rows + 0.2) as (figure, axes):
        for axis, levels in zip(axes.flat, layers, strict=False):
            share = levels.probabilities
            axis.bar(range(len(share)), share, color=[MUTED] + [BLUE] * levels.highest, width=0.82)
            gamma = f"   γ = {gammas[levels.name]:.3f}" if levels.name in gammas else ""
            axis.set_title(f"{levels.name}{gamma}")
            axis.set_yscale("log")
            axis.set_ylim(1e-5, 1.5)
            axis.set_xlim(-0.7, levels.highest + 0.7)
            axis.set_xticks(_level_ticks(levels.highest))
        for axis in list(axes.flat)[len(layers):]:
            axis.set_visible(False)
        for axis in axes[:, 0]:
            axis.set_ylabel("share, log scale")
        for number in range(columns):
            lowest = max(row for row in range(rows) if row * columns + number < len(layers))
            axes[lowest][number].set_xlabel("burst level")
        return figure


def by_layer(layers: list[Levels], gammas: dict[str, float]):
    """γ, entropy, effective levels and activity over the depth of the network, as figure 6."""
    names = [levels.name for levels in layers]
    at = np.arange(len(layers))
    with _figure(2, 2, 5.4, sharex=True) as (figure, axes):
        (scale, bits), (count, active) = axes
        known = [i for i in at if names[i] in gammas]
        scale.plot(known, [gammas[names[i]] for i in known], marker="o", color=BLUE)
        scale.set_title("(a) learned scale γ")
        scale.set_ylim(0, max([gammas[names[i]] for i in known], default=1) * 1.2)
        if not known:
            scale.text(0.5, 0.5, "γ is not kept in this file", transform=scale.transAxes, ha="center", color=MUTED)
        bits.plot(at, [levels.entropy for levels in layers], marker="o", color=BLUE, label="measured")
        bits.plot(at, [levels.capacity for levels in layers], ls="--", color=ORANGE, label=r"$\log_2(N + 1)$, the most")
        bits.set_title("(b) entropy of the levels")
        bits.set_ylabel("bits a neuron and step")
        bits.set_ylim(0, max(levels.capacity for levels in layers) * 1.25)
        bits.legend(loc="upper right", ncols=2)
        count.bar(at, [levels.effective for levels in layers], color=BLUE, width=0.6)
        count.plot(at, [levels.highest + 1 for levels in layers], ls="--", color=ORANGE, label="N + 1, all")
        count.set_title(f"(c) effective levels: probability above {EFFECTIVE:g}")
        count.set_ylabel("levels")
        count.set_ylim(0, max(levels.highest + 1 for levels in layers) * 1.25)
        count.legend(loc="upper right")
        active.bar(at, [100 * levels.activity for levels in layers], color=BLUE, width=0.6)
        active.set_title("(d) activity: levels that are not 0")
        active.set_ylabel("%")
        active.set_ylim(0, 100)
        for axis in axes[1]:
            _layer_ticks(axis, names)
        return figure


def information(layers: list[Levels]):
    """Equations (5) and (6): bits of the binary spike, of the burst level, and the most that each can carry."""
    names = [levels.name for levels in layers]
    at = np.arange(len(layers))
    with _figure(1, 1, 3.3) as (figure, axes):
        axis = axes[0][0]
        axis.bar(at - 0.2, [levels.binary_entropy for levels in layers], 0.38, color=MUTED,
                 label=r"binary spike: $I(U; S_{bi}) = H(S_{bi})$")
        axis.bar(at + 0.2, [levels.entropy for levels in layers], 0.38, color=BLUE,
                 label=r"burst level: $I(U; S_{burst}) = H(S_{burst})$")
        axis.hlines([levels.capacity for levels in layers], at - 0.42, at + 0.42, color=ORANGE, lw=2,
                    label=r"$\log_2(N + 1)$, equation (6)")
        axis.axhline(1, color=RED, ls=":", lw=1.4, label="1 bit, equation (5)")
        axis.set_ylabel("bits a neuron and step")
        axis.set_ylim(0, max(levels.capacity for levels in layers) * 1.45)
        axis.legend(loc="upper center", ncols=2)
        _layer_ticks(axis, names)
        return figure


LABELS = {"relsg_et": "ReLSG-ET, equation (12)", "box_et": "Box-ET, our reading", "arctan": "arctangent, binary",
          "rectangular": "rectangular", "clipped": "clipped quantiser, LSQ", "sigmoid": "sigmoid, binary"}
"""Surrogate -> what it is, for people."""


def surrogates(own: str | None = None, levels: int = 5, gamma: float = 1.0):
    """Surrogate gradients dS/dU as they are used, as figure 4, above the burst function that they stand in for.

    own: the one that the network was trained with, None where that is not known"""
    import torch

    from qblif.gen.surrogate import slope

    names = dict.fromkeys(["relsg_et", "box_et", "arctan", "rectangular", *([own] if own else [])])
    lines = ("-", "--", "-.", ":", (0, (5, 1)))
    shown = [(name, LABELS[name] + (": this network's" if name == own else ""), colour, line)
             for name, colour, line in zip(names, SERIES, lines, strict=False)]
    u = torch.linspace(-2.5 * gamma, (levels + 3) * gamma, 1401)
    with _figure(1, 2, 3.0, width_ratios=(1, 1.35)) as (figure, axes):
        burst, slopes = axes[0]
        burst.step(u, gamma * torch.floor(u / gamma).clamp(0, levels), where="post", color=INK)
        burst.set_title(f"burst S(U), equation (9), N = {levels}, γ = {gamma:g}")
        burst.set_xlabel("membrane U")
        burst.set_ylabel("S")
        for name, label, colour, line in shown:
            slopes.plot(u, slope(name, u, torch.tensor(gamma), levels), color=colour, ls=line, label=label)
        slopes.set_title("surrogate gradient dS/dU")
        slopes.set_xlabel("membrane U")
        slopes.set_ylim(0, 1.6)
        slopes.legend(loc="upper center", ncols=2)
        return figure


def accuracy_against_work(points: list[dict]):
    """Accuracy against additions (full) and SOPs (hollow) of networks; points: dicts with name, data, accuracy (0 to
    1), sops and additions ("double"), and part, what of the test set, where it is not the whole."""
    with _figure(1, 1, 3.6) as (figure, axes):
        axis = axes[0][0]
        for number, point in enumerate(points):
            colour, shape = SERIES[number % len(SERIES)], SHAPES[number % len(SHAPES)]
            work, height = [point["additions"] / 1e6, point["sops"] / 1e6], 100 * point["accuracy"]
            axis.plot(work, [height] * 2, color=colour, lw=1, alpha=0.6)
            axis.plot(work[0], height, marker=shape, color=colour, ls="", ms=7,
                      label=f"{point['name']}\n{point['data']}, {height:.2f} %" + (
                          f"\n{point['part']}" if point.get("part") else ""))
            axis.plot(work[1], height, marker=shape, color=colour, ls="", ms=7, mfc="white", mew=1.6)
        heights = [100 * point["accuracy"] for point in points]
        room = max(3.0, max(heights) - min(heights))
        axis.set_ylim(min(heights) - 0.15 * room, min(max(heights) + 0.15 * room, 100 + 0.06 * room))
        axis.set_xscale("log")
        axis.set_xlim(min(min(point["additions"], point["sops"]) for point in points) / 2e6,
                      max(max(point["additions"], point["sops"]) for point in points) * 2 / 1e6)
        axis.xaxis.set_major_formatter("{x:g}")
        axis.xaxis.set_minor_locator(_log_ticks())
        axis.xaxis.set_minor_formatter("{x:g}")
        axis.tick_params(axis="x", which="minor", labelsize=7)
        axis.set_xlabel("million operations an image, log scale: full marks are additions, hollow ones SOPs")
        axis.set_ylabel("accuracy of the golden model, %")
        figure.legend(loc="outside right upper", labelspacing=1.0)
        return figure


def swept(points: list[dict]) -> list[dict]:
    """Return the points whose series was trained with more than one penalty."""
    penalties: dict[str, set] = {}
    for point in points:
        if "series" in point:
            penalties.setdefault(point["series"], set()).add(point["penalty"])
    return [point for point in points if len(penalties.get(point.get("series"), ())) > 1]


def penalised(points: list[dict]):
    """Accuracy against additions under a penalty: a line for each series, through the means of its runs, each run a
    small mark; points: dicts with series, penalty, accuracy (0 to 1) and additions."""
    with _figure(1, 1, 3.6) as (figure, axes):
        axis = axes[0][0]
        for number, name in enumerate(dict.fromkeys(point["series"] for point in points)):
            runs: dict[float, list] = {}
            for point in points:
                if point["series"] == name:
                    runs.setdefault(point["penalty"], []).append((point["additions"] / 1e6, 100 * point["accuracy"]))
            colour, shape = SERIES[number % len(SERIES)], SHAPES[number % len(SHAPES)]
            means = [(penalty, *np.mean(runs[penalty], axis=0)) for penalty in sorted(runs)]
            axis.plot([x for _, x, _ in means], [y for _, _, y in means], color=colour, marker=shape, ms=6, label=name)
            if any(len(some) > 1 for some in runs.values()):
                axis.plot(*zip(*sum(runs.values(), []), strict=True), color=colour, marker=shape, ms=3, ls="",
                          alpha=0.5)
            place = {"xytext": (7, -13)} if number % 2 else {"xytext": (-7, 6), "ha": "right"}
            for penalty, x, y in means:
                axis.annotate(f"{penalty:g}", (x, y), textcoords="offset points", fontsize=8, color=colour, **place)
        axis.set_xlim(left=0)
        axis.margins(x=0.08, y=0.12)
        axis.set_xlabel("million additions an image")
        axis.set_ylabel("accuracy of the golden model, %")
        figure.legend(loc="outside right upper", labelspacing=1.0)
        return figure


def _log_ticks():
    """Return ticks at 2 and 5 of each decade: a short axis has no power of ten."""
    from matplotlib.ticker import LogLocator

    return LogLocator(subs=(2, 5), numticks=12)


def of_the_paper():
    """Table 6 of the paper: accuracy and energy against SOPs."""
    with _figure(1, 2, 3.0) as (figure, axes):
        accuracy, energy = axes[0]
        sops = [row.sops / 1e6 for row in paper.TABLE_6]
        for axis, heights, title, unit in (
                (accuracy, [row.accuracy for row in paper.TABLE_6], "accuracy", "%"),
                (energy, [row.microjoules for row in paper.TABLE_6], "energy by its model", "µJ an image")):
            axis.plot(sops, heights, marker="o", color=MUTED)
            axis.set_title(f"{title}, {paper.LABEL}, table 6")
            axis.set_xlabel("million SOPs an image, first layer left out")
            axis.set_ylabel(unit)
            axis.margins(x=0.08, y=0.18)
            for row, x, y in zip(paper.TABLE_6, sops, heights, strict=True):
                axis.annotate(f"N = {row.levels}", (x, y), xytext=(5, -12), textcoords="offset points", fontsize=8,
                              color=INK)
        return figure


def training(history: list[dict]):
    """Loss and accuracy by epoch, the quantised phase shaded; history: entries of log.jsonl."""
    epochs = np.arange(1, len(history) + 1)
    mark = {"marker": "o", "ms": 3} if len(history) <= 40 else {}
    begin = next((i for i, entry in enumerate(history) if entry["phase"] == "quantised"), None)
    with _figure(1, 2, 3.0) as (figure, axes):
        loss, accuracy = axes[0]
        loss.plot(epochs, [entry["loss"] for entry in history], color=BLUE, **mark)
        loss.set_ylabel("training loss")
        loss.set_title("loss")
        accuracy.plot(epochs, [100 * entry["train"] for entry in history], color=BLUE, **mark,
                      label="training images, augmented")
        tested = [(i + 1, 100 * entry["test"]) for i, entry in enumerate(history) if entry.get("test") is not None]
        if tested:
            accuracy.plot(*zip(*tested, strict=True), color=ORANGE, marker="s", ms=4, label="test images")
        accuracy.set_ylabel("accuracy, %")
        accuracy.set_title("accuracy")
        for axis in axes[0]:
            axis.set_xlabel("epoch")
            axis.xaxis.get_major_locator().set_params(integer=True)
            if begin is not None:
                axis.axvspan(begin + 0.5, len(history) + 0.5, color=GREEN, alpha=0.12, lw=0, label="quantised phase")
        accuracy.legend(loc="lower right")
        return figure


def _level_ticks(highest: int) -> list[int]:
    """Return levels to label: 0, N and round ones between."""
    every = next(step for step in (1, 2, 5, 10, 20, 50, 100) if highest / step <= 8)
    return [*range(0, highest - every // 2, every), highest]


def _layer_ticks(axis, names: list[str]) -> None:
    """Label the layers along the axis; long lists every so many."""
    every = -(-len(names) // 12)
    axis.set_xticks(range(0, len(names), every), names[::every], rotation=30 if max(map(len, names)) > 6 else 0,
                    ha="right" if max(map(len, names)) > 6 else "center")
    axis.set_xlim(-0.7, len(names) - 0.3)
