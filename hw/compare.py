"""Comparisons with many constants at once, which is what masks and decoders are made of."""

from __future__ import annotations

from amaranth.hdl import Const, Value

LOW = 3
"""Bits compared by themselves; what they give is shared."""


def at_most(value: Value, bound: int) -> Value:
    """Return value <= bound of an unsigned value, without a carry chain of its own for each bound."""
    if bound < 0:
        return Const(0, 1)
    high, low = value[LOW:], value[:LOW]
    if bound >> len(value):
        return Const(1, 1)
    return (high < bound >> LOW) | ((high == bound >> LOW) & (low <= bound & (1 << LOW) - 1))


def equals(value: Value, number: int) -> Value:
    """Return value == number of an unsigned value."""
    return (value[LOW:] == number >> LOW) & (value[:LOW] == number & (1 << LOW) - 1)
