"""What a tensor of the module is in terms of feature maps, and what the linear layers make of it."""

from __future__ import annotations

import dataclasses

from torch import nn

from qblif.gen import checks
from qblif.gen.graph import Branch, Offset, Ref, Shape, window
from qblif.gen.network import Pair


class Problem(Exception):
    """Something about one layer or function that cannot be folded; the text says what to do instead."""


FEATURES = {1: "F", 2: "C, L", 3: "C, H, W"}
"""Axes behind T and N, by their number."""


class AxesProblem(Problem):
    """A layer does not fit the axes of its input, which may have been read with the wrong meaning."""


@dataclasses.dataclass(frozen=True)
class Value:
    """A sum of branches, on its way to a neuron.

    features: axes it has in torch behind N: 3 (C, H, W), 2 (C, L), 1 (F)
    timed: True: (T, N, ...), False: (N, ...)
    reduced: "mean" or "sum" where the time axis has been reduced, else ""
    once: True: the time axis has length 1 and waits for repeat or expand
    peak: (kernel, stride, padding, shape before, name) of a max pooling that waits for the neuron (T = 1 only)
    """

    branches: tuple[Branch, ...]
    shape: Shape
    features: int
    timed: bool
    reduced: str = ""
    once: bool = False
    peak: tuple | None = None

    @property
    def pure(self) -> bool:
        """True where this is a sum of maps, at most pooled."""
        return all(b.pure for b in self.branches)

    @property
    def axes(self) -> str:
        """The axes that it has in torch."""
        return f"({'T, ' if self.timed else ''}N, {FEATURES[self.features]})"

    @property
    def offset(self) -> Offset:
        """How often the offset of a layer behind this counts."""
        return Offset.ONCE if self.reduced == "sum" else Offset.STEP

    def replace(self, **changes) -> Value:
        """Return a copy with changes."""
        return dataclasses.replace(self, **changes)

    def torch_shape(self, steps: int, batch: int) -> tuple[int, ...]:
        """Return the shape that the tensor should have."""
        c, h, w = self.shape
        features = {3: (c, h, w), 2: (c, w), 1: (c * h * w,)}[self.features]
        return ((1 if self.once else steps,) if self.timed else ()) + (batch, *features)

    def maps(self) -> tuple[Ref, ...]:
        """Return the maps that this is the sum of; raises Problem where it is a current."""
        if not self.pure:
            raise Problem("its input is a current, not levels: put a neuron between two layers with weights "
                          "(BatchNorm comes after its convolution, and before the neuron)")
        return tuple(r for b in self.branches for r in b.inputs)


def add(a, b) -> Value:
    """Return a + b."""
    if not (isinstance(a, Value) and isinstance(b, Value)):
        raise Problem("adding something else than two tensors of the network is not supported; for constants use the "
                      "bias of a layer")
    if a.peak or b.peak:
        raise Problem("max pooling of currents has to be followed by the neuron")
    if a.shape != b.shape or a.features != b.features or a.reduced != b.reduced:
        raise Problem(f"adds maps of shapes {a.shape} and {b.shape}; allowed are equal shapes")
    return a.replace(branches=a.branches + b.branches, timed=a.timed or b.timed)


def norm(m: nn.Module, x: Value) -> Value:
    """Return BatchNorm of x: every branch takes the gain, the first one the offset."""
    channels, height, width = x.shape
    if x.features == 1 and height * width > 1:
        raise Problem("BatchNorm1d on a flattened map is not supported: put BatchNorm2d before Flatten")
    mode = getattr(m, "step_mode", None)
    if x.features == 2 - x.timed and mode not in (None, "m" if x.timed else "s"):
        raise Problem(f"step_mode is {mode!r}, but its input is {x.axes}: give this BatchNorm1d "
                      f"step_mode={'m' if x.timed else 's'!r}")
    if m.num_features != channels:
        raise Problem(f"has {m.num_features} features, its input has {channels} channels")
    return x.replace(branches=tuple(dataclasses.replace(b, norms=(*b.norms, (m, Offset.NEVER if i else x.offset)))
                                    for i, b in enumerate(x.branches)))


def convolution(name: str, m: nn.Module, x: Value) -> Value:
    """Return a 1-D or 2-D convolution of x."""
    two = isinstance(m, nn.Conv2d)
    check_axes(m, x, 3 if two else 2)
    padding = checks.conv_padding(m)
    if two:
        return _linear(name, m, x, tuple(m.kernel_size), tuple(m.stride), padding, 3)
    return _linear(name, m, x, (1, *m.kernel_size), (1, *m.stride), (0, *padding), 2)


def dense(name: str, m: nn.Module, x: Value) -> Value:
    """Return a linear layer of x: on a flattened map, a kernel of the map's size."""
    c, h, w = x.shape
    if x.features != 1:
        raise AxesProblem(f"{type(m).__name__} takes (N, F) or (T, N, F), but its input is read as {x.axes}: put "
                          "Flatten() before it")
    if m.in_features != c * h * w:
        raise Problem(f"has {m.in_features} inputs, its input has {c * h * w}")
    return _linear(name, m, x, (h, w), (1, 1), (0, 0), 1)


def _linear(name, m, x, kernel: Pair, stride: Pair, padding: Pair, features: int) -> Value:
    refs = x.maps()
    for ref in refs:
        _check_padded_pool(ref, padding)
    size = window(x.shape[1:], kernel, stride, padding)
    return x.replace(branches=(Branch(refs, m, name, kernel, stride, padding, x.offset),),
                     shape=(m.weight.shape[0], *size), features=features)


def check_axes(m: nn.Module, x: Value, features: int):
    """Raise Problem where the layer `m` works on another number of feature axes than x has."""
    if x.features != features:
        needed = FEATURES[features]
        raise AxesProblem(f"{type(m).__name__} takes (N, {needed}) or (T, N, {needed}), but its input is read as "
                          f"{x.axes}")


def _check_padded_pool(ref: Ref, padding: Pair):
    for axis, p in enumerate(padding):
        if not p or ref.pool[axis] == ref.pool_stride[axis] == 1:
            continue
        if ref.pool[axis] != ref.pool_stride[axis]:
            raise Problem(f"padding {padding} on average pooling with window {ref.pool} and stride {ref.pool_stride}: "
                          "allowed is padding 0, or a stride equal to the window")
        if ref.size[axis] % ref.pool[axis]:
            raise Problem(f"padding {padding} on average pooling by {ref.pool} of a map of size {ref.size[axis]}: "
                          "allowed is padding 0, or a size that the window divides")


def average(x: Value, kernel: Pair, stride: Pair) -> Value:
    """Return x averaged over windows; the maps that it is the sum of are read so."""
    refs = []
    for ref in x.maps():
        if ref.pool != ref.pool_stride:
            raise Problem("average pooling of overlapping averages: use one pooling layer")
        pool = tuple(k * p for k, p in zip(kernel, ref.pool, strict=True))
        step = tuple(s * p for s, p in zip(stride, ref.pool, strict=True))
        refs.append(dataclasses.replace(ref, pool=pool, pool_stride=step))
    return x.replace(branches=(Branch(tuple(refs)),), shape=(x.shape[0], *window(x.shape[1:], kernel, stride)))


def adaptive_average(m: nn.Module, x: Value) -> Value:
    """Return x averaged to a fixed size."""
    target = m.output_size if isinstance(m.output_size, tuple) else (m.output_size,) * (x.features - 1)
    target = (1,) * (3 - x.features) + tuple(target)
    target = tuple(n if t is None else t for t, n in zip(target, x.shape[1:], strict=True))
    if any(n % t for n, t in zip(x.shape[1:], target, strict=True)):
        raise Problem(f"output_size {target} does not divide the map {x.shape[1:]}: choose a size that does, such as 1")
    kernel = tuple(n // t for n, t in zip(x.shape[1:], target, strict=True))
    return average(x, kernel, kernel)


def pair(value, features: int, fill: int = 1) -> Pair:
    """Return a parameter of a pooling layer as (vertical, horizontal); `fill` is what 1-D layers have vertically."""
    value = tuple(value) if isinstance(value, tuple | list) else (value,) * (features - 1)
    return (fill,) * (3 - features) + value
