"""Counts what was compared with the golden model and keeps the first difference."""

from __future__ import annotations

import dataclasses

import numpy as np

from qblif.gen.network import Network

from .compare import KINDS, Mismatch, compare_logits, first_mismatch
from .golden import Record


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Integers of one kind that were compared with the golden model's, and how many of them differ."""

    what: str
    compared: int
    different: int


class Verdict:
    """Comparisons of a network with its golden model, in the order in which they were made."""

    def __init__(self, network: Network):
        self._network = network
        self.comparisons: list[Comparison] = []
        self.first: tuple[str, Mismatch] | None = None
        """Of which comparison, and which integer; None where all are equal."""

    @property
    def mismatches(self) -> int:
        """Integers that differ, over all comparisons."""
        return sum(comparison.different for comparison in self.comparisons)

    def logits(self, what: str, expected: np.ndarray, found: np.ndarray) -> Mismatch | None:
        """Compare logits (B, K)."""
        return self._note(what, compare_logits(self._network, expected, found), expected.size,
                          int((expected != found).sum()))

    def levels(self, what: str, expected: tuple[Record, ...], found: list[dict[str, np.ndarray]]) -> Mismatch | None:
        """Compare currents, membranes and levels: per layer a dict kind -> (T, B, C, H, W)."""
        pairs = [(getattr(record, kind), layer[kind]) for record, layer in zip(expected, found, strict=True)
                 for kind in KINDS if getattr(record, kind) is not None and layer.get(kind) is not None]
        return self._note(what, first_mismatch(self._network, expected, found), sum(want.size for want, _ in pairs),
                          sum(int((want != have).sum()) for want, have in pairs))

    def _note(self, what: str, mismatch: Mismatch | None, compared: int, different: int) -> Mismatch | None:
        self.comparisons.append(Comparison(what, compared, different))
        if mismatch is not None and self.first is None:
            self.first = what, mismatch
        return mismatch
