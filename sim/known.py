"""What is known of a planned design beyond its plan: clock and size from place and route, cycles from RTL."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable
from pathlib import Path

from qblif.gen.plan import Plan
from qblif.host.errors import InputError
from qblif.hw import boards, calibrate
from qblif.hw.ecp5_report import Report
from qblif.hw.params import DesignParams
from qblif.hw.sizing import Size

from . import benchmark

ROUTED = Path(__file__).with_name("routed")
"""Reports of place and route that come with the product: report.json of `make bitstream`, programs loaded at run time.
Those of designs that the resource model is fitted to, too (hw/calibration.json has their modules)."""


@dataclasses.dataclass(frozen=True)
class Placed:
    """What place and route made of a design. name: of the file of its report."""

    name: str
    report: Report

    @property
    def size(self) -> Size:
        """LUT4 of the device, all in, flip-flops and block RAM."""
        lut, ff, block_ram = (self.report.used[kind][0] for kind in ("TRELLIS_COMB", "TRELLIS_FF", "DP16KD"))
        return Size(lut, ff, block_ram)


@functools.cache
def all_placed() -> tuple[Placed, ...]:
    """Return all reports that come with the product, those of today's hardware sources first."""
    found = [Placed(f"sim/routed/{path.name}", benchmark.routed(path)) for path in sorted(ROUTED.glob("*.json"))]
    return tuple(sorted(found, key=lambda one: benchmark.state(one.report.sources) != "today's"))


def placed(design: DesignParams, board: boards.Board, file: Path | None = None) -> Placed | None:
    """Return what place and route made of this design for a board; None where there is no report of it.

    file: a report that is looked at first, of this design or another one; it need not be there. One that missed its
    clock is taken last."""
    own = [] if file is None or not file.is_file() else [Placed(str(file), benchmark.routed(file))]
    found = [one for one in (*own, *all_placed()) if benchmark.is_of(one.report, design, board)]
    return min(found, key=lambda one: not one.report.met, default=None)


def report_of(design: DesignParams, board: boards.Board) -> Report | None:
    """Return the report of this design that comes with the product, if one does."""
    one = placed(design, board)
    return one and one.report


@functools.cache
def all_designs() -> tuple[DesignParams, ...]:
    """Return the designs of which reports come with the product."""
    return tuple(DesignParams.from_dict(one["design"]) for one in calibrate.load()["designs"].values() if "comb" in one)


@functools.cache
def routed_designs(board: boards.Board) -> dict[DesignParams, Size]:
    """Return the designs that were placed and routed for a board and reached the clock asked for, with their sizes."""
    found = ((design, placed(design, board)) for design in all_designs())
    return {design: one.size for design, one in found if one is not None and one.report.met}


def alike_placed(ff: float) -> list[Placed]:
    """Return those with up to a fifth more or fewer flip-flops than so many, which decide how long the placer takes;
    where there are none, the nearest one."""
    nearest = min(all_placed(), key=lambda one: abs(one.size.ff - ff))
    return [one for one in all_placed() if abs(one.size.ff - ff) <= 0.2 * ff] or [nearest]


def largest_placed() -> Placed:
    """Return the one with most flip-flops of `all_placed`."""
    return max(all_placed(), key=lambda one: one.size.ff)


@dataclasses.dataclass(frozen=True)
class Clock:
    """The clock that a bitstream of a design runs at, and where it is from.

    placed: what place and route made of the very design, at this clock or another one; confirmed: at this one."""

    hz: float
    source: str
    placed: Placed | None = None
    confirmed: bool = False

    @property
    def report(self) -> Report | None:
        """Of the bitstream that runs at this clock; None without one."""
        return self.placed.report if self.confirmed else None

    def to_dict(self) -> dict:
        """Return it JSON-able; reached_hz and seed are of the report of the bitstream that runs at it, if any."""
        return {"hz": self.hz, "source": self.source, "routed": self.confirmed,
                "reached_hz": self.report and self.report.reached * 1e6, "seed": self.report and self.report.seed}


def clock_of(board: boards.Board, routed: Placed | None, mhz: float | None) -> Clock:
    """Return the clock to count with: asked for, else what place and route was asked for and reached, else the board's
    default. A bitstream runs at the clock asked for; the one reached says how much there was to spare.

    routed: of the very design, if there is one (`placed`)."""
    if routed is not None:
        report = routed.report
        told = (f"{'routed' if report.met else 'missed'}: {routed.name}, {report.asked:g} MHz asked, "
                f"{report.reached:.1f} reached, seed {report.seed}{benchmark.from_sources(report.sources)}")
        if mhz is not None:
            same = report.met and round(report.asked * 1e6) == round(mhz * 1e6)
            more = ", more than it reached" if mhz > report.reached else ""
            return Clock(mhz * 1e6, f"asked{more}; {told}", routed, same)
        if report.met:
            return Clock(report.asked * 1e6, told, routed, True)
        return Clock(board.clock_hz, f"the board's default; {told}", routed)
    if mhz is None:
        return Clock(board.clock_hz, "the board's default, not routed")
    fastest = max((one.report.reached for one in all_placed() if one.report.part == board.part), default=mhz)
    return Clock(mhz * 1e6, "asked, not routed" if mhz <= fastest else
                 f"asked, and no design routed for {board.part} reached more than {fastest:.1f} MHz")


def check_clock(board: boards.Board, mhz: float) -> None:
    """Raise ClockError where a board's bitstream cannot have that clock."""
    pll = getattr(board.implementation(), "_pll", None)     # a board without one of ours takes the next lower clock
    if pll is not None:
        pll(board, round(mhz * 1e6))


Clocks = Callable[[DesignParams], Clock]
"""The clock to count a design with."""


def clocks_of(board: boards.Board, file: Path | None = None, mhz: float | None = None) -> Clocks:
    """Return what tells the clock of any design for a board (`clock_of`); file: a report of one's own (`placed`)."""
    return functools.cache(lambda design: clock_of(board, placed(design, board, file), mhz))


def measured(folder: Path, network: str, board: str, plan: Plan) -> dict | None:
    """Return the last row of `make bench` for this network with this very program on this very hardware; None without.

    The last one of today's hardware sources, if any, and of these of those with most images. Its cycles are of RTL
    simulation; "file" and "commit" say of which run, "sources" of which hardware sources."""
    wanted = {"network": network, "board": board, "build_hash": f"{plan.design.build_hash:016x}",
              "program_hash": f"{plan.program_hash:016x}"}
    found = []
    for file in sorted(folder.glob("*.json"), reverse=True):
        try:
            run = json.loads(file.read_text(encoding="utf-8"))
            for row in run["rows"]:
                if all(row.get(name) == value for name, value in wanted.items()):
                    figures = {name: {how: row[name][how] for how in ("rtl", "predicted")}
                               for name in ("cycles", "latency_cycles")}
                    found.append(row | figures | {"images": int(row["images"]), "file": str(file),
                                                  "commit": run["commit"], "sources": row.get("sources", "")})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{file} is no result of `make bench`: {error}",
                             hint="results of earlier runs are looked for there; move the file away") from error
    return max(found, key=lambda row: (benchmark.state(row["sources"]) == "today's", row["images"]), default=None)
