"""A virtual board: processor bus, memory, clocks and programmable logic."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from qblif.host import hwh, overlays

from .clocks import CrlApb, Registers, Slcr
from .dram import Dram
from .faults import Fault
from .rtl import CYCLES, BusError, Rtl

REGISTER_WINDOW = 0x1_0000
"""Bytes of the processor's address space that the accelerator's registers take."""


@dataclasses.dataclass(frozen=True)
class Kind:
    """A board that can be virtual. pynq_name: as PYNQ images call it; part: of the programmable logic; arch: as Linux
    calls its processor; registers: address of the accelerator's registers where an overlay says nothing else;
    address_bits: of the memory addresses that the programmable logic gives."""

    pynq_name: str
    part: str
    arch: str
    registers: int
    address_bits: int


KINDS = {name: Kind(known.pynq_name, known.part, *(("armv7l", hwh.BASE_ADDRESS["zynq"], 32) if "7z" in known.part else
                                                   ("aarch64", hwh.BASE_ADDRESS["zynqmp"], 40)))
         for name, known in overlays.BOARDS.items()}
"""Name of a board, as everywhere in this package, -> what a virtual one needs to know."""

_ZYNQ = ((0xF800_8000, 0x4000),)
_ULTRASCALE = ((0xFD1A_0000, 0x1000), (0xFD36_0000, 0x6_0000), (0xFD61_5000, 0x1000), (0xFF41_9000, 0x1000))
"""Further pages of plain registers that PYNQ or drivers touch: widths of AXI ports, other clocks."""


@dataclasses.dataclass(frozen=True)
class Design:
    """What a bitstream makes of the programmable logic. library: simulator of it (sim/board/rtl.py);
    registers: physical address of its registers."""

    library: Path
    registers: int


def save_designs(path: Path, designs: Mapping[str, Design]) -> None:
    """Write designs to a JSON file, for a Python that can simulate hardware and not build it."""
    path.write_text(json.dumps({digest: {"library": str(design.library), "registers": design.registers}
                                for digest, design in designs.items()}, indent=1))


def load_designs(path: Path) -> dict[str, Design]:
    """Return what `save_designs` wrote. The libraries it names are run: read only what you wrote."""
    return {digest: Design(Path(entry["library"]), int(entry["registers"]))
            for digest, entry in json.loads(Path(path).read_text()).items()}


class NoDesign(Registers):
    """Programmable logic with a bitstream that the board does not know: everything reads 0, writes are lost."""

    def write(self, offset: int, value: int) -> None:
        """Do nothing."""


class Board:
    """A board of `kind` (a key of KINDS), switched on and not programmed. May be used by several threads.

    Parameters
    ----------
    designs: SHA-256 (hex) of a bitstream's payload -> what it makes of the programmable logic
    cycles: clock cycles that pass with each access to the accelerator's registers

    Members
    -------
    dram, clocks: memory and clock registers
    cut_off: how often the programmable logic was programmed, or switched off, while its transfers were under way; on
        real boards that may leave the memory bus with half a burst
    programmed: payload hashes of the bitstreams programmed so far
    """

    def __init__(self, kind: str = "pynq-z2", designs: Mapping[str, Design] | None = None, cycles: int = CYCLES):
        if kind not in KINDS:
            raise ValueError(f"there is no virtual board {kind!r}; there are {', '.join(KINDS)}")
        self.kind = KINDS[kind]
        self.designs = dict(designs or {})
        self.dram = Dram()
        zynq = self.kind.arch == "armv7l"
        self.clocks = Slcr() if zynq else CrlApb()
        self.programmed: list[str] = []
        self.cut_off = 0
        self._cycles = cycles
        self._lock = threading.RLock()
        self._fixed = [(self.clocks.BASE, 0x1000, self.clocks)]
        self._fixed += [(base, size, Registers()) for base, size in (_ZYNQ if zynq else _ULTRASCALE)]
        self._logic: Rtl | NoDesign | None = None
        self._registers = self.kind.registers
        self._seconds, self._counted = 0.0, 0  # time until cycle `_counted` of the logic in place

    @property
    def registers(self) -> int:
        """Physical address of the accelerator's registers."""
        return self._registers

    @property
    def logic(self) -> Rtl | None:
        """The accelerator in the programmable logic, if there is one."""
        return self._logic if isinstance(self._logic, Rtl) else None

    @property
    def transferring(self) -> bool:
        """Whether transfers of the programmable logic are under way. To look lets no time pass."""
        with self._lock:
            return self.logic is not None and self.logic.transferring

    def program(self, payload: bytes) -> None:
        """Program the programmable logic with a bitstream's payload, in the order of bytes of .bit or of .bin files.

        A payload that the board does not know makes it a design in which every register reads 0."""
        digest = self._digest(payload)
        with self._lock:
            self.close()
            self.programmed.append(digest)
            design = self.designs.get(digest)
            self._logic = Rtl(design.library, self.dram, self._cycles) if design else NoDesign()
            self._registers = design.registers if design else self.kind.registers

    def close(self) -> None:
        """Let go of what is in the programmable logic."""
        with self._lock:
            self.seconds()
            if self.logic:
                self.cut_off += self.transferring
                self.logic.close()
            self._logic, self._counted = None, 0

    def seconds(self) -> float:
        """Return the board's own time: cycles simulated so far, at the clock that is set when they are asked for.

        A host that takes it for the time meets the same board on fast and on busy machines; set a slow clock then:
        to simulate a second of 100 MHz takes a minute."""
        with self._lock:
            now = self.logic.now if self.logic else 0
            self._seconds += (now - self._counted) / (self.clocks.frequency() * 1e6)
            self._counted = now
            return self._seconds

    def sleep(self, seconds: float) -> None:
        """Let so much of the board's own time pass."""
        with self._lock:
            if self.logic:
                self.logic.run(math.ceil(seconds * self.clocks.frequency() * 1e6))
            else:
                self._seconds += seconds

    def read(self, address: int) -> int:
        """Return the 32-bit word at a physical address of the processor's bus. Raises BusError, HardwareBroken."""
        with self._lock:
            device, offset = self._find(address)
            return device.read(offset)

    def write(self, address: int, value: int) -> None:
        """Write a 32-bit word. Raises BusError, HardwareBroken."""
        with self._lock:
            device, offset = self._find(address)
            device.write(offset, value)

    def inject(self, fault: Fault) -> None:
        """Let a fault happen between accelerator and memory. Raises ValueError where no accelerator is."""
        with self._lock:
            if not self.logic:
                raise ValueError("there is no accelerator in the programmable logic to inject a fault at")
            self.logic.inject(fault)

    def clear_faults(self) -> None:
        """No more faults; what they hold back goes on."""
        with self._lock:
            if self.logic:
                self.logic.clear_faults()

    def _find(self, address: int):
        if address % 4:
            raise BusError(f"address {address:#x} is no multiple of 4")
        for base, size, device in self._fixed:
            if base <= address < base + size:
                return device, address - base
        if self._registers <= address < self._registers + REGISTER_WINDOW:
            if self._logic is None:
                raise BusError(f"{address:#x} is in the programmable logic, which is not programmed")
            # the accelerator decodes the low bits only, as its window repeats in hardware
            return self._logic, address - self._registers & 0xFFF
        raise BusError(f"nothing is at address {address:#x}")

    def _digest(self, payload: bytes) -> str:
        """Return the hash of a payload as it is in the .bit file; tools turn the bytes of its words for .bin files."""
        plain = hashlib.sha256(payload).hexdigest()
        if plain not in self.designs and len(payload) % 4 == 0:
            turned = hashlib.sha256(np.frombuffer(payload, np.uint32).byteswap().tobytes()).hexdigest()
            if turned in self.designs:
                return turned
        return plain
