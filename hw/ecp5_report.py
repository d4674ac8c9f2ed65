"""What place and route says about an ECP5 bitstream: clock, utilisation, critical path."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

KINDS = {"LUT": ("LUT4",), "carry": ("CCU2C",), "FF": ("TRELLIS_FF",), "LUT RAM": ("TRELLIS_DPR16X4",),
         "block RAM": ("DP16KD",)}
"""Columns of the table of modules -> the cells of Yosys' netlist that they count."""

LUTS = {"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 4}
"""Cells of Yosys' netlist -> LUT4s that they take, as nextpnr counts them (TRELLIS_COMB)."""

MULTIPLIERS = ("MULT18X18D", "MULT9X9D", "ALU54B", "ALU24B")
"""Cells that multiply, in Yosys' netlist and in nextpnr's utilisation alike."""

SHOWN_NS = 0.1
"""Shorter steps of the critical path, those along a carry chain, are counted but not printed."""

_SHOWN = {"TRELLIS_COMB": "logic (LUT4, carry)", "TRELLIS_FF": "flip-flops", "TRELLIS_RAMW": "LUT RAM write ports",
          "DP16KD": "block RAM", "MULT18X18D": "multipliers", "ALU54B": "DSP adders", "EHXPLLL": "PLLs",
          "TRELLIS_IO": "pins"}


@dataclasses.dataclass(frozen=True)
class Step:
    """A part of the critical path: ns, `kind` ("clk-to-q", "logic", "routing", "setup"), from cell, to cell, net."""

    delay: float
    kind: str
    source: str
    target: str
    net: str


@dataclasses.dataclass(frozen=True)
class Clocks:
    """What nextpnr's report.json says.

    reached: MHz of the clock with the least margin; asked: its constraint; net: its name;
    used: cell type -> (used, available); path: the slowest path of that clock.
    """

    reached: float
    asked: float
    net: str
    used: dict[str, tuple[int, int]]
    path: tuple[Step, ...]

    @property
    def met(self) -> bool:
        """Every clock is at least as fast as asked."""
        return self.reached >= self.asked


def read_nextpnr(file: Path) -> Clocks:
    """Read nextpnr's --report file. Raises ValueError, saying what is missing, for anything else."""
    try:
        data = json.loads(file.read_text())
        clocks = {net: (float(found["achieved"]), float(found["constraint"])) for net, found in data["fmax"].items()}
        used = {kind: (int(found["used"]), int(found["available"])) for kind, found in data["utilization"].items()}
        paths = {(path["from"], path["to"]): tuple(map(_step, path["path"])) for path in data["critical_paths"]}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{file.name} is no report of nextpnr: {type(error).__name__} {error}") from error
    if not clocks:
        raise ValueError(f"{file.name} tells no clock")
    net = min(clocks, key=lambda name: clocks[name][0] / clocks[name][1])
    edge = f"posedge {net}"
    return Clocks(*clocks[net], net, used, paths.get((edge, edge), ()))


def _step(step: Mapping) -> Step:
    return Step(float(step["delay"]), step["type"], step["from"]["cell"], step["to"]["cell"], step.get("net", ""))


def luts(counts: Mapping[str, int]) -> int:
    """Return the LUT4s that cells of Yosys' netlist take, all in: logic, carry chains and LUT RAM."""
    return sum(counts.get(cell, 0) * weight for cell, weight in LUTS.items())


def by_module(cells: Mapping[str, Iterable[str]], modules: Iterable[str]) -> dict[str, dict[str, int]]:
    """Return module -> cell type -> count of a flattened netlist, by the names of its cells.

    cells: cell type -> cell names, which begin with the instance path of the module that they come from, as Yosys
    names them; modules: instance paths with dots, "" is the top. A cell counts for the longest path that fits."""
    known = sorted(set(modules) | {""}, key=len, reverse=True)
    found: dict[str, dict[str, int]] = {}
    cache: dict[str, str] = {}
    for kind, names in cells.items():
        for name in names:
            scope = name.rpartition(".")[0] or name
            if scope not in cache:
                cache[scope] = next(path for path in known if not path or f"{scope}.".startswith(f"{path}."))
            counts = found.setdefault(cache[scope], {})
            counts[kind] = counts.get(kind, 0) + 1
    return dict(sorted(found.items()))


@dataclasses.dataclass(frozen=True)
class Report:
    """A build in figures.

    board, part: names; key: hash of all that it was made from; build_hash, program_hash: hexadecimal, the latter ""
    without a network; asked, reached: MHz; clock: its net; seed: of the placement; seeds: seed -> MHz of all tried;
    used: cell type of nextpnr -> (used, available); modules: instance path -> cell type of Yosys -> count;
    multipliers: cell type -> count, where there are any; path: the critical path; tools: name -> version;
    seconds: stage -> time it took when it was done; cached: stages that had been done before; made: date and time;
    sources: hash of the hardware's sources (hw.boards.sources_hash), "" where it was not told.
    """

    board: str
    part: str
    key: str
    build_hash: str
    program_hash: str
    asked: float
    reached: float
    clock: str
    seed: int
    seeds: dict[int, float]
    used: dict[str, tuple[int, int]]
    modules: dict[str, dict[str, int]]
    multipliers: dict[str, int]
    path: tuple[Step, ...]
    tools: dict[str, str]
    seconds: dict[str, float]
    cached: tuple[str, ...]
    made: str
    sources: str = ""

    @property
    def met(self) -> bool:
        """The clock asked for is reached."""
        return self.reached >= self.asked

    def to_json(self) -> str:
        """Return all of it as JSON; `from_json` is the inverse."""
        return json.dumps(dataclasses.asdict(self), indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Report:
        """Rebuild a report from `to_json`'s text."""
        data = json.loads(text)
        return cls(**data | {"seeds": {int(seed): mhz for seed, mhz in data["seeds"].items()},
                             "used": {kind: tuple(pair) for kind, pair in data["used"].items()},
                             "path": tuple(Step(**step) for step in data["path"]), "cached": tuple(data["cached"])})

    def summary(self) -> str:
        """Return the clock and the utilisation of the whole, in a few lines."""
        lines = [f"clock        {self.reached:.2f} MHz reached, {self.asked:.2f} MHz asked"
                 + ("" if self.met else "  MISSED") + f" (seed {self.seed})"]
        for kind, name in _SHOWN.items():
            if kind in self.used:
                used, available = self.used[kind]
                lines.append(f"{name:22}{used:>9,} of {available:>7,}  {100 * used / max(available, 1):5.1f} %")
        lines.append(f"multiplier blocks     {sum(self.multipliers.values()):>9}")
        return "\n".join(lines)

    def __str__(self) -> str:
        lines = [f"{self.board}, {self.part}", f"made         {self.made}, key {self.key}",
                 f"build hash   {self.build_hash}",
                 f"program hash {self.program_hash or 'none: programs are loaded at run time'}",
                 f"sources      {self.sources or 'not told'}"]
        lines += [f"tool         {name}: {version}" for name, version in sorted(self.tools.items())]
        lines += [f"stage        {stage}: {seconds:.0f} s" + (", done before" if stage in self.cached else "")
                  for stage, seconds in self.seconds.items()]
        if len(self.seeds) > 1:
            lines.append("seeds        " + ", ".join(f"{seed}: {mhz:.2f} MHz" for seed, mhz in self.seeds.items()))
        lines += ["", self.summary(), "",
                  "cells by module, without sub-modules (Yosys' netlist, by the names of the cells)",
                  "  " + f"{'':52}" + "".join(f"{kind:>10}" for kind in KINDS)]
        for path, counts in self.modules.items():
            figures = [sum(counts.get(cell, 0) for cell in cells) for cells in KINDS.values()]
            lines.append(f"  {path or '(top)':52}" + "".join(f"{figure:>10,}" for figure in figures))
        lines += ["", f"critical path of {self.clock}, {sum(step.delay for step in self.path):.2f} ns"]
        at = 0.0
        for step in self.path:
            at += step.delay
            if step.delay >= SHOWN_NS:
                where = f"{step.source} -> {step.target}" if step.kind == "routing" else step.target
                lines.append(f"  {at:6.2f}  {step.delay:5.2f}  {step.kind:9} {where}")
        return "\n".join(lines) + "\n"
