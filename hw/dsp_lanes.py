"""Lane groups on the DSP blocks of Xilinx's 7 series, as plain adders: nothing is multiplied there, either.

An option of synthesis: every lane group of an emitted design gives way to `qblif_dsp_lanes` (dsp_lanes.v), which has
its ports and does the same in the same cycles. Design, build hash and programs stay what they are.
"""

from __future__ import annotations

import importlib.resources
import re

from .ecp5_adders import ADDERS

CELL = "DSP48E1"
"""What a lane, or a pair of lanes, becomes."""

MODULE = "qblif_dsp_lanes"
"""The module in dsp_lanes.v."""

TARGET = "xc7"
"""Which of synthesis.TARGETS has such blocks."""

_PORT = re.compile(r"^  (?:input|output) (?:\[(\d+):0\] )?(\w+);", re.M)
_RESETS = {"rst", "clear"}
_PORTS = {"clk", "i", "o", "row", "total"}


def replace(verilog: str) -> str:
    """Return emitted Verilog with DSP48E1 in the place of the adders of all lane groups.

    Every group counts, of all clusters and cores. Raises ValueError where there is none, or one with other ports than
    accumulate.LaneGroup has."""
    found = list(ADDERS.finditer(verilog))
    if not found:
        raise ValueError("there are no lane groups in this text: it is no emitted design, or has DSP blocks already")
    modules = {match[1]: match for match in _modules(verilog)}
    changed = {}
    for adders, *sizes in (match.groups() for match in found):
        group = adders.rpartition(".")[0]
        changed[adders], changed[group] = "", _group(modules[group], *map(int, sizes))
    pieces, at = [], 0
    for name, match in modules.items():
        if name in changed:
            pieces += [verilog[at:match.start()], changed[name]]
            at = match.end()
    return "".join([*pieces, verilog[at:], "\n", template()])


def template() -> str:
    """Return dsp_lanes.v: plain Verilog, module MODULE."""
    return (importlib.resources.files(__package__) / "dsp_lanes.v").read_text(encoding="utf-8")


def _modules(verilog: str):
    return re.finditer(r"^module \\?(\S+?) ?\([^;]*\);\n.*?^endmodule\n", verilog, re.M | re.S)


def _group(module: re.Match, lanes: int, bits: int, weight_bits: int) -> str:
    """Return a module with the name and the ports of a lane group, made of DSP48E1."""
    ports = {name: int(high or 0) + 1 for high, name in _PORT.findall(module[0])}
    behind = ports.get("i", 0) - 2 - lanes
    expected = {"clk": 1, "i": lanes + behind + 2, "row": lanes * weight_bits, "total": lanes * bits}
    if "o" in ports:  # the last group has no neighbour
        expected["o"] = behind + 2
    resets = sorted(_RESETS & set(ports))
    if behind < 0 or ports != expected | dict.fromkeys(resets, 1) or not resets:
        raise ValueError(f"module {module[1]} has ports {ports}, a group of {lanes} lanes has {expected} and rst")
    head, _, body = module[0].partition(";\n")
    declared = "".join(f"{line[0]}\n" for line in _PORT.finditer(body))
    return f"""\
{head};
{declared}  {MODULE} #(.LANES({lanes}), .BITS({bits}), .WEIGHT({weight_bits}), .BEHIND({behind})) lanes (
    .clk(clk), .rst({" | ".join(resets)}), .i(i), .o({"o" if "o" in ports else ""}), .row(row), .total(total));
endmodule
"""
