"""Yosys, nextpnr-ecp5 and ecppack as scripts that write the files that are expected, and note that they were called."""

from __future__ import annotations

import dataclasses
import json
import stat
import sys

from qblif.hw import ecp5, tools
from qblif.hw.ecp5_report import KINDS, MULTIPLIERS

SCRIPT = """#!{python}
import json, pathlib, sys, time
home = pathlib.Path({home!r})
plan = json.loads((home / "plan.json").read_text())
name = {name!r}
if sys.argv[1:] in (["-V"], ["--version"]):
    print(plan["version"], name)
    sys.exit(0)
with (home / "calls").open("a") as calls:
    calls.write(name + " " + " ".join(sys.argv[1:]) + chr(10))
print("Info: " + name + " at work", flush=True)
if name in plan["fail"]:
    print("ERROR: " + plan["fail"][name])
    sys.exit(3)
if name in plan["hang"]:
    (home / "hanging").write_text("")
    time.sleep(60)
if name == "yosys":
    for cell in {counted!r}:
        pathlib.Path(cell + ".txt").write_text("".join("top/" + one + chr(10) for one in plan["cells"].get(cell, [])))
    text = pathlib.Path("run.ys").read_text()
    top = text.partition("-top ")[2].split()[0]
    pathlib.Path("netlist.json").write_text(json.dumps({{"modules": {{top: {{"cells": {{}}, "ports": {{}}}}}}}}))
elif name == "nextpnr-ecp5":
    seed = sys.argv[sys.argv.index("--seed") + 1]
    asked = float(sys.argv[sys.argv.index("--freq") + 1])
    clock = {{"achieved": plan["mhz"].get(seed, 0.0), "constraint": asked}}
    report = dict(plan["report"], fmax={{"$glbnet$clk": clock}})
    pathlib.Path("report.json").write_text(json.dumps(report))
    if name not in plan["silent"]:
        pathlib.Path("placed.config").write_text("config " + seed)
else:
    pathlib.Path("top.bit").write_bytes(b"bits of " + pathlib.Path("placed.config").read_bytes())
"""

STUB_YOSYS = "STUB_YOSYS"
"""Variable of the stub Yosys; $YOSYS would be heeded by what emits Verilog, too."""

COUNTED = [*(cell for cells in KINDS.values() for cell in cells), *MULTIPLIERS]

REPORT = {
    "utilization": {"TRELLIS_COMB": {"used": 41_000, "available": 83_640}, "DP16KD": {"used": 170, "available": 208},
                    "MULT18X18D": {"used": 0, "available": 156}},
    "critical_paths": [
        {"from": "posedge $glbnet$clk", "to": "posedge $glbnet$clk", "path": [
            {"delay": 0.5, "type": "clk-to-q", "from": {"cell": "a.x_FF", "loc": [1, 2], "port": "CLK"},
             "to": {"cell": "a.x_FF", "loc": [1, 2], "port": "Q"}},
            {"delay": 1.25, "type": "routing", "net": "a.x", "from": {"cell": "a.x_FF", "loc": [1, 2], "port": "Q"},
             "to": {"cell": "b.y_LUT4", "loc": [3, 4], "port": "A"}}]},
        {"from": "<async>", "to": "posedge $glbnet$clk", "path": []}],
}
"""The parts of nextpnr's report that are read, beside the clocks, as 0.11.1 writes them."""


class Tools:
    """Stub tools in a folder, found through the variables that name them; change `plan` to change what they do."""

    def __init__(self, folder, monkeypatch):
        self._folder = folder
        self.plan = {"version": "stub 1", "fail": {}, "hang": [], "silent": [], "mhz": {"1": 81.5}, "report": REPORT,
                     "cells": {"LUT4": ["a.x_LUT4", "a.b.y_LUT4_Z", "z_LUT4"], "TRELLIS_FF": ["a.x_FF"],
                               "DP16KD": ["a.b.weights.0.0"]}}
        for name, variable in (("yosys", STUB_YOSYS), ("nextpnr-ecp5", "NEXTPNR_ECP5"), ("ecppack", "ECPPACK")):
            path = folder / name
            path.write_text(SCRIPT.format(python=sys.executable, home=str(folder), name=name, counted=COUNTED))
            path.chmod(path.stat().st_mode | stat.S_IXUSR)
            monkeypatch.setenv(variable, str(path))
        monkeypatch.setattr(ecp5, "YOSYS", dataclasses.replace(tools.YOSYS, variable=STUB_YOSYS))
        self.save()

    def save(self, **changes):
        """Tell the tools what to do."""
        self.plan |= changes
        (self._folder / "plan.json").write_text(json.dumps(self.plan))

    @property
    def calls(self) -> list[str]:
        """Names of the tools in the order in which they were called."""
        path = self._folder / "calls"
        return [line.split()[0] for line in path.read_text().splitlines()] if path.exists() else []

    @property
    def hanging(self) -> bool:
        """A tool hangs now."""
        return (self._folder / "hanging").exists()
