"""Memory that the programmable logic reads and writes, and the processor's cached view of it."""

from __future__ import annotations

import numpy as np

from qblif.host.errors import OutOfBoardMemory

PAGE = 4096
"""Buffers begin at multiples of this, in bytes."""

POISON_MEMORY, POISON_CACHE = 0xA5, 0x5A
"""What a new buffer holds, differently on the two sides, so that a forgotten flush or invalidate is seen."""


class Dram:
    """The region for contiguous buffers (CMA) of a board's memory, twice: as it is, and as the processor sees it.

    The two meet only by `flush` and `invalidate`, byte by byte. A real cache also writes back and fetches lines by
    itself; here nothing happens unasked, so that what is forgotten always shows.

    Parameters
    ----------
    base: physical address, a multiple of 4096
    size: bytes; taken from the machine as they are touched

    Members
    -------
    memory, cache: uint8 (size,)
    """

    def __init__(self, base: int = 0x1600_0000, size: int = 128 << 20):
        if base % PAGE or size % PAGE or size <= 0:
            raise ValueError(f"base {base:#x} and size {size:#x} have to be positive multiples of {PAGE}")
        self.base, self.size = base, size
        self.memory, self.cache = np.zeros(size, np.uint8), np.zeros(size, np.uint8)
        self._buffers: dict[int, int] = {}  # address -> bytes

    @property
    def free_bytes(self) -> int:
        """Bytes that are in no buffer."""
        return self.size - sum(-(-size // PAGE) * PAGE for size in self._buffers.values())

    def allocate(self, size: int) -> int:
        """Return the physical address of a new buffer of `size` bytes; its contents are arbitrary.

        Raises OutOfBoardMemory, ValueError for sizes below 1."""
        if size < 1:
            raise ValueError(f"a buffer of {size} bytes was asked for, allowed is 1 or more")
        address = self.base
        for taken in sorted(self._buffers):
            if taken - address >= size:
                break
            address = taken + -(-self._buffers[taken] // PAGE) * PAGE
        if address + size > self.base + self.size:
            raise OutOfBoardMemory(f"a buffer of {size} bytes does not fit: {self.free_bytes} of {self.size} bytes of "
                                   f"contiguous memory are free, maybe not in one piece", hint="free other buffers")
        self._buffers[address] = size
        at = slice(address - self.base, address - self.base + size)
        self.memory[at], self.cache[at] = POISON_MEMORY, POISON_CACHE
        return address

    def free(self, address: int) -> None:
        """Give a buffer back. Raises ValueError where none begins at `address`."""
        if self._buffers.pop(address, None) is None:
            raise ValueError(f"there is no buffer at {address:#x}")

    def flush(self, address: int, size: int) -> None:
        """Make the processor's writes to `size` bytes visible to the programmable logic."""
        at = self._slice(address, size)
        self.memory[at] = self.cache[at]

    def invalidate(self, address: int, size: int) -> None:
        """Make the programmable logic's writes to `size` bytes visible to the processor."""
        at = self._slice(address, size)
        self.cache[at] = self.memory[at]

    def view(self, address: int, size: int) -> np.ndarray:
        """Return the processor's view of `size` bytes, uint8, writable in place."""
        return self.cache[self._slice(address, size)]

    def _slice(self, address: int, size: int) -> slice:
        start = address - self.base
        if start < 0 or size < 0 or start + size > self.size:
            raise ValueError(f"{size} bytes at {address:#x} are not within the memory at {self.base:#x}, "
                             f"{self.size:#x} bytes")
        return slice(start, start + size)
