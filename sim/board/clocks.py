"""Clock registers of the processing system, as far as the clock of the programmable logic depends on them.

Ref: Zynq-7000 Technical Reference Manual (UG585), appendix B.28 slcr; Zynq UltraScale+ Register Reference (UG1087),
module CRL_APB."""

from __future__ import annotations

PL_CLOCKS = 4
"""Clocks that the processing system gives to the programmable logic."""


class Registers:
    """A page of 32-bit registers that remember what is written. Offsets are in bytes; others read as 0."""

    def __init__(self, values: dict[int, int] | None = None):
        self._values = dict(values or {})

    def read(self, offset: int) -> int:
        """Return the register at a byte offset."""
        return self._values.get(offset, 0)

    def write(self, offset: int, value: int) -> None:
        """Write the register at a byte offset."""
        self._values[offset] = value & 0xFFFF_FFFF


class Slcr(Registers):
    """System-level control registers of a Zynq-7000 with a crystal of 50 MHz, as the images of PYNQ-Z1 and -Z2 leave
    them: IO PLL 1000 MHz; FCLK0 to 3 at 100, 142.857, 200 and 166.667 MHz."""

    BASE = 0xF800_0000
    CRYSTAL_MHZ = 50.0
    IO_PLL, FCLK, STEP = 0x108, 0x170, 0x10

    def __init__(self):
        super().__init__({0x100: 26 << 12, 0x104: 21 << 12, self.IO_PLL: 20 << 12, 0x120: 2 << 8}
                         | {self.FCLK + self.STEP * i: 1 << 20 | divisor << 8
                            for i, divisor in enumerate((10, 7, 5, 6))})

    def frequency(self, index: int = 0) -> float:
        """Return the frequency of FCLK `index` in MHz; its source is taken to be the IO PLL."""
        control = self.read(self.FCLK + self.STEP * index)
        pll = self.CRYSTAL_MHZ * (self.read(self.IO_PLL) >> 12 & 0x7F)
        return pll / max(1, control >> 8 & 0x3F) / max(1, control >> 20 & 0x3F)


class CrlApb(Registers):
    """Clock registers of a Zynq UltraScale+ with a crystal of 33.333 MHz: IO PLL 1500 MHz, PL0 to 3 at 100 MHz."""

    BASE = 0xFF5E_0000
    CRYSTAL_MHZ = 33.333
    IO_PLL, PL, STEP = 0x20, 0xC0, 4

    def __init__(self):
        super().__init__({self.IO_PLL: 1 << 16 | 90 << 8, 0x30: 1 << 16 | 90 << 8}
                         | {self.PL + self.STEP * i: 1 << 24 | 1 << 16 | 15 << 8 for i in range(PL_CLOCKS)})

    def frequency(self, index: int = 0) -> float:
        """Return the frequency of PL clock `index` in MHz; its source is taken to be the IO PLL."""
        control, pll = self.read(self.PL + self.STEP * index), self.read(self.IO_PLL)
        source = self.CRYSTAL_MHZ * (pll >> 8 & 0x7F) / (2 if pll >> 16 & 1 else 1)
        return source / max(1, control >> 8 & 0x3F) / max(1, control >> 16 & 0x3F)
