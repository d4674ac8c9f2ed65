"""Choice of the exponents f (per output channel) and e (per source) of a layer.

Per channel f is the largest that the weights, the bias and the limit of 20 allow; a source whose weights are
larger than the finest one's gets the excess as e (docs/numerics.md).
"""

from __future__ import annotations

import numpy as np

SHIFT_MAX = 20
SHIFT_OF_NOTHING = 8
"""f of a layer whose weights are all zero."""

BIAS_HEADROOM = 3
"""Biases leave this many bits of their width unused, so that sums and membranes stay near the bias's width."""


def largest_weight(bits: int) -> int:
    """Return the largest absolute value of a weight; the range is symmetric."""
    return (1 << bits - 1) - 1


def magnitudes(weights: np.ndarray, limit: int) -> np.ndarray:
    """Return the magnitude of each channel that is to fit the integer `limit`: that of its largest weight.

    Or a half, a quarter or an eighth of it, where clipping the largest weights and rounding the others on the finer
    grid makes the smallest squared error, which narrow weights gain from.

    weights: real, channels first"""
    w = np.abs(weights.reshape(len(weights), -1))
    largest = w.max(1)
    unit = np.exp2(np.nan_to_num(_fit(limit, largest)))[:, None]

    def error(unit):
        return np.square(np.minimum(np.round(w * unit), limit) / unit - w).sum(1)

    return largest / np.exp2(np.argmin([error(unit * 2**k) for k in range(4)], axis=0))


def _fit(limit, magnitude):
    """Return the largest f with 2**f * magnitude <= limit, per channel; NaN where the magnitude is 0."""
    with np.errstate(divide="ignore"):
        f = np.floor(np.log2(limit / magnitude))
    return np.where(magnitude > 0, f, np.nan)


def _median(values) -> float:
    values = values[~np.isnan(values)]
    return float(np.median(values)) if values.size else np.nan


def choose(magnitudes: list[np.ndarray], bias: np.ndarray, limits: list[int], bias_bits: int, least: int = 0,
           shared: bool = False) -> tuple[np.ndarray, list[int]]:
    """Return f (int64, per channel) and e per source.

    magnitudes: per source, the largest absolute real weight of each channel, in units of gamma
    bias: real, in units of gamma; limits: largest integer weight per source; least: smallest f allowed
    shared: True: one f, of any sign, for all channels (read-out)
    """
    fits = [_fit(limit, m) for limit, m in zip(limits, magnitudes, strict=True)]
    bias_fit = _fit(1 << bias_bits - 1 - BIAS_HEADROOM, np.abs(bias))
    low, high = (-64, 64) if shared else (least, SHIFT_MAX)
    medians = [_median(fit) for fit in fits]
    finest = int(np.nanargmax(medians)) if not np.all(np.isnan(medians)) else 0
    base = np.fmin(np.fmin(fits[finest], bias_fit), high)
    excess = [_median(base - fit) for fit in fits]
    e = [0 if i == finest or np.isnan(x) else max(0, int(np.floor(x + 0.5))) for i, x in enumerate(excess)]
    f = np.full(len(bias), np.nan)
    for fit, exponent in zip(fits, e, strict=True):
        f = np.fmin(f, fit + exponent)
    default = _median(f)
    f = np.where(np.isnan(f), SHIFT_OF_NOTHING if np.isnan(default) else default, f)
    f = np.fmin(f, bias_fit)
    if shared:
        f = np.full(len(bias), f.min())
    return np.clip(f, low, high).astype(np.int64), e
