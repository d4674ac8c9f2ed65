"""Rules that every `Network` keeps, as a table; `verify` reports all that are broken at once.

A rule is a generator function: it yields one text for each thing that is wrong with a layer (or with the network
as a whole). Rules stand in stages: those of a stage rely on the earlier stages, so that a layer which fails one
is left out of the later ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from .bounds import LayerBounds, bounds, layer_bounds, signed_bits
from .errors import VerifyError
from .network import Input, MaxPool, Network, Neuron, NeuronLayer, Readout, Reset, Source, layer_inputs, layer_sources

__all__ = ["LayerBounds", "bounds", "verify"]

MAX_STEPS = 255
MAX_SIDE = 4095
MAX_CHANNELS = 65535
MAX_NEURONS = 1 << 26
MAX_LAYERS = 4096
MAX_SHIFT = 20
MAX_FACTOR = 14
MAX_LEVELS = 31
MAX_EXPONENT = 31
STATE_BITS = 32


class Rule(NamedTuple):
    """name: what holds. layer: checks (network, index); or network: checks (network)."""

    name: str
    layer: Callable[[Network, int], Iterator[str]] | None = None
    network: Callable[[Network], Iterator[str]] | None = None


def verify(network: Network) -> Network:
    """Return the network if it keeps all rules; raise VerifyError with every rule broken otherwise."""
    failures: list[str] = []

    def report(rule, where, texts):
        texts = list(texts)
        failures.extend(f"{where}: {text} [{rule.name}]" for text in texts)
        return bool(texts)

    for rule in NETWORK_RULES:
        report(rule, "network", rule.network(network))
    if failures:
        raise VerifyError(str(getattr(network, "name", "?")), failures)
    failed: set[int] = set()        # layers with a broken rule: left out of the later stages
    unknown: set[int] = set()       # maps whose shape and peak cannot be told: their readers are left out as well
    for number, stage in enumerate(LAYER_RULES):
        for index, layer in enumerate(network.layers):
            if index in failed or (number >= WIRED and _reads(layer) & unknown):
                continue
            where = f"layer {index} ({getattr(layer, 'name', '?')!s})"
            for rule in stage:
                if report(rule, where, rule.layer(network, index)):
                    failed.add(index)
        if number == 0:
            for index, layer in enumerate(network.layers):
                if index in failed or (isinstance(layer, MaxPool) and layer.map in unknown):
                    unknown.add(index + 1)
    if failures:
        raise VerifyError(network.name, failures)
    return network


# --- helpers ------------------------------------------------------------------------------------------------

def _int(value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _ints(value, count: int) -> bool:
    return isinstance(value, tuple) and len(value) == count and all(_int(v) for v in value)


def _between(what: str, value, low: int, high: int) -> Iterator[str]:
    if not _int(value):
        yield f"{what} is {value!r} ({type(value).__name__}), allowed is a Python int, {low} to {high}"
    elif not low <= value <= high:
        yield f"{what} is {value}, allowed is {low} to {high}"


def _pair(what: str, value, low: int, high: int = MAX_SIDE) -> Iterator[str]:
    if not _ints(value, 2):
        yield f"{what} is {value!r}, allowed is a pair (vertical, horizontal) of Python ints"
    elif not all(low <= v <= high for v in value):
        yield f"{what} is {value}, allowed is {low} to {high} per axis"


def _shape(what: str, value) -> Iterator[str]:
    if not _ints(value, 3):
        yield f"{what} is {value!r}, allowed is a tuple (C, H, W) of Python ints"
    elif not (1 <= value[0] <= MAX_CHANNELS and all(1 <= v <= MAX_SIDE for v in value[1:])
              and math.prod(value) <= MAX_NEURONS):
        yield (f"{what} is {value}, allowed are 1 to {MAX_CHANNELS} channels, 1 to {MAX_SIDE} rows and columns, "
               f"{MAX_NEURONS} values in all")


def _name(what: str, value) -> Iterator[str]:
    if not (isinstance(value, str) and value.strip() and value.isprintable() and len(value) <= 200):
        yield f"{what} is {value!r:.80}, allowed is printable text of 1 to 200 characters"


def _array(what: str, value, dtype, dims: tuple[int, ...]) -> Iterator[str]:
    if not isinstance(value, np.ndarray):
        yield f"{what} is a {type(value).__name__}, allowed is a numpy array of {np.dtype(dtype)}"
        return
    if value.dtype != dtype:
        yield f"{what} has dtype {value.dtype}, allowed is {np.dtype(dtype)}"
    if value.ndim not in dims or 0 in value.shape:
        yield f"{what} has shape {value.shape}, allowed are {' or '.join(map(str, dims))} dimensions, none empty"
    if value.flags.writeable:
        yield f"{what} is writeable, allowed are frozen arrays: call .setflags(write=False)"


def _within(what: str, value: np.ndarray, bits: int) -> Iterator[str]:
    low, high = int(value.min()), int(value.max())
    if signed_bits(low, high) > bits:
        half = 1 << bits - 1
        yield f"{what} range from {low} to {high}, allowed with {bits} bits is {-half} to {half - 1}"


def _reads(layer) -> set[int]:
    """Maps that a layer reads, as far as it is well formed."""
    try:
        return {m for m in layer_inputs(layer) if _int(m)}
    except (AttributeError, TypeError):
        return set()


def _label(index: int, source: Source) -> str:
    return f"source {index} (map {source.map})"


# --- rules about the network as a whole ---------------------------------------------------------------------

def _types(network) -> Iterator[str]:
    if not isinstance(network, Network):
        yield f"is a {type(network).__name__}, allowed is a Network"
        return
    if not isinstance(network.input, Input):
        yield f"input is a {type(network.input).__name__}, allowed is an Input"
    if not (isinstance(network.layers, tuple) and 1 <= len(network.layers) <= MAX_LAYERS):
        yield f"layers is a {type(network.layers).__name__}, allowed is a tuple of 1 to {MAX_LAYERS} layers"
    else:
        for index, layer in enumerate(network.layers):
            if not isinstance(layer, NeuronLayer | MaxPool | Readout):
                yield f"layer {index} is a {type(layer).__name__}, allowed are NeuronLayer, MaxPool and Readout"


def _scalars(network) -> Iterator[str]:
    if not isinstance(network, Network):
        return
    yield from _name("name", network.name)
    yield from _between("steps (T)", network.steps, 1, MAX_STEPS)
    yield from _between("weight_bits", network.weight_bits, 2, 8)
    yield from _between("bias_bits", network.bias_bits, 2, 24)
    if not (isinstance(network.meta, dict)
            and all(isinstance(k, str) and isinstance(v, str) for k, v in network.meta.items())):
        yield "meta holds something else than text, allowed is a dict from str to str"


def _input(network) -> Iterator[str]:
    given = getattr(network, "input", None)
    if not isinstance(given, Input):
        return
    problems = [*_shape("input shape", given.shape), *_between("input bits", given.bits, 1, 8)]
    if not isinstance(given.static, bool):
        problems.append(f"input static is {given.static!r}, allowed is True or False")
    if not (_ints(given.padding, 4) and all(0 <= p <= MAX_SIDE for p in given.padding)):
        problems.append(f"input padding is {given.padding!r}, allowed are four Python ints (top, bottom, left, right), "
                        f"0 to {MAX_SIDE}")
    yield from problems
    if problems:
        return
    yield from _shape("padded input shape", given.map_shape)
    count, most = given.shape[0], (1 << given.bits) - 1
    zero = given.zero_point
    if zero != () and not (_ints(zero, count) and all(0 <= z <= most for z in zero)):
        yield f"input zero_point is {zero!r:.80}, allowed is () or one Python int, 0 to {most}, per channel ({count})"


def _one_readout(network) -> Iterator[str]:
    if not isinstance(getattr(network, "layers", None), tuple):
        return
    at = [i for i, layer in enumerate(network.layers) if isinstance(layer, Readout)]
    if at != [len(network.layers) - 1]:
        yield f"Readouts stand at {at} of {len(network.layers)} layers, allowed is exactly one, the last layer"


def _unique_names(network) -> Iterator[str]:
    names = [layer.name for layer in getattr(network, "layers", ()) if isinstance(getattr(layer, "name", None), str)]
    double = sorted({name for name in names if names.count(name) > 1})
    if double:
        yield f"layer names {double} occur more than once, allowed are unique names"


# --- rules about one layer: stage 1, the values by themselves -------------------------------------------------

def _named(network, index) -> Iterator[str]:
    yield from _name("name", network.layers[index].name)


def _declared_shape(network, index) -> Iterator[str]:
    layer = network.layers[index]
    if not isinstance(layer, Readout):
        yield from _shape("shape", layer.shape)


def _sources(network, index) -> Iterator[str]:
    layer = network.layers[index]
    if isinstance(layer, MaxPool):
        yield from _map_index("map", layer.map, index)
        yield from _pair("kernel", layer.kernel, 1)
        yield from _pair("stride", layer.stride, 1)
        yield from _pair("padding", layer.padding, 0)
        return
    if not (isinstance(layer.sources, tuple) and layer.sources and all(isinstance(s, Source) for s in layer.sources)):
        yield "sources is not a tuple of at least one Source"
        return
    for number, source in enumerate(layer.sources):
        label = _label(number, source)
        yield from _map_index(f"{label}: map", source.map, index)
        yield from _array(f"{label}: weight", source.weight, np.int8, (1, 4))
        yield from _between(f"{label}: exponent", source.exponent, 0, MAX_EXPONENT)
        yield from _pair(f"{label}: stride", source.stride, 1)
        yield from _pair(f"{label}: padding", source.padding, 0)
        yield from _pair(f"{label}: pool", source.pool, 1)
        yield from _pair(f"{label}: pool_stride", source.pool_stride, 1)


def _map_index(what, value, index) -> Iterator[str]:
    if not _int(value) or not 0 <= value <= index:
        yield f"{what} is {value!r}, allowed are maps made before this layer, 0 to {index}"


def _constants(network, index) -> Iterator[str]:
    layer = network.layers[index]
    if not isinstance(layer, MaxPool):
        yield from _array("bias", layer.bias, np.int32, (1,))
    if isinstance(layer, NeuronLayer):
        yield from _array("shift", layer.shift, np.uint8, (1,))
    if isinstance(layer, Readout) and not (isinstance(layer.scale, float) and math.isfinite(layer.scale)
                                           and layer.scale > 0):
        yield f"scale is {layer.scale!r}, allowed is a finite float above 0"


def _neuron(network, index) -> Iterator[str]:
    layer = network.layers[index]
    if not isinstance(layer, NeuronLayer):
        return
    neuron = layer.neuron
    if not isinstance(neuron, Neuron):
        yield f"neuron is a {type(neuron).__name__}, allowed is a Neuron"
        return
    yield from _between("neuron levels (N)", neuron.levels, 1, MAX_LEVELS)
    for what in ("decay", "reset"):
        if getattr(neuron, what) is not None:
            yield from _between(f"neuron {what}", getattr(neuron, what), 0, MAX_FACTOR)
    if not isinstance(neuron.style, Reset):
        yield f"neuron style is {neuron.style!r}, allowed are {[str(style) for style in Reset]}"
    if not isinstance(neuron.rounds, bool):
        yield f"neuron rounds is {neuron.rounds!r}, allowed is True or False"


# --- stage 2, values that depend on each other -----------------------------------------------------------------

def _widths(network, index) -> Iterator[str]:
    layer = network.layers[index]
    for number, source in enumerate(layer_sources(layer)):
        yield from _within(f"{_label(number, source)}: weights", source.weight, network.weight_bits)
    if not isinstance(layer, MaxPool):
        yield from _within("biases", layer.bias, network.bias_bits)


def _exponents(network, index) -> Iterator[str]:
    exponents = [source.exponent for source in layer_sources(network.layers[index])]
    if exponents and min(exponents) != 0:
        yield f"exponents are {exponents}, allowed are lists with at least one 0"


def _shifts(network, index) -> Iterator[str]:
    layer = network.layers[index]
    if not isinstance(layer, NeuronLayer):
        return
    if layer.shift.max() > MAX_SHIFT:
        yield f"shift goes up to {layer.shift.max()} (channel {layer.shift.argmax()}), allowed is 0 to {MAX_SHIFT}"
    if layer.neuron.style is Reset.SUBTRACT and layer.neuron.reset is not None \
            and layer.shift.min() < layer.neuron.reset:
        yield (f"shift goes down to {layer.shift.min()} (channel {layer.shift.argmin()}), allowed with subtract and "
               f"reset exponent {layer.neuron.reset} is at least {layer.neuron.reset}")


def _padding(network, index) -> Iterator[str]:
    """Padding that no field contains by itself; pooled padding would read the same position twice."""
    layer = network.layers[index]
    shifted = any(network.input.zero_point)
    if isinstance(layer, MaxPool):
        if any(2 * p > k for p, k in zip(layer.padding, layer.kernel, strict=True)):
            yield f"padding is {layer.padding}, allowed is at most half of the kernel {layer.kernel}"
        if layer.map == 0 and shifted and any(layer.padding):
            yield f"padding is {layer.padding}, allowed on an input with zero points is (0, 0): the host pads"
    for number, source in enumerate(layer_sources(layer)):
        label = _label(number, source)
        if any(p >= k for p, k in zip(source.padding, source.kernel, strict=True)):
            yield f"{label}: padding is {source.padding}, allowed is less than the kernel {source.kernel}"
        if any(p and k > s for p, k, s in zip(source.padding, source.pool, source.pool_stride, strict=True)):
            yield (f"{label}: padding {source.padding} on overlapping pooling {source.pool} with stride "
                   f"{source.pool_stride}, allowed is padding 0 or pooling that does not overlap")
        if source.map == 0 and shifted and any(source.padding):
            yield f"{label}: padding is {source.padding}, allowed on an input with zero points is (0, 0): the host pads"


# --- stage 3, shapes along the wiring ----------------------------------------------------------------------------

def _shapes(network, index) -> Iterator[str]:
    layer = network.layers[index]
    if isinstance(layer, MaxPool):
        channels, *sides = network.map_shape(layer.map)
        found = (channels, *((n + 2 * p - k) // s + 1 for n, p, k, s in
                             zip(sides, layer.padding, layer.kernel, layer.stride, strict=True)))
        if found != layer.shape:
            yield f"gives {found} from map {layer.map} of shape {(channels, *sides)}, its shape says {layer.shape}"
        return
    channels = len(layer.bias)
    if channels != layer.shape[0]:
        yield f"bias has {channels} entries, allowed is one per channel: {layer.shape[0]}"
    if isinstance(layer, NeuronLayer) and len(layer.shift) != layer.shape[0]:
        yield f"shift has {len(layer.shift)} entries, allowed is one per channel: {layer.shape[0]}"
    for number, source in enumerate(layer.sources):
        label, shape = _label(number, source), network.map_shape(source.map)
        reads = source.weight.shape[0 if source.diagonal else 1]
        if reads != shape[0]:
            kind = "diagonal weight" if source.diagonal else "weight"
            yield f"{label}: {kind} of shape {source.weight.shape} reads {reads} channels, the map has {shape[0]}"
        if min(source.pooled(shape)) < 1:
            yield f"{label}: pool {source.pool} does not fit the map of shape {shape}"
        elif source.out_shape(shape) != layer.shape:
            yield f"{label}: gives {source.out_shape(shape)} from {shape}, the layer's shape is {layer.shape}"


def _is_read(network, index) -> Iterator[str]:
    layer = network.layers[index]
    if not isinstance(layer, Readout) and not any(index + 1 in _reads(later) for later in network.layers[index + 1:]):
        yield "no later layer reads its output, allowed are layers that are read: remove it"


# --- stage 4, bounds ---------------------------------------------------------------------------------------------

def _bounded(network, index) -> Iterator[str]:
    found = layer_bounds(network, network.layers[index])
    if found.bits > STATE_BITS:
        low, high = found.range
        yield (f"sums, membranes or logits can range from {low} to {high}, which takes {found.bits} bits; allowed is "
               f"{STATE_BITS}: lower the exponents, steps (T) or weights, or use a decay above 0")


NETWORK_RULES = (
    Rule("types", network=_types),
    Rule("scalars", network=_scalars),
    Rule("input", network=_input),
    Rule("one read-out, at the end", network=_one_readout),
    Rule("unique names", network=_unique_names),
)

LAYER_RULES = (
    (Rule("printable name", layer=_named), Rule("shape", layer=_declared_shape), Rule("sources", layer=_sources),
     Rule("constants", layer=_constants), Rule("neuron", layer=_neuron)),
    (Rule("widths", layer=_widths), Rule("exponents", layer=_exponents), Rule("shifts", layer=_shifts),
     Rule("padding", layer=_padding)),
    (Rule("consistent shapes", layer=_shapes), Rule("every layer is read", layer=_is_read)),
    (Rule("bounds", layer=_bounded),),
)
"""Stages of rules about single layers."""

WIRED = 2
"""Index of the first stage whose rules look at the layers that a layer reads."""
