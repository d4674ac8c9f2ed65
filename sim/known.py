"""What is known of a planned design beyond its plan: clock and size from place and route, cycles from RTL."""

from __future__ import annotations

import dataclasses
import functools
import json
from pathlib import Path

from qblif.gen.plan import Plan
from qblif.host.errors import InputError
from qblif.hw import boards, calibrate, resources
from qblif.hw.params import DesignParams
from qblif.hw.sizing import Size

from . import benchmark


@dataclasses.dataclass(frozen=True)
class Clock:
    """A clock and where it is from. routed: place and route reached it with the very design that was asked about."""

    hz: float
    source: str
    routed: bool = False


def clock_of(board: boards.Board, plan: Plan | None, mhz: float | None, report: Path) -> Clock:
    """Return the clock to count with: asked for, else reached by place and route, else the board's default.

    plan: None for no particular one; report: of place and route, of this very design or of another one, which is said;
    it need not be there."""
    if mhz is not None:
        fastest = max((one.mhz for one in all_placed()), default=mhz) if board.family == "ecp5" else mhz
        return Clock(mhz * 1e6, "asked, not routed" if mhz <= fastest else
                     f"asked, and no design routed for {board.part} reached more than {fastest:.1f} MHz")
    routed = benchmark.routed(report) if report.is_file() else None
    if plan is not None:
        if routed and benchmark.is_of(routed, plan.design):
            return Clock(routed.reached * 1e6, f"routed: {report}{benchmark.from_sources(routed.sources)}", True)
        if one := placed(plan):
            return Clock(one.mhz * 1e6,
                         f"routed: {one.name!r} of hw/calibration.json{benchmark.from_sources(one.sources)}", True)
    if routed:
        return Clock(routed.reached * 1e6, f"routed for another design: {report}")
    return Clock(board.clock_hz, "the board's default, not routed")


def measured(folder: Path, network: str, board: str, plan: Plan) -> dict | None:
    """Return the last row of `make bench` for this network with this very program on this very hardware; None without.

    Its cycles are of RTL simulation; "file" and "commit" say of which run, "sources" of which hardware sources."""
    wanted = {"network": network, "board": board, "build_hash": f"{plan.design.build_hash:016x}",
              "program_hash": f"{plan.program_hash:016x}"}
    for file in sorted(folder.glob("*.json"), reverse=True):
        try:
            run = json.loads(file.read_text(encoding="utf-8"))
            for row in run["rows"]:
                if all(row.get(name) == value for name, value in wanted.items()):
                    return row | {"file": str(file), "commit": run["commit"], "sources": row.get("sources", "")}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{file} is no result of `make bench`: {error}",
                             hint="results of earlier runs are looked for there; move the file away") from error
    return None


@dataclasses.dataclass(frozen=True)
class Placed:
    """What place and route made of a design. name: in hw/calibration.json; mhz: the clock reached; sources: hash of the
    hardware's sources then, "" where that was not told."""

    name: str
    build_hash: int
    size: Size
    mhz: float
    sources: str


@functools.cache
def all_placed() -> tuple[Placed, ...]:
    """Return the designs that were placed and routed for the resource model."""
    return tuple(Placed(name, DesignParams.from_dict(one["design"]).build_hash,
                        dataclasses.replace(Size.of(resources.total(one)), lut=one["comb"]), one["mhz"],
                        one.get("sources", ""))
                 for name, one in calibrate.load()["designs"].items() if "comb" in one)


def placed(plan: Plan) -> Placed | None:
    """Return what place and route made of this design, if it is one of `all_placed`; else None."""
    return next((one for one in all_placed() if one.build_hash == plan.design.build_hash), None)


def largest_placed() -> Placed:
    """Return the one with most flip-flops of `all_placed`."""
    return max(all_placed(), key=lambda one: one.size.ff)
