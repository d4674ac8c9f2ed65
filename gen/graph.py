"""The graph between a torch module and the integer network: which maps are summed before which neurons.

Made by gen/trace.py from any module; read by gen/quantised.py. It refers to the module's own layers, so that the
weights, and gradients to them, stay where they are. Maps are numbered as in `Network`: 0 is the input, i + 1 the
output of group i. Shapes are (C, H, W); 1-D data has H = 1, vectors H = W = 1.
"""

from __future__ import annotations

import dataclasses
import enum
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


class Offset(enum.Enum):
    """How often the offset of a layer (a bias, or what BatchNorm adds) counts in the sum over the steps."""

    STEP = "at every step"
    ONCE = "once: the layer stands behind the sum over time"
    NEVER = "never: it is counted in another branch"

    def share(self, steps: int) -> float:
        """Return what is added per step, as a part of the offset."""
        return {Offset.STEP: 1.0, Offset.ONCE: 1 / steps, Offset.NEVER: 0.0}[self]


@dataclasses.dataclass(frozen=True)
class Branch:
    """norms(op(sum of inputs)): one term of the current of a layer.

    op: convolution or linear layer, or None for the identity (then name is "")
    kernel, stride, padding: of `op` in (pooled) map positions; a linear layer on a map has the map's size
    offset: of the bias of `op`
    norms: BatchNorms applied afterwards, first to last, each with its own Offset
    """

    inputs: tuple[Ref, ...]
    op: nn.Module | None = None
    name: str = ""
    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    offset: Offset = Offset.STEP
    norms: tuple[tuple[nn.Module, Offset], ...] = ()

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


def prune(groups: list[Group]) -> tuple[Group, ...]:
    """Return the groups that the last one depends on, with the maps numbered anew."""
    needed, wanted = [], {len(groups)}
    for index in range(len(groups), 0, -1):
        if index in wanted:
            needed.append(index)
            wanted |= reads(groups[index - 1])
    number = {0: 0} | {old: new for new, old in enumerate(reversed(needed), 1)}

    def renumber(group):
        if isinstance(group, MaxGroup):
            return dataclasses.replace(group, map=number[group.map])
        branches = tuple(dataclasses.replace(b, inputs=tuple(dataclasses.replace(r, map=number[r.map])
                                                             for r in b.inputs)) for b in group.branches)
        return dataclasses.replace(group, branches=branches)

    return tuple(renumber(groups[old - 1]) for old in reversed(needed))
