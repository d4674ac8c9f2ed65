"""A bitstream that lies there from before, and what a network would do on it: it takes seconds in place of a build."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np

from qblif.gen.errors import PlanError
from qblif.gen.plan import make_plan
from qblif.host import abi
from qblif.host.errors import QblifError
from qblif.hw.boards import Board
from qblif.hw.params import DesignParams

from . import benchmark
from .bitstream import FORMAT, MANIFEST
from .layout_name import name_of
from .planner import Choice, exact
from .simulation import BLOCK


@dataclasses.dataclass(frozen=True)
class Built:
    """A bitstream that takes the network. file: its manifest; name: of its layout; hz: its clock.

    sources: of the hardware, as benchmark.from_sources says; same: it is of the very hardware that was planned; cycles:
    of an image by the exact cycle model, None where that would take long; cut_alike: the program that is made by its
    manifest alone, which says nothing of how a network is cut, is the one that was planned."""

    file: Path
    name: str
    hz: float
    sources: str
    same: bool
    cycles: float | None
    cut_alike: bool = False

    def to_dict(self) -> dict:
        """Return it JSON-able."""
        return dataclasses.asdict(self) | {
            "file": str(self.file), "frames_per_second": None if self.cycles is None else self.hz / self.cycles}

    def text(self, network: str) -> str:
        """Return what can be done with it. network: as it was asked for."""
        where = f"{self.file.parent}, {self.name} at {self.hz / 1e6:.1f} MHz{self.sources},"
        end = f";\n              qblif compile {network} --design {self.file}"
        if self.same and not self.cut_alike:
            return f"{where}\n              is of this very design: `load it` below makes the program for it"
        if self.same:
            return f"{where}\n              is of this very design{end}"
        speed = "" if self.cycles is None else f": {self.hz / self.cycles:,.0f} frames per second, predicted"
        return f"{where}\n              takes it, too{speed}{end}"


def find(board: Board, choice: Choice, images: np.ndarray, folder: Path = Path("build") / "bitstream") -> Built | None:
    """Return the bitstream for a board that `make bitstream` left, if it takes the network of a choice, timed on as
    many images as that was, or as a block holds; None without one, for a project without a bitstream, for another
    version's, and where the manifest cannot be read: that matters to who uses it."""
    file = folder / board.name / MANIFEST
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        design, hz = DesignParams.from_dict(told["design"]), told["clock_hz"]
        of_this = (FORMAT, board.name, abi.ABI_VERSION, f"{design.build_hash:016x}")
        if (told["format"], told["board"], told["abi"], told["build_hash"]) != of_this:
            return None
        if not isinstance(hz, int) or not 0 < hz < 1e10 or not (file.parent / told["bit"]).is_file():
            return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    name = name_of(design)
    try:
        plan = make_plan(choice.plan.network, design=design)
    except PlanError:       # it is too small, or its chain has more cores than the network has parts
        plan = None
    if design.build_hash == choice.design.build_hash:
        alike = plan is not None and plan.program_hash == choice.plan.program_hash
        return Built(file, name, hz, _sources(file), True, choice.speed.cycles, alike)
    if plan is None:
        return None
    count = min(choice.speed.images, BLOCK - len(design.cores))
    return Built(file, name, hz, _sources(file), False, exact(plan, images, count)[0] if count > 0 else None)


def _sources(manifest: Path) -> str:
    """Return of which sources of the hardware a bitstream is, by the report beside it."""
    try:
        return benchmark.from_sources(benchmark.routed(manifest.with_name("report.json")).sources)
    except QblifError:
        return benchmark.from_sources("")
