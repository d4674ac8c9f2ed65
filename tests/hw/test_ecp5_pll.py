"""The PLL's dividers: against all there are, against what ecppll says, and what cannot be made."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qblif.hw.ecp5_pll import TOLERANCE, ClockError, solve

KHZ = 1_000


def possible(input_hz):
    """Return every clock that the PLL can make: what ecppll's three loops go through."""
    return {Fraction(input_hz * feedback, divider)
            for divider in range(1, 129) if 3_125_000 <= Fraction(input_hz, divider) <= 400_000_000
            for feedback in range(1, 81)
            if 10_000_000 <= Fraction(input_hz * feedback, divider) <= 400_000_000
            and any(400_000_000 <= Fraction(input_hz * feedback * output, divider) <= 800_000_000
                    for output in range(1, 129))}


@settings(max_examples=60)
@given(input_hz=st.sampled_from((25_000_000, 12_000_000, 48_000_000, 100_000_000)),
       wanted=st.integers(9_000, 401_000))
def test_the_nearest_clock_of_all_is_found_within_all_limits(input_hz, wanted):
    wanted *= KHZ
    clocks = possible(input_hz)
    nearest = min(abs(clock - wanted) for clock in clocks)
    if not 10_000_000 <= wanted <= 400_000_000 or nearest > wanted * TOLERANCE:
        with pytest.raises(ClockError, match="MHz"):
            solve(input_hz, wanted)
        return
    pll = solve(input_hz, wanted)
    assert pll.output_hz in clocks
    assert abs(pll.output_hz - wanted) == nearest
    assert 400_000_000 <= pll.oscillator_hz <= 800_000_000
    assert pll.input_divider <= 128 and pll.feedback_divider <= 80 and pll.output_divider <= 128


@pytest.mark.parametrize(("mhz", "dividers"), [
    (80, (5, 16, 7)), (100, (1, 4, 6)), (50, (1, 2, 12)), (25, (1, 1, 24)), (62.5, (2, 5, 10)), (75, (1, 3, 8)),
    (125, (1, 5, 5)), (90, (5, 18, 7)),
])
def test_dividers_are_those_of_ecppll(mhz, dividers):
    """What `ecppll -i 25 -o MHZ` of Project Trellis 1.4 prints: CLKI_DIV, CLKFB_DIV, CLKOP_DIV."""
    pll = solve(25_000_000, round(mhz * 1e6))
    assert (pll.input_divider, pll.feedback_divider, pll.output_divider) == dividers
    assert pll.output_hz == Fraction(mhz) * 1_000_000


@pytest.mark.parametrize(("input_hz", "wanted", "message"), [
    (25_000_000, 5_000_000, "clock would be 5 MHz, allowed is 10 to 400 MHz"),
    (25_000_000, 500_000_000, "clock would be 500 MHz"),
    (5_000_000, 50_000_000, "input would be 5 MHz, allowed is 8 to 400 MHz"),
    (200_000_000, 401_000_000, "clock would be 401 MHz"),
    (390_000_000, 391_500_000 + 60_000_000, "clock would be 451.5 MHz"),
])
def test_a_clock_that_cannot_be_made_is_an_error_with_both_figures(input_hz, wanted, message):
    with pytest.raises(ClockError, match=message):
        solve(input_hz, wanted)


def test_a_clock_between_those_that_can_be_made_is_refused_and_the_nearest_named():
    with pytest.raises(ClockError, match=r"cannot make 398 MHz from 25 MHz; the nearest is 400 MHz"):
        solve(25_000_000, 398_000_000)
