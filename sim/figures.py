"""Synthesis figures (hw/synthesis.py) of whole designs, from the cache where nothing they depend on has changed."""

from __future__ import annotations

from pathlib import Path

from qblif.hw import dsp_lanes, ecp5_adders, synthesis
from qblif.hw.params import DesignParams

from . import cache, simulation
from .console import table


def report(design: DesignParams, target: str, modules: bool = False, dsp: bool = False) -> synthesis.Report:
    """Return the figures of `design`, without trace ports, on `target` (a key of synthesis.TARGETS).

    modules: with those of every module; dsp: with the lanes on DSP blocks that only add (hw/dsp_lanes.py), for "xc7".
    Raises ToolMissing, CacheError; ValueError where the family's DSP blocks cannot."""
    if dsp and target != dsp_lanes.TARGET:
        raise ValueError(f"lanes on DSP blocks are for {synthesis.TARGETS[dsp_lanes.TARGET].name} "
                         f"({dsp_lanes.TARGET}), not for {synthesis.TARGETS[target].name} ({target})")
    verilog = simulation.design_verilog(design, trace=False)
    if dsp:
        verilog = dsp_lanes.replace(verilog)
    name = cache.key(verilog, target, repr(modules), synthesis.tool_version(), Path(synthesis.__file__).read_bytes(),
                     ecp5_adders.map_file(verilog))

    def make(where: Path) -> None:
        text = synthesis.synthesise(verilog, target, modules=modules).to_json()
        with cache.explained(cache.folder()):
            (where / "report.json").write_text(text)

    return synthesis.Report.from_json((cache.entry("synthesis", name, make) / "report.json").read_text())


def side_by_side(without: synthesis.Report, lanes_on_dsp: synthesis.Report) -> str:
    """Return a table of what two reports count: with the lanes' adders in LUTs, and on DSP blocks."""
    rows = [(kind, count, lanes_on_dsp.figures()[kind]) for kind, count in without.figures().items()]
    return table(rows, ("cells", "lanes in LUTs", "lanes on DSP blocks"))
