"""Between Yosys and nextpnr: what a netlist says that would cost LUTs for nothing."""

from __future__ import annotations

import collections
import json
from pathlib import Path

VERSION = 1
"""To be raised where `free_carry_ends` makes something else, so that finished steps are not taken for it."""


def free_carry_ends(netlist: Path, top: str) -> int:
    """Cut the wires that lead out of the ends of carry chains and to nowhere; return how many.

    Yosys gives every CCU2C a wire at COUT. nextpnr-ecp5 brings any wire at a chain's end out of the chain, through one
    more CCU2C, that is two LUT4, whether somebody reads it or not."""
    data = json.loads(netlist.read_text(encoding="utf-8"))
    module = data["modules"][top]
    ends = collections.Counter(bit for cell in module["cells"].values()
                               for bits in cell["connections"].values() for bit in bits)
    ends.update(bit for port in module["ports"].values() for bit in port["bits"])
    free = [cell for cell in module["cells"].values() if cell["type"] == "CCU2C"
            and all(isinstance(bit, int) and ends[bit] == 1 for bit in cell["connections"].get("COUT", ["x"]))]
    for cell in free:
        cell["connections"]["COUT"] = ["x"]
    netlist.write_text(json.dumps(data), encoding="utf-8")
    return len(free)
