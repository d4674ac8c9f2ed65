"""The rows of `make bench` (sim/benchmark.py) as tables for people, with figures that others have published."""

from __future__ import annotations

import json
from pathlib import Path

from qblif.hw import boards, resources
from qblif.hw.parts import PARTS

from . import board_link
from .benchmark import SIMULATED
from .console import table

PEERS = Path(__file__).with_name("peers.json")

CAUSES = {"starved": "starved", "neuron_stalls": "neurons", "turnaround": "turnaround", "doublings": "doublings",
          "input_stalls": "input", "other": "other"}
"""Losses that add up to 1 - scan efficiency -> their columns."""


def report(rows: list[dict]) -> str:
    """Return the tables: cycles, use, size and rates of the rows, and peers beside them."""
    return "\n\n".join([_cycles(rows), _sizes(rows), _rates(rows), _pace(rows), _published()])


def _cycles(rows: list[dict]) -> str:
    found = [(row["network"], row["board"],
              " + ".join(f"{core['clusters']} x {core['lanes']}" for core in row["hardware"]),
              _number(row["cycles"]["rtl"]), _number(row["cycles"]["predicted"]), _number(row["latency_cycles"]["rtl"]),
              f"{row['chain_efficiency']:.3f}",
              str(row["core"]), f"{row['scan_efficiency']:.3f}", f"{row['largest_layer']['scan_efficiency']:.3f}",
              f"{row['lane_utilisation']:.3f}",
              *(f"{round(100 * row['losses'][name], 1) + 0.0:.1f} %" for name in CAUSES))
             for row in rows]
    notes = ["  scan eff.: weight rows needed / cycles of all clusters; core: that which works longest; losses: its"]
    notes += [f"  {row['network']}: scan efficiency of each core: "
              + ", ".join(f"{one:.3f}" for one in row["core_efficiencies"]) for row in rows if len(row["hardware"]) > 1]
    notes += [f"  {row['network']}: reading words without set bits costs {100 * row['empty_words']:.1f} % of the "
              "cycles, by the cycle model" for row in rows]
    notes += [f"  {row['network']}: {row['data']}; cycles: the mean of the {row['counted']} that find the chain full"
              for row in rows]
    notes += [f"  {row['network']}: the largest layer is {row['largest_layer']['layer']!r}, on core "
              f"{row['largest_layer']['core']}" for row in rows]
    return _noted(table(found, ("network", "board", "clusters x lanes", "cycles, RTL", "predicted", "latency",
                                "scan eff.", "core", "its own", "largest layer", "lane util.", *CAUSES.values())),
                  notes)


def _sizes(rows: list[dict]) -> str:
    """Return the table of resources: of the model, of the netlist and, LUTs alone, of the device."""
    size = []
    for row in rows:
        model = "predicted" if PARTS[boards.find(row["board"])[0].part].inputs == 4 else "ECP5 model"
        lanes = sum(core["clusters"] * core["lanes"] for core in row["hardware"])
        known, placed = row["resources"], row["resources"]["placed_lut"]

        def line(how: str, lut: int, figures: dict | None, row: dict = row, lanes: int = lanes) -> tuple:
            rest = ("",) * 4
            if figures:
                used = resources.Resources(**figures)
                rest = used.logic, used.ff, used.lut_ram, used.block_ram
            return row["network"], row["board"], how, lut, f"{lut / lanes:.0f}", *rest

        size.append(line(model, placed["predicted"], known["predicted"]))
        if known["synthesised"]:
            size.append(line("synthesised", resources.Resources(**known["synthesised"]).slots, known["synthesised"]))
        if placed["routed"]:
            size.append(line("placed and routed", placed["routed"], None))
    beyond = [f"  {row['network']}: larger than {row['board']}: {', '.join(row['too_large'])}; cycles are of this "
              "hardware, on any chip that holds it" for row in rows if row["too_large"]]
    return _noted(table(size, ("network", "board", "resources", "LUT4, all in", "a lane", "LUT4 and carry", "FF",
                               "LUT RAM", "block RAM")), beyond)


def _rates(rows: list[dict]) -> str:
    rates = [(row["network"], row["board"], _clock(row["clock_hz"]), _number(row["rates"].get("frames_per_second")),
              _clock(row["asked_hz"]), _number(row["rates"].get("frames_per_second_asked")),
              *(_number(row["rates"].get(name), digits) for name, digits in
                (("additions_per_second", 0), ("sops_per_second", 0), ("dense_equivalent_gops", 2),
                 ("dense_equivalent_gops_per_klut", 3))),
              f"{1e6 * row['rates']['latency_seconds']:,.0f} µs" if "latency_seconds" in row["rates"] else "missing",
              f"{1e6 * row['energy']['joules']:.2f} µJ", _link(row))
             for row in rows]
    notes = [f"  per second: {SIMULATED}; asked: the clock that the bitstream runs at; latency: one image alone,",
             "  transfer apart; dense GOPS: 2 operations a synapse, as if dense, per kLUT of the device, all in;",
             "  energy: the paper's model of arithmetic alone, nothing measured"]
    notes += [f"  clock of {row['network']}: {row['clock_source']}" for row in rows
              if row["report"] is None or row["report"]["sources"] != "today's"]
    notes += [f"  critical path of {row['network']}: {path['ns']} ns, {path['routing_ns']} of them routing, from "
              f"{path['from']} to {path['to']}; seed {row['report']['seed']}"
              for row in rows if (path := row["critical_path"])]
    return _noted(table(rates, ("network", "board", "clock, reached", "frames/s", "asked", "frames/s", "additions/s",
                                "SOP/s", "dense GOPS", "per kLUT", "latency", "energy, model", "link, images/s")),
                  notes)


def _pace(rows: list[dict]) -> str:
    return table([(row["network"], row["board"], *(f"{row['simulation'][f'{what}_per_second'] / 1e6:.2f} M"
                                                   for what in ("additions", "cycles"))) for row in rows],
                 ("network", "board", "RTL simulation, one thread: additions/s", "cycles/s"))


def _published() -> str:
    peers = json.loads(PEERS.read_text(encoding="utf-8"))
    others = [(peer["name"], peer["chip"], peer["task"], "" if peer["accuracy"] is None else f"{peer['accuracy']} %",
               "" if peer["frames_per_second"] is None else f"{peer['frames_per_second']:,}", peer["energy"] or "",
               peer["gops_per_klut"] or "", peer["mark"], peer["conditions"]) for peer in peers["peers"]]
    marks = "; ".join(f"{mark}: {what}" for mark, what in peers["marks"].items())
    return _noted(table(others, ("published", "chip", "task", "accuracy", "frames/s", "energy",
                           "dense GOPS per kLUT", "mark", "conditions")),
                  [f"  {marks}; sources in sim/peers.json"])


def _link(row: dict) -> str:
    """Return what the link carries: of one that the clock drives, cycles where the clock is not known."""
    if "cycles_per_image" in row["link"] and row["asked_hz"] is None:
        return f"{row['link']['cycles_per_image']:,} cycles each"
    return _number(board_link.rate(row["link"], row["asked_hz"]))


def _clock(hz: float | None) -> str:
    return "missing" if hz is None else f"{hz / 1e6:.1f} MHz"


def _number(value: float | None, digits: int = 0) -> str:
    return "missing" if value is None else f"{value:,.{digits}f}"


def _noted(text: str, notes: list[str]) -> str:
    return "\n".join([text, *notes])
