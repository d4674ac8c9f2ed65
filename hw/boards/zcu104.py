"""The ZCU104: built as the other boards with a processor (xilinx.py), with twice their weight memory.

Its XCZU7EV has 312 block RAMs of 36 Kbit, 11.2 Mbit; what the other boards' default fits into, the ULX3S, has 3.7.
"""

from __future__ import annotations

import dataclasses

from ..params import DesignParams
from . import xilinx
from .xilinx import build, versions

__all__ = ["build", "default_design", "versions"]


def default_design(lanes: int = 64) -> DesignParams:
    """Return the other boards' default design with twice the weight rows: at 64 lanes 8,192, or 512 KiB."""
    cores = xilinx.default_design(lanes).cores
    return DesignParams(tuple(dataclasses.replace(core, weight_depth=2 * core.weight_depth) for core in cores))
