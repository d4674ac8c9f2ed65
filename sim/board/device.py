"""A virtual board as a `pynq.Device` in this process: everything from `pynq.Overlay` up, without network or root.

    board = Board("pynq-z2", load_designs("overlay/board.json"))
    device = install(board)
    overlay = pynq.Overlay("overlay/qblif.bit")

Works with pynq 3.0.1, 3.1 and 4.0; what differs among them is in this file. Not for several boards in one process:
pynq's clocks know one device only.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pynq
import pynq.ps
from pynq.buffer import PynqBuffer
from pynqmetadata.frontends import Metadata

from qblif.host import bitfile

from .board import Board

try:
    from pynqmetadata.views.runtime import RuntimeMetadataParser
except ImportError:  # before pynq 4.0
    from pynq.metadata.runtime_metadata_parser import RuntimeMetadataParser


class BoardBuffer(PynqBuffer):
    """Memory of a virtual board. `freebuffer`, or the end of a `with`, gives it back; slices do nothing."""

    def freebuffer(self):
        """Give the memory back to the board; nothing happens the second time."""
        release, self._release = getattr(self, "_release", None), None
        if release:
            release()


class BoardDevice(pynq.Device):
    """A virtual board, to be handed to `pynq.Overlay`, `pynq.MMIO` and `pynq.allocate`."""

    def __init__(self, board: Board, tag: str = "virtual0"):
        super().__init__(tag)
        self.board = board
        self.arch, self.name = board.kind.arch, board.kind.pynq_name
        self.capabilities = {"REGISTER_RW": True}

    # Registers, as MMIO asks for them

    def read_registers(self, address: int, length: int) -> bytes:
        """Return `length` bytes, a multiple of 4, from the processor's bus. Raises BusError."""
        return b"".join(self.board.read(address + at).to_bytes(4, "little") for at in range(0, length, 4))

    def write_registers(self, address: int, data) -> None:
        """Write bytes, a multiple of 4, to the processor's bus. Raises BusError."""
        data = bytes(data)
        for at in range(0, len(data), 4):
            self.board.write(address + at, int.from_bytes(data[at:at + 4], "little"))

    # Memory

    def allocate(self, shape, dtype, **_) -> BoardBuffer:
        """Return a buffer of the board's contiguous memory. Raises OutOfBoardMemory."""
        dram = self.board.dram
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        address = dram.allocate(size)
        buffer = BoardBuffer(shape, dtype, buffer=dram.view(address, size), device=self, device_address=address,
                             bo=address, coherent=False)
        buffer._release = lambda: dram.free(address)
        return buffer

    def flush(self, bo: int, offset: int, address: int, size: int) -> None:
        """Make what this process wrote to a buffer visible to the programmable logic."""
        self.board.dram.flush(bo + offset, size)

    def invalidate(self, bo: int, offset: int, address: int, size: int) -> None:
        """Make what the programmable logic wrote to a buffer visible to this process."""
        self.board.dram.invalidate(bo + offset, size)

    # Bitstreams

    def get_bitfile_metadata(self, bitfile_name: str, partial: bool = False) -> RuntimeMetadataParser:
        """Return what the .hwh beside a .bit says."""
        return RuntimeMetadataParser(Metadata(input=str(Path(bitfile_name).with_suffix(".hwh"))))

    def download(self, bitstream, parser=None) -> None:
        """Program the board with a .bit file."""
        self.board.program(bitfile.read(bitstream.bitfile_name).data)
        self.post_download(bitstream, parser)


def install(board: Board) -> BoardDevice:
    """Return a device for `board` that pynq uses where no device is named, and whose clocks pynq.Clocks sets."""
    device = BoardDevice(board)
    pynq.Device.active_device = device
    pynq.ps.CPU_ARCH = board.kind.arch  # what pynq 3.0 takes the clocks of; later ones ask the device
    if "_real_instance" in vars(pynq.Clocks):
        del pynq.Clocks._real_instance
    if hasattr(pynq.Clocks, "set_device"):
        pynq.Clocks.set_device(device)
    return device
