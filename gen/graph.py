"""The graph between a torch module and the integer network: which maps are summed before which neurons.

Made by gen/trace.py from any module; read by gen/quantised.py. It refers to the module's own layers, so that the
weights, and gradients to them, stay where they are. Maps are numbered as in `Network`: 0 is the input, i + 1 the
output of group i. Shapes are (C, H, W); 1-D data has H = 1, vectors H = W = 1.
"""

from __future__ import annotations

import dataclasses
import math

from torch import nn

from qblif.gen.layers import InputScale
from qblif.gen.network import Pair
from qblif.gen.neuron import QBLIF

Shape = tuple[int, int, int]


def window(size: Pair, kernel: Pair, stride: Pair, padding: Pair = (0, 0)) -> Pair:
    """Return height and width after a window of `kernel` has moved over `size` (floor mode)."""
    return tuple((n + 2 * p - k) // s + 1 for n, k, s, p in zip(size, kernel, stride, padding, strict=True))


@dataclasses.dataclass(frozen=True)
class Ref:
    """A feature map as a linear operation reads it: averaged over windows of `pool`, and scaled.

    size: height and width of the map; scale: the InputScale between the input and here, if any
    """

    map: int
    size: Pair
    pool: Pair = (1, 1)
    pool_stride: Pair = (1, 1)
    scale: InputScale | None = None

    @property
    def area(self) -> int:
        """Positions that an average is taken over."""
        return math.prod(self.pool)


@dataclasses.dataclass(frozen=True)
class Branch:
    """norms(op(sum of inputs)): one term of the current of a layer.

    op: convolution or linear layer, or None for the identity (then name is "")
    kernel, stride, padding: of `op` in (pooled) map positions; a linear layer on a map has the map's size
    norms: BatchNorms applied afterwards, first to last; False beside one: its offset is counted in another branch
    """

    inputs: tuple[Ref, ...]
    op: nn.Module | None = None
    name: str = ""
    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    norms: tuple[tuple[nn.Module, bool], ...] = ()

    @property
    def pure(self) -> bool:
        """True where nothing but pooling has happened to the maps yet."""
        return self.op is None and not self.norms


@dataclasses.dataclass(frozen=True)
class NeuronGroup:
    """The sum of `branches` goes into `neuron`; `shape` is that of its output map."""

    name: str
    branches: tuple[Branch, ...]
    neuron: QBLIF
    shape: Shape


@dataclasses.dataclass(frozen=True)
class MaxGroup:
    """Maximum of the levels of `map` over windows."""

    name: str
    map: int
    kernel: Pair
    stride: Pair
    padding: Pair
    shape: Shape


@dataclasses.dataclass(frozen=True)
class ReadoutGroup:
    """The sum of `branches` over all steps is the logits; mean: divided by the number of steps."""

    name: str
    branches: tuple[Branch, ...]
    shape: Shape
    mean: bool


Group = NeuronGroup | MaxGroup | ReadoutGroup


@dataclasses.dataclass(frozen=True)
class Graph:
    """All groups in order, and what the network is fed.

    input_shape: (C, H, W) of one step as the user gives it; features: number of axes the user gives it with
    static: True: the user gives (N, ...), shown at every step; False: (T, N, ...)
    steps: T
    input_scale: the InputScale, if any; padding: (vertical, horizontal), added on both sides by the host
    """

    input_shape: Shape
    features: int
    static: bool
    steps: int
    groups: tuple[Group, ...]
    input_scale: InputScale | None = None
    padding: Pair = (0, 0)

    def map_shape(self, index: int) -> Shape:
        """Return (C, H, W) of map `index`, the host's padding included."""
        if index:
            return self.groups[index - 1].shape
        c, h, w = self.input_shape
        return (c, h + 2 * self.padding[0], w + 2 * self.padding[1])

    def neurons_of(self, index: int) -> NeuronGroup | None:
        """Return the group whose levels stand in map `index`, looking through max pooling; None: the input."""
        while index and isinstance(self.groups[index - 1], MaxGroup):
            index = self.groups[index - 1].map
        return self.groups[index - 1] if index else None


def branches_of(group: Group) -> tuple[Branch, ...]:
    """Return the branches of a group; a MaxGroup has none."""
    return () if isinstance(group, MaxGroup) else group.branches


def reads(group: Group) -> set[int]:
    """Return the indices of the maps that a group reads."""
    return {group.map} if isinstance(group, MaxGroup) else {ref.map for b in group.branches for ref in b.inputs}
