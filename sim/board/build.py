"""The simulator of a design with its own AXI master: emitted, compiled, cached."""

from __future__ import annotations

import json
from pathlib import Path

from qblif import hw
from qblif.host import abi
from qblif.hw import emit
from qblif.hw.params import DesignParams
from qblif.sim import cache, verilator

from .rtl import HARNESS, TOP

ADDRESS_BITS = 32
"""Of the AXI master: what a Zynq-7000 has."""


def emitted(design: DesignParams, address_bits: int = ADDRESS_BITS) -> str:
    """Return the SystemVerilog of `design` as module qblif_dma, from the cache where nothing has changed."""
    sources = [path for folder in (Path(hw.__file__).parent, Path(abi.__file__).parent)
               for path in sorted(folder.glob("*.py"))]
    name = cache.key(json.dumps(design.to_dict()), TOP, str(address_bits), emit.tool_versions(),
                     *(part for path in sources for part in (path.name, path.read_bytes())))

    def make(where: Path) -> None:
        text = emit.emit_dma_top(design, address_bits)
        with cache.explained(cache.folder()):
            (where / "top.sv").write_text(text)

    return (cache.entry("emit", name, make) / "top.sv").read_text()


def library(design: DesignParams, address_bits: int = ADDRESS_BITS, *, waves: bool = False) -> Path:
    """Return the shared library that simulates `design`, building it where needed (5 to 60 s).

    Raises ToolMissing, CacheError."""
    return verilator.build(emitted(design, address_bits), top=TOP, waves=waves, harness=HARNESS)
