"""Chooses how many positions of each map are worked on at once, so that few lanes idle (gen/packing.py)."""

from __future__ import annotations

import dataclasses

from .gather import gathers
from .network import MaxPool, Network, layer_inputs
from .packing import Packing, allowed, unpacked
from .split import busiest

DENSITY = 0.25
"""Estimate: the share of a map's bits that are set. Which of two packings of a convolution adds fewer rows does not
depend on it; it weighs them against chunks used as lane masks and against the time of the neuron unit."""


def choose(network: Network, lanes: int, *, neuron_lanes: int = 4, clusters: int = 1, most: int = 256) -> Packing:
    """Return the packing of fewest estimated cycles, by the same estimate never more than without packing.

    most: positions packed at most. Starts without packing and changes one map at a time as long as that gains: what a
    map gains or loses depends on its neighbours where chunks are lane masks. Of equally fast ones the packing with the
    fewest weight rows is taken."""
    readers = [[later for later, layer in enumerate(network.layers) if index in layer_inputs(layer)]
               for index in range(len(network.layers) + 1)]
    costs: dict[tuple, tuple[float, int]] = {}

    def cost(packing: Packing, layer: int) -> tuple[float, int]:
        maps = (*layer_inputs(network.layers[layer]), layer + 1)
        key = (layer, *(packing.positions[index] for index in maps))
        if key not in costs:
            costs[key] = _cost(network, layer, packing, lanes // neuron_lanes, clusters)
        return costs[key]

    def total(packing: Packing, layers: list[int]) -> tuple[float, int]:
        cycles, rows = zip(*(cost(packing, layer) for layer in layers), strict=True)
        return sum(cycles), sum(rows)

    packing = unpacked(network, lanes)
    before = None
    while packing != before:
        before = packing
        for index in range(len(packing.positions)):
            options = [p for p in allowed(network, index, lanes) if p <= most]
            if index == 0:
                options = [0, *options] if packing.positions[0] else [0]
            layers = [*([index - 1] if index else []), *readers[index]]
            packing = min((dataclasses.replace(packing, positions=(*packing.positions[:index], packed,
                                                                   *packing.positions[index + 1:]))
                           for packed in dict.fromkeys([packing.positions[index], *options])),
                          key=lambda changed, layers=layers: total(changed, layers))
    return packing


def _cost(network: Network, index: int, packing: Packing, chunks: int, clusters: int) -> tuple[float, int]:
    """Return (cycles of a layer's busiest cluster, weight rows); chunks: cycles of the neuron unit for a lane group."""
    layer, found = network.layers[index], gathers(network, index, packing)
    height, columns, groups = layer.shape[1], packing.columns(network, index), packing.groups(network, index)
    pooling = isinstance(layer, MaxPool)
    static = not pooling and all(network.map_static(source.map) for source in layer.sources)
    adds, sums = 0.0, 1
    for gather in found:
        # A row under a mask serves all lanes; in most planes of a chunk some bit is set.
        each = 1 if gather.mask else DENSITY * gather.weight.shape[1]
        adds += sum(each * network.map_bits(field.map) * field.reads(0, height).sum() * field.reads(1, columns).sum()
                    for field in gather.fields)
        sums = len(gather.fields) if pooling else 1
    share = busiest(network, index, packing, clusters)
    rows = adds * share / (height * columns) * (1 if static else network.steps)
    weights = groups * sum(gather.rows(packing.channels(network, gather.fields[0].map)) for gather in found)
    return max(rows, share * network.steps * sums * chunks), weights
