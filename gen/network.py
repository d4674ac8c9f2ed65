"""The integer program: what a trained network is once the scales are folded away. The one source of truth.

Plain frozen dataclasses over numpy arrays, no torch. The arithmetic is docs/numerics.md; in short, per
output channel, with exponent f (``shift``) and the membrane v in units of gamma / 2**f::

    c[t]  = bias + sum over sources of 2**exponent * (weight conv levels[t])
    v'    = decay, reset and add (Neuron.style)
    level = clip((v' + h) >> f, 0, N)

Maps are indexed: map 0 is the network's input, map i+1 the output of layer i.
"""

from __future__ import annotations

import dataclasses
import enum

import numpy as np

Pair = tuple[int, int]
"""(vertical, horizontal)."""


class Reset(enum.Enum):
    """Reset style; equation (2) of the paper is GATE_SUM."""

    GATE_SUM = "gate_sum"
    GATE_MEMBRANE = "gate_membrane"
    SUBTRACT = "subtract"


@dataclasses.dataclass(frozen=True)
class Neuron:
    """Constants of the neurons of a layer.

    levels: N, 1 to 31
    decay: k of beta = 2**-k, 0 to 14; None: beta = 0
    reset: r of the reset factor 2**-r, 0 to 14; None: factor 0. The factor is 1-alpha for the gate styles
        and alpha for SUBTRACT
    style: what a spike does to the membrane
    rounds: True: h = 2**(f-1) (0 where f = 0), levels round half up (I-LIF); False: h = 0, levels floor
    """

    levels: int
    decay: int | None = 1
    reset: int | None = 1
    style: Reset = Reset.GATE_SUM
    rounds: bool = False


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
    """One linear contribution to a layer's current.

    map: index of the feature map read
    weight: int8; dense: (C_out, C_in, kh, kw); diagonal: (C,), channel c adds weight[c] * level[c]
    exponent: e >= 0, the weights count 2**e; at least one source of a layer has e = 0
    stride, padding: of the kernel, per axis, in (pooled) map positions; diagonal sources have a 1x1 kernel
    pool, pool_stride: the map is first summed (not averaged: the divisor is in the weights) over windows of
        `pool` positions, `pool_stride` apart. (1, 1): no pooling
    A dense layer on a whole map is a kernel of the map's size.
    """

    map: int
    weight: np.ndarray
    exponent: int = 0
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    pool: Pair = (1, 1)
    pool_stride: Pair = (1, 1)

    @property
    def diagonal(self) -> bool:
        """True where each output channel reads only the input channel of its own index."""
        return self.weight.ndim == 1

    @property
    def kernel(self) -> Pair:
        """Height and width of the kernel, in pooled positions."""
        return (1, 1) if self.diagonal else (int(self.weight.shape[2]), int(self.weight.shape[3]))

    def pooled(self, shape: tuple[int, int, int]) -> Pair:
        """Return height and width of the map after pooling (floor mode)."""
        return tuple((size - k) // s + 1 for size, k, s in zip(shape[1:], self.pool, self.pool_stride, strict=True))

    def out_shape(self, shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """Return (C, H, W) of this source's contribution, given that of the map it reads."""
        size = tuple((n + 2 * p - k) // s + 1 for n, p, k, s in
                     zip(self.pooled(shape), self.padding, self.kernel, self.stride, strict=True))
        return (int(self.weight.shape[0]), *size)


@dataclasses.dataclass(frozen=True, eq=False)
class NeuronLayer:
    """Sources, bias and neurons; its output map holds levels 0..N.

    bias: int32 (C,), within bias_bits; shift: uint8 (C,), f = 0 to 20; shape: (C, H, W) of the output map.
    """

    name: str
    sources: tuple[Source, ...]
    bias: np.ndarray
    shift: np.ndarray
    neuron: Neuron
    shape: tuple[int, int, int]


@dataclasses.dataclass(frozen=True)
class MaxPool:
    """Maximum of levels over windows, per time step. Padding counts as level 0."""

    name: str
    map: int
    kernel: Pair
    stride: Pair
    padding: Pair
    shape: tuple[int, int, int]


@dataclasses.dataclass(frozen=True, eq=False)
class Readout:
    """Logits: sum over the T steps of bias + sources; the output shape of every source is (K, 1, 1).

    bias: int32 (K,), added once per step; scale: float, logit in the units of training = integer * scale.
    Ties between classes go to the lowest index.
    """

    name: str
    sources: tuple[Source, ...]
    bias: np.ndarray
    scale: float = 1.0

    @property
    def shape(self) -> tuple[int, int, int]:
        """(K, 1, 1)."""
        return (len(self.bias), 1, 1)


Layer = NeuronLayer | MaxPool | Readout


@dataclasses.dataclass(frozen=True)
class Input:
    """What the network is fed: unsigned integers 0 .. 2**bits - 1.

    shape: (C, H, W) of one time step as the user gives it (1-D data: H = 1; vectors: (C, 1, 1))
    bits: 1 to 8
    static: True: one array (C, H, W) per image, shown at every step; False: (T, C, H, W) per image
    padding: (top, bottom, left, right) added by the host before anything else
    zero_point: the level that means 0, one per channel; what `padding` is filled with. The first layers then
        have padding 0 themselves and their biases contain the subtracted mean
    """

    shape: tuple[int, int, int]
    bits: int
    static: bool = True
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    zero_point: tuple[int, ...] = ()

    @property
    def map_shape(self) -> tuple[int, int, int]:
        """(C, H, W) after the host's padding: the shape of map 0."""
        top, bottom, left, right = self.padding
        return (self.shape[0], self.shape[1] + top + bottom, self.shape[2] + left + right)


@dataclasses.dataclass(frozen=True, eq=False)
class Network:
    """A verified integer network; `verify` (gen/verify.py) says what has to hold.

    steps: T; weight_bits: 2 to 8, width that all weights fit; bias_bits: width that all biases fit
    meta: free text to keep with it (data set, recipe, accuracies ...), str -> str
    The last layer is the one and only Readout.
    """

    name: str
    steps: int
    input: Input
    layers: tuple[Layer, ...]
    weight_bits: int = 8
    bias_bits: int = 24
    meta: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def classes(self) -> int:
        """Number of logits."""
        return self.layers[-1].shape[0]

    def map_shape(self, index: int) -> tuple[int, int, int]:
        """Return (C, H, W) of map `index`."""
        return self.input.map_shape if index == 0 else self.layers[index - 1].shape

    def map_bits(self, index: int) -> int:
        """Return the bit planes that map `index` has."""
        if index == 0:
            return self.input.bits
        layer = self.layers[index - 1]
        if isinstance(layer, MaxPool):
            return self.map_bits(layer.map)
        return layer.neuron.levels.bit_length()

    def map_peak(self, index: int) -> int:
        """Return the largest level that can stand in map `index`."""
        if index == 0:
            return (1 << self.input.bits) - 1
        layer = self.layers[index - 1]
        return self.map_peak(layer.map) if isinstance(layer, MaxPool) else layer.neuron.levels

    def map_static(self, index: int) -> bool:
        """True when map `index` is the same at every step and stored once (the static input alone)."""
        return index == 0 and self.input.static


def layer_sources(layer: Layer) -> tuple[Source, ...]:
    """Return the sources of a layer; a MaxPool has none."""
    return () if isinstance(layer, MaxPool) else layer.sources


def layer_inputs(layer: Layer) -> tuple[int, ...]:
    """Return the indices of the maps that a layer reads."""
    return (layer.map,) if isinstance(layer, MaxPool) else tuple(s.map for s in layer.sources)
