"""`qblif plan NETWORK --board BOARD --pareto`: layouts of a network and of others trained on the same data, a table."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from qblif.gen import zoo
from qblif.gen.errors import PlanError
from qblif.gen.explore import Layout
from qblif.gen.network import NeuronLayer
from qblif.host.errors import InputError, QblifError
from qblif.hw.boards import Board
from qblif.hw.params import DesignParams
from qblif.hw.sizing import Size

from . import named
from .console import table
from .known import Clock, Clocks, measured
from .layout_name import name_of
from .plan_report import layout_dict
from .planner import ESTIMATED, Choice, Planner, part_of, room_of, time


@dataclasses.dataclass(frozen=True, eq=False)
class Entry:
    """A network in the table.

    name: as it is asked for; steps, levels, weight_bits: T, N of each layer, bits; accuracy: 0 to 1, None: not known;
    data: what work was counted on; chosen: the planner's answer, None without one; fitting: with `chosen` among them;
    larger: faster ones that do not fit; rtl: cycles in RTL of those of `fitting` that were simulated; why: there are
    no layouts."""

    name: str
    steps: int
    levels: tuple[int, ...]
    weight_bits: int
    accuracy: float | None
    data: str
    chosen: Choice | None = None
    fitting: tuple[Choice, ...] = ()
    larger: tuple[Layout, ...] = ()
    rtl: tuple[float | None, ...] = ()
    why: str = ""


def of_networks(one: named.Named, search: Planner, board: Board, data: str, results: Path,
                runs: Path = Path("runs")) -> list[Entry]:
    """Return the network and those of the zoo and the finished runs that learned from the same data, best first.

    search: of the network, with images that are `data`; results: of `make bench`. A layout is left out where another
    network of at least that accuracy has one that is at least as fast and as small."""
    own = _card(one, runs)
    found = [_entry(one, own, search, board, data, results)]
    for other, card in _others(one, runs):
        if other.path.resolve() == one.path.resolve():
            continue
        try:
            images, about = named.images_of(other, len(search.images) if one.network.input.static
                                            else search.images.shape[1])
            planner = Planner(other.network, images, search.goal, search.sizes, search.budget // 4, search.clocks)
        except QblifError as error:
            found.append(Entry(*_head(other, card), "", why=str(error).splitlines()[0]))
            continue
        found.append(_entry(other, card, planner, board, about, results))
    best = [_unbeaten(entry, found, search.goal, search.clocks(board)) for entry in found]
    return sorted(best, key=lambda entry: (entry.name != one.text, -(entry.accuracy or 0)))


def _card(one: named.Named, runs: Path) -> dict | None:
    """Return the fields of a network's card: of the zoo, or of the run that made it; None without one."""
    if one.card is not None:
        return dataclasses.asdict(one.card)
    file = one.path.parent / "card.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


def _others(one: named.Named, runs: Path) -> list[tuple[named.Named, dict]]:
    """Return the networks that learned from the same data, with their cards."""
    if one.data is None:
        return []
    found = [(named.find(name), dataclasses.asdict(zoo.card(name))) for name in zoo.names()
             if zoo.card(name).data == one.data[0]]
    for path in sorted(runs.glob("*/card.json")):
        try:
            card = json.loads(path.read_text(encoding="utf-8"))
            file = path.parent / f"{card['name']}.network"
            if card["data"] == one.data[0] and file.is_file():
                found.append((named.find(file), card))
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path} is no card of a run: {error}", hint="move the run's folder away") from error
    return found


def _head(one: named.Named, card: dict | None) -> tuple:
    """Return the first fields of an entry, from the card where there is one, else from the network."""
    network = one.network
    if card is not None:
        return one.text, card["steps"], tuple(card["levels"]), card["weight_bits"], card["golden_accuracy"]
    levels = {layer.neuron.levels for layer in network.layers if isinstance(layer, NeuronLayer)}
    return one.text, network.steps, tuple(sorted(levels)), network.weight_bits, None


def _entry(one: named.Named, card: dict | None, search: Planner, board: Board, data: str, results: Path) -> Entry:
    head = _head(one, card)
    try:
        chosen = search.choose(board)
    except PlanError as error:
        return Entry(*head, data, None, (), tuple(search.nearest(board)), (), str(error).splitlines()[0])
    fitting, larger = search.table(board, chosen)
    seen = [measured(results, one.text, board.name, choice.plan) for choice in fitting]
    return Entry(*head, data, chosen, tuple(fitting), tuple(larger),
                 tuple(row and row["cycles"]["rtl"] for row in seen))


def _unbeaten(entry: Entry, others: list[Entry], goal: str, clocks: Clocks) -> Entry:
    """Return an entry without the layouts that another network makes pointless; the planner's answer stays."""
    if entry.accuracy is None:
        return entry

    def beaten(one: Choice) -> bool:
        return any(other.accuracy is not None and other.accuracy > entry.accuracy
                   and any(time(two, goal, clocks) <= time(one, goal, clocks) and two.size.lut <= one.size.lut
                           for two in other.fitting) for other in others)

    kept = [index for index, one in enumerate(entry.fitting) if one is entry.chosen or not beaten(one)]
    return dataclasses.replace(entry, fitting=tuple(entry.fitting[index] for index in kept),
                               rtl=tuple(entry.rtl[index] for index in kept))


HEAD = ("", "clusters x lanes / neurons", "cycles", "frames/s", "latency", "scan", "LUT4", "FF", "RAM", "RTL", "MHz",
        "routed")


def text(found: list[Entry], board: Board, goal: str, clocks: Clocks, mhz: float | None = None) -> str:
    """Return the table for people. clocks: of each design; mhz: the one asked for, of all of them."""
    rows, heads = [], {}
    for entry in found:
        heads.setdefault(len(rows), []).append(_about(entry))
        for layout in entry.larger:
            at = clocks(layout.design)
            rows.append(("-", name_of(layout, True), *_rates(layout.cost("throughput"), layout.cost("latency"), at),
                         None, *_size(layout.size), "", *_mhz(at)))
        for choice, rtl in zip(entry.fitting, entry.rtl, strict=True):
            speed, at = choice.speed, clocks(choice.design)
            mark = "*" * (choice is entry.chosen) + "≈" * (speed.how == ESTIMATED)
            rows.append((mark, name_of(choice.layout, True), *_rates(speed.cycles, speed.latency, at),
                         speed.efficiency, *_size(choice.size), "" if rtl is None else f"{rtl:,.0f}",
                         *_mhz(at)))
    lines = table(rows, HEAD).split("\n") if rows else []
    first = len(lines) - len(rows)
    shown = lines[:first]
    for index in range(len(rows) + 1):
        shown += heads.get(index, [])
        shown += lines[first + index:first + index + 1] if index < len(rows) else []
    room, what = room_of(part_of(board)), "frames/s" if goal == "throughput" else "latency"
    counted = (f"{mhz:.1f}, asked" if mhz is not None else
               f"the routed bitstream's, else {board.clock_hz / 1e6:.1f}, the board's default")
    notes = [
        "*  what `qblif plan` answers with   -  does not fit   ≈, -  cycles estimated, of all others the exact model's",
        f"fits: up to {room.lut:,.0f} LUT4, {room.ff:,.0f} FF, {room.block_ram} RAM;",
        "      what is taken is the ECP5's model's: * as a whole, others by their parts, within 3 %",
        "scan: weight rows needed / cycles of all clusters; RTL: cycles simulated",
        f"MHz: counted with, {counted}; routed: reached in place and route",
        "frames/s, latency: of the cores alone; what the board's link carries `qblif plan` says without --pareto",
        f"work counted on {found[0].data}",
        f'`--layout "{name_of(found[0].fitting[-1].layout, True)}"` takes the best one of that name'
        if found[0].fitting else found[0].why]
    return "\n".join([f"layouts that no other beats in {what} and LUT4, nor a more accurate network in both; and *",
                      *shown, "", *(f"  {note}" for note in notes)])


def _about(entry: Entry) -> str:
    accuracy = "accuracy not known" if entry.accuracy is None else f"{100 * entry.accuracy:.2f} %"
    return (f"{entry.name}: {accuracy}, T {entry.steps}, N {'/'.join(map(str, entry.levels))}, weights of "
            f"{entry.weight_bits} bits" + (f"; {entry.why}" if entry.why and not entry.larger else ""))


def _rates(cycles: float, latency: float, clock: Clock) -> tuple:
    return round(cycles), round(clock.hz / cycles), f"{1e6 * latency / clock.hz:,.0f} µs"


def _mhz(clock: Clock) -> tuple[str, str]:
    return f"{clock.hz / 1e6:.1f}", "" if clock.placed is None else f"{clock.placed.report.reached:.1f}"


def _size(size: Size) -> tuple[int, int, int]:
    return round(size.lut), round(size.ff), size.block_ram


def to_dict(found: list[Entry], board: Board, goal: str, clocks: Clocks) -> dict:
    """Return the table, JSON-able; clocks: as in `text`."""
    def pace(design: DesignParams, cycles: float, latency: float) -> dict:
        at = clocks(design)
        return {"cycles": cycles, "latency_cycles": latency, "frames_per_second": at.hz / cycles, "clock": at.to_dict(),
                "routed_mhz": at.placed and at.placed.report.reached}

    def fitting(entry: Entry, choice: Choice, rtl: float | None) -> dict:
        speed = choice.speed
        return layout_dict(choice.layout) | {
            "name": name_of(choice.layout, True), "chosen": choice is entry.chosen, "fits": True, "how": speed.how,
            "images": speed.images, **pace(choice.design, speed.cycles, speed.latency),
            "scan_efficiency": speed.efficiency, "size": dataclasses.asdict(choice.size), "rtl_cycles": rtl}

    return {"board": board.name, "goal": goal, "networks": [
        {"name": entry.name, "steps": entry.steps, "levels": list(entry.levels), "weight_bits": entry.weight_bits,
         "accuracy": entry.accuracy, "data": entry.data, "why": entry.why,
         "layouts": [fitting(entry, *one) for one in zip(entry.fitting, entry.rtl, strict=True)]
         + [layout_dict(one) | {"name": name_of(one, True), "chosen": False, "fits": False, "how": ESTIMATED,
                                **pace(one.design, one.cost("throughput"), one.cost("latency"))}
            for one in entry.larger]} for entry in found]}
