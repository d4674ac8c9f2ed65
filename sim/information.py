"""How much a layer's burst levels say about its membrane: equations (4) to (7) of the paper, measured on histograms.

The level is a function of the membrane, so H(S|U) = 0 and the mutual information I(U;S) is the entropy H(S). All in
bits per neuron and time step.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

EFFECTIVE = 1e-2
"""A level counts as effective above this probability: the caption of the paper's figure 6."""


def entropy(histogram) -> float:
    """Return H in bits of a histogram of counts or probabilities, any shape; equation (4). 0 for an empty one."""
    counts = np.asarray(histogram, np.float64)
    if (counts < 0).any():
        raise ValueError(f"a histogram holds counts of 0 or more, not {counts.min():g}")
    if not counts.any():
        return 0.0
    p = counts[counts > 0] / counts.sum()
    return float(abs((p * np.log2(p)).sum()))


def capacity(levels: int) -> float:
    """Return log2(N + 1), the most bits that a level 0..N can carry: equation (6); 1 bit for N = 1, equation (5)."""
    if levels < 1:
        raise ValueError(f"the highest level N is {levels!r}, allowed is 1 or more")
    return math.log2(levels + 1)


@dataclasses.dataclass(frozen=True, eq=False)
class Levels:
    """How often each level occurs in a map, over images, time steps, channels and positions.

    name: of the layer, or "input". histogram: int64 (N + 1,), counts of the levels 0..N, N of 1 or more.
    """

    name: str
    histogram: np.ndarray

    @property
    def highest(self) -> int:
        """N."""
        return len(self.histogram) - 1

    @property
    def probabilities(self) -> np.ndarray:
        """Share of each level, float64 (N + 1,): the bars of the paper's figure 5."""
        return self.histogram / max(1, self.histogram.sum())

    @property
    def activity(self) -> float:
        """Share of the levels that are not 0: figure 6 (d)."""
        return float(self.probabilities[1:].sum())

    @property
    def saturation(self) -> float:
        """Share of the levels that are N: what clipping may have cut off."""
        return float(self.probabilities[-1])

    @property
    def effective(self) -> int:
        """Number of levels, 0 included, that occur with probability above EFFECTIVE: figure 6 (c)."""
        return int((self.probabilities > EFFECTIVE).sum())

    @property
    def mean(self) -> float:
        """Mean of the levels that are not 0; 0 where there are none."""
        return self._mean_of(np.arange(len(self.histogram)))

    @property
    def popcount(self) -> float:
        """Mean set bits of the levels that are not 0: what one such level costs by bit planes; 0 where none."""
        return self._mean_of(np.array([level.bit_count() for level in range(len(self.histogram))]))

    def _mean_of(self, values: np.ndarray) -> float:
        some = int(self.histogram[1:].sum())
        return float((values[1:] * self.histogram[1:]).sum() / some) if some else 0.0

    @property
    def entropy(self) -> float:
        """I(U; S_burst) = H(S_burst), bits: equation (6), left side; figure 6 (b)."""
        return entropy(self.histogram)

    @property
    def binary_entropy(self) -> float:
        """I(U; S_bi) = H(S_bi), bits, of the binary spike "level is not 0": equation (5), left side."""
        return entropy([self.histogram[0], self.histogram[1:].sum()])

    @property
    def capacity(self) -> float:
        """log2(N + 1) bits: equation (6), right side."""
        return capacity(self.highest)

    @property
    def gain(self) -> float:
        """H(U | S_bi) - H(U | S_burst), bits: by how much bursts narrow the membrane further; equation (7).

        H(U) drops out of the difference: it is H(S_burst) - H(S_bi), and 0 or more."""
        return max(0.0, self.entropy - self.binary_entropy)
