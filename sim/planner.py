"""`qblif plan NETWORK --board BOARD`: the fastest layout of cores that fits the board's part, and what it would do.

Layouts are searched by measured weight rows and approximate sizes (gen/explore.py, hw/sizing.py). The best of them are
then planned in full, sized as a whole (hw/resources.py) and timed by the exact cycle model (sim/cycles.py) where that
takes seconds; the fastest of these is the answer.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from collections.abc import Callable
from itertools import zip_longest
from pathlib import Path

import numpy as np

from qblif.gen.errors import PlanError
from qblif.gen.explore import GOALS, Layout, explore
from qblif.gen.network import Network
from qblif.gen.plan import Plan, make_plan
from qblif.host.errors import InputError
from qblif.hw import boards, calibrate, emit, resources
from qblif.hw.params import DesignParams
from qblif.hw.parts import PARTS, Part
from qblif.hw.sizing import Size, Sizes, misfits

from . import benchmark, cache
from .activity import Activity
from .cycles import CycleModel
from .simulation import BLOCK

FULL = 0.85
"""Share of a part's LUTs and flip-flops that is planned with: the model of both is good to 15 %, and place and route
needs some room. Block RAM is predicted exactly, and all of it is."""

NEAR = 1.02
"""The search goes on with what is so much too large by its approximate sizes; the exact ones decide."""

FINALISTS = 12
"""Layouts that are planned in full and timed exactly, at most."""

BUDGET = 12_000_000
"""Cycles, of all cores together, that the exact model goes through before no further layout is timed: some seconds.
Where the first one alone takes twice as many, all stay estimates."""

OPTIMISTIC = 0.89
"""Estimates are rarely more than 11 % above what the exact model says, and often below: a layout whose estimate is
further above the best exact cycles is not timed. Of latencies that says nothing: cores of a chain overlap."""

MOST_CORES = BLOCK - 2
"""Cores of a chain that are looked at: a block of images fills it, and two more are timed."""

EXACT, ESTIMATED = "exact cycle model", "estimated from counted weight rows"


@dataclasses.dataclass(frozen=True)
class Speed:
    """What images take. cycles: from image to image; latency: of an image alone; how: EXACT or ESTIMATED."""

    cycles: float
    latency: float
    how: str
    images: int

    def of(self, goal: str) -> float:
        """Return the cycles that count."""
        return self.cycles if goal == "throughput" else self.latency


@dataclasses.dataclass(frozen=True, eq=False)
class Choice:
    """A layout for a board's part. used: as a whole, by the resource model; None as long as nobody asked."""

    layout: Layout
    plan: Plan
    speed: Speed
    used: resources.Resources | None = None

    @property
    def size(self) -> Size:
        """What it takes of the part, after place and route."""
        return self.layout.size if self.used is None else Size.of(self.used)


@dataclasses.dataclass(frozen=True)
class Clock:
    """A clock and where it is from."""

    hz: float
    source: str


def kept_sizes() -> Sizes:
    """Return sizes of cores that are measured once for each state of the hardware's sources."""
    state = cache.key(emit.tool_versions(), *boards.sources())

    def keep(name: str, make: Callable):
        def fill(folder: Path) -> None:
            (folder / "size.json").write_text(json.dumps(make()))

        return json.loads((cache.entry("size", cache.key(state, name), fill) / "size.json").read_text())

    return Sizes(keep)


def part_of(board: boards.Board) -> Part:
    """Return the part of a board."""
    return PARTS[board.part]


def room_of(part: Part, slack: float = 1.0) -> Size:
    """Return what a plan may take of a part."""
    return Size(FULL * slack * part.lut, FULL * slack * part.ff, math.floor(slack * part.block_ram))


class Planner:
    """Plans one network for boards.

    images: to count on; sizes: of cores. Raises ValueError for a goal that there is not."""

    def __init__(self, network: Network, images: np.ndarray, goal: str = "throughput", sizes: Sizes | None = None):
        if goal not in GOALS:
            raise ValueError(f"the goal is {goal!r}, allowed is {' or '.join(GOALS)}")
        self.network, self.images, self.goal = network, images, goal
        self.sizes = sizes or kept_sizes()
        self.rows = Activity(network, images)

    def layouts(self, room: Size | None = None, goal: str | None = None, **more) -> list[Layout]:
        """Return all layouts that no other beats, fastest first; goal: the plan's, unless given; more: as for
        gen.explore.explore."""
        return explore(self.network, self.rows, self.sizes, goal or self.goal, room=room, most_cores=MOST_CORES, **more)

    def choose(self, board: boards.Board, name: str | None = None) -> Choice:
        """Return the best layout for a board, of those called `name` (as name_of has it) where one is asked for.

        Raises PlanError, which says what is missing, where none fits; InputError where none that fits has the name."""
        part = part_of(board)
        layouts = self.layouts(room_of(part, NEAR))
        if self.goal == "latency":
            # Cores work on an image at the same time, by its rows, and their sum tells nothing of that: chains that are
            # made for throughput are timed, too, by turns.
            both = zip_longest(layouts, self.layouts(room_of(part, NEAR), "throughput"))
            layouts = [one for pair in both for one in pair if one is not None]
        if name is not None:
            known = sorted({name_of(one) for one in layouts}, key=lambda one: (len(one), one))
            layouts = [one for one in layouts if _words(name) in (_words(name_of(one)), _words(name_of(one, True)))]
            if not layouts:
                raise InputError(f"{name!r} is no layout of {self.network.name!r} that fits the {board.title} and that "
                                 "no other one beats", hint=f"allowed are {', '.join(known)}")
        while layouts:
            # The whole of a design is only sized where it may be the answer: that takes a second for each core.
            for choice in sorted(self._finalists(layouts), key=lambda one: one.speed.of(self.goal)):
                used = resources.estimate(choice.layout.design, self.sizes.by)
                if Size.of(used).within(room_of(part)):
                    return dataclasses.replace(choice, used=used)
        raise self._misfit(board)

    def _finalists(self, layouts: list[Layout]) -> list[Choice]:
        """Take the next layouts that may be the best from the front of a list, and return them planned and timed."""
        chosen, best, spent = [], math.inf, 0
        most = FINALISTS * (2 if self.goal == "latency" else 1)
        count = self._repeated(layouts[:most])
        while layouts and len(chosen) < most:
            cycles = (len(layouts[0].cores) + count) * sum(layouts[0].cycles)
            worse = self.goal == "throughput" and layouts[0].cost(self.goal) * OPTIMISTIC > best
            if chosen and (worse or count and spent + cycles > BUDGET):
                break
            chosen.append(self.finish(layouts.pop(0), count))
            best, spent = min(best, chosen[-1].speed.of(self.goal)), spent + cycles
        return chosen

    def _repeated(self, layouts: list[Layout]) -> int:
        """Return how many images all of these layouts are timed on, so that they can be compared; 0 for none."""
        cores, work = max(len(one.cores) for one in layouts), sum(layouts[0].cycles)
        if (cores + 2) * work > 2 * BUDGET:
            return 0
        return min(self.images.shape[0 if self.network.input.static else 1], BLOCK - cores,
                   max(2, int(BUDGET / 2 / work) - cores))

    def finish(self, layout: Layout, count: int) -> Choice:
        """Plan a layout in full and time it, on the first `count` images; 0: leave its estimate."""
        plan = make_plan(self.network, design=layout.design, packing=layout.packing, spans=layout.spans)
        if not count:
            return Choice(layout, plan, Speed(max(layout.cycles), sum(layout.cycles), ESTIMATED, 0))
        return Choice(layout, plan, exact(plan, self.images, count))

    def _misfit(self, board: boards.Board) -> PlanError:
        part = part_of(board)
        smallest = min(self.layouts(clusters=(1,)), key=lambda one: self._missing(one.size, part))
        others = [f"{other.title} ({other.name})" for other in boards.BOARDS.values()
                  if smallest.size.within(room_of(part_of(other)))]
        lacks = misfits(smallest.size, part, FULL)
        return PlanError(
            f"network {self.network.name!r} does not fit the {board.title} ({part.name}): the layout that misses it "
            f"least, {name_of(smallest)}, needs {', '.join(lacks)}",
            hint=f"it fits {', '.join(others)}" if others else
            f"no board of this project holds it: the largest has {max(one.block_ram for one in PARTS.values()):,} "
            "block RAMs. Fewer channels or weights of fewer bits make it smaller; `--pareto` lists layouts that do not "
            "fit, too")

    @staticmethod
    def _missing(size: Size, part: Part) -> float:
        room = room_of(part)
        return max(size.lut / room.lut, size.ff / room.ff, size.block_ram / room.block_ram)


def exact(plan: Plan, images: np.ndarray, count: int) -> Speed:
    """Return the speed of a plan by the exact model: the mean of the first `count` images, each once.

    They come again and again, as many as fill the chain before them, and all in one block: layouts with any number of
    cores are timed on the same images."""
    cores, static = len(plan.design.cores), plan.network.input.static
    order = np.arange(cores + count) % count
    found = CycleModel(plan).predict(images[order] if static else images[:, order])
    return Speed(float(found.cycles[cores:].mean()), float(found.latency[0]), EXACT, count)


def name_of(layout: Layout, full: bool = False) -> str:
    """Return cores in short: clusters x lanes of each, "2x64 + 1x64"; in full with neuron lanes: "2x64/4 + 1x64/4"."""
    return " + ".join(f"{core.clusters}x{core.lanes}" + (f"/{core.neuron_lanes}" if full else "")
                      for core in layout.cores)


def _words(name: str) -> list[str]:
    return name.replace("+", " + ").split()


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
            return Clock(routed.reached * 1e6, f"routed: {report}{benchmark.from_sources(routed)}")
        if one := placed(plan):
            return Clock(one.mhz * 1e6, f"routed: {one.name!r} of hw/calibration.json{benchmark.from_sources(one)}")
    if routed:
        return Clock(routed.reached * 1e6, f"routed for another design: {report}")
    return Clock(board.clock_hz, "asked, not routed: the board's default")


def measured(folder: Path, network: str, board: str, plan: Plan) -> dict | None:
    """Return the last row of `make bench` for this network with this very program on this very hardware; None without.

    Its cycles are of RTL simulation; "file" and "commit" say of which run."""
    wanted = {"network": network, "board": board, "build_hash": f"{plan.design.build_hash:016x}",
              "program_hash": f"{plan.program_hash:016x}"}
    for file in sorted(folder.glob("*.json"), reverse=True):
        try:
            run = json.loads(file.read_text(encoding="utf-8"))
            for row in run["rows"]:
                if all(row.get(name) == value for name, value in wanted.items()):
                    return row | {"file": str(file), "commit": run["commit"]}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{file} is no result of `make bench`: {error}") from error
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
