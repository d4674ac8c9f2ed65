"""The accelerator with its AXI master, simulated: the C functions of sim/board/harness.cpp, typed."""

from __future__ import annotations

import dataclasses
from ctypes import POINTER, c_char_p, c_int, c_uint8, c_uint32, c_uint64, c_void_p
from pathlib import Path

from qblif.host.errors import QblifError, TransportError
from qblif.sim.model import load, with_source

from .dram import Dram
from .faults import FAULT_FIELDS, Fault

TOP = "qblif_dma"
"""The module that is simulated."""

HARNESS = Path(__file__).with_name("harness.cpp")

CYCLES = 2000
"""Clock cycles that pass with each register access: time passes by what the host does, never by the clock on the wall,
so that equal programs see equal hardware."""

RESET_CYCLES = 8

SIGNATURES = {
    "board_new": (c_void_p, POINTER(c_uint8), c_uint64, c_uint64), "board_free": (None, c_void_p),
    "board_now": (c_uint64, c_void_p), "board_problem": (c_char_p, c_void_p),
    "board_reset": (c_int, c_void_p, c_uint64), "board_run": (c_int, c_void_p, c_uint64),
    "board_access": (c_int, c_void_p, c_int, c_uint32, POINTER(c_uint32), POINTER(c_uint32), c_uint64),
    "board_fault": (None, c_void_p, POINTER(c_uint64)), "board_clear_faults": (None, c_void_p),
    "board_counts": (None, c_void_p, POINTER(c_uint64)), "board_transferring": (c_int, c_void_p),
    "board_waves": (c_int, c_void_p, c_char_p),
}


class HardwareBroken(QblifError):
    """The simulated hardware broke a rule of its bus, or one of its own assertions: a bug of ours, not of the user."""


class BusError(TransportError):
    """Nothing answered at an address of the processor's bus. A real processor gets SIGBUS, or hangs."""


@dataclasses.dataclass(frozen=True)
class Traffic:
    """What the AXI master did since it was built: bursts and 64-bit beats."""

    bursts_read: int
    beats_read: int
    bursts_written: int
    beats_written: int


class Rtl:
    """One simulated accelerator on a memory, out of reset.

    library: what sim/verilator.py built of module qblif_dma with harness.cpp; cycles: that pass with each access;
    waves: path of a VCD file to write, for libraries built with waves."""

    def __init__(self, library: Path, dram: Dram, cycles: int = CYCLES, waves: Path | None = None):
        self._library = load(library, SIGNATURES)
        self._dram, self._cycles = dram, cycles  # the memory has to live as long as the model
        self._handle = self._library.board_new(dram.memory.ctypes.data_as(POINTER(c_uint8)), dram.base, dram.size)
        if waves is not None and self._library.board_waves(self._handle, str(waves).encode()):
            self.close()
            raise OSError(f"the waveform file {waves} cannot be written")
        self.reset()

    def close(self) -> None:
        """Free the model and finish its waveform file."""
        if self._handle:
            self._library.board_free(self._handle)
            self._handle = None

    def __del__(self):
        if getattr(self, "_handle", None):
            self.close()

    @property
    def now(self) -> int:
        """Clock cycles simulated so far."""
        return self._library.board_now(self._handle)

    @property
    def traffic(self) -> Traffic:
        """What the AXI master did so far."""
        counts = (c_uint64 * 4)()
        self._library.board_counts(self._handle, counts)
        return Traffic(*counts)

    @property
    def transferring(self) -> bool:
        """Whether bursts are under way on the memory bus, or wait to be taken."""
        return bool(self._library.board_transferring(self._handle))

    def read(self, offset: int) -> int:
        """Return the register at a byte offset. Raises BusError, HardwareBroken."""
        return self._access(offset, None)

    def write(self, offset: int, value: int) -> None:
        """Write the register at a byte offset. Raises BusError, HardwareBroken."""
        self._access(offset, value & 0xFFFF_FFFF)

    def run(self, cycles: int) -> None:
        """Let clock cycles pass."""
        self._check(self._library.board_run(self._handle, cycles))

    def reset(self) -> None:
        """Reset the programmable logic, its interconnect too."""
        self._check(self._library.board_reset(self._handle, RESET_CYCLES))

    def inject(self, fault: Fault) -> None:
        """Let a fault happen, in addition to those injected before."""
        self._library.board_fault(self._handle, (c_uint64 * len(FAULT_FIELDS))(*dataclasses.astuple(fault)))

    def clear_faults(self) -> None:
        """No more faults; what they hold back goes on."""
        self._library.board_clear_faults(self._handle)

    def _access(self, offset: int, value: int | None) -> int:
        data, response = c_uint32(value or 0), c_uint32(0)
        status = self._library.board_access(self._handle, value is not None, offset, data, response, self._cycles)
        if status == 2:
            raise BusError(f"the accelerator's registers do not answer at offset {offset:#x}, "
                           f"for {self._cycles} cycles")
        self._check(status)
        if response.value:
            raise BusError(f"the accelerator's registers answer {response.value} (not OKAY) at offset {offset:#x}")
        return data.value

    def _check(self, status: int) -> None:
        if status:
            problem = with_source(self._library.board_problem(self._handle).decode(), self._library.folder)
            raise HardwareBroken(f"cycle {self.now}: {problem}")
