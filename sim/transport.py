"""The target `sim`: a bundle's own Verilog, simulated, behind the host's transport protocol.

    qblif.open("digits.qblif", target="sim")
    qblif.open("digits.qblif", target="sim", threads=1, waves="run.vcd")
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from qblif.host.bundle import VERILOG, Bundle
from qblif.host.errors import BundleError, UnknownTarget

from .simulation import Simulation

HARMLESS = {"$signed", "$unsigned"}
"""System functions that emitted Verilog uses. Others could read and write files or run C++ on this machine."""

_NAME = re.compile(r"\\[\w$.:\[\]]+(?=\s)")
"""An escaped name as emitted. Nothing in it can end a string or a comment, so to take it out hides no code."""


def check_harmless(verilog: str, where: object) -> None:
    """Raise BundleError where `verilog` has more than plain logic in it: bundles come from others.

    Comments and strings are searched like the rest, so that no way of quoting hides anything."""
    text = _NAME.sub(" ", verilog)
    found = set(re.findall(r"\$\w+|`\w*|\\|\b(?:import|export|bind)\b", text)) - HARMLESS
    if found:
        raise BundleError(f"{VERILOG} in {where} contains {', '.join(sorted(found))}; emitted hardware never does",
                          hint="build the bundle again from its network")


class SimTransport:
    """A `host.transport.Transport` over simulated hardware."""

    def __init__(self, simulation: Simulation):
        self._simulation = simulation
        self.read, self.write, self.close = simulation.read, simulation.write, simulation.close
        self.about = {"hardware": "simulated by Verilator, end-to-end rates are this machine's",
                      "instances": str(simulation.instances)}

    def program(self, image: np.ndarray, timeout: float) -> None:
        """Load a program; Timeout after `timeout` seconds."""
        self._simulation.program(image, timeout=timeout)

    def infer(self, frames: np.ndarray, classes: int, timeout: float,
              progress: Callable[[int], None] | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return logits and the clock cycles of each image, without those in which it waited for others."""
        result = self._simulation.infer(frames, classes, timeout_cycles=1 << 62, timeout=timeout, progress=progress)
        return result.logits, result.cycles


def open_transport(bundle: Bundle, target: str, timeout: float, *, threads: int | None = None,
                   waves: str | Path | None = None) -> SimTransport:
    """Build and start the simulation of a bundle. target: "sim"; threads, waves: as for `Simulation`.

    Raises UnknownTarget, BundleError, ToolMissing, CacheError."""
    if target != "sim":
        raise UnknownTarget(f"target {target!r} has details that the simulation does not know",
                            hint='the target is "sim"; threads=... and waves=... are arguments of open')
    check_harmless(bundle.verilog, bundle.path)
    return SimTransport(Simulation(None, verilog=bundle.verilog, threads=threads, waves=waves))
