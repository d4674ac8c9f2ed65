"""Netlists: a synthesised design as Verilog that runs in place of the RTL, behind the same ports.

    with Simulation(None, verilog=netlist(emitted(plan.design)).text) as sim:
        sim.program(plan.program)

What is simulated is what would be placed and routed: look-up tables, carry cells, flip-flops, LUT RAM and block RAM of
an ECP5. Models of all cells are Yosys' own, but for the block RAM's (cells/dp16kd.v), which Yosys leaves empty.
"""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

from qblif.hw import ecp5_adders, ecp5_netlist, synthesis

from . import cache
from .model import SimulationError

CELLS = Path(__file__).with_name("cells")
"""Models of our own: cells/<name of the cell in small letters>.v."""

_RAM = re.compile(r"^  DP16KD #\(.*?\n  \) (.+?) \(\n(.*?)\n  \);", re.M | re.S)
_PIN = re.compile(r"\.(\w+)\((.*?)\)")
_MODULE = re.compile(r"^module (\w+) ?\(.*?^endmodule", re.M | re.S)


@dataclasses.dataclass(frozen=True)
class Netlist:
    """A design as cells with their models. text: Verilog that is complete in itself; cells: cell -> count."""

    text: str
    cells: dict[str, int]


def netlist(verilog: str, top: str = "qblif_top") -> Netlist:
    """Return emitted SystemVerilog as synthesised for the ECP5, flattened, with the models of the cells that it has.

    top: name of the top module, which keeps its ports. Takes a minute or two, or milliseconds when it is cached.
    Raises ToolMissing, CacheError; SimulationError where there is no model for a cell."""
    name = cache.key(verilog, top, synthesis.tool_version(), Path(synthesis.__file__).read_bytes(),
                     ecp5_adders.map_file(verilog), Path(ecp5_netlist.__file__).read_bytes(),
                     Path(__file__).read_bytes(), *(path.read_bytes() for path in sorted(CELLS.glob("*.v"))))

    def make(where: Path) -> None:
        made = synthesis.netlist(verilog, top)
        check_block_rams(made.verilog)
        text = made.verilog + models(made.cells, made.library)
        with cache.explained(cache.folder()):
            (where / "netlist.v").write_text(text)
            (where / "cells.json").write_text(json.dumps(made.cells))

    where = cache.entry("netlist", name, make)
    return Netlist((where / "netlist.v").read_text(), json.loads((where / "cells.json").read_text()))


def check_block_rams(verilog: str) -> None:
    """Raise SimulationError where a block RAM of a netlist has two clocks, which its model cannot tell by itself.

    A port that is never enabled needs no clock."""
    for name, connections in _RAM.findall(verilog):
        pins = dict(_PIN.findall(connections))
        if pins.get("CEB") != "1'h0" and pins.get("CLKA") != pins.get("CLKB"):
            raise SimulationError(f"block RAM {name.strip()} has the clocks {pins.get('CLKA')} and {pins.get('CLKB')}, "
                                  "there is a model for one clock")


def models(cells: dict[str, int], library: str) -> str:
    """Return the models of `cells` and of the cells that these are made of: ours, and those of `library`.

    Raises SimulationError where there is none."""
    known = {match[1]: match[0] for match in _MODULE.finditer(library)}
    known |= {path.stem.upper(): path.read_text() for path in CELLS.glob("*.v")}
    missing = sorted(set(cells) - set(known))
    if missing:
        raise SimulationError(f"the netlist has cells that there is no model for: {', '.join(missing)}")
    chosen, waiting = {}, sorted(cells)
    while waiting:
        cell = waiting.pop()
        if cell not in chosen:
            chosen[cell] = known[cell]
            waiting += sorted(set(re.findall(r"^\s*(\w+) ", known[cell], re.M)) & set(known) - set(chosen))
    return "\n" + "\n".join(chosen[cell] for cell in sorted(chosen)) + "\n"
