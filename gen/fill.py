"""Chooses how many positions of each map are worked on at once, so that few lanes idle (gen/packing.py)."""

from __future__ import annotations

import dataclasses

from .banks import held
from .gather import gathers
from .network import MaxPool, Network, layer_inputs
from .packing import Packing, allowed, unpacked
from .split import split_layer

DENSITY = 0.25
"""Estimate: the share of a map's bits that are set. Which of two packings of a convolution adds fewer rows does not
depend on it; it weighs them against chunks used as lane masks and against the time of the neuron unit."""


def choose(network: Network, lanes: int, room: int | None = None, *, neuron_lanes: int = 4, clusters: int = 1,
           most: int = 256) -> Packing:
    """Return the packing of fewest estimated cycles, by the same estimate never more than without packing.

    room: weight rows that there are for all layers, None: enough; what takes more is only returned where packing less
    takes more, too. most: positions packed at most.

    Starts without packing and changes one map at a time as long as that gains: what a map gains or loses depends on its
    neighbours where chunks are lane masks. Of equally fast packings the one with the fewest weight rows is taken."""
    costs: dict[tuple, tuple[float, int]] = {}

    def cost(packing: Packing, layer: int) -> tuple[float, int]:
        key = (layer, *(packing.positions[index] for index in (*layer_inputs(network.layers[layer]), layer + 1)))
        if key not in costs:
            costs[key] = _cost(network, layer, packing, lanes // neuron_lanes, clusters)
        return costs[key]

    def total(packing: Packing) -> tuple[int, float, int]:
        cycles, weights = zip(*(cost(packing, layer) for layer in range(len(network.layers))), strict=True)
        return 0 if room is None else max(0, sum(weights) - room), sum(cycles), sum(weights)

    packing, before = unpacked(network, lanes), None
    while packing != before:
        before = packing
        for index, now in enumerate(packing.positions):
            options = [p for p in allowed(network, index, lanes) if p <= most]
            if index == 0:
                options = [0, *options] if now else []
            packing = min((dataclasses.replace(packing, positions=(*packing.positions[:index], packed,
                                                                   *packing.positions[index + 1:]))
                           for packed in (now, *options)), key=total)
    return packing


def _cost(network: Network, index: int, packing: Packing, chunks: int, clusters: int) -> tuple[float, int]:
    """Return the cycles of a layer's busiest cluster, estimated, and its rows in the fullest weight memory.

    chunks: cycles of the neuron unit for a lane group"""
    layer, found = network.layers[index], gathers(network, index, packing)
    pooling = isinstance(layer, MaxPool)
    static = not pooling and all(network.map_static(source.map) for source in layer.sources)
    repeats, taps = 1 if static else network.steps, len(found[0].fields) if pooling else 1
    cycles, shares = 0.0, split_layer(network, index, packing, clusters)
    for share in shares:
        rows, columns, own = (range(first, count, step) for (first, step), count in
                              ((share.row, layer.shape[1]), (share.col, packing.columns(network, index)),
                               (share.group, packing.groups(network, index))))
        adds = 0.0
        for gather in found:
            # A row under a mask serves all lanes; in most planes of a chunk some bit is set.
            each = 1 if gather.mask else DENSITY * gather.weight.shape[1]
            adds += sum(each * network.map_bits(field.map) * field.reads(0, rows).sum() * field.reads(1, columns).sum()
                        for field in gather.fields)
        updates = len(rows) * len(columns) * network.steps * taps
        cycles = max(cycles, len(own) * max(adds * repeats, updates * chunks))
    kept = max(map(len, held(network, index, packing, shares)))
    return cycles, kept * sum(gather.rows(packing.channels(network, gather.fields[0].map)) for gather in found)
