"""The target `board`: the host's job bus straight on a virtual board, without pynq.

    qblif.open("digits.qblif", target="board")            # a PYNQ-Z2
    qblif.open("digits.qblif", target="board:kv260")
"""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np

from qblif.host.bundle import Bundle
from qblif.host.errors import UnknownTarget
from qblif.host.jobs import JobTransport
from qblif.host.stats import Clock

from .board import KINDS, Board, Design
from .dram import Dram
from .rtl import CYCLES


@dataclasses.dataclass
class BoardMemory:
    """A `host.jobs.Buffer` in a virtual board's memory."""

    dram: Dram
    address: int
    array: np.ndarray

    def flush(self) -> None:
        """Make the host's writes visible to the board."""
        self.dram.flush(self.address, self.array.nbytes)

    def invalidate(self) -> None:
        """Make the board's writes visible to the host."""
        self.dram.invalidate(self.address, self.array.nbytes)

    def free(self) -> None:
        """Give the memory back."""
        self.dram.free(self.address)


class BoardBus:
    """A `host.jobs.JobBus` on a virtual board that is programmed.

    owned: the board is closed with the bus."""

    def __init__(self, board: Board, owned: bool = False):
        self._board, self._owned = board, owned

    def read(self, offset: int) -> int:
        """Return a register."""
        return self._board.read(self._board.registers + offset)

    def write(self, offset: int, value: int) -> None:
        """Write a register."""
        self._board.write(self._board.registers + offset, value)

    def allocate(self, beats: int) -> BoardMemory:
        """Return a buffer. Raises OutOfBoardMemory."""
        dram = self._board.dram
        address = dram.allocate(4 * beats)
        return BoardMemory(dram, address, dram.view(address, 4 * beats).view(np.uint32))

    def close(self) -> None:
        """Let go of the board."""
        if self._owned:
            self._board.close()


def open_transport(bundle: Bundle, target: str, timeout: float, *, board: Board | None = None,
                   cycles: int = CYCLES) -> JobTransport:
    """Build a bundle's hardware, put it into a virtual board, and return its transport.

    target: "board" or "board:kind", a key of KINDS; board: a programmed board to use instead, which stays the
    caller's; cycles: clock cycles that pass with each register access.
    Raises UnknownTarget, ToolMissing, CacheError."""
    _, _, kind = target.partition(":")
    kind = kind or "pynq-z2"
    if kind not in KINDS:
        raise UnknownTarget(f"target {target!r} names no virtual board", hint=f"there are {', '.join(KINDS)}")
    owned = board is None
    if owned:
        from qblif.hw.params import DesignParams

        from . import build

        payload = b"design of the bundle"
        library = build.library(DesignParams.from_dict(bundle.design), KINDS[kind].address_bits)
        design = Design(library, KINDS[kind].registers)
        board = Board(kind, {hashlib.sha256(payload).hexdigest(): design}, cycles)
        board.program(payload)
    clock = Clock(board.clocks.frequency() * 1e6, "the virtual board's registers")
    about = {"board": f"virtual {board.kind.pynq_name}",
             "hardware": "simulated by Verilator, end-to-end rates are this machine's"}
    return JobTransport(BoardBus(board, owned), clock, about)
