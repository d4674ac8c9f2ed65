"""Synthesis figures (hw/synthesis.py) of whole designs, from the cache where nothing they depend on has changed."""

from __future__ import annotations

from pathlib import Path

from qblif.hw import ecp5_adders, synthesis
from qblif.hw.params import DesignParams

from . import cache, simulation


def report(design: DesignParams, target: str, modules: bool = False) -> synthesis.Report:
    """Return the figures of `design`, without trace ports, on `target` (a key of synthesis.TARGETS).

    modules: with those of every module. Raises ToolMissing, CacheError."""
    verilog = simulation.design_verilog(design, trace=False)
    name = cache.key(verilog, target, repr(modules), synthesis.tool_version(), Path(synthesis.__file__).read_bytes(),
                     ecp5_adders.map_file(verilog))

    def make(where: Path) -> None:
        text = synthesis.synthesise(verilog, target, modules=modules).to_json()
        with cache.explained(cache.folder()):
            (where / "report.json").write_text(text)

    return synthesis.Report.from_json((cache.entry("synthesis", name, make) / "report.json").read_text())
