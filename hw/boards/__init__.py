"""Boards: what is around an accelerator on each, and how its bitstream is made.

A board's module has

    default_design(lanes) -> DesignParams
    versions(toolchain) -> dict[str, str]          the tools that `build` would run
    build(board, design, folder, toolchain, options) -> Built
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from qblif import host
from qblif.host.errors import QblifError

if TYPE_CHECKING:
    import numpy as np

    from ..flow import Progress


class UnknownBoard(QblifError):
    """No board has that name, or the board has no such tool chain."""


@dataclasses.dataclass(frozen=True)
class Board:
    """A board.

    name: on the command line; title: for people; part: the FPGA; family: of FPGAs; toolchains: that can build for it,
    the default first; clock_hz: of the accelerator, unless asked otherwise; module: of this package; load: how a
    bitstream gets onto it, with {bit} for the file; target: where `qblif selftest` finds it, with {bit} again.
    """

    name: str
    title: str
    part: str
    family: str
    toolchains: tuple[str, ...]
    clock_hz: int
    module: str
    load: str
    target: str = "serial:/dev/ttyUSB0"

    def implementation(self) -> ModuleType:
        """Return the board's module."""
        return importlib.import_module(f"{__name__}.{self.module}")


@dataclasses.dataclass(frozen=True)
class Options:
    """How a bitstream is to be built.

    clock_hz: asked for; seeds: of the placement, tried one after the other; baked: program image that is in place from
    power-up; keep: where finished stages are kept (sim.cache.entry); progress: called while tools run; timeout: seconds
    for each stage, None: the flow's own; dsp_adders: the lanes are DSP blocks that only add (hw/dsp_lanes.py).
    """

    clock_hz: int
    keep: Callable[[str, str, Callable[[Path], None]], Path]
    progress: Progress
    seeds: Sequence[int] = (1,)
    baked: np.ndarray | None = None
    timeout: float | None = None
    dsp_adders: bool = False

    def check(self, board: Board) -> None:
        """Raise UnknownBoard where the board cannot be built so."""
        if self.dsp_adders and board.family != DSP_FAMILY:
            able = ", ".join(other.name for other in BOARDS.values() if other.family == DSP_FAMILY)
            raise UnknownBoard(f"lanes on DSP blocks need the DSP48E1 of Xilinx 7-series; {board.title} has an "
                               f"{board.part}", hint=f"leave --dsp-adders out; boards with DSP48E1 are {able}")


@dataclasses.dataclass(frozen=True)
class Built:
    """What came out.

    bit: file in the folder, None where the tools have to be run elsewhere; clock_hz: that the hardware has; front_end:
    of abi.FRONT_ENDS; text: for people; facts: for the manifest.
    """

    bit: str | None
    clock_hz: int
    front_end: str
    text: str
    facts: dict


BOARDS: dict[str, Board] = {board.name: board for board in (
    Board("ulx3s", "Radiona ULX3S 85F", "LFE5U-85F-6BG381C", "ecp5", ("trellis",), 80_000_000, "ulx3s",
          "openFPGALoader -b ulx3s {bit}"),
    *(Board(name, title, part, family, chains, 100_000_000, module,
            "copy the folder with {bit} to the board; it is loaded when it is opened",
            "pynq --option overlay={bit}")
      for name, title, part, family, chains, module in (
          ("pynq-z2", "TUL PYNQ-Z2", "xc7z020clg400-1", "zynq", ("vivado", "vivado-ps7", "openxc7"), "xilinx"),
          ("pynq-z1", "Digilent PYNQ-Z1", "xc7z020clg400-1", "zynq", ("vivado", "vivado-ps7", "openxc7"), "xilinx"),
          ("zcu104", "AMD ZCU104", "xczu7ev-ffvc1156-2-e", "zynqmp", ("vivado",), "zcu104"),
          ("kv260", "AMD Kria KV260", "xck26-sfvc784-2LV-c", "zynqmp", ("vivado",), "xilinx"))),
)}
"""Name -> board."""

DEFAULT = "ulx3s"

CALIBRATION = "calibration.json"
"""File of what was measured of hardware (hw/calibrate.py); makes none."""

DSP_FAMILY = "zynq"
"""Of the boards whose FPGA has DSP48E1. Zynq UltraScale+ has DSP48E2, with another OPMODE and other attributes."""


def sources() -> list[bytes]:
    """Return names and texts of the files that the hardware is made from."""
    folder = Path(__file__).parent.parent
    files = [*sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts),
             *sorted(Path(host.__file__).parent.rglob("*.py"))]  # registers, framing, .hwh: hardware imports it
    return [part for path in files for part in (path.name.encode(), path.read_bytes())]


def sources_hash() -> str:
    """Return a hash of `sources`, by which a report tells what it is of. Measured sizes are not in it: they follow from
    hardware, and the report that they are taken from is to stay of today's."""
    digest, parts = hashlib.sha256(), iter(sources())
    for name, text in zip(parts, parts, strict=True):
        if name != CALIBRATION.encode():
            digest.update(len(text).to_bytes(8, "little") + name + text)
    return digest.hexdigest()[:32]


def find(name: str, toolchain: str | None = None) -> tuple[Board, str]:
    """Return a board and the tool chain to use; raises UnknownBoard, naming those that there are."""
    if name not in BOARDS:
        raise UnknownBoard(f"there is no board {name!r}", hint="boards are " + ", ".join(
            f"{board.name} ({board.title})" for board in BOARDS.values()))
    board = BOARDS[name]
    if toolchain is not None and toolchain not in board.toolchains:
        raise UnknownBoard(f"{board.title} cannot be built with {toolchain!r}",
                           hint=f"tool chains for it are {', '.join(board.toolchains)}")
    return board, toolchain or board.toolchains[0]
