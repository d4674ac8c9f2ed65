"""Between Yosys and nextpnr: what the ECP5 can do with a netlist's cells, and Yosys does not ask for."""

from __future__ import annotations

import collections
import json
from pathlib import Path

VERSION = 2
"""To be raised where `finish` makes something else, so that finished steps are not taken for it."""

_WIDEST = 18
"""Bits of the ports that are registered: those of 36 share the data pins of both."""


def finish(netlist: Path, top: str) -> list[str]:
    """Do all of this to a netlist in Yosys' JSON; return the names of the flip-flops that it no longer has."""
    data = json.loads(netlist.read_text(encoding="utf-8"))
    gone = register_outputs(data["modules"][top])
    free_carry_ends(data["modules"][top])
    netlist.write_text(json.dumps(data), encoding="utf-8")
    return gone


def register_outputs(module: dict) -> list[str]:
    """Take the flip-flops behind block RAMs into these, where they have them; return their names.

    Of each port (DP16KD, A and B), all data pins in use have to lead to a flip-flop each and nowhere else, on the
    port's clock, without enable or reset; and the port reads in every cycle, so that its enable does not matter."""
    readers, gone = _readers(module), []
    for cell in [cell for cell in module["cells"].values() if cell["type"] == "DP16KD"]:
        for port in "AB":
            pins = cell["connections"]
            if int(cell["parameters"][f"DATA_WIDTH_{port}"], 2) > _WIDEST or pins[f"CE{port}"] != ["1"]:
                continue
            behind = {name: readers[bits[0]] for name, bits in pins.items()
                      if name.startswith(f"DO{port}") and readers[bits[0]]}
            if not behind or not all(_is_plain(module, found, pins[f"CLK{port}"]) for found in behind.values()):
                continue
            cell["parameters"][f"REGMODE_{port}"] = "OUTREG"
            pins[f"OCE{port}"] = ["1"]
            for name, ((flip_flop, _),) in behind.items():
                pins[name] = module["cells"].pop(flip_flop)["connections"]["Q"]
                gone.append(flip_flop)
    return gone


def free_carry_ends(module: dict) -> int:
    """Cut the wires that lead out of the ends of carry chains and to nowhere; return how many.

    Yosys gives every CCU2C a wire at COUT. nextpnr-ecp5 brings any wire at a chain's end out of the chain, through one
    more CCU2C, that is two LUT4, whether somebody reads it or not."""
    readers = _readers(module)
    free = [cell for cell in module["cells"].values() if cell["type"] == "CCU2C"
            and all(isinstance(bit, int) and not readers[bit] for bit in cell["connections"].get("COUT", ["x"]))]
    for cell in free:
        cell["connections"]["COUT"] = ["x"]
    return len(free)


def _readers(module: dict) -> dict[int, list[tuple[str, str]]]:
    """Return who reads each wire: names of cell and pin, of a port of the module ("", its name)."""
    readers = collections.defaultdict(list)
    for name, cell in module["cells"].items():
        for pin, bits in cell["connections"].items():
            if cell["port_directions"][pin] == "input":
                for bit in bits:
                    readers[bit].append((name, pin))
    for name, port in module["ports"].items():
        for bit in port["bits"]:
            readers[bit].append(("", name))
    return readers


def _is_plain(module: dict, readers: list[tuple[str, str]], clock: list) -> bool:
    """Return whether these are one flip-flop's data pin, and it takes what comes in every cycle of a clock."""
    (name, pin), *others = readers
    cell = module["cells"].get(name, {"type": ""})
    if others or cell["type"] != "TRELLIS_FF" or pin != "DI":
        return False
    pins, ways = cell["connections"], cell["parameters"]
    return (pins["CLK"] == clock and ways["CLKMUX"] == "CLK" and ways["CEMUX"].strip() == "1"
            and pins.get("LSR", ["0"]) in (["0"], ["x"]) and ways["LSRMUX"] == "LSR" and ways["REGSET"] == "RESET")
