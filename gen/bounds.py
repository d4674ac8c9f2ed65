"""Provable bounds on every integer that a network can produce, for any input (docs/numerics.md: no saturation).

Per output channel, with peaks N_j of the levels read::

    c  in  [b + sum 2**e * min(w, 0) * N_j,  b + sum 2**e * max(w, 0) * N_j]

and v by interval arithmetic over the T steps, fired and unfired neurons apart. Between bit planes an accumulator
holds sums of the top bits of the levels, which lie between 0 and the level: the sums of the bound without
bias contain all partial ones, whatever order and fan-out strategy.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from .network import MaxPool, Network, Neuron, NeuronLayer, Readout, Reset, Source

CAP = 1 << 40
"""Bounds on currents are cut off here, far above any width, so that int64 never overflows (T <= 255)."""

Range = tuple[int, int]
"""Inclusive (lowest, highest)."""


@dataclasses.dataclass(frozen=True)
class LayerBounds:
    """Ranges of one layer's integers, over all channels, positions and steps.

    accumulator: partial and complete sums over the sources, without the bias
    current: c, the complete sum with the bias
    membrane: v after a step (Readout: the running logits; MaxPool: the levels)
    intermediate: all values between v[t-1] and v[t] and v + h, before reset or shift makes them smaller
    """

    name: str
    accumulator: Range
    current: Range
    membrane: Range
    intermediate: Range

    @property
    def range(self) -> Range:
        """Range of all integers of the layer."""
        ranges = (self.accumulator, self.current, self.membrane, self.intermediate)
        return (min(low for low, _ in ranges), max(high for _, high in ranges))

    @property
    def bits(self) -> int:
        """Two's complement bits that hold every integer of the layer."""
        return signed_bits(*self.range)


def signed_bits(low: int, high: int) -> int:
    """Return the two's complement bits that hold all of low..high; 1 for (0, 0) and (-1, 0)."""
    return max((~x if x < 0 else x).bit_length() for x in (low, high)) + 1


def bounds(network: Network) -> tuple[LayerBounds, ...]:
    """Return the bounds of every layer; the network's shapes, wiring and neuron constants have to be valid."""
    return tuple(layer_bounds(network, layer) for layer in network.layers)


def layer_bounds(network: Network, layer) -> LayerBounds:
    """Return the bounds of one layer, of which `network` needs to hold only the layers before it."""
    if isinstance(layer, MaxPool):
        levels = (0, network.map_peak(layer.map))
        return LayerBounds(layer.name, levels, levels, levels, levels)
    low, high = accumulator_range(network, layer)
    c_low, c_high = low + layer.bias, high + layer.bias
    if isinstance(layer, Readout):
        last = (c_low * network.steps, c_high * network.steps)
        state = through = _hull((np.zeros_like(low), np.zeros_like(low)), (c_low, c_high), last)
    else:
        state, through = _membrane(layer, (c_low, c_high), network.steps)
    return LayerBounds(layer.name, _span((low, high)), _span((c_low, c_high)), _span(state), _span(through))


def accumulator_range(network: Network, layer: NeuronLayer | Readout) -> tuple[np.ndarray, np.ndarray]:
    """Return per channel the lowest and highest (partial) sum over the sources, int64, cut off at +-CAP."""
    low = high = np.zeros(len(layer.bias), np.int64)
    for source in layer.sources:
        s_low, s_high = source_range(source, network.map_peak(source.map))
        low = low + np.maximum(s_low, -(CAP >> source.exponent)) * (1 << source.exponent)
        high = high + np.minimum(s_high, CAP >> source.exponent) * (1 << source.exponent)
    return np.maximum(low, -CAP), np.minimum(high, CAP)


def source_range(source: Source, peak: int) -> tuple[np.ndarray, np.ndarray]:
    """Return per channel the lowest and highest sum of one source, before its exponent; `peak` of the map read."""
    axes = tuple(range(1, source.weight.ndim))
    most = peak * math.prod(source.pool)
    weight = source.weight
    return (np.minimum(weight, 0).sum(axes, dtype=np.int64) * most,
            np.maximum(weight, 0).sum(axes, dtype=np.int64) * most)


def _membrane(layer: NeuronLayer, current, steps: int):
    """Return the (low, high) arrays of v, and of everything on the way to it, over `steps` steps from v = 0."""
    f = layer.shift.astype(np.int64)
    h = np.where(f > 0, 1 << np.maximum(f - 1, 0), 0) if layer.neuron.rounds else np.zeros_like(f)
    v = state = (np.zeros_like(f), np.zeros_like(f))
    through = (v[0] + h, v[1] + h)
    for _ in range(steps):
        after, way = _step(layer.neuron, v, current, f, h)
        grown = _hull(state, after)
        through = _hull(through, way, after, (after[0] + h, after[1] + h))
        if all(np.array_equal(a, b) for a, b in zip(v, after, strict=True)):
            break
        v, state = after, grown
    return state, through


def _step(neuron: Neuron, v, c, f, h):
    """Return the interval of v one step later, and that of the intermediate value."""
    threshold = (1 << f) - h
    can_rest, can_fire = v[0] < threshold, v[1] >= threshold
    quiet = (v[0], np.minimum(v[1], threshold - 1))
    fired = (np.maximum(v[0], threshold), v[1])
    if neuron.style is Reset.GATE_SUM:
        a_quiet, a_fired = _add(_shift(quiet, neuron.decay), c), _add(_shift(fired, neuron.decay), c)
        return (_either(can_rest, a_quiet, can_fire, _shift(a_fired, neuron.reset)),
                _either(can_rest, a_quiet, can_fire, a_fired))
    kept = _shift(fired, neuron.reset) if neuron.style is Reset.GATE_MEMBRANE else _subtract(neuron, fired, f, h)
    way = _either(can_rest, quiet, can_fire, kept)
    return _add(_shift(way, neuron.decay), c), way


def _subtract(neuron: Neuron, fired, f, h):
    """Return the interval of v - s * 2**(f-a) over the interval `fired` of v.

    It rises with v while s stands still, and falls by 2**(f-a) <= 2**f where s goes up by one, so that both the
    values after falls and those before them grow with s: the lowest value is the first one or the one after
    the first fall, the highest the last one or the one before the last fall."""
    if neuron.reset is None:
        return fired
    low, high = fired
    unit = 1 << np.maximum(f - neuron.reset, 0)

    def level(x):
        return np.clip((x + h) >> f, 0, neuron.levels)

    def rest(x):
        return x - level(x) * unit

    after_first = ((level(low) + 1) << f) - h
    before_last = (level(high) << f) - h - 1
    return (np.where((level(low) < neuron.levels) & (after_first <= high), np.minimum(rest(low), rest(after_first)),
                     rest(low)),
            np.where(before_last >= low, np.maximum(rest(high), rest(before_last)), rest(high)))


def _shift(x, exponent: int | None):
    return (x[0] * 0, x[1] * 0) if exponent is None else (x[0] >> exponent, x[1] >> exponent)


def _add(x, y):
    return x[0] + y[0], x[1] + y[1]


def _hull(*ranges):
    return (np.minimum.reduce([low for low, _ in ranges]), np.maximum.reduce([high for _, high in ranges]))


def _either(first, x, second, y):
    """Return x where only `first` holds, y where only `second` does, and the hull where both do."""
    both = _hull(x, y)
    return tuple(np.where(first & second, both[i], np.where(first, x[i], y[i])) for i in (0, 1))


def _span(x) -> Range:
    return int(x[0].min()), int(x[1].max())
