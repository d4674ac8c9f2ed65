"""Dividers of the ECP5's PLL for a wanted clock."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

from qblif.host.errors import QblifError

INPUT_HZ = (8_000_000, 400_000_000)
OUTPUT_HZ = (10_000_000, 400_000_000)
PHASE_DETECTOR_HZ = (3_125_000, 400_000_000)
OSCILLATOR_HZ = (400_000_000, 800_000_000)
"""What the PLL can do; ecppll of Project Trellis uses the same limits."""

INPUT_DIVIDERS, FEEDBACK_DIVIDERS, OUTPUT_DIVIDERS = range(1, 129), range(1, 81), range(1, 129)

TOLERANCE = Fraction(1, 200)
"""How far the clock may be from the one asked for, relative to it."""


class ClockError(QblifError):
    """The PLL cannot make the clock that was asked for."""


@dataclasses.dataclass(frozen=True)
class Pll:
    """An EHXPLLL whose output CLKOP is fed back::

        oscillator = input / input_divider * feedback_divider * output_divider
        output     = oscillator / output_divider

    All frequencies in Hz.
    """

    input_hz: int
    input_divider: int
    feedback_divider: int
    output_divider: int

    @property
    def output_hz(self) -> Fraction:
        """The clock it makes."""
        return Fraction(self.input_hz * self.feedback_divider, self.input_divider)

    @property
    def oscillator_hz(self) -> Fraction:
        """Frequency of its oscillator."""
        return self.output_hz * self.output_divider

    @property
    def coarse_phase(self) -> int:
        """CLKOP_CPHASE for an output in phase with the input: half a period, in oscillator periods."""
        return self.output_divider // 2


def solve(input_hz: int, wanted_hz: int) -> Pll:
    """Return the dividers that come closest to `wanted_hz`, of equal ones those with the oscillator nearest 600 MHz.

    Raises ClockError where no dividers come within TOLERANCE."""
    for what, hz, (low, high) in (("input", input_hz, INPUT_HZ), ("clock", wanted_hz, OUTPUT_HZ)):
        if not low <= hz <= high:
            raise ClockError(f"the PLL's {what} would be {hz / 1e6:g} MHz, allowed is {low / 1e6:g} to "
                             f"{high / 1e6:g} MHz")
    best, rank = None, None
    for divider in INPUT_DIVIDERS:
        if not PHASE_DETECTOR_HZ[0] * divider <= input_hz <= PHASE_DETECTOR_HZ[1] * divider:
            continue
        for feedback in FEEDBACK_DIVIDERS:
            hz = Fraction(input_hz * feedback, divider)
            if not OUTPUT_HZ[0] <= hz <= OUTPUT_HZ[1]:
                continue
            for output in range(max(1, -(-OSCILLATOR_HZ[0] // hz)), OSCILLATOR_HZ[1] // hz + 1):
                order = (abs(hz - wanted_hz), abs(hz * output - 600_000_000), divider, output)
                if output in OUTPUT_DIVIDERS and (rank is None or order < rank):
                    best, rank = Pll(input_hz, divider, feedback, output), order
    if best is None or rank[0] > wanted_hz * TOLERANCE:
        nearest = f"; the nearest is {float(best.output_hz) / 1e6:.6g} MHz" if best else ""
        raise ClockError(f"the PLL cannot make {wanted_hz / 1e6:g} MHz from {input_hz / 1e6:g} MHz{nearest}",
                         hint="ask for a clock with a simple ratio to the board's oscillator")
    return best
