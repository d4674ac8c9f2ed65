"""Compares what hardware computed with the golden model and names the first difference."""

from __future__ import annotations

import dataclasses

import numpy as np

from qblif.gen.network import Network

from .golden import Record

KINDS = ("current", "membrane", "levels")
"""In the order in which one follows from the other."""


@dataclasses.dataclass(frozen=True)
class Mismatch:
    """The first difference between expected integers and those that the hardware got.

    layer, name: index and name of the layer; kind: "current", "membrane", "levels" or "logits"; step: t; image: index
    in the batch; position: (y, x); channel; expected, got: the two integers. Logits have step, position None.
    """

    layer: int
    name: str
    kind: str
    image: int
    step: int | None
    position: tuple[int, int] | None
    channel: int
    expected: int
    got: int
    count: int
    total: int

    def __str__(self) -> str:
        where = f"layer {self.layer} ({self.name}), {self.kind}, image {self.image}"
        if self.step is not None:
            where += f", time step {self.step}, position (y={self.position[0]}, x={self.position[1]})"
        return (f"first mismatch: {where}, channel {self.channel}: expected {self.expected}, got {self.got} "
                f"({self.count} of {self.total} values of this kind in this layer differ)")


def first_mismatch(network: Network, expected: tuple[Record, ...], got) -> Mismatch | None:
    """Return the first difference in network order, or None if all that is in `got` is equal.

    expected: records of the golden model. got: one Record per layer, or a dict of any of current, membrane and levels
    to integers (T, B, C, H, W) (or a dict from layer index to either); a kind that is missing is not compared.
    Within a layer: time step by time step, current before membrane before level, then image, channel and position.
    Raises ValueError when a shape differs, or when nothing was there to compare.
    """
    got = dict(enumerate(got)) if not isinstance(got, dict) else got
    compared = 0
    for index, record in enumerate(expected):
        pairs = {}
        for kind in KINDS:
            want, have = getattr(record, kind), _part(got.get(index, {}), kind)
            if want is None or have is None:
                continue
            have = np.asarray(have)
            if have.shape != want.shape:
                raise ValueError(f"layer {index} ({record.name}): {kind} has shape {have.shape}, expected {want.shape}")
            pairs[kind] = (want, have)
        compared += len(pairs)
        different = {kind: want != have for kind, (want, have) in pairs.items()}
        for step in range(network.steps):
            for kind, mask in different.items():
                if mask[step].any():
                    return _mismatch(index, record.name, kind, step, mask, *pairs[kind])
    if not compared:
        raise ValueError("there is nothing to compare: no layer of the trace has records of the golden model")
    return None


def compare_logits(network: Network, expected, got) -> Mismatch | None:
    """Return the first difference between logits (B, K), or None; raises ValueError when the shapes differ."""
    expected, got = np.asarray(expected), np.asarray(got)
    if expected.shape != got.shape:
        raise ValueError(f"logits have shape {got.shape}, expected {expected.shape}")
    mask = expected != got
    if not mask.any():
        return None
    image, channel = (int(i) for i in np.argwhere(mask)[0])
    return Mismatch(len(network.layers) - 1, network.layers[-1].name, "logits", image, None, None, channel,
                    int(expected[image, channel]), int(got[image, channel]), int(mask.sum()), mask.size)


def _part(layer: Record | dict, kind: str):
    return layer.get(kind) if isinstance(layer, dict) else getattr(layer, kind)


def _mismatch(index, name, kind, step, mask, want, have) -> Mismatch:
    image, channel, y, x = (int(i) for i in np.argwhere(mask[step])[0])
    at = (step, image, channel, y, x)
    return Mismatch(index, name, kind, image, step, (y, x), channel, int(want[at]), int(have[at]), int(mask.sum()),
                    mask.size)
