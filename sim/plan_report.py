"""What `qblif plan NETWORK --board BOARD` prints: the layout chosen, what it would do and take."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Callable
from pathlib import Path

from qblif.gen.explore import Layout
from qblif.hw.boards import Board

from . import benchmark, board_link
from .console import table
from .known import Clock, alike_placed, largest_placed
from .layout_name import name_of
from .planner import EXACT, FULL, Choice, ff_share, part_of

SMALLER = 0.8
"""A layout that the board's link carries no more than is named if it takes at most so much of the LUTs."""


BY_CHANCE = """its test images are not at hand: the figures below are of random ones, and real ones take other cycles,
perhaps another layout ($QBLIF_DATA or ./data: the data set, see docs/data.md; or --vectors FILE)"""
"""Above all figures where they are of random images."""


def to_dict(network: str, choice: Choice, board: Board, clock: Clock, goal: str, data: str,
            seen: dict | None, images, smallest: Callable[[float], Layout | None]) -> dict:
    """Return all figures, JSON-able. network: as it was asked for; seen: row of `make bench` for this very plan;
    images: for what the board's link carries; smallest: the layout that keeps up with so many a second
    (planner.Planner.smallest)."""
    part, size, speed, routed = part_of(board), choice.size, choice.speed, clock.placed
    link = board_link.of_board(board, choice.plan.input_layout.pack(images), choice.plan.network.classes)
    carried = board_link.rate(link, clock.hz)
    enough = smallest(carried) if carried < clock.hz / speed.cycles else None
    return {
        "network": network, "board": board.name, "part": part.name, "goal": goal, "data": data,
        "layout": layout_dict(choice.layout), "design": choice.plan.design.to_dict(),
        "build_hash": f"{choice.plan.design.build_hash:016x}", "program_bytes": 4 * len(choice.plan.program),
        "clock": clock.to_dict(),
        "predicted": {"how": speed.how, "images": speed.images, "cycles": speed.cycles, "latency_cycles": speed.latency,
                      "scan_efficiency": speed.efficiency, "frames_per_second": clock.hz / speed.cycles,
                      "latency_seconds": speed.latency / clock.hz,
                      "lut": size.lut, "ff": size.ff, "block_ram": size.block_ram},
        "link": {"name": link["name"], "images_per_second": carried,
                 "enough": enough and layout_dict(enough) | {"name": name_of(enough, True)}},
        "available": {"lut": part.lut, "ff": part.ff, "block_ram": part.block_ram},
        "routed": None if routed is None else {
            "name": routed.name, "lut": routed.size.lut, "ff": routed.size.ff, "block_ram": routed.size.block_ram,
            "mhz": routed.report.reached, "asked_mhz": routed.report.asked, "seed": routed.report.seed},
        "measured": None if seen is None else {
            "cycles": seen["cycles"]["rtl"], "latency_cycles": seen["latency_cycles"]["rtl"], "images": seen["images"],
            "scan_efficiency": seen.get("chain_efficiency"),
            "predicted_cycles": seen["cycles"]["predicted"], "predicted_latency": seen["latency_cycles"]["predicted"],
            "file": seen["file"], "commit": seen["commit"], "of": benchmark.from_sources(seen["sources"])}}


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
    reached = found["clock"]["reached_hz"]
    by_chance, by_set = "random images" in found["data"], "test images" in found["data"]

    def row(name: str, of_cycles, key: str, other: str) -> tuple[str, ...]:
        values = [predicted[key], *((None, None) if seen is None else (seen.get(other), seen[key]))]
        return name, *("none" if value is None else of_cycles(value) for value in values)

    def cycles(value: float) -> str:
        return f"{value:,.0f}"

    def rate(value: float) -> str:
        return f"{hz / value:,.0f}"

    def time(value: float) -> str:
        return f"{1e6 * value / hz:,.0f} µs"

    speed = table([row("cycles per image", cycles, "cycles", "predicted_cycles"),
                   row(f"frames per second at {mhz:.1f} MHz", rate, "cycles", "predicted_cycles"),
                   *([row(f"frames per second at the {reached / 1e6:.1f} MHz that it reached",
                          lambda value: f"{reached / value:,.0f}", "cycles", "predicted_cycles")] if reached else []),
                   row("latency, cycles", cycles, "latency_cycles", "predicted_latency"),
                   row(f"latency at {mhz:.1f} MHz", time, "latency_cycles", "predicted_latency"),
                   row("scan efficiency, all lanes", "{:.3f}".format, "scan_efficiency", "")],
                  ("", f"predicted, {'random' if by_chance else 'test' if by_set else 'these'} images",
                   "predicted, images of the bench", "RTL, the same images"))

    def used_row(name: str, key: str, need: float, has: int) -> tuple[str, ...]:
        most = {"lut": FULL, "ff": ff_share(part), "block_ram": 1.0}[key]
        return (name, f"{need:,.0f}", "none" if routed is None else f"{routed[key]:,}", f"{has:,}",
                f"{need / has:.1%}", f"{most:.1%}")

    used = table([used_row("LUT4" if part.inputs == 4 else "LUT (as LUT4)", "lut", size.lut, part.lut),
                  used_row("FF", "ff", size.ff, part.ff),
                  used_row("block RAM", "block_ram", size.block_ram, part.block_ram)],
                 ("", "predicted", "placed and routed", f"in the {part.name}", "share", "at most"))
    largest = largest_placed()
    notes = [f"goal        {found['goal']}",
             f"cycles      predicted: {predicted['how']}"
             + (f", {predicted['images']} images" if predicted["how"] == EXACT else "")
             + f";\n              work counted on {found['data']}"
             + ("; --vectors FILE: your own" if by_chance else ""),
             "latency     of the first of these images alone",
             f"clock       {mhz:.1f} MHz, {found['clock']['source']}",
             (f"link        {found['link']['images_per_second']:,.0f} of these images a second at most go through the "
              f"board's own, {found['link']['name']};\n              frames per second above are of the cores alone"),
             *_enough(found),
             "resources   predicted: the ECP5's model" + (
                 "" if part.inputs == 4 else f"; a LUT{part.inputs} holds more than a LUT4, so fewer are needed")]
    if part.inputs == 4:
        alike = alike_placed(size.ff if routed is None else routed["ff"])
        minutes = _span([sum(one.report.seconds.values()) / 60 for one in alike])
        notes.append(f"build       {minutes} minutes beside other work, for designs of "
                     f"{_span([one.size.ff for one in alike])} flip-flops")
    if routed is None and part.inputs == 4 and size.ff > largest.size.ff:
        notes.append("size        larger than all that was placed and routed so far, which had up to "
                     f"{largest.size.ff:,} flip-flops:\n              whether it reaches the clock is open")
    if seen is not None:
        notes.append(f"RTL         simulated, {seen['images']} images, {seen['file']}, "
                     f"commit {seen['commit'] or 'unknown'}{seen['of']};\n              on no board")
    head = "\n".join([f"{board.title} ({board.name})",
                      f"layout {name_of(choice.layout, full=True)}: clusters x lanes / neurons a cycle",
                      f"network {found['network']}: {choice.plan.describe()}",
                      *([BY_CHANCE] if by_chance else [])])
    return "\n\n".join([head, speed, used,
                        "\n".join(f"  {note}" for note in notes)])


def _span(values: list[float]) -> str:
    """Return the smallest and the largest of some values."""
    return " to ".join(dict.fromkeys(f"{one:,.0f}" for one in (min(values), max(values))))


def _enough(found: dict) -> list[str]:
    """Return a line on what is fast enough for the board's link, if that is smaller."""
    enough, taken = found["link"]["enough"], found["predicted"]
    if enough is None or found["goal"] != "throughput" or enough["size"]["lut"] > SMALLER * taken["lut"]:
        return []
    size = enough["size"]
    return [(f"            --layout {shlex.quote(enough['name'])} keeps up with the link, by its estimate, with "
            f"{size['lut'] / taken['lut']:.0%} of the LUT4 and {size['ff'] / taken['ff']:.0%} of the FF")]


def next_steps(network: str, board: Board, design: Path | None, clock: Clock, clock_mhz: float | None = None,
               **asked) -> str:
    """Return what can be done with a choice; clock_mhz, asked: the options that led to it."""
    file = design or "design.json"
    options = "".join(f" --{name} {shlex.quote(str(value))}" for name, value in asked.items() if value is not None)
    mhz = "" if clock_mhz is None else f" --clock {clock_mhz:g}"
    as_routed = mhz
    if clock.report is not None:        # what comes out then is what was routed
        as_routed = "" if clock.report.asked * 1e6 == board.clock_hz else f" --clock {clock.report.asked:g}"
        as_routed += "" if clock.report.seed == 1 else f" --seed {clock.report.seed}"
    lines = [] if design else [f"keep it     qblif plan {network} --board {board.name}{options}{mhz} --out {file}"]
    lines += [f"build it    qblif bitstream --board {board.name} --design {file}{as_routed}",
              f"load it     qblif compile {network} --design {file}: a program for it, loaded at run time",
              f"bake it in  qblif bitstream --board {board.name} --design {file} --network {network}{as_routed}"]
    return "\n".join(f"  {line}" for line in lines)
