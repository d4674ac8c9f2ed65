"""Evaluations as text: one table of networks, accuracy by time step, and for a single network one of its layers."""

from __future__ import annotations

from .console import table
from .counts import STRATEGIES
from .evaluation import Evaluation

SHOWN = 5
"""Predictions that differ, at most, before the rest is only counted."""


def evaluations(found: list[Evaluation]) -> str:
    """Return all tables for one or more evaluations."""
    parts = [_networks(found)]
    if any(one.steps > 1 for one in found):
        parts.append(_by_step(found))
    if len(found) == 1:
        parts.append(_layers(found[0]))
    parts += dict.fromkeys(one.lost for one in found if one.lost)
    parts += [text for one in found if (text := _different(one))]
    return "\n\n".join(parts)


def percent(share: float | None) -> str:
    """Return an accuracy as text; a dash where there is none."""
    return "-" if share is None else f"{100 * share:.2f} %"


def _networks(found: list[Evaluation]) -> str:
    rows = []
    for one in found:
        different = "-" if one.different is None else len(one.different)
        rows.append((one.network, one.data, one.steps, ",".join(map(str, one.levels)), one.weight_bits, _images(one),
                     percent(one.float_accuracy), percent(one.quantised_accuracy), percent(one.golden_accuracy),
                     different, round(one.sops), *(round(one.additions[name]) for name in STRATEGIES[:2]), one.macs,
                     f"{one.energy.microjoules:.3g} uJ"))
    head = ("network", "data", "T", "N", "weight bits", "images", "float", "quantised", "golden", "different", "SOPs",
            *(f"additions {name}" for name in STRATEGIES[:2]), "dense MACs", "energy, model")
    notes = ("  per image, means. different: predictions of the golden model unlike quantised PyTorch's. additions "
             "\"shift-add\" equal \"double\"\n  energy: the model of the paper's table 6, not a measurement "
             "(docs/evaluation.md)")
    return table(rows, head) + "\n" + notes


def _images(one: Evaluation) -> str:
    return f"all {one.images:,}" if one.images == one.available else f"{one.images:,} of {one.available:,}"


def _by_step(found: list[Evaluation]) -> str:
    most = max(one.steps for one in found)
    rows = [(one.network, *(percent(share) for share in one.by_step)) for one in found]
    return table(rows, ("golden accuracy, read out after step", *map(str, range(1, most + 1))))


def _layers(one: Evaluation) -> str:
    rows = [("input", "", *_statistics(one.input), None, None, None, None)]
    for layer in one.layers:
        shown = _statistics(layer.levels) if layer.levels else ("",) * 5
        rows.append((layer.name, "x".join(map(str, layer.shape)), *shown, round(layer.sops),
                     round(layer.additions["unary"]), round(layer.additions["double"]), layer.macs))
    notes = ("  active: share of levels that are not 0; level, set bits: means of those. entropy in bits of at most\n"
             "  log2(N+1); effective: levels of probability above 0.01. SOPs, additions, MACs: of the layer's inputs")
    return table(rows, ("layer", "output", "active", "level", "set bits", "entropy", "effective", "SOPs",
                        "additions unary", "additions double", "dense MACs")) + "\n" + notes


def _statistics(levels) -> tuple:
    return (percent(levels.activity), f"{levels.mean:.2f}", f"{levels.popcount:.2f}",
            f"{levels.entropy:.2f} of {levels.capacity:.2f}", f"{levels.effective} of {levels.highest + 1}")


def _different(one: Evaluation) -> str:
    """Name predictions on which quantised PyTorch and the golden model disagree."""
    if not one.different:
        return ""
    lines = [f"  image {image}: golden {golden}, quantised PyTorch {quantised}"
             for image, golden, quantised in one.different[:SHOWN]]
    if len(one.different) > SHOWN:
        lines.append(f"  and {len(one.different) - SHOWN} more")
    return "\n".join([f"{one.network}: {len(one.different)} of {one.images} predictions differ, none may:", *lines])
