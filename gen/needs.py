"""How deep the memories of a core have to be for a layer, before its tables are written."""

from __future__ import annotations

from collections.abc import Sequence

from qblif.host import abi

from .banks import held
from .gather import gathers
from .network import Network
from .packing import Packing
from .split import Share, split_layer

Rows = dict[str, int]
"""Name of a depth (hw/params.py) -> rows."""


def layer_needs(network: Network, index: int, packing: Packing, clusters: int, chunks: int) -> tuple[Rows, ...]:
    """Return, per cluster, the rows that a layer takes in its memories. chunks: lanes / neuron lanes.

    Weights are those of the memory that the cluster shares, whoever needs them (gen/banks.py). The rows of several
    layers add up, but for the contexts, of which the largest number counts (`join`); maps are placed by lifetime
    (gen/maps.py)."""
    found, layer = gathers(network, index, packing), network.layers[index]
    rows = sum(gather.rows(packing.channels(network, gather.fields[0].map)) for gather in found)
    shares = split_layer(network, index, packing, clusters)
    weights = [len(groups) * rows for groups in held(network, index, packing, shares)]
    needs = []
    for cluster, share in enumerate(shares):
        groups = Share.count(share.group, packing.groups(network, index))
        idle = not (groups and Share.count(share.row, layer.shape[1])
                    and Share.count(share.col, packing.columns(network, index)))
        sources = 0 if idle else sum(len(gather.fields) for gather in found)
        needs.append({"layer_depth": 1, "source_depth": sources, "contexts": max(1, sources),
                      "channel_depth": 0 if idle else groups * chunks,
                      "weight_depth": weights[cluster // abi.WEIGHT_READERS]})
    return tuple(needs)


def join(layers: Sequence[tuple[Rows, ...]]) -> Rows:
    """Return what a core needs for several layers: the most that one of its clusters does."""
    clusters = [{name: (max if name == "contexts" else sum)(layer[cluster][name] for layer in layers)
                 for name in layers[0][cluster]} for cluster in range(len(layers[0]))]
    return {name: max(rows[name] for rows in clusters) for name in clusters[0]}
