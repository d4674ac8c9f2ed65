"""Overlays for virtual boards: .bit and .hwh as a real board's, and the simulated hardware that the .bit stands for."""

from __future__ import annotations

import hashlib
from pathlib import Path

from qblif.host import bitfile, hwh, overlays
from qblif.host.bundle import Bundle
from qblif.hw.params import DesignParams

from . import build
from .board import KINDS, Design, save_designs

NAME = "qblif"
DESIGNS = "board.json"
"""File of an overlay's folder that tells a virtual board what the .bit stands for."""


def make_overlay(bundle: Bundle, folder: Path, kind: str = "pynq-z2", *, clock_mhz: float = 100.0,
                 name: str = NAME) -> tuple[overlays.Overlay, dict[str, Design]]:
    """Write the overlay of a bundle for a virtual board of `kind` to `folder`; build its simulator.

    Returns the overlay and what Board needs to know it by, which also goes to the file DESIGNS. The .bit's data are
    a few lines of text, different for every design and .hwh; on a real board they configure nothing. Raises
    ToolMissing, CacheError, OSError."""
    design = DesignParams.from_dict(bundle.design)
    bits = KINDS[kind].address_bits
    library = build.library(design, bits)
    family = "zynq" if KINDS[kind].arch == "armv7l" else "zynqmp"
    text = hwh.hwh(family, clock_mhz, bundle.build_hash, name=name)
    data = "\n".join(["qblif virtual bitstream", hashlib.sha256(build.emitted(design, bits).encode()).hexdigest(),
                      hashlib.sha256(text.encode()).hexdigest(), KINDS[kind].part, ""]).encode()
    data += b"\0" * (-len(data) % 4)
    designs = {hashlib.sha256(data).hexdigest(): Design(library, hwh.BASE_ADDRESS[family])}
    folder.mkdir(parents=True, exist_ok=True)
    bit = folder / f"{name}.bit"
    bit.write_bytes(bitfile.Bitfile(f"{name};build={bundle.build_hash:016x};virtual", KINDS[kind].part,
                                    "2026/01/01", "00:00:00", data).to_bytes())
    bit.with_suffix(".hwh").write_text(text)
    save_designs(folder / DESIGNS, designs)
    return overlays.write_manifest(bit, kind, bundle.build_hash, clock_mhz, {"made for": "the virtual board"}), designs
