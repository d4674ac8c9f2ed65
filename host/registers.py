"""Registers by name: where they are, and reading all of them for an error message."""

from __future__ import annotations

from collections.abc import Callable

from . import abi

OFFSETS = {name: offset for table in (abi.REGISTERS, abi.JOB_REGISTERS) for name, offset, _, _ in table}
"""Name -> byte offset, of the common registers and those of jobs."""

RESET = 1
"""Bit of CONTROL."""


def fields(layout, value: int) -> dict[str, int]:
    """Return the named fields of a register, the reserved ones left out."""
    return {name: field for name, field in abi.unpack(layout, value).items() if name != "reserved"}


def has_jobs(caps: int) -> bool:
    """Return whether CAPS, with this value, says that frames come and go by jobs."""
    return abi.FRONT_ENDS.index("dma") == fields(abi.CAPS_FIELDS, caps)["front_end"]


def snapshot(read: Callable[[int], int]) -> dict[str, int]:
    """Return all registers that can be read, those of jobs too where there are any, for error messages.

    Ends at the first that cannot be read: the link itself may be what failed, and each try may take its time-out."""
    values: dict[str, int] = {}
    try:
        for table in (abi.REGISTERS, abi.JOB_REGISTERS):
            for name, offset, access, _ in table:
                if access != "wo":
                    values[name] = read(offset)
            if not has_jobs(values["CAPS"]):
                break
    except Exception:
        pass
    return values
