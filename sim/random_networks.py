"""Random verified networks and inputs, for holding golden model, plans and hardware against each other.

A seed fixes everything. Shapes are small, so that one image takes the hardware few cycles; whatever the rules of
gen/verify.py allow within `Limits` can come up: kernels, strides and paddings drawn per axis, pooled sources,
shortcuts, max pooling, dense layers, all neurons, extreme weights, levels from silent to saturated.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import torch

from qblif.gen.bounds import layer_bounds
from qblif.gen.network import Input, MaxPool, Network, Neuron, NeuronLayer, Readout, Reset, Source, layer_inputs
from qblif.gen.packing import Packing, allowed
from qblif.gen.verify import verify

from . import golden
from .counts import fan_out

ATTEMPTS = 60
"""Networks drawn for one seed until one is within the limits; with the default limits six in seven are at once."""


@dataclasses.dataclass(frozen=True)
class Limits:
    """How large random networks get.

    layers: hidden layers at most; side, channels, steps, levels, input_bits, weight_bits: largest values drawn
    bits: two's complement bits that all bounds fit (24: the default core's accumulators)
    row_adds: estimated weight rows that one image takes a cluster of `lanes` lanes
    weight_rows: rows of `lanes` weights, channels of a map padded to a power of two
    map_words: 64-bit words of all maps together, all steps
    sources: rows of the source table for one layer (a MaxPool takes one per tap; a source, one per position of a
        pooling window under a kernel)
    """

    layers: int = 5
    side: int = 9
    channels: int = 40
    steps: int = 8
    levels: int = 31
    input_bits: int = 8
    weight_bits: int = 8
    bits: int = 24
    lanes: int = 16
    row_adds: int = 60_000
    weight_rows: int = 2048
    map_words: int = 4096
    sources: int = 32


def random_network(seed: int, limits: Limits | None = None) -> Network:
    """Return the network of a seed; the same one for the same seed and limits."""
    limits = limits or Limits()
    for attempt in range(ATTEMPTS):
        network = _Draw(np.random.default_rng([seed, attempt]), seed, limits).network()
        if _cost(network, limits) and all(layer_bounds(network, layer).bits <= limits.bits for layer in network.layers):
            return verify(network)
    raise ValueError(f"no network within {limits} was found for seed {seed}")


def random_input(network: Network, seed: int, batch: int, density: float | None = None) -> np.ndarray:
    """Return uint8 (B, C, H, W), or (T, B, C, H, W) if the input is not static.

    density: part of the values that is not 0, 0 to 1; None: another one for each image, 0 and 1 among them.
    """
    rng = np.random.default_rng([seed, 0x1A7])
    shape = (batch, *network.input.shape)
    if not network.input.static:
        shape = (network.steps, *shape)
    densities = rng.choice([0, 0.02, 0.1, 0.3, 0.6, 1], batch) if density is None else np.full(batch, density)
    values = rng.integers(1, 1 << network.input.bits, shape)
    top = (1 << network.input.bits) - 1
    values = np.where(rng.random(shape) < 0.1, top, values)
    return (values * (rng.random(shape) < densities[:, None, None, None])).astype(np.uint8)


def random_packing(network: Network, lanes: int, seed: int) -> Packing:
    """Return any packing that a network may have: positions of each map drawn from those allowed, more than fit its
    columns well among them, neighbours alike or not."""
    rng = np.random.default_rng([seed, 0xAC])
    alike = int(rng.integers(0, lanes.bit_length()))       # half of the maps take this many, or as many as they can
    positions = []
    for index in range(len(network.layers) + 1):
        options = allowed(network, index, lanes)
        drawn = int(rng.choice([0, *options] if index == 0 else options))
        positions.append(max(p for p in options if p <= 1 << alike) if rng.random() < 0.5 else drawn)
    return Packing(lanes, tuple(positions))


@functools.cache
def axis_options(size: int, padded: bool) -> tuple[tuple[int, int, int, int, int, int], ...]:
    """Return all (output size, kernel, stride, padding, pool, pool_stride) that may be drawn for one axis of a map."""
    options = []
    for pool, pool_stride in ((1, 1), (1, 2), (2, 1), (2, 2), (2, 3), (3, 1), (3, 2), (3, 3)):
        if pool > size:
            continue
        pooled = (size - pool) // pool_stride + 1
        for kernel in range(1, 6):
            for stride in range(1, 4):
                for padding in range(kernel if padded and pool <= pool_stride else 1):
                    out = (pooled + 2 * padding - kernel) // stride + 1
                    if pooled + 2 * padding >= kernel:
                        options.append((out, kernel, stride, padding, pool, pool_stride))
    return tuple(options)


class _Draw:
    """One attempt: draws layer after layer and keeps the maps of a few images, to choose lively shifts by."""

    def __init__(self, rng: np.random.Generator, seed: int, limits: Limits):
        self.rng, self.seed, self.limits = rng, seed, limits
        self.net = Network(f"random-{seed}", int(rng.integers(1, limits.steps + 1)), self.input(), (),
                           int(rng.integers(2, limits.weight_bits + 1)), 24, {"seed": str(seed)})
        x = random_input(self.net, seed, 3, density=float(rng.choice([0.2, 0.6, 1.0])))
        self.maps = [golden.pad_input(self.net, torch.from_numpy(x.astype(np.int32)))]

    def chance(self, p: float) -> bool:
        return bool(self.rng.random() < p)

    def pick(self, options):
        return options[int(self.rng.integers(len(options)))]

    def channels(self) -> int:
        top = self.limits.channels
        return int(min(top, self.rng.integers(1, [5, 9, 21, top + 1][int(self.rng.integers(4))])))

    def input(self) -> Input:
        sides = [(1, 1), (1, int(self.rng.integers(2, self.limits.side + 1)))]
        kind = self.pick((0, 1, 1, 2, 2, 2, 2, 2, 2, 2))
        shape = sides[kind] if kind < 2 else tuple(int(n) for n in self.rng.integers(2, self.limits.side + 1, 2))
        if kind == 2 and self.chance(0.3):
            shape = (self.limits.side, self.limits.side)
        channels = self.channels() if kind == 0 or self.chance(0.3) else int(self.rng.integers(1, 5))
        bits = int(self.rng.integers(1, self.limits.input_bits + 1))
        padding, zero = (0, 0, 0, 0), ()
        if kind == 2 and self.chance(0.25):
            room = [max(0, min(2, self.limits.side - n)) for n in shape]
            padding = tuple(int(self.rng.integers(0, r + 1)) for r in (room[0], 0, 0, room[1]))
            if self.chance(0.7):
                zero = tuple(int(z) for z in self.rng.integers(0, 1 << bits, channels))
        return Input((channels, *shape), bits, self.chance(0.5), padding, zero)

    def network(self) -> Network:
        for number in range(int(self.rng.integers(0 if self.chance(0.2) else 1, self.limits.layers + 1))):
            last = self.net.map_shape(number)
            if number and last[1:] != (1, 1) and self.chance(0.15):
                self.append(self.max_pool(number))
            else:
                layer = self.neuron_layer(number)
                for _ in range(3):
                    if golden.compute(self.net, layer, self.maps).levels.any() or self.chance(0.1):
                        break
                    layer = self.neuron_layer(number)   # silent; most layers shall not be
                self.append(layer)
        self.append(self.readout())
        return self.net

    def append(self, layer):
        self.net = dataclasses.replace(self.net, layers=(*self.net.layers, layer))
        self.maps.append(golden.compute(self.net, layer, self.maps).levels)

    def max_pool(self, number: int) -> MaxPool:
        shape = self.net.map_shape(number)
        axes = []
        for size in shape[1:]:
            kernel = int(self.rng.integers(1, min(4, size) + 1))
            stride = int(self.rng.integers(1, 4))
            padding = int(self.rng.integers(0, kernel // 2 + 1)) if self.chance(0.5) else 0
            axes.append((kernel, stride, padding, (size + 2 * padding - kernel) // stride + 1))
        kernel, stride, padding, size = zip(*axes, strict=True)
        return MaxPool(f"max{number + 1}", number, kernel, stride, padding, (shape[0], *size))

    def source(self, index: int, out: tuple[int, int, int] | None, channels: int | None = None) -> Source | None:
        """Draw a source that reads map `index` and gives shape `out`, or any shape; None if there is no way."""
        shape = self.net.map_shape(index)
        padded = not (index == 0 and any(self.net.input.zero_point))
        whole = out is not None and out[1:] == (1, 1) and self.pick(("kernel", "pool", "any"))
        if whole in ("kernel", "pool"):
            axes = [(1, n, 1, 0, 1, 1) if whole == "kernel" else (1, 1, 1, 0, n, n) for n in shape[1:]]
        else:
            axes = [self.axis(size, want, padded) for size, want in zip(shape[1:], out[1:] if out else (0, 0),
                                                                      strict=True)]
        if None in axes:
            return None
        size, kernel, stride, padding, pool, pool_stride = zip(*axes, strict=True)
        count = out[0] if out else channels
        diagonal = kernel == (1, 1) and count == shape[0] and self.chance(0.7)
        weight = self.weights((count,) if diagonal else (count, shape[0], *kernel))
        return Source(index, weight, int(self.rng.integers(0, 7)), stride, padding, pool, pool_stride)

    def axis(self, size: int, want: int, padded: bool):
        """Draw one of the options that give `want` outputs; plain ones (no pooling, 1 tap) come more often."""
        options = [o for o in axis_options(size, padded) if not want or o[0] == want]
        if want == 0 and size == 1:
            options = [o for o in options if o[0] == 1]
        for keep, chance in ((lambda o: o[4] == o[5] == 1, 0.75), (lambda o: o[1] == 1, 0.6 if want else 0.15),
                             (lambda o: 2 * o[0] > size, 0.7), (lambda o: o[2] == 1, 0.4)):
            kept = [o for o in options if keep(o)]
            if kept and self.chance(chance):
                options = kept
        return self.pick(options) if options else None

    def weights(self, shape) -> np.ndarray:
        top = 1 << self.net.weight_bits - 1
        kind = self.pick(("uniform", "uniform", "normal", "normal", "extreme", "sparse", "one-sided"))
        if kind == "normal":
            weight = np.clip(np.rint(self.rng.normal(0, max(1, top / 3), shape)), -top, top - 1)
        elif kind == "extreme":
            weight = self.rng.choice([-top, top - 1], shape)
        elif kind == "one-sided":
            weight = np.full(shape, -top)
            weight[self.rng.random(shape[0]) < 0.5] = top - 1
        else:
            weight = self.rng.integers(-top, top, shape)
            if kind == "sparse":
                weight = weight * (self.rng.random(shape) < 0.2)
        return _frozen(weight, np.int8)

    def neuron_layer(self, number: int) -> NeuronLayer:
        primary = number if self.chance(0.8) else int(self.rng.integers(0, number + 1))
        shape = self.net.map_shape(primary)
        if self.chance(0.15):
            first = self.source(primary, (self.channels(), 1, 1))
        else:
            first = self.source(primary, None, shape[0] if self.chance(0.4) else self.channels())
        out = first.out_shape(shape)
        sources = [first, *self.more_sources(number, out, self.pick((0, 0, 0, 1, 1, 2)))]
        name = "dense" if out[1:] == (1, 1) else "conv"
        levels = int(min(self.limits.levels, self.pick((1, 2, 5, 10, 15, 20, 31, int(self.rng.integers(1, 32))))))
        neuron = Neuron(levels, self.factor(), self.factor(), self.pick(tuple(Reset)), self.chance(0.3))
        layer = NeuronLayer(f"{name}{number + 1}", self.with_exponents(sources), self.bias(out[0]),
                            _frozen(np.zeros(out[0]), np.uint8), neuron, out)
        layer = self.fitted(dataclasses.replace(layer, shift=self.shifts(layer, self.fitted(layer))))
        return layer

    def readout(self) -> Readout:
        number = len(self.net.layers)
        read = {m for layer in self.net.layers for m in layer_inputs(layer)}
        out = (int(self.rng.integers(1, 13)), 1, 1)
        unread = [m for m in range(number, 0, -1) if m not in read] or [number]
        sources = [self.source_of_one(m, out) for m in unread]
        sources += self.more_sources(number, out, self.pick((0, 0, 0, 1)))
        layer = Readout("readout", self.with_exponents(sources), self.bias(out[0]), float(2.0 ** -self.rng.integers(8)))
        return self.fitted(layer)

    def source_of_one(self, index: int, out) -> Source:
        while True:
            source = self.source(index, out)
            if source is not None:
                return source

    def more_sources(self, number: int, out, count: int) -> list[Source]:
        alike = [m for m in range(number + 1) if self.net.map_shape(m)[0] == out[0]]
        drawn = [self.source(self.pick(alike) if alike and self.chance(0.6) else int(self.rng.integers(0, number + 1)),
                             out) for _ in range(count)]
        return [source for source in drawn if source is not None]

    def with_exponents(self, sources) -> tuple[Source, ...]:
        sources = list(sources)
        at = int(self.rng.integers(len(sources)))
        sources[at] = dataclasses.replace(sources[at], exponent=0)
        return tuple(sources)

    def factor(self) -> int | None:
        return self.pick((None, 0, 0, 1, 1, 1, 2, 3, int(self.rng.integers(0, 15)), 14))

    def bias(self, count: int) -> np.ndarray:
        size = self.pick((0, 4, 64, 1024, 30_000))
        return _frozen(np.rint(self.rng.normal(0, size, count)) if size else np.zeros(count), np.int32)

    def shifts(self, layer: NeuronLayer, fitted: NeuronLayer) -> np.ndarray:
        """Draw shifts: mostly so that typical currents give levels in the middle, sometimes anything."""
        neuron, channels = layer.neuron, layer.shape[0]
        if self.chance(0.15):
            shift = self.rng.integers(0, 21, channels)
        else:
            current = golden.layer_current(self.net, fitted, self.maps).to(torch.float64)
            peak = np.maximum(current.abs().amax((0, 1, 3, 4)).numpy(), 1)
            shift = np.rint(np.log2(peak / neuron.levels)) + self.rng.integers(-2, 3, channels)
        least = neuron.reset if neuron.style is Reset.SUBTRACT and neuron.reset is not None else 0
        return _frozen(np.clip(shift, least, 20), np.uint8)

    def fitted(self, layer):
        """Return the layer with exponents, then weights and biases, made smaller until its bounds fit."""
        while layer_bounds(self.net, layer).bits > self.limits.bits:
            highest = max(source.exponent for source in layer.sources)
            if highest:
                sources = [dataclasses.replace(s, exponent=min(s.exponent, highest - 1)) for s in layer.sources]
                bias = layer.bias
            else:
                sources = [dataclasses.replace(s, weight=_frozen(np.trunc(s.weight / 2), np.int8))
                           for s in layer.sources]
                bias = _frozen(np.trunc(layer.bias / 2), np.int32)
                if not any(s.weight.any() for s in sources) and not bias.any():
                    return dataclasses.replace(layer, sources=tuple(sources), bias=bias)
            layer = dataclasses.replace(layer, sources=tuple(sources), bias=bias)
        return layer


def _cost(network: Network, limits: Limits) -> bool:
    """True when the network is within the limits on time and memory."""
    rows = adds = words = 0
    for index in range(len(network.layers)):
        channels, height, width = network.map_shape(index)
        steps = 1 if network.map_static(index) else network.steps
        words += steps * network.map_bits(index) * height * -(-width * _padded_channels(channels) // 64)
    for layer in network.layers:
        if isinstance(layer, MaxPool):
            taps = layer.kernel[0] * layer.kernel[1]
            groups = -(-layer.shape[0] // limits.lanes)
            adds += int(np.prod(layer.shape[1:])) * taps * groups * network.map_bits(layer.map) * network.steps
            if taps > limits.sources:
                return False
            continue
        if sum(_source_rows(source) for source in layer.sources) > limits.sources:
            return False
        static = all(network.map_static(source.map) for source in layer.sources)
        groups = -(-layer.shape[0] // limits.lanes)
        for source in layer.sources:
            shape = network.map_shape(source.map)
            inputs = 1 if source.diagonal else shape[0]
            fields = int(fan_out(source, shape).sum())
            # On average half of the planes' bits are set in lively maps; a dense input has no more either.
            adds += fields * inputs * groups * network.map_bits(source.map) * (1 if static else network.steps) // 2
            inputs = 1 if source.diagonal else _padded_channels(shape[0])
            rows += groups * source.kernel[0] * source.kernel[1] * inputs
    return adds <= limits.row_adds and rows <= limits.weight_rows and words <= limits.map_words


def _source_rows(source: Source) -> int:
    return int(np.prod([pool if kernel > 1 else 1 for pool, kernel in zip(source.pool, source.kernel, strict=True)]))


def _padded_channels(channels: int) -> int:
    """Channels of a map as stored in 64-bit words: a power of two, or a multiple of 64."""
    return 1 << (channels - 1).bit_length() if channels <= 64 else -(-channels // 64) * 64


def _frozen(values, dtype) -> np.ndarray:
    array = np.array(values, dtype=dtype)
    array.setflags(write=False)
    return array
