"""`qblif variants`: a network on cores of several shapes, side by side (the tables of docs/decisions.md)."""

from __future__ import annotations

import numpy as np

from qblif.gen.network import Network
from qblif.gen.packing import Packing, unpacked
from qblif.gen.plan import Plan, make_plan
from qblif.gen.training import one_thread
from qblif.host.stats import CoreStats
from qblif.hw import resources
from qblif.hw.params import CoreParams, DesignParams
from qblif.hw.sizing import Size

from . import golden, subjects
from .console import Progress, table
from .counts import LayerCounts
from .simulation import Simulation

SHAPES = (
    {"lanes": 16}, {"lanes": 16, "fanout": "unary"}, {"lanes": 32, "packed": False}, {"lanes": 32},
    {"lanes": 64, "packed": False}, {"lanes": 64}, {"lanes": 64, "fanout": "unary"})
"""Arguments of make_plan; packed: False plans every position by itself (gen/packing.py). The other one of such a pair
runs on the same hardware, so that only the plan differs."""

OTHERS = (
    {"lanes": 8}, {"lanes": 16, "clusters": 2}, {"lanes": 32, "clusters": 2},
    {"lanes": 16, "cores": 2}, {"lanes": 16, "cores": "max"})


def run(network: str | None, images: int) -> str:
    """Run a network on every variant and return the table; raises RuntimeError at a wrong logit.

    network: a name of the zoo or a file, on SHAPES; None: the one of `make sim`, on OTHERS too
    images: how many of the test images"""
    with one_thread():
        given = subjects.subject(subjects.Options(network=network, images=images))
    chosen, rows, designs = (SHAPES if network else SHAPES + OTHERS), [], {}
    with Progress("variants") as bar:
        for index, variant in enumerate(chosen):
            bar(index, len(chosen), _name(variant))
            plan = _plan(given.network, variant, designs)
            rows.append(_row(plan, given.images, given.count, _name(variant)))
        bar(len(chosen), len(chosen), "done")
    head = ("core", "cycles per image", "weight rows added", "scan efficiency", "lane utilisation", "LUT4 *",
            "cycles x LUT4")
    return (f"{given.network.name}, {given.about}\n\n{table(rows, head)}\n* of the whole design on a serial line, "
            "predicted (resource model; on the ECP5, after place and route); the product in millions, less is better")


def _name(variant: dict) -> str:
    parts = [f"{variant['lanes']} lanes", variant.get("fanout", CoreParams().fanout)]
    parts += [f"{variant[name]} {name}" for name in ("clusters", "cores") if name in variant]
    return ", ".join(parts if variant.get("packed", True) else [*parts, "not packed"])


def _plan(network: Network, variant: dict, designs: dict[str, DesignParams]) -> Plan:
    """Return the plan of a variant, on the hardware in `designs` that an equal one with packed: False left there."""
    if variant.get("packed", True):
        design = designs.get(_name(variant))
        return make_plan(network, **(variant if design is None else {"design": design}))
    plan = make_plan(network, lanes=variant["lanes"], packing=unpacked(network, variant["lanes"]))
    designs[_name({"lanes": variant["lanes"]})] = plan.design
    return plan


def _row(plan: Plan, x: np.ndarray, count: int, name: str) -> tuple[str, ...]:
    network, lanes = plan.network, plan.packing.lanes
    expected = golden.run(network, x, count=True, packings=(plan.packing,))
    with Simulation(plan.design) as sim:
        sim.program(plan.program)
        result = sim.infer(plan.input_layout.pack(x), network.classes)
        cores = [CoreStats(core.clusters, sim.counters(index)) for index, core in enumerate(plan.design.cores)]
    if (result.logits != expected.logits).any():
        raise RuntimeError(f"wrong logits on {name}")
    cycles = result.cycles.mean()
    rows = sum(core.counters["adds"] for core in cores) / count
    needed, useful = _needed(expected.counts, plan.packing)
    available = sum(core.counters["cycles"] * core.clusters for core in cores) / count
    lut = Size.of(resources.estimate(plan.design)).lut
    # Cores of a chain wait for each other: their own cycles do not add up to anything of use.
    shares = ("", "") if len(cores) > 1 else (f"{needed / count / available:.3f}",
                                              f"{useful / count / (lanes * available):.3f}")
    return name, f"{cycles:,.0f}", f"{rows:,.0f}", *shares, f"{lut:,.0f}", f"{cycles * lut / 1e6:,.0f}"


def _needed(counts: tuple[LayerCounts, ...], packing: Packing) -> tuple[int, int]:
    """Return the weight rows that the plan's fields need, one per set bit, and the lane additions that are of use."""
    return (sum(int(c.row_adds[packing].sum()) for c in counts), sum(int(c.additions["double"].sum()) for c in counts))
