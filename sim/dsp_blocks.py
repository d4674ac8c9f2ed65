"""Designs on DSP blocks (hw/dsp_lanes.py) as Verilog that runs in place of the RTL, behind the same ports.

    with Simulation(None, verilog=on_dsp_blocks(emitted(plan.design))) as sim:
        sim.program(plan.program)

Only the lane groups are cells here: DSP48E1, by Yosys' own model, which knows nothing of us.
"""

from __future__ import annotations

from pathlib import Path

from qblif.hw import dsp_lanes, synthesis

from . import cache
from .netlist import models

LIBRARY = "xilinx/cells_sim.v"


def on_dsp_blocks(verilog: str) -> str:
    """Return an emitted design with its lane groups on DSP blocks, and the model of these.

    Raises ToolMissing, CacheError; ValueError as dsp_lanes.replace."""
    return dsp_lanes.replace(verilog) + model()


def model() -> str:
    """Return the model of a DSP block. Raises ToolMissing, CacheError."""
    name = cache.key(synthesis.tool_version(), LIBRARY, Path(synthesis.__file__).read_bytes())

    def make(where: Path) -> None:
        library = synthesis.cell_library(LIBRARY)
        with cache.explained(cache.folder()):
            (where / "library.v").write_text(library)

    library = (cache.entry("cells", name, make) / "library.v").read_text()
    return models({dsp_lanes.CELL: 1}, library)
