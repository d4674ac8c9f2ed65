"""`qblif plan NETWORK --board BOARD`: the fastest layout of cores that fits the board's part, and what it would do.

Layouts are searched by the work that test images make and approximate sizes (gen/explore.py, sim/activity.py,
hw/sizing.py). The best of them are then planned in full, sized as a whole (hw/resources.py) and timed by the exact
cycle model (sim/cycles.py) where that takes seconds; the fastest of these is the answer. Times are cycles at the clock
of the bitstream that place and route made of this very layout, or at the board's where there is none (sim/known.py).
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
from qblif.gen.explore import GOALS, Layout, explore, front, layer_cycles, packings
from qblif.gen.network import Network
from qblif.gen.packing import Packing
from qblif.gen.plan import Plan, make_plan
from qblif.hw import boards, emit, resources
from qblif.hw.params import CoreParams, DesignParams
from qblif.hw.parts import PARTS, Part
from qblif.hw.sizing import Size, Sizes

from . import cache, known
from .activity import Activity
from .cycles import CycleModel
from .layout_name import Wanted, name_of
from .simulation import BLOCK

FULL = 0.85
"""Share of a part's LUTs and flip-flops that is planned with: the model of both is good to 15 %, and place and route
needs some room. Block RAM is predicted exactly, and all of it is."""

ECP5_FF = 0.598
"""The same of an ECP5's flip-flops alone: eight share a tile and its few enables and resets, and nextpnr's placer looks
for a place for each by trying. The first of its rounds took half an hour for what has 61 % (of what was routed, at most
59.7 % were predicted), and was not done after 45 minutes for what has 74 %; what is predicted to have 59.9 was not
placed in an hour, and what has 60.1 not routed in two and a half."""

NEAR = 1.03
"""The search goes on with what is so much too large by its approximate sizes; the exact ones decide."""

ALIKE = 1.01
"""Of layouts that take at most so many times as long as the fastest (as the fastest that was routed, if one of those
comes first) the one is taken that leaves most of the part free: it costs nothing that a user would see, and place and
route finds a clock for it more easily."""

CONFIRMED = 1.05
"""Of layouts that take at most so many times as long as the fastest, one that was routed comes first: what it would do
is known, and to build it takes no luck."""

FINALISTS = 12
"""Layouts of each list that are planned in full and timed exactly, at most."""

BUDGET = 12_000_000
"""Cycles, of all cores together, that the exact model goes through before no further layout is timed: some seconds.
Where the first one alone takes twice as many, all stay estimates."""

ROUTED = 3
"""Designs that were routed, for whatever network, and are looked at for this one, at most."""

OPTIMISTIC = 0.89
"""Estimates are rarely more than 11 % above what the exact model says: a layout whose estimate is further above the
best exact one is not timed. Of latencies that says nothing: cores of a chain overlap."""

LARGER = 1.4
"""Layouts of up to so much of the room are looked at for the faster ones that do not fit."""

UNFIT = 5
"""Faster layouts that do not fit which `Planner.table` has."""

MOST_CORES = BLOCK - 2
"""Cores of a chain that are looked at: a block of images fills it, and two more are timed."""

EXACT, ESTIMATED = "exact cycle model", "estimated from the work of test images"


@dataclasses.dataclass(frozen=True)
class Speed:
    """What images take. cycles: from image to image; latency: of an image alone; efficiency: weight rows that the
    images need / cycles of all clusters of all cores; how: EXACT or ESTIMATED; images: timed, 0 for an estimate."""

    cycles: float
    latency: float
    efficiency: float
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
    def design(self) -> DesignParams:
        """The hardware."""
        return self.layout.design

    def cost(self, goal: str) -> float:
        """Return the cycles that count."""
        return self.speed.of(goal)

    @property
    def size(self) -> Size:
        """What it takes of the part, after place and route."""
        return self.layout.size if self.used is None else Size.of(self.used)


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
    return Size(FULL * slack * part.lut, ff_share(part) * slack * part.ff, math.floor(slack * part.block_ram))


def ff_share(part: Part) -> float:
    """Return the share of a part's flip-flops that is planned with; ECP5s are the ones with LUTs of four inputs."""
    return ECP5_FF if part.inputs == 4 else FULL


def lacking(size: Size, part: Part) -> list[str]:
    """Return what a plan of that size needs more of than it may take: "block RAM 2,900 of 208"."""
    room = room_of(part)
    return [f"{name} {math.ceil(need):,} of {has:,.0f}" + (f" ({has / there:.0%} of {there:,})" if has < there else "")
            for name, need, has, there in (("block RAM", size.block_ram, room.block_ram, part.block_ram),
                                            ("LUT4", size.lut, room.lut, part.lut), ("FF", size.ff, room.ff, part.ff))
            if need > has]


def fullness(size: Size, part: Part) -> float:
    """Return the share of a part that is taken, of what there is least of; 1: all that is planned with."""
    room = room_of(part)
    return max(size.lut / room.lut, size.ff / room.ff, size.block_ram / room.block_ram)


class Planner:
    """Plans one network for boards.

    images: to count on; sizes: of cores; budget: cycles that the exact model goes through, as BUDGET; clocks: board ->
    clock of a design on it; routed: board -> designs that were routed for it, with their sizes. Raises ValueError
    for a goal that there is not."""

    def __init__(self, network: Network, images: np.ndarray, goal: str = "throughput", sizes: Sizes | None = None,
                 budget: int | None = None, clocks: Callable[[boards.Board], known.Clocks] = known.clocks_of,
                 routed: Callable[[boards.Board], dict[DesignParams, Size]] = known.routed_designs):
        if goal not in GOALS:
            raise ValueError(f"the goal is {goal!r}, allowed is {' or '.join(GOALS)}")
        self.network, self.images, self.goal = network, images, goal
        self.sizes, self.budget = sizes or kept_sizes(), BUDGET if budget is None else budget
        self.work, self.clocks, self.routed = Activity(network, images), functools.cache(clocks), routed

    def layouts(self, room: Size | None = None, goal: str | None = None, wanted: Wanted | None = None) -> list[Layout]:
        """Return all layouts that no other beats, fastest first; goal: the planner's, unless given; wanted: only such.
        """
        only = {} if wanted is None else {"shapes": wanted.shapes, "chain": wanted.clusters}
        return explore(self.network, self.work, self.sizes, goal or self.goal, room=room, most_cores=MOST_CORES, **only)

    def on_routed(self, board: boards.Board, wanted: Wanted | None = None) -> list[Layout]:
        """Return how the network lies best, by its estimate, on each design that was routed for a board and that it
        fits; wanted: of such. The search makes memories as deep as one network needs them, and does not find what was
        made for another."""
        found: dict[DesignParams, Layout] = {}
        for design, size in self.routed(board).items():
            first = design.cores[0]
            if wanted is not None and ((first.lanes, first.neuron_lanes) not in wanted.shapes
                                       or tuple(core.clusters for core in design.cores) != wanted.clusters):
                continue
            for packing in packings(self.network, first, dict.fromkeys(core.clusters for core in design.cores)):
                layers = range(len(self.network.layers))

                def cycles(index: int, core: CoreParams, packing: Packing = packing) -> float:
                    return layer_cycles(self.network, index, packing, core, self.work)

                try:
                    plan = make_plan(self.network, design=design, packing=packing, work=[
                        cycles(index, dataclasses.replace(first, clusters=1)) for index in layers])
                except PlanError:
                    continue
                spans = tuple((one.first, one.last) for one in plan.segments)
                each = tuple(sum(cycles(index, core) for index in layers[span[0]:span[1] + 1])
                             for core, span in zip(design.cores, spans, strict=True))
                two = all(one.buffer_step for one in plan.segments)
                one = Layout(design.cores, spans, packing, two, each, size)
                found[design] = min(found.get(design, one), one, key=lambda layout: layout.cost(self.goal))
        return list(found.values())

    def choose(self, board: boards.Board, wanted: Wanted | None = None) -> Choice:
        """Return the best layout for a board; wanted: of such. Raises PlanError, which says what is missing, where none
        fits."""
        part, clocks = part_of(board), self.clocks(board)
        # Cores work on an image at the same time, by its rows, and the sum of their cycles tells nothing of that: for
        # latency chains that are made for throughput are timed, too, by turns.
        lists = [sorted(self.layouts(room_of(part, NEAR), goal, wanted),
                        key=functools.partial(time, goal=goal, clocks=clocks))
                 for goal in dict.fromkeys((self.goal, "throughput"))]
        layouts = list(dict.fromkeys(one for turn in zip_longest(*lists) for one in turn if one is not None))
        cost = functools.partial(time, goal=self.goal, clocks=clocks)
        least = min(map(cost, layouts), default=math.inf)
        there = [one for one in sorted(self.on_routed(board, wanted), key=cost)
                 if self.goal != "throughput" or cost(one) * OPTIMISTIC <= CONFIRMED * least][:ROUTED]
        while layouts or there:
            left = len(layouts)
            finalists = self._finalists(layouts, FINALISTS * len(lists), board, there)
            more = 0 < len(layouts) < left          # if these do not fit, others may be better than what is there
            # The whole of a design is only sized where it may be the answer: that takes a second for each core.
            while finalists and not (more and all(one.layout in there for one in finalists)):
                choice = self._ranked(finalists, board)[0]
                used = resources.estimate(choice.layout.design, self.sizes.by)
                if Size.of(used).within(room_of(part)):
                    return dataclasses.replace(choice, used=used)
                finalists.remove(choice)
            there = there if more else []
        raise self._misfit(board, wanted)

    def nearest(self, board: boards.Board) -> list[Layout]:
        """Return the smallest layouts that no other beats in what counts for the goal and LUTs, and the one that misses
        a board least: where none fits it."""
        layouts = self.layouts()
        least = min(layouts, key=lambda one: fullness(one.size, part_of(board)))
        return list(dict.fromkeys([*self._flat(layouts, board)[-UNFIT:], least]))

    def smallest(self, board: boards.Board, rate: float) -> Layout | None:
        """Return the layout with the fewest LUTs that does so many images a second by its estimate; None without one.
        """
        found = [one for one in self.layouts(room_of(part_of(board), 1 / NEAR), "throughput")
                 if time(one, "throughput", self.clocks(board)) * rate * ALIKE <= 1]
        return min(found, key=lambda one: one.size.lut, default=None)

    def table(self, board: boards.Board, choice: Choice) -> tuple[list[Choice], list[Layout]]:
        """Return layouts that no other beats in what counts for the goal and LUTs: those that fit a board, with
        `choice` among them, timed as it was as far as that takes seconds, and faster ones that do not fit, estimated.
        """
        clocks = self.clocks(board)
        room, near, surely = (room_of(part_of(board), slack) for slack in (1.0, NEAR, 1 / NEAR))
        layouts = [one for one in self.layouts(room_of(part_of(board), LARGER)) if one != choice.layout]
        sized = dict.fromkeys(self._flat([one for one in layouts if one.size.within(surely)], board))
        unsure = [one for one in layouts if one.size.within(near) and not one.size.within(surely)]
        for one in self._flat(unsure, board):
            used = resources.estimate(one.design, self.sizes.by)
            if Size.of(used).within(room):
                sized[one] = used
        fitting, spent, count = [choice], 0, choice.speed.images
        for one, used in sized.items():
            work = (len(one.cores) + count) * sum(one.cycles)
            timed = self.finish(one, count if spent + work <= self.budget else 0)
            fitting.append(dataclasses.replace(timed, used=used))
            spent += work
        kept = self._flat(fitting, board)
        fitting = [one for one in fitting if one is choice or one in kept]
        others = [one for one in layouts if one not in sized and not one.size.within(room)]
        least = time(choice, self.goal, clocks)
        faster = self._flat([one for one in others if time(one, self.goal, clocks) < least], board)
        return sorted(fitting, key=lambda one: time(one, self.goal, clocks)), faster[-UNFIT:]

    def _flat(self, layouts: list, board: boards.Board) -> list:
        """Return the layouts, or choices, that no other beats in time and LUTs."""
        return front(layouts, lambda one: (time(one, self.goal, self.clocks(board)), Size(one.size.lut, 0, 0)))

    def _ranked(self, choices: list[Choice], board: boards.Board) -> list[Choice]:
        """Return choices, the best one first: one that was routed, if it is nearly as good as the fastest; of those as
        good as the best of these, the one that leaves most room."""
        part, clocks, taken = part_of(board), self.clocks(board), functools.partial(
            time, goal=self.goal, clocks=self.clocks(board))
        best = min(map(taken, choices))
        there = [one for one in choices if clocks(one.design).confirmed and taken(one) <= CONFIRMED * best]
        good = ALIKE * min(map(taken, there), default=best)

        def rank(one: Choice) -> tuple:
            first = taken(one) <= good and (not there or one in there)
            room = round(fullness(one.size, part), 2) if first else 0.0
            return not first, one not in there, room, taken(one), one.size.lut, one.size.ff, one.size.block_ram

        return sorted(choices, key=rank)

    def _finalists(self, layouts: list[Layout], most: int, board: boards.Board, there: list[Layout]) -> list[Choice]:
        """Take the next layouts that may be the best from the front of a list, and return them planned and timed, and
        `there`, too."""
        spent, clocks, count = 0, self.clocks(board), self._repeated([*layouts[:most], *there])
        chosen = [self.finish(one, count) for one in there]
        best, most = min((time(one, self.goal, clocks) for one in chosen), default=math.inf), most + len(chosen)
        while layouts and len(chosen) < most:
            cycles = (len(layouts[0].cores) + count) * sum(layouts[0].cycles)
            worse = self.goal == "throughput" and time(layouts[0], self.goal, clocks) * OPTIMISTIC > best
            if chosen and (worse or count and spent and spent + cycles > self.budget):
                break
            chosen.append(self.finish(layouts.pop(0), count))
            best, spent = min(best, time(chosen[-1], self.goal, clocks)), spent + cycles
        return chosen

    def _repeated(self, layouts: list[Layout]) -> int:
        """Return how many images all of these layouts are timed on, so that they can be compared; 0 for none."""
        cores, work = max(len(one.cores) for one in layouts), sum(layouts[0].cycles)
        if (cores + 2) * work > 2 * self.budget:
            return 0
        return min(self.images.shape[0 if self.network.input.static else 1], BLOCK - cores,
                   max(2, int(self.budget / 2 / work) - cores))

    def finish(self, layout: Layout, count: int) -> Choice:
        """Plan a layout in full and time it, on the first `count` images; 0: leave its estimate."""
        plan = make_plan(self.network, design=layout.design, packing=layout.packing, spans=layout.spans)
        cycles, latency = exact(plan, self.images, count) if count else (max(layout.cycles), sum(layout.cycles))
        rows = sum(self.work.rows(index, layout.packing, count) for index in range(len(self.network.layers)))
        efficiency = rows / (cycles * sum(core.clusters for core in layout.cores))
        return Choice(layout, plan, Speed(cycles, latency, efficiency, EXACT if count else ESTIMATED, count))

    def _misfit(self, board: boards.Board, wanted: Wanted | None) -> PlanError:
        part = part_of(board)
        layouts = self.layouts(wanted=wanted)
        if not layouts:
            return PlanError(
                f"network {self.network.name!r} cannot be laid on {wanted.text!r}: it cannot be cut into "
                f"{len(wanted.clusters)} cores" if wanted else f"network {self.network.name!r} cannot be laid on any "
                "cores: a layer needs more memory than a core can have", hint="`--pareto` lists layouts" if wanted else
                "fewer channels, or weights of fewer bits")
        smallest = min(layouts, key=lambda one: fullness(one.size, part))
        size = Size.of(resources.estimate(smallest.design, self.sizes.by))
        others = [f"{other.title} ({other.name})" for other in boards.BOARDS.values()
                  if size.within(room_of(part_of(other)))]
        which = "" if wanted else "the layout that misses it least, "
        smaller = "" if wanted else (f"no board of this project holds it: the largest has "
                                     f"{max(one.block_ram for one in PARTS.values()):,} block RAMs. Fewer channels or "
                                     "weights of fewer bits make it smaller; ")
        return PlanError(
            f"network {self.network.name!r} does not fit the {board.title} ({part.name}): "
            f"{which}{name_of(smallest, full=wanted is not None)}, needs {', '.join(lacking(size, part))}",
            hint=(f"it fits {', '.join(others)}; " if others else smaller)
            + "`--pareto` lists " + ("what fits" if wanted else "layouts that do not fit, too"))


def time(one: Layout | Choice, goal: str, clocks: known.Clocks) -> float:
    """Return the seconds that count for a goal, at the clock of a layout."""
    return one.cost(goal) / clocks(one.design).hz


def exact(plan: Plan, images: np.ndarray, count: int) -> tuple[float, float]:
    """Return by the exact model the cycles of a plan, the mean of the first `count` images, each once, and the latency
    of the first image alone.

    They come again and again, as many as fill the chain before them, and all in one block: layouts with any number of
    cores are timed on the same images."""
    cores, static = len(plan.design.cores), plan.network.input.static
    order = np.arange(cores + count) % count
    found = CycleModel(plan).predict(images[order] if static else images[:, order])
    return float(found.cycles[cores:].mean()), float(found.latency[0])
