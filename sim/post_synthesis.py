"""Digits on device cells: the synthesised netlist against the golden model and, cycle by cycle, against the RTL."""

from __future__ import annotations

import dataclasses
import sys

import numpy as np

from qblif.gen.network import Network
from qblif.gen.plan import Plan, make_plan

from . import golden
from .console import Waiting, table
from .netlist import Netlist, netlist
from .simulation import Result, Simulation, emitted
from .verdict import Verdict

SMALL = {"lanes": 4, "word_bits": 32, "neuron_lanes": 1, "acc_bits": 20}
"""Parameters of a core that is small enough to be simulated cell by cell, and fits the digits network."""

COLUMNS = {"LUT4": ("LUT4",), "CCU2C": ("CCU2C",), "FF": ("TRELLIS_FF",), "LUT RAM": ("TRELLIS_DPR16X4",),
           "block RAM": ("DP16KD",), "multipliers": ("MULT18X18D", "MULT9X9D", "ALU54B", "ALU24B")}
"""Column of the table -> the cells that it counts."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a netlist gave, beside what was expected of it.

    plan: on what hardware; cells: cell -> count; verdict: logits against the golden model, of the netlist and of the
    RTL; cycles: int64 (B,), of the netlist; late: images that took the RTL another number of cycles
    """

    plan: Plan
    cells: dict[str, int]
    verdict: Verdict
    cycles: np.ndarray
    late: int

    @property
    def differences(self) -> int:
        """Logits that differ from the golden model's, and images whose cycles differ from the RTL's."""
        return self.verdict.mismatches + self.late

    def row(self) -> tuple:
        """Return the row of the table."""
        core = self.plan.design.cores[0]
        name = f"{len(self.plan.design.cores)} x {core.clusters} x {core.lanes}"
        counts = (sum(self.cells.get(cell, 0) for cell in cells) for cells in COLUMNS.values())
        return (name, *counts, len(self.cycles), int(self.cycles.mean()), self.verdict.mismatches, self.late)


def report(outcomes: list[Outcome]) -> str:
    """Return the table, a row for each netlist, and the line that sums it up."""
    header = ("cores x clusters x lanes", *COLUMNS, "digits", "cycles each", "logits wrong", "cycles wrong")
    said = [f"{what}: {mismatch}" for outcome in outcomes if outcome.verdict.first
            for what, mismatch in (outcome.verdict.first,)]
    differences, digits = (sum(values) for values in zip(
        *((outcome.differences, len(outcome.cycles)) for outcome in outcomes), strict=True))
    return "\n".join([table([outcome.row() for outcome in outcomes], header), "", *said,
                      f"result: netlists={len(outcomes)} digits={digits} differences={differences}"])


def run(network: Network, images: np.ndarray, **shape) -> Outcome:
    """Synthesise hardware for `network`, run `images` on its cells and on its RTL, and compare.

    shape: arguments of make_plan instead of those of SMALL. Some minutes, most of them Yosys' and the compiler's; the
    results of both are kept. Raises ToolMissing, CacheError, PlanError, and SimulationError as `Simulation` does."""
    plan = make_plan(network, **SMALL | shape)
    rtl = emitted(plan.design)
    with Waiting("synthesise", "Yosys: some minutes the first time, for the same hardware seconds"):
        cells = netlist(rtl)
    return compare(plan, images, cells, rtl)


def compare(plan: Plan, images: np.ndarray, cells: Netlist, rtl: str) -> Outcome:
    """Run `images` on a netlist and on the RTL that it was made from."""
    verdict = Verdict(plan.network)
    expected = golden.run(plan.network, images).logits
    reference = _infer(plan, images, rtl)
    verdict.logits("RTL", expected, reference.logits)
    print(f"{'netlist':<12} simulated: some seconds an image", file=sys.stderr, flush=True)
    found = _infer(plan, images, cells.text)
    verdict.logits("netlist", expected, found.logits)
    return Outcome(plan, cells.cells, verdict, found.cycles, int((found.cycles != reference.cycles).sum()))


def _infer(plan: Plan, images: np.ndarray, verilog: str) -> Result:
    with Simulation(None, verilog=verilog, threads=1) as sim:
        sim.program(plan.program)
        return sim.infer(plan.input_layout.pack(images), plan.network.classes)
