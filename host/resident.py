"""Which overlay of this package is in a board's programmable logic: a note on the board, for whoever programs it next.

A process that was killed leaves its job running. To program the logic then would cut a transfer in the middle, and may
leave the memory bus waiting for the other half; so the job is stopped first (host/pynq.py). Only, to read a register of
logic that is not there can halt the processor: nobody may just look. The note tells that there is something to look at.
It lies where a restart of the board deletes it, and is withdrawn before anything is programmed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from pathlib import Path
from typing import Any

NOTE = "/run/qblif.json"


@dataclasses.dataclass(frozen=True)
class Resident:
    """An overlay that was programmed, or found in place. bit: path of its .bit; address, size: of the accelerator's
    registers; build: hash of the hardware, hexadecimal."""

    bit: str
    address: int
    size: int
    build: str


def find(device: Any, last: str | None = None) -> Resident | None:
    """Return what the note of a device (a `pynq.Device`) tells; None where there is none, or it is about what has been
    replaced since. last: path of the .bit that pynq programmed last, None where that is not known."""
    try:
        values = json.loads(_read(device))
        noted = Resident(str(values["bit"]), int(values["address"]), int(values["size"]), str(values["build"]))
    except Exception:  # no note, or none of ours: nothing is known
        return None
    return noted if last is None or os.path.realpath(last) == os.path.realpath(noted.bit) else None


def note(device: Any, resident: Resident | None) -> None:
    """Leave a note; None withdraws it. Where it cannot be written there is none: nothing else depends on it."""
    text = json.dumps(dataclasses.asdict(resident)) if resident else "{}"
    with contextlib.suppress(Exception):
        if _is_remote(device):
            device.write_file(NOTE, text.encode())
        else:
            Path(NOTE).write_text(text, encoding="utf-8")


def _read(device: Any) -> str:
    if not _is_remote(device):
        return Path(NOTE).read_text(encoding="utf-8")
    return bytes(device.read_file(NOTE)).decode() if device.exists_file(NOTE).exists else ""


def _is_remote(device: Any) -> bool:
    return bool(device.has_capability("REMOTE"))
