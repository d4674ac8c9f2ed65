"""What the FPGAs of the boards have for logic and memory."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Part:
    """An FPGA. lut: look-up tables; inputs: of one; ff: flip-flops; block_ram: blocks of 18 Kbit."""

    name: str
    lut: int
    inputs: int
    ff: int
    block_ram: int


PARTS: dict[str, Part] = {part.name: part for part in (
    Part("LFE5U-85F-6BG381C", 83_640, 4, 83_640, 208),
    Part("xc7z020clg400-1", 53_200, 6, 106_400, 280),
    Part("xczu7ev-ffvc1156-2-e", 230_400, 6, 460_800, 624),
    Part("xck26-sfvc784-2LV-c", 117_120, 6, 234_240, 288),
)}
"""Name, as boards say it -> part. Without DSP blocks, which nothing here uses unasked, and without the UltraRAM of Zynq
UltraScale+, which the tools do not take for our memories.

Ref: Lattice FPGA-DS-02012, table 1.1; AMD DS190, DS891 and DS987, device tables."""
