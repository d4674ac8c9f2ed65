"""From a board, and perhaps a network, to a folder with the bitstream and everything that belongs to it.

    <board>.bit  report.txt  report.json  manifest.json  top.sv, constraints, logs  and with a network its bundle

`manifest.json` says what the bitstream is: board, part, clock, hashes of the build, of the program and of every file.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import qblif
from qblif.gen import network_file
from qblif.gen.errors import NetworkFileError
from qblif.gen.network import Network
from qblif.gen.plan import Plan, make_plan
from qblif.host import abi, overlays
from qblif.host.bundle import Bundle
from qblif.host.errors import BundleError, InputError
from qblif.hw import boards, emit
from qblif.hw.flow import BuildError, Progress, quiet
from qblif.hw.params import DesignParams

from . import cache, design_file
from .deploy import deploy_plan

MANIFEST = "manifest.json"
FORMAT = overlays.BUILT
SCHEMA = 1


@dataclasses.dataclass(frozen=True)
class Bitstream:
    """A finished build.

    folder; manifest: the contents of manifest.json; text: clock and utilisation for people; unchanged: it was there.
    """

    folder: Path
    manifest: dict
    text: str
    unchanged: bool

    @property
    def bit(self) -> Path | None:
        """The bitstream; None where its tools have to be run elsewhere."""
        return self.folder / self.manifest["bit"] if self.manifest["bit"] else None

    @property
    def bundle(self) -> Path | None:
        """The bundle of the network that is baked in."""
        return self.folder / self.manifest["bundle"] if self.manifest["bundle"] else None


@dataclasses.dataclass(frozen=True)
class _Network:
    """What is baked in. program: image; write: writes the bundle to a path; name: of the bundle's file."""

    name: str
    design: DesignParams
    program: np.ndarray
    source: Bundle | Plan

    def write(self, path: Path) -> None:
        if isinstance(self.source, Bundle):
            shutil.copyfile(self.source.path, path)
        else:
            deploy_plan(self.source, path)


def make(board_name: str, out: Path, *, network: Path | None = None, lanes: int | None = None,
         clock_hz: int | None = None, toolchain: str | None = None, seeds: Sequence[int] = (1,),
         progress: Progress = quiet, timeout: float | None = None,
         design: DesignParams | Path | None = None, dsp_adders: bool = False) -> Bitstream:
    """Build the bitstream of a board into the folder `out`, which is replaced as a whole, or left as it is.

    network: a bundle, whose own design and program are taken (with `lanes`: its network is planned anew), or a file
    that `qblif fold` saved, which is planned for the board's default design; None: programs are loaded at run time.
    design: instead of the board's default, or the file that it is in (`read_design`). timeout: seconds for each stage.
    dsp_adders: the lanes are DSP blocks that only add (hw/dsp_lanes.py), where the board has such.

    Raises UnknownBoard, ClockError, ToolMissing; PlanError where the network does not fit; BundleError,
    NetworkFileError; BuildError, after which the folder `<out>.failed` has the logs and reports."""
    board, toolchain = boards.find(board_name, toolchain)
    implementation = board.implementation()
    clock_hz = clock_hz or board.clock_hz
    baked = _network(network, design, lanes, implementation) if network is not None else None
    if isinstance(design, Path):
        design = read_design(design)
    design = baked.design if baked else design or implementation.default_design(*([lanes] if lanes else []))
    out = Path(out).absolute()

    key = cache.key(board.name, toolchain, str(clock_hz), repr(tuple(seeds)), json.dumps(design.to_dict()),
                    baked.program.tobytes() if baked else b"", baked.name if baked else "", repr(dsp_adders),
                    emit.tool_versions(), json.dumps(implementation.versions(toolchain)), *boards.sources())
    before = _finished(out, key)
    if before is not None:
        return before

    out.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{out.name}.part", dir=out.parent))
    failed = out.with_name(f"{out.name}.failed")
    try:
        options = boards.Options(clock_hz, cache.entry, progress, tuple(seeds), baked.program if baked else None,
                                 timeout, dsp_adders)
        try:
            built = implementation.build(board, design, part, toolchain, options)
        except BuildError as error:
            _keep_failure(error, failed, design)
            raise
        if baked:
            progress("bundle", 0.0, "golden vectors")
            baked.write(part / baked.name)
        (part / "summary.txt").write_text(built.text + "\n")
        manifest = _manifest(board, toolchain, key, design, built, baked, part)
        (part / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
        part.chmod(0o755)
        _swap(part, out)
        shutil.rmtree(failed, ignore_errors=True)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return Bitstream(out, manifest, built.text, False)


def read_layout(path: Path, network: Network) -> dict:
    """Return what make_plan is told to lay a network on the design in a file: the design, and what a design file says
    of this very network. Raises as `read_design`."""
    return {"design": read_design(path)} | (design_file.read(path).layout(network) if design_file.is_one(path) else {})


def read_design(path: Path) -> DesignParams:
    """Return the design of a bitstream's manifest.json, of a bundle, or that `qblif plan --out` saved.

    Raises BundleError, or InputError for a design file that is damaged and for one that cannot be read."""
    if design_file.is_one(path):
        return design_file.read(path).design
    if zipfile.is_zipfile(path):
        return DesignParams.from_dict(Bundle.load(path).design)
    try:
        manifest = json.loads(Path(path).read_text())
        if manifest["format"] != FORMAT:
            raise ValueError(f"its format is {manifest['format']!r}")
        return DesignParams.from_dict(manifest["design"])
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}", hint=f"a design is the {MANIFEST} of a bitstream, "
                         "a bundle, or the file that `qblif plan NETWORK --board BOARD --out FILE` writes") from error
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{path} is neither a bundle nor the {MANIFEST} of a bitstream, nor a design that `qblif "
                          f"plan --out` saved: {error}") from error


def _network(path: Path, design: DesignParams | Path | None, lanes: int | None, implementation) -> _Network:
    """Return what is to be baked in from a file."""
    name = f"{path.stem}.qblif"
    if zipfile.is_zipfile(path):
        bundle = Bundle.load(path)
        if lanes is None and design is None:
            return _Network(name, DesignParams.from_dict(bundle.design), bundle.program, bundle)
        found = network_file.loads(bundle.network)
    else:
        try:
            found = network_file.load(path)
        except NetworkFileError as error:
            raise NetworkFileError(f"{path} is neither a bundle (qblif compile) nor a network file (qblif fold, qblif "
                                   f"train): {error}") from error
    if isinstance(design, Path):
        plan = make_plan(found, **read_layout(design, found))
    else:
        plan = make_plan(found, design=design or implementation.default_design(*([lanes] if lanes else [])))
    return _Network(name, plan.design, plan.program, plan)


def _finished(out: Path, key: str) -> Bitstream | None:
    """Return what is in the folder, if it was made from the same and no file of it was changed since."""
    try:
        manifest = json.loads((out / MANIFEST).read_text())
        if manifest["key"] != key or any(_sha256(out / name) != digest for name, digest in manifest["files"].items()):
            return None
        return Bitstream(out, manifest, (out / "summary.txt").read_text().rstrip("\n"), True)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _manifest(board, toolchain: str, key: str, design: DesignParams, built, baked: _Network | None, part: Path) -> dict:
    program_hash = Bundle.load(part / baked.name).program_hash if baked else None
    files = {path.relative_to(part).as_posix(): _sha256(path) for path in sorted(part.rglob("*")) if path.is_file()}
    return {"format": FORMAT, "schema": SCHEMA, "qblif": qblif.__version__, "board": board.name, "part": board.part,
            "toolchain": toolchain, "front_end": built.front_end, "clock_hz": built.clock_hz, "abi": abi.ABI_VERSION,
            "build_hash": f"{design.build_hash:016x}", "program_hash": f"{program_hash:016x}" if baked else None,
            "bit": built.bit, "sha256": files.get(built.bit), "bundle": baked.name if baked else None,
            "design": design.to_dict(), **built.facts, "key": key, "files": files}


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _swap(part: Path, out: Path) -> None:
    """Put a finished folder in the place of an older one."""
    if out.exists():
        old = Path(tempfile.mkdtemp(prefix=f".{out.name}.old", dir=out.parent))
        os.replace(out, old / out.name)
        try:
            os.replace(part, out)
        except OSError:
            os.replace(old / out.name, out)
            raise
        finally:
            shutil.rmtree(old, ignore_errors=True)
    else:
        os.replace(part, out)


def _keep_failure(error: BuildError, failed: Path, design: DesignParams) -> None:
    """Leave behind what a failed build has to say, and of which design, and name it in the error's hint."""
    shutil.rmtree(failed, ignore_errors=True)
    with contextlib.suppress(OSError):
        failed.mkdir(parents=True)
        if error.log:
            (failed / f"{error.stage}.log").write_text(error.log)
        report = getattr(error, "report", None)
        if report is not None:
            (failed / "report.txt").write_text(str(report))
            (failed / "report.json").write_text(report.to_json())
            (failed / "design.json").write_text(json.dumps(
                {"build_hash": f"{design.build_hash:016x}", "design": design.to_dict()}, indent=1) + "\n")
        error.hint = f"{error.hint + '; ' if error.hint else ''}see {failed}"
