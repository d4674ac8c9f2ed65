"""`qblif variants`: the digits network on cores of several shapes, side by side (the table of docs/decisions.md)."""

from __future__ import annotations

from qblif.gen.data import digits_data
from qblif.gen.plan import make_plan
from qblif.host.stats import CoreStats
from qblif.hw.params import CoreParams

from . import golden, subjects
from .console import Progress, table
from .counts import LayerCounts
from .simulation import Simulation

VARIANTS = (
    {"lanes": 16}, {"lanes": 16, "fanout": "unary"}, {"lanes": 8}, {"lanes": 32}, {"lanes": 16, "clusters": 2},
    {"lanes": 16, "cores": 2}, {"lanes": 16, "cores": "max"})
"""Arguments of make_plan."""


def run(images: int) -> str:
    """Run the network of `make sim` on every variant and return the table; raises RuntimeError at a wrong logit.

    images: how many of the test images"""
    network = subjects.digits_network(subjects.Options())
    x = digits_data().test_x.numpy()[:images]
    rows = []
    with Progress("variants") as bar:
        for index, variant in enumerate(VARIANTS):
            bar(index, len(VARIANTS), _name(variant))
            rows.append(_row(network, x, variant))
        bar(len(VARIANTS), len(VARIANTS), "done")
    return table(rows, ("core", "cycles per image", "weight rows", "scan efficiency", "lane utilisation"))


def _name(variant: dict) -> str:
    parts = [f"{variant['lanes']} lanes", variant.get("fanout", CoreParams().fanout)]
    parts += [f"{variant[name]} {name}" for name in ("clusters", "cores") if name in variant]
    return ", ".join(parts)


def _row(network, x, variant: dict) -> tuple[str, ...]:
    plan = make_plan(network, **variant)
    lanes = plan.design.cores[0].lanes
    expected = golden.run(network, x, count=True, lanes=(lanes,))
    with Simulation(plan.design) as sim:
        sim.program(plan.program)
        result = sim.infer(plan.input_layout.pack(x), network.classes)
        cores = [CoreStats(core.clusters, sim.counters(index)) for index, core in enumerate(plan.design.cores)]
    if (result.logits != expected.logits).any():
        raise RuntimeError(f"wrong logits on {_name(variant)}")
    cycles = result.cycles.mean()
    rows = sum(core.counters["adds"] for core in cores) / len(x)
    needed, useful = _needed(expected.counts, lanes)
    available = sum(core.counters["cycles"] * core.clusters for core in cores) / len(x)
    if len(cores) > 1:      # cores wait for each other: their own cycles do not add up to anything of use
        return _name(variant), f"{cycles:,.0f}", f"{rows:,.0f}", "", ""
    return (_name(variant), f"{cycles:,.0f}", f"{rows:,.0f}", f"{needed / len(x) / available:.3f}",
            f"{useful / len(x) / (lanes * available):.3f}")


def _needed(counts: tuple[LayerCounts, ...], lanes: int) -> tuple[int, int]:
    """Return the weight rows that any strategy needs and the lane additions that are of use, over all images."""
    return (sum(int(c.row_adds[lanes].sum()) for c in counts), sum(int(c.additions["double"].sum()) for c in counts))
