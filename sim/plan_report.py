"""What `qblif plan NETWORK --board BOARD` prints: the layout chosen, what it would do and take, and other ones."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path

from qblif.gen import zoo
from qblif.gen.explore import Layout, front
from qblif.host.errors import QblifError
from qblif.hw.boards import Board
from qblif.hw.sizing import Size

from . import named
from .console import table
from .planner import Choice, Clock, Planner, misfits, name_of, part_of, room_of

UNFIT = 5
"""Faster layouts that do not fit which a table shows."""


def to_dict(choice: Choice, board: Board, clock: Clock, goal: str, data: str, seen: dict | None) -> dict:
    """Return all figures, JSON-able. seen: row of `make bench` for this layout."""
    part, size, speed = part_of(board), choice.size, choice.speed
    return {
        "network": choice.plan.network.name, "board": board.name, "part": part.name, "goal": goal, "data": data,
        "layout": layout_dict(choice.layout), "design": choice.plan.design.to_dict(),
        "build_hash": f"{choice.plan.design.build_hash:016x}", "program_bytes": 4 * len(choice.plan.program),
        "clock": {"hz": clock.hz, "source": clock.source},
        "predicted": {"how": speed.how, "images": speed.images, "cycles": speed.cycles, "latency_cycles": speed.latency,
                      "frames_per_second": clock.hz / speed.cycles, "latency_seconds": speed.latency / clock.hz,
                      "lut": size.lut, "ff": size.ff, "block_ram": size.block_ram},
        "available": {"lut": part.lut, "ff": part.ff, "block_ram": part.block_ram},
        "measured": None if seen is None else {
            "cycles": seen["cycles"]["rtl"], "latency_cycles": seen["latency_cycles"]["rtl"], "file": seen["file"],
            "commit": seen["commit"]}}


def layout_dict(layout: Layout) -> dict:
    """Return a layout, JSON-able."""
    return {"cores": [{"lanes": core.lanes, "clusters": core.clusters, "neuron_lanes": core.neuron_lanes,
                       "first": first, "last": last, "estimated_cycles": cycles}
                      for core, (first, last), cycles in zip(layout.cores, layout.spans, layout.cycles, strict=True)],
            "positions": list(layout.packing.positions), "size": dataclasses.asdict(layout.size)}


def text(choice: Choice, found: dict, board: Board) -> str:
    """Return the choice for people. found: of `to_dict`."""
    predicted, seen, mhz = found["predicted"], found["measured"], found["clock"]["hz"] / 1e6
    part, size = part_of(board), choice.size

    def both(name: str, unit: str, of_cycles) -> tuple[str, str, str]:
        key = "latency_cycles" if "latency" in name else "cycles"
        return (name, f"{of_cycles(predicted[key]):,.0f}{unit}",
                "none" if seen is None else f"{of_cycles(seen[key]):,.0f}{unit}")

    hz = found["clock"]["hz"]
    speed = table([both("cycles per image", "", lambda cycles: cycles),
                   both("frames per second", "", lambda cycles: hz / cycles),
                   both("latency, cycles", "", lambda cycles: cycles),
                   both("latency", " µs", lambda cycles: 1e6 * cycles / hz)],
                  ("", "predicted", "measured in RTL"))
    used = table([("LUT4" if part.inputs == 4 else "LUT (as LUT4)", f"{size.lut:,.0f}", f"{part.lut:,}",
                   f"{size.lut / part.lut:.0%}"),
                  ("FF", f"{size.ff:,.0f}", f"{part.ff:,}", f"{size.ff / part.ff:.0%}"),
                  ("block RAM", f"{size.block_ram:,}", f"{part.block_ram:,}",
                   f"{size.block_ram / part.block_ram:.0%}")],
                 ("", "predicted", f"in the {part.name}", "share"))
    notes = [f"goal        {found['goal']}",
             f"cycles      predicted: {predicted['how']}; work counted on {found['data']}",
             f"clock       {mhz:.1f} MHz, {found['clock']['source']}",
             "resources   predicted: the ECP5's model" + (
                 "" if part.inputs == 4 else f"; a LUT{part.inputs} holds more than a LUT4, so fewer are needed")]
    if seen is not None:
        notes.append(f"measured    RTL simulation, {seen['file']}, commit {seen['commit'] or 'unknown'}; on no board")
    return "\n\n".join([f"{board.title} ({board.name})\n{choice.plan.describe()}", speed, used,
                        "\n".join(f"  {note}" for note in notes)])


def next_steps(network: str, board: Board, design: Path | None) -> str:
    """Return what can be done with a choice."""
    file = design or "design.json"
    lines = [] if design else [f"keep it     qblif plan {network} --board {board.name} --out {file}"]
    lines += [f"load it     qblif compile {network} --design {file}: a program for its block RAM, loaded at run time",
              f"bake it in  qblif bitstream --board {board.name} --design {file} --network {network}"]
    return "\n".join(f"  {line}" for line in lines)


def pareto(layouts: Iterable[Layout], board: Board, clock: Clock) -> str:
    """Return a table of layouts that no other beats in frames per second and LUTs, those that fit first."""
    part, layouts = part_of(board), list(layouts)

    def flat(some: list[Layout]) -> list[Layout]:       # only cycles and LUTs count here
        return front(some, lambda one: (one.cost("throughput"), Size(one.size.lut, 0, 0)))

    fits = flat([one for one in layouts if one.size.within(room_of(part))])
    others = [one for one in layouts if not one.size.within(room_of(part))]
    if fits:
        others = flat([one for one in others if one.cost("throughput") < fits[0].cost("throughput")])[-UNFIT:]
    else:
        nearest = min(others, key=lambda one: _excess(one.size, room_of(part)))
        others = list(dict.fromkeys([*flat(others)[-UNFIT:], nearest]))
    rows = [(name_of(one), " ".join(f"{first}-{last}" if last > first else f"{first}" for first, last in one.spans),
             round(one.cost("throughput")), round(clock.hz / one.cost("throughput")),
             f"{1e6 * one.cost('latency') / clock.hz:,.0f} µs", round(one.size.lut), one.size.block_ram,
             "yes" if one in fits else f"no: {misfits(one.size, part)[0]}") for one in [*others, *fits]]
    head = ("clusters x lanes", "layers", "cycles", "frames/s", "latency", "LUT4", "block RAM", f"fits {board.name}")
    return ("layouts that no other beats in frames/s and LUT4, all figures estimated\n"
            f"clock: {clock.hz / 1e6:.1f} MHz, {clock.source}\n{table(rows, head)}")


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
