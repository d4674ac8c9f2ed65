"""What `qblif plan NETWORK --board BOARD` prints: the layout chosen, what it would do and take, and other ones."""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Iterable
from pathlib import Path

from qblif.gen import zoo
from qblif.gen.explore import Layout, front
from qblif.host.errors import QblifError
from qblif.hw import resources
from qblif.hw.boards import Board
from qblif.hw.sizing import Size, misfits

from . import named
from .console import table
from .planner import FULL, NEAR, Choice, Clock, Planner, largest_placed, name_of, part_of, placed, room_of

UNFIT = 5
"""Faster layouts that do not fit which a table shows."""


def to_dict(network: str, choice: Choice, board: Board, clock: Clock, goal: str, data: str, seen: dict | None) -> dict:
    """Return all figures, JSON-able. network: as it was asked for; seen: row of `make bench` for this very plan."""
    part, size, speed, routed = part_of(board), choice.size, choice.speed, placed(choice.plan)
    return {
        "network": network, "board": board.name, "part": part.name, "goal": goal, "data": data,
        "layout": layout_dict(choice.layout), "design": choice.plan.design.to_dict(),
        "build_hash": f"{choice.plan.design.build_hash:016x}", "program_bytes": 4 * len(choice.plan.program),
        "clock": {"hz": clock.hz, "source": clock.source},
        "predicted": {"how": speed.how, "images": speed.images, "cycles": speed.cycles, "latency_cycles": speed.latency,
                      "frames_per_second": clock.hz / speed.cycles, "latency_seconds": speed.latency / clock.hz,
                      "lut": size.lut, "ff": size.ff, "block_ram": size.block_ram},
        "available": {"lut": part.lut, "ff": part.ff, "block_ram": part.block_ram},
        "routed": None if routed is None else {
            "name": routed.name, "lut": routed.size.lut, "ff": routed.size.ff, "block_ram": routed.size.block_ram,
            "mhz": routed.mhz},
        "measured": None if seen is None else {
            "cycles": seen["cycles"]["rtl"], "latency_cycles": seen["latency_cycles"]["rtl"], "images": seen["images"],
            "predicted_cycles": seen["cycles"]["predicted"], "predicted_latency": seen["latency_cycles"]["predicted"],
            "file": seen["file"], "commit": seen["commit"]}}


def layout_dict(layout: Layout) -> dict:
    """Return a layout, JSON-able."""
    return {"cores": [{"lanes": core.lanes, "clusters": core.clusters, "neuron_lanes": core.neuron_lanes,
                       "first": first, "last": last, "estimated_cycles": cycles}
                      for core, (first, last), cycles in zip(layout.cores, layout.spans, layout.cycles, strict=True)],
            "positions": list(layout.packing.positions), "size": dataclasses.asdict(layout.size)}


def text(choice: Choice, found: dict, board: Board) -> str:
    """Return the choice for people. found: of `to_dict`."""
    predicted, seen, mhz = found["predicted"], found["measured"], found["clock"]["hz"] / 1e6
    part, size, routed, hz = part_of(board), choice.size, found["routed"], found["clock"]["hz"]

    def row(name: str, of_cycles, key: str, other: str) -> tuple[str, ...]:
        values = [predicted[key], *((None, None) if seen is None else (seen[other], seen[key]))]
        return name, *("none" if value is None else of_cycles(value) for value in values)

    def cycles(value: float) -> str:
        return f"{value:,.0f}"

    def rate(value: float) -> str:
        return f"{hz / value:,.0f}"

    def time(value: float) -> str:
        return f"{1e6 * value / hz:,.0f} µs"

    speed = table([row("cycles per image", cycles, "cycles", "predicted_cycles"),
                   row(f"frames per second at {mhz:.1f} MHz", rate, "cycles", "predicted_cycles"),
                   row("latency, cycles", cycles, "latency_cycles", "predicted_latency"),
                   row(f"latency at {mhz:.1f} MHz", time, "latency_cycles", "predicted_latency")],
                  ("", "predicted", "predicted, images of the bench", "RTL, the same images"))

    def used_row(name: str, key: str, need: float, has: int) -> tuple[str, ...]:
        return name, f"{need:,.0f}", "none" if routed is None else f"{routed[key]:,}", f"{has:,}", f"{need / has:.0%}"

    used = table([used_row("LUT4" if part.inputs == 4 else "LUT (as LUT4)", "lut", size.lut, part.lut),
                  used_row("FF", "ff", size.ff, part.ff),
                  used_row("block RAM", "block_ram", size.block_ram, part.block_ram)],
                 ("", "predicted", "placed and routed", f"in the {part.name}", "share"))
    largest = largest_placed()
    notes = [f"goal        {found['goal']}",
             f"cycles      predicted: {predicted['how']}; work counted on {found['data']}",
             f"clock       {mhz:.1f} MHz, {found['clock']['source']}",
             "resources   predicted: the ECP5's model" + (
                 "" if part.inputs == 4 else f"; a LUT{part.inputs} holds more than a LUT4, so fewer are needed")]
    if routed is None and size.ff > largest.size.ff:
        notes.append("size        larger than all that was placed and routed so far, which had up to "
                     f"{largest.size.ff:,} flip-flops:\n              whether it reaches the clock is open")
    if seen is not None:
        notes.append(f"RTL         simulated, {seen['images']} images, {seen['file']}, "
                     f"commit {seen['commit'] or 'unknown'}; on no board")
    head = "\n".join([f"{board.title} ({board.name})",
                      f"layout {name_of(choice.layout, full=True)}: clusters x lanes / neurons a cycle",
                      f"network {found['network']}: {choice.plan.describe()}"])
    return "\n\n".join([head, speed, used,
                        "\n".join(f"  {note}" for note in notes)])


def next_steps(network: str, board: Board, design: Path | None, clock_mhz: float | None = None, **asked) -> str:
    """Return what can be done with a choice; asked: the options that led to it."""
    file = design or "design.json"
    clock = "" if clock_mhz is None else f" --clock {clock_mhz:g}"
    options = "".join(f" --{name} {shlex.quote(str(value))}" for name, value in asked.items() if value is not None)
    lines = [] if design else [f"keep it     qblif plan {network} --board {board.name}{options}{clock} --out {file}"]
    lines += [f"load it     qblif compile {network} --design {file}: a program for its block RAM, loaded at run time",
              f"bake it in  qblif bitstream --board {board.name} --design {file} --network {network}{clock}"]
    return "\n".join(f"  {line}" for line in lines)


def pareto(layouts: Iterable[Layout], board: Board, clock: Clock, goal: str, sizes) -> str:
    """Return a table of layouts that no other beats in what counts for the goal and LUTs, those that fit first.

    sizes: as of the planner; what just about fits or does not is sized as a whole, as for its answer."""
    part, layouts = part_of(board), list(layouts)
    room, exact = room_of(part), {}

    def size(one: Layout) -> Size:
        if one not in exact:
            near = one.size.within(room_of(part, NEAR)) and not one.size.within(room_of(part, 1 / NEAR))
            exact[one] = Size.of(resources.estimate(one.design, sizes.by)) if near else one.size
        return exact[one]

    def flat(some: list[Layout]) -> list[Layout]:       # only cycles and LUTs count here
        return front(some, lambda one: (one.cost(goal), Size(size(one).lut, 0, 0)))

    fits = flat([one for one in layouts if size(one).within(room)])
    others = [one for one in layouts if not size(one).within(room)]
    if fits:
        others = flat([one for one in others if one.cost(goal) < fits[0].cost(goal)])[-UNFIT:]
    else:
        nearest = min(others, key=lambda one: _excess(size(one), room))
        others = list(dict.fromkeys([*flat(others)[-UNFIT:], nearest]))
    rows = [(name_of(one), one.cores[0].neuron_lanes,
             " ".join(f"{first}-{last}" if last > first else f"{first}" for first, last in one.spans),
             round(one.cost("throughput")), round(clock.hz / one.cost("throughput")),
             f"{1e6 * one.cost('latency') / clock.hz:,.0f} µs", round(size(one).lut), size(one).block_ram,
             "yes" if one in fits else f"no: {misfits(size(one), part, FULL)[0]}") for one in [*others, *fits]]
    head = ("clusters x lanes", "neurons", "layers", "cycles", "frames/s", "latency", "LUT4", "block RAM",
            f"fits {board.name}")
    return (f"layouts that no other beats in {'frames/s' if goal == 'throughput' else 'latency'} and LUT4, all figures "
            "estimated; neurons: updated in a cycle\n"
            f"clock: {clock.hz / 1e6:.1f} MHz, {clock.source}\n{table(rows, head)}\n"
            '  --layout "2x64 + 1x64" takes the fastest of that name, "2x64/4 + 1x64/4" the one with 4 neurons')


def _excess(size: Size, room: Size) -> float:
    return max(size.lut / room.lut, size.ff / room.ff, size.block_ram / room.block_ram)


@dataclasses.dataclass(frozen=True, eq=False)
class Variant:
    """A network that was trained on the same data. card: fields of its card; one: how it is named."""

    one: named.Named
    card: dict


def variants(one: named.Named, runs: Path = Path("runs")) -> list[Variant]:
    """Return the networks of the zoo and the finished runs that learned from the same data, with their cards."""
    if one.data is None:
        return []
    found = [Variant(named.find(name), dataclasses.asdict(zoo.card(name))) for name in zoo.names()
             if zoo.card(name).data == one.data[0]]
    for path in sorted(runs.glob("*/card.json")):
        card = json.loads(path.read_text(encoding="utf-8"))
        file = path.parent / f"{card['name']}.network"
        if card["data"] == one.data[0] and file.is_file():
            found.append(Variant(named.find(file), card))
    return found


def compare(found: list[Variant], board: Board, clock: Clock, goal: str, images: int, sizes) -> str:
    """Return a table of variants: T, N, widths, accuracy, and the best layout of each, estimated."""
    rows, room = [], room_of(part_of(board))
    for variant in found:
        network, card = variant.one.network, variant.card
        head = (variant.one.text, card["steps"], "/".join(map(str, card["levels"])), f"{card['weight_bits']} bits",
                f"{100 * card['golden_accuracy']:.2f} %")
        try:
            planner = Planner(network, named.images_of(variant.one, images)[0], goal, sizes)
            best = next(iter(planner.layouts(room)), None)
        except QblifError as error:
            rows.append((*head, None, None, None, None, str(error).splitlines()[0]))
            continue
        if best is None:
            rows.append((*head, None, None, None, None, "does not fit"))
        else:
            rows.append((*head, round(clock.hz / best.cost("throughput")),
                         f"{1e6 * best.cost('latency') / clock.hz:,.0f} µs", round(best.size.lut),
                         best.size.block_ram, name_of(best)))
    return ("networks trained on the same data, each on its best layout, all figures but the accuracy estimated\n"
            + table(rows, ("network", "T", "N", "weights", "accuracy", "frames/s", "latency", "LUT4", "block RAM",
                           "clusters x lanes")))
