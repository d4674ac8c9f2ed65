"""The simulator of a design with its own AXI master: emitted, compiled, cached."""

from __future__ import annotations

from pathlib import Path

from qblif.hw import emit
from qblif.hw.params import DesignParams
from qblif.sim import emission, verilator

from .rtl import HARNESS, TOP


def emitted(design: DesignParams, address_bits: int) -> str:
    """Return the SystemVerilog of `design` as module qblif_dma, from the cache where nothing has changed.

    address_bits: of its AXI master: `Kind.address_bits` of the board (sim/board/board.py)."""
    return emission.emitted(f"{TOP} {address_bits}", design, lambda: emit.emit_dma_top(design, address_bits))


def library(design: DesignParams, address_bits: int, *, waves: bool = False) -> Path:
    """Return the shared library that simulates `design`, building it where needed (5 to 60 s).

    Raises ToolMissing, CacheError."""
    return verilator.build(emitted(design, address_bits), top=TOP, waves=waves, harness=HARNESS)
