"""A network as a table for people."""

from __future__ import annotations

import io

from rich import box
from rich.console import Console
from rich.table import Table

from .bounds import bounds
from .network import MaxPool, Network, Neuron, NeuronLayer, Reset, Source, layer_inputs, layer_sources
from .sizes import macs, parameters

COLUMNS = ("#", "layer", "kind", "reads", "in", "out", "kernel", "weights", "f", "e", "neuron", "parameters", "MACs",
           "bits")


def table(network: Network) -> str:
    """Return one line per layer: wiring, shapes (C, H, W), constants, parameters, dense MACs and bits.

    kernel: window /stride +padding. MACs: per image, all T steps (gen/sizes.py). bits: two's complement bits that
    hold any sum or membrane of the layer.
    """
    given = network.input
    grid = Table(*COLUMNS, box=box.SIMPLE, title=None)
    for column in grid.columns[11:]:
        column.justify = "right"
    for index, (layer, bound) in enumerate(zip(network.layers, bounds(network), strict=True)):
        grid.add_row(*_row(network, index, layer), str(bound.bits))
    head = (f"network {network.name!r}: T = {network.steps}, input {_by(given.shape)} of {given.bits} bits, "
            f"{'static' if given.static else 'one per step'}"
            + (f", padded by {given.padding} to {_by(given.map_shape)}" if any(given.padding) else "")
            + f", weights of up to {network.weight_bits} bits\n")
    tail = (f"{len(network.layers)} layers, {sum(map(parameters, network.layers)):,} parameters, "
            f"{sum(macs(network, layer) for layer in network.layers):,} dense MACs per image\n")
    text = io.StringIO()
    Console(file=text, width=250, color_system=None, legacy_windows=False).print(grid)
    lines = [line.rstrip() for line in text.getvalue().strip("\n").splitlines()]
    return head + "\n".join(line for line in lines if line) + "\n" + tail


def _row(network: Network, index: int, layer) -> tuple[str, ...]:
    sources = layer_sources(layer)
    pooling = isinstance(layer, MaxPool)
    return (str(index), layer.name, "max pool" if pooling else "neurons" if isinstance(layer, NeuronLayer)
            else "read-out", _lines(_map_name(network, m) for m in layer_inputs(layer)),
            _lines(_by(network.map_shape(m)) for m in layer_inputs(layer)), _by(layer.shape),
            _window(layer.kernel, layer.stride, layer.padding) if pooling else _lines(map(_kernel, sources)),
            _lines(f"{source.weight.min()}..{source.weight.max()}" for source in sources),
            f"{layer.shift.min()}..{layer.shift.max()}" if isinstance(layer, NeuronLayer) else "",
            _lines(str(source.exponent) for source in sources),
            _neuron(layer.neuron) if isinstance(layer, NeuronLayer) else "",
            f"{parameters(layer):,}", f"{macs(network, layer):,}")


def _kernel(source: Source) -> str:
    text = "diagonal" if source.diagonal else _window(source.kernel, source.stride, source.padding)
    if source.diagonal and source.stride != (1, 1):
        text += f" /{_by(source.stride)}"
    if source.pool != (1, 1) or source.pool_stride != (1, 1):
        text = f"pool {_window(source.pool, source.pool_stride, (0, 0))}, {text}"
    return text


def _window(kernel, stride, padding) -> str:
    return (_by(kernel) + (f" /{_by(stride)}" if stride != (1, 1) else "")
            + (f" +{_by(padding)}" if padding != (0, 0) else ""))


def _neuron(neuron: Neuron) -> str:
    factor = "alpha" if neuron.style is Reset.SUBTRACT else "1-alpha"
    return (f"N={neuron.levels} {neuron.style.value} beta={_power(neuron.decay)} {factor}={_power(neuron.reset)}"
            + (" rounds" if neuron.rounds else ""))


def _power(exponent: int | None) -> str:
    return "0" if exponent is None else "1" if exponent == 0 else f"1/{1 << exponent}"


def _map_name(network: Network, index: int) -> str:
    return "input" if index == 0 else network.layers[index - 1].name


def _by(sizes) -> str:
    return "x".join(map(str, sizes))


def _lines(texts) -> str:
    return "\n".join(texts)
