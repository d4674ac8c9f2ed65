"""Overlays: folders with a bitstream (.bit), its description (.hwh) and `manifest.json`, which says what they are for.

    {"format": "qblif-overlay", "schema": 1, "board": "pynq-z2", "part": "xc7z020clg400-1", "clock_mhz": 100.0,
     "build_hash": "0123456789abcdef", "bit": "qblif.bit", "hwh": "qblif.hwh",
     "sha256": {"qblif.bit": "…", "qblif.hwh": "…"}, "about": {"tools": "Vivado 2024.1"}}

Folders put beside this file are found by `pynq.Overlay("qblif.bit")` too (entry point `pynq.overlays`), and so is a
folder named `qblif` in them. Nothing of an overlay reaches a board before hashes, part and build were compared.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .. import bitfile
from ..errors import OverlayError, OverlayNotFound, PartMismatch

MANIFEST = "manifest.json"
FORMAT = "qblif-overlay"
SCHEMA = 1
BUILT = "qblif bitstream"
"""Format of the manifest.json that `qblif bitstream` leaves in a build's folder, above the overlay's own."""

VARIABLE = "QBLIF_OVERLAYS"
"""Environment variable: folders of overlays to search first, separated as in PATH."""

_LARGEST_MANIFEST = 1 << 20
_HINT = "build or copy the overlay again"


@dataclasses.dataclass(frozen=True)
class Board:
    """A board that PYNQ runs on. pynq_name: as its image calls it; part: of the programmable logic."""

    pynq_name: str
    part: str


BOARDS = {"pynq-z1": Board("Pynq-Z1", "xc7z020clg400-1"), "pynq-z2": Board("Pynq-Z2", "xc7z020clg400-1"),
          "zcu104": Board("ZCU104", "xczu7ev-ffvc1156-2-e"), "kv260": Board("KV260", "xck26-sfvc784-2LV-c")}
"""Name of a board -> what is known of it."""


@dataclasses.dataclass(frozen=True)
class Overlay:
    """An overlay as its manifest describes it.

    board: key of BOARDS; part: of the chip; clock_mhz: the fastest clock that it meets; build_hash: of the hardware;
    bit, hwh: its files; sha256: file name -> digest, hex; about: free text, by key.
    """

    board: str
    part: str
    clock_mhz: float
    build_hash: int
    bit: Path
    hwh: Path
    sha256: dict[str, str]
    about: dict[str, str]

    @classmethod
    def load(cls, path: str | os.PathLike) -> Overlay:
        """Read the manifest of an overlay, given its folder, that of its build, or its .bit. Raises OverlayError."""
        path = Path(path)
        folder = path.parent if path.suffix == ".bit" else path
        if (folder / "overlay" / MANIFEST).is_file():
            folder = folder / "overlay"
        file = folder / MANIFEST
        try:
            if file.stat().st_size > _LARGEST_MANIFEST:
                raise OverlayError(f"{file} is larger than {_LARGEST_MANIFEST} bytes", hint=_HINT)
            values = json.loads(file.read_text(encoding="utf-8"))
        except OSError as error:
            raise OverlayError(f"{folder} is no overlay: {MANIFEST} cannot be read: {error.strerror}",
                               hint=f"an overlay is a folder with .bit, .hwh and {MANIFEST}, as `qblif bitstream` "
                               "leaves it") from error
        except (ValueError, RecursionError) as error:
            raise OverlayError(f"{file} is damaged: {error}", hint=_HINT) from error
        overlay = cls._parsed(file, values)
        if path.suffix == ".bit" and path.name != overlay.bit.name:
            raise OverlayError(f"{file} describes {overlay.bit.name}, not {path.name}", hint=_HINT)
        return overlay

    @classmethod
    def _parsed(cls, file: Path, values: Any) -> Overlay:
        if isinstance(values, dict) and values.get("format") == BUILT:
            folder, board = file.parent, values.get("board")
            if board in BOARDS:
                raise OverlayError(f"{folder} is a project folder for {board}, and no bitstream has been made in it "
                                   f"yet", hint=f"its README.txt says how; then its overlay is {folder / 'overlay'}")
            raise OverlayError(f"{folder} holds a bitstream for {str(board)[:80]!r}, which takes no overlay",
                               hint=f"overlays are made for {', '.join(BOARDS)}: make bitstream BOARD=...")
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            raise OverlayError(f"{file} does not say \"format\": \"{FORMAT}\"", hint=_HINT)
        if values.get("schema") != SCHEMA:
            raise OverlayError(f"{file} has schema {values.get('schema')!r}, this package reads {SCHEMA}",
                               hint="build the overlay again, or use the version of qblif that made it")

        def get(key: str, kind: type, ok=lambda value: True) -> Any:
            value = values.get(key)
            if not isinstance(value, kind) or isinstance(value, bool) or not ok(value):
                raise OverlayError(f"{file}: {key!r} is {str(value)[:80]!r}, which is not what it can be", hint=_HINT)
            return value

        def texts(key: str) -> dict[str, str]:
            return get(key, dict, lambda found: all(isinstance(text, str) for text in found.values()))

        def name(key: str) -> Path:
            return file.parent / get(key, str, lambda text: text and Path(text).name == text)

        def is_hash(text: str) -> bool:
            return len(text) == 16 and set(text) <= set("0123456789abcdef")

        return cls(board=get("board", str), part=get("part", str),
                   clock_mhz=float(get("clock_mhz", (int, float), lambda mhz: 0 < mhz < 10_000)),
                   build_hash=int(get("build_hash", str, is_hash), 16), bit=name("bit"), hwh=name("hwh"),
                   sha256=texts("sha256"), about=texts("about") if "about" in values else {})

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return self.bit.parent

    def verify(self, board: str | None = None) -> None:
        """Check that the files are those of the manifest, and that .bit, manifest and board (if given) are of one chip.

        Raises OverlayError, PartMismatch."""
        for path in (self.bit, self.hwh):
            try:
                found = hashlib.sha256(path.read_bytes()).hexdigest()
            except OSError as error:
                raise OverlayError(f"{path} cannot be read: {error.strerror}", hint=_HINT) from error
            if found != self.sha256.get(path.name):
                raise OverlayError(f"{path} was altered: its SHA-256 is {found}, {MANIFEST} says "
                                   f"{self.sha256.get(path.name)}", hint=_HINT)
        try:
            part = bitfile.read(self.bit).part
        except bitfile.BitfileError as error:
            raise OverlayError(error.message, hint=error.hint) from error
        if not bitfile.same_part(part, self.part):
            raise PartMismatch(f"{self.bit} is for part {part}, {MANIFEST} beside it says {self.part}", hint=_HINT)
        if board is not None and not self.fits(board):
            raise PartMismatch(f"{self.bit} is for part {part}; this board, {board}, has {BOARDS[board].part}",
                               hint="nothing was programmed; give an overlay that was built for this board")

    def fits(self, board: str) -> bool:
        """Return whether it can be loaded on a board: its chip counts, for it uses no pins of the board."""
        return bitfile.same_part(self.part, BOARDS[board].part)

    def __str__(self) -> str:
        return f"{self.bit} ({self.board}, build {self.build_hash:016x}, up to {self.clock_mhz:g} MHz)"


def write_manifest(bit: str | os.PathLike, board: str, build_hash: int, clock_mhz: float,
                   about: dict[str, str] | None = None) -> Overlay:
    """Write `manifest.json` beside a .bit and its .hwh of the same stem, and return the overlay, verified.

    board: key of BOARDS; clock_mhz: the fastest clock at which the timing was met. Raises OverlayError, OSError."""
    bit = Path(bit)
    hwh = bit.with_suffix(".hwh")
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (bit, hwh)}
    values = {"format": FORMAT, "schema": SCHEMA, "board": board, "part": BOARDS[board].part, "clock_mhz": clock_mhz,
              "build_hash": f"{build_hash:016x}", "bit": bit.name, "hwh": hwh.name, "sha256": digests,
              "about": about or {}}
    (bit.parent / MANIFEST).write_text(json.dumps(values, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    overlay = Overlay.load(bit)
    overlay.verify(board)
    return overlay


def folders(bundle: Path | None = None) -> list[Path]:
    """Return the folders that are searched: of the variable, the bundle's own, and the installed one."""
    named = [Path(text) for text in os.environ.get(VARIABLE, "").split(os.pathsep) if text]
    beside = [bundle.absolute().parent] if bundle is not None else []
    return list(dict.fromkeys([*named, *beside, Path(__file__).parent]))


def available(where: Iterable[Path]) -> list[Overlay]:
    """Return the overlays in folders, their sub-folders and in `overlay` of these, where `qblif bitstream` puts them.

    Those that cannot be read are left out."""
    found = []
    for folder in where:
        try:
            candidates = [folder, *sorted(path.parent for pattern in ("*", "overlay", "*/overlay")
                                          for path in folder.glob(f"{pattern}/{MANIFEST}"))]
        except OSError:
            continue
        candidates = list(dict.fromkeys(candidates))
        for candidate in candidates:
            try:
                found.append(Overlay.load(candidate))
            except OverlayError:
                continue
    return found


def find(board: str | None, build_hash: int, where: list[Path]) -> Overlay:
    """Return the overlay for a board (None: unknown) and a build; one named for the board comes first.

    Raises OverlayNotFound, which lists what there is."""
    there = available(where)
    fitting = [overlay for overlay in there if overlay.build_hash == build_hash
               and (board is None or overlay.fits(board))]
    if fitting:
        return min(fitting, key=lambda overlay: overlay.board != board)
    listed = "".join(f"\n    {overlay}" for overlay in there) or " none at all"
    raise OverlayNotFound(f"no overlay for {board or 'this board'} has build {build_hash:016x}; searched were "
                          f"{', '.join(map(str, where))}; there are:{listed}",
                          hint=f"build it: make bitstream BOARD={board or '<board>'} NETWORK=<bundle>, then give "
                          f"overlay=<folder>, put the folder beside the bundle, or name its parent in ${VARIABLE}")


def board_named(pynq_name: str) -> str | None:
    """Return the key of BOARDS for what a PYNQ image calls its board, None if it is not one of them."""
    def plain(name: str) -> str:
        return "".join(filter(str.isalnum, name.lower()))

    return next((key for key, board in BOARDS.items() if plain(board.pynq_name) == plain(pynq_name)), None)
