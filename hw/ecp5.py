"""From SystemVerilog to an ECP5 bitstream: Yosys, nextpnr-ecp5, ecppack."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from . import ecp5_adders, ecp5_netlist, flow, memory_files
from .ecp5_report import KINDS, MULTIPLIERS, Clocks, Report, by_module, read_nextpnr
from .flow import BuildError, Progress
from .tools import ECPPACK, NEXTPNR_ECP5, YOSYS

SYNTHESIS = """read_verilog -sv top.sv
{adders}synth_ecp5 -top {top} -run begin:map_luts
abc -lut 4 -dress
clean
synth_ecp5 -top {top} -run map_cells: -json netlist.json
"""
"""Not abc9, the default: that of the packaged Yosys ends without a word in a design of this size."""

PLACEMENT = ("--json", "netlist.json", "--lpf", "pins.lpf", "--textcfg", "placed.config", "--report", "report.json",
             "--timing-allow-fail", "--placer-heap-cell-placement-timeout", "0", "--placer-heap-timingweight", "100")
"""The placer's own limit of attempts gives up designs of 256 lanes that it would find a place for; TIMEOUTS ends it.
Its own weight of timing, a tenth of this, leaves critical paths all over the chip."""

PACKING = ("--compress", "--freq", "62.0", "placed.config", "top.bit")
"""62 MHz: how fast the FPGA reads its configuration flash."""

TIMEOUTS = {"synthesis": 3600.0, "placement": 14400.0, "packing": 600.0}
"""Seconds that a stage may take; about four times what 256 lanes take on two busy cores."""

Keep = Callable[[str, str, Callable[[Path], None]], Path]
"""keep(kind, name, make): the folder of a finished step, made by make(folder) where there is none (sim.cache.entry)."""


class ClockMissed(BuildError):
    """The placed and routed design is slower than asked. report: the best attempt's."""

    def __init__(self, message: str, report: Report, hint: str):
        super().__init__(message, "placement", hint=hint)
        self.report = report


class Multiplies(BuildError):
    """The design uses multiplier blocks, which it has to do without. report: tells which."""

    def __init__(self, message: str, report: Report):
        super().__init__(message, "synthesis", hint="a product or a view indexed by a signal came into the RTL; `qblif "
                                                    "synth` shows where")
        self.report = report


@dataclasses.dataclass(frozen=True)
class Design:
    """What is built.

    name: of the .bit file; verilog: SystemVerilog; top: its top module; constraints: LPF; part: nextpnr's device option
    and speed grade are in `device`; clock_hz: what the PLL makes.
    """

    name: str
    verilog: str
    top: str
    constraints: str
    part: str
    device: tuple[str, ...]
    clock_hz: float


@dataclasses.dataclass(frozen=True)
class _Stage:
    folder: Path
    key: str
    seconds: float
    cached: bool


def versions() -> dict[str, str]:
    """Return the tools and their versions; raises ToolMissing."""
    return {tool.name: tool.version() for tool in (YOSYS, NEXTPNR_ECP5, ECPPACK)}


def key(design: Design, seeds: Sequence[int]) -> str:
    """Return the hash of all that a build depends on: text, constraints, options, tools. Raises ToolMissing."""
    return _hash(design, list(seeds), SYNTHESIS, ecp5_adders.map_file(design.verilog), ecp5_netlist.VERSION,
                 PLACEMENT, PACKING, versions())


class _Steps:
    """Steps of a build, each taken from `keep` where its input, options and tools have not changed."""

    def __init__(self, keep: Keep, progress: Progress, timeout: float | None):
        self.keep, self.progress = keep, progress
        self.limit = {stage: timeout or seconds for stage, seconds in TIMEOUTS.items()}

    def take(self, name: str, parts: tuple, make: Callable[[Path], float]) -> _Stage:
        """Return the step `name`, made of `parts` by `make`, which returns its seconds."""
        made = []

        def once(folder: Path) -> None:
            made.append(make(folder))
            (folder / "seconds").write_text(f"{made[0]:.1f}")

        found = _hash(name, *parts)
        folder = self.keep(f"ecp5-{name}", found, once)
        if not made:
            self.progress(name, 0.0, "done before")
        return _Stage(folder, found, float((folder / "seconds").read_text()), not made)

    def synthesis(self, design: Design, tool: str) -> tuple[_Stage, dict[str, list[str]]]:
        """Return the netlist of a design, and the names of its cells of each type that is counted."""
        adders = ecp5_adders.map_file(design.verilog)
        script = SYNTHESIS.format(top=design.top, adders=ecp5_adders.commands(design.verilog)) + "".join(
            f"tee -q -o {cell}.txt select -list t:{cell}\n" for cell in _counted())

        def synthesise(folder: Path) -> float:
            text, memories = memory_files.split(design.verilog)
            for name, contents in {"top.sv": text, **memories, ecp5_adders.FILE: adders, "run.ys": script}.items():
                (folder / name).write_text(contents)
            seconds = flow.run("synthesis", [*YOSYS.command(), "run.ys"], folder, self.limit["synthesis"],
                               self.progress, ["netlist.json"])
            gone = {f"{design.top}/{name}" for name in ecp5_netlist.finish(folder / "netlist.json", design.top)}
            names = folder / "TRELLIS_FF.txt"
            names.write_text("".join(f"{line}\n" for line in names.read_text().splitlines() if line not in gone))
            return seconds

        made = self.take("synthesis", (design.verilog, script, adders, ecp5_netlist.VERSION, tool), synthesise)
        return made, {cell: [line.partition("/")[2] for line in (made.folder / f"{cell}.txt").read_text().splitlines()]
                      for cell in _counted()}


def synthesise(design: Design, keep: Keep, progress: Progress = flow.quiet,
               timeout: float | None = None) -> dict[str, dict[str, int]]:
    """Return what each module of a design takes, as in Report.modules, without placing it.

    Raises ToolMissing; BuildError where Yosys fails or takes too long."""
    _, cells = _Steps(keep, progress, timeout).synthesis(design, YOSYS.version())
    return by_module(cells, _modules(design))


def build(design: Design, keep: Keep, *, seeds: Sequence[int] = (1,), build_hash: int = 0, program_hash: int = 0,
          sources: str = "", progress: Progress = flow.quiet,
          timeout: float | None = None) -> tuple[Report, dict[str, Path]]:
    """Build a bitstream; return its report, and file name -> path of what belongs beside it.

    Stages whose input, options and tools have not changed are taken from `keep`. The seeds are tried one after
    the other until one reaches the clock. timeout: seconds for each stage instead of TIMEOUTS. build_hash,
    program_hash, sources: for the report, as it has them.

    Raises ToolMissing; BuildError where a tool fails or takes too long; ClockMissed, Multiplies."""
    tools = versions()
    made = _Steps(keep, progress, timeout)
    limit, stage = made.limit, made.take
    netlist, cells = made.synthesis(design, tools[YOSYS.name])

    def place(seed: int) -> _Stage:
        options = [*design.device, *PLACEMENT, "--seed", str(seed), "--freq", f"{design.clock_hz / 1e6:.6f}"]

        def make(folder: Path) -> float:
            (folder / "pins.lpf").write_text(design.constraints)
            shutil.copyfile(netlist.folder / "netlist.json", folder / "netlist.json")
            try:
                return flow.run("placement", [*NEXTPNR_ECP5.command(), *options], folder, limit["placement"], progress,
                                ["placed.config", "report.json"])
            finally:
                (folder / "netlist.json").unlink()

        return stage("placement", (netlist.key, design.constraints, options, tools[NEXTPNR_ECP5.name]), make)

    tried: dict[int, tuple[_Stage, Clocks]] = {}
    for seed in seeds:
        if len(seeds) > 1:
            progress("placement", 0.0, f"seed {seed}")
        placed = place(seed)
        tried[seed] = placed, _clocks(placed, design)
        if tried[seed][1].met:
            break
    seed = max(tried, key=lambda number: tried[number][1].reached)
    placed, clocks = tried[seed]

    multipliers = {cell: len(cells[cell]) for cell in MULTIPLIERS if cells[cell]}
    multipliers |= {cell: used for cell, (used, _) in clocks.used.items() if cell in MULTIPLIERS and used}
    steps = {"synthesis": netlist, "placement": placed}

    def report() -> Report:
        return Report(design.name, design.part, key(design, seeds), f"{build_hash:016x}",
                      f"{program_hash:016x}" if program_hash else "", round(design.clock_hz / 1e6, 6), clocks.reached,
                      clocks.net, seed, {number: found.reached for number, (_, found) in tried.items()}, clocks.used,
                      by_module(cells, _modules(design)), multipliers, clocks.path, tools,
                      {name: step.seconds for name, step in steps.items()},
                      tuple(name for name, step in steps.items() if step.cached),
                      datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"), sources)

    if multipliers:
        raise Multiplies(f"the design uses multiplier blocks: {multipliers}; allowed are none", report())
    if not clocks.met:
        raise ClockMissed(f"the clock is missed: {clocks.reached:.2f} MHz reached, {design.clock_hz / 1e6:.2f} MHz "
                          f"asked (seed{'s' if len(tried) > 1 else ''} {', '.join(map(str, tried))})", report(),
                          f"try other seeds (--seeds {max(4, 2 * len(seeds))}), fewer lanes, or a lower clock "
                          f"(--clock {clocks.reached // 1:.0f}); the report names the critical path")

    def pack(folder: Path) -> float:
        shutil.copyfile(placed.folder / "placed.config", folder / "placed.config")
        return flow.run("packing", [*ECPPACK.command(), *PACKING], folder, limit["packing"], progress, ["top.bit"])

    packed = stage("packing", (placed.key, PACKING, tools[ECPPACK.name]), pack)
    steps["packing"] = packed
    files = {f"{design.name}.bit": packed.folder / "top.bit", "synthesis.log": netlist.folder / "synthesis.log",
             "placement.log": placed.folder / "placement.log", "pins.lpf": placed.folder / "pins.lpf"}
    return report(), files


def _counted() -> list[str]:
    """Return the cell types whose names are kept."""
    return [*(cell for cells in KINDS.values() for cell in cells), *MULTIPLIERS]


def _clocks(placed: _Stage, design: Design) -> Clocks:
    try:
        return read_nextpnr(placed.folder / "report.json")
    except ValueError as error:
        raise BuildError(f"placement of {design.name}: {error}", "placement") from error


def _modules(design: Design) -> list[str]:
    """Return the instance paths of a text's modules; Amaranth names modules by them."""
    names = re.findall(r"^module \\?(\S+?) ?\(", design.verilog, re.M)
    return [name.removeprefix(design.top).lstrip(".") for name in names]


def _hash(*parts) -> str:
    def plain(part):
        return dataclasses.asdict(part) if dataclasses.is_dataclass(part) else part

    text = json.dumps([plain(part) for part in parts], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
