"""Who computes what: the network is cut into segments, one per core, and a layer is shared out to clusters."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from .errors import PlanError
from .maps import ceil
from .network import Layer, MaxPool, Network, Readout, layer_inputs


@dataclasses.dataclass(frozen=True)
class Share:
    """What a cluster computes of a layer: every `step`-th row, column and lane group from `first` on."""

    row: tuple[int, int] = (0, 1)
    col: tuple[int, int] = (0, 1)
    group: tuple[int, int] = (0, 1)

    @staticmethod
    def count(part: tuple[int, int], total: int) -> int:
        """Return how many of `total` the part (first, step) holds."""
        first, step = part
        return max(0, ceil(total - first, step))


@dataclasses.dataclass(frozen=True)
class Segment:
    """The part of the network that one core runs: layers first .. last, both included."""

    first: int
    last: int
    bases: dict[int, int]
    """Word address of each map in the core's memory (of the buffer 0 for the input map)."""
    map_words: int
    """Words of feature-map memory used."""
    buffer_step: int
    """Distance of the second input buffer; 0 without one."""
    shares: tuple[tuple[Share, ...], ...]
    """[layer - first][cluster]."""


def allowed_cuts(network: Network) -> list[int]:
    """Return the layers after which the network may be cut: those whose output is the only map still needed."""
    cuts = []
    for layer in range(len(network.layers) - 1):
        later = {index for other in network.layers[layer + 1:] for index in layer_inputs(other)}
        if all(index > layer for index in later):
            cuts.append(layer)
    return cuts


def _work(network: Network, layer: int, lanes: int) -> int:
    """Return an upper bound of the weight rows that a layer accumulates, to balance segments by."""
    item = network.layers[layer]
    channels, height, width = item.shape
    positions = height * width * ceil(channels, lanes) * network.steps
    if isinstance(item, MaxPool):
        return positions * item.kernel[0] * item.kernel[1] * network.map_bits(item.map)
    field = sum(s.pool[0] * s.pool[1] * network.map_bits(s.map)
                * (1 if s.diagonal else int(np.prod(s.weight.shape[1:]))) for s in item.sources)
    return positions * field


def choose_lanes(network: Network) -> int:
    """Return the most lanes, 8 to 64, of which less than a fifth idles because channels do not fill lane groups."""
    def work(lanes: int) -> int:
        return lanes * sum(_work(network, layer, lanes) for layer in range(len(network.layers)))

    useful = work(1)
    return max((lanes for lanes in (16, 32, 64) if work(lanes) * 4 < useful * 5), default=8)


def cut(network: Network, cores: int | str, lanes: int) -> list[tuple[int, int]]:
    """Return the first and last layer of each core, the largest segment made as small as the cuts allow."""
    cuts = allowed_cuts(network)
    most = len(cuts) + 1
    if cores == "max":
        cores = most
    if not isinstance(cores, int) or not 1 <= cores <= most:
        raise PlanError(f"network {network.name!r} cannot be cut into {cores!r} cores; allowed is 1 to {most} "
                        f"(or 'max'): a cut needs a place where exactly one feature map is alive, and those are "
                        f"after layers {cuts}")
    ends = [*cuts, len(network.layers) - 1]
    load = [sum(_work(network, i, lanes) for i in range(first, last + 1))
            for first, last in zip([0, *(c + 1 for c in cuts)], ends, strict=True)]

    @functools.cache
    def best(count: int, start: int) -> tuple[int, tuple[int, ...]]:
        if count == 1:
            return sum(load[start:]), (most - 1,)
        options = []
        for end in range(start, most - count + 1):
            rest, tail = best(count - 1, end + 1)
            options.append((max(sum(load[start:end + 1]), rest), (end, *tail)))
        return min(options)

    firsts, segments = 0, []
    for end in best(cores, 0)[1]:
        segments.append((firsts, ends[end]))
        firsts = ends[end] + 1
    return segments


def row_parts(layer: Layer, shares: tuple[Share, ...], lanes: int) -> int:
    """Return in how many parts a row of a layer's map is handed over: one for each cluster that computes some of it."""
    channels, _, width = layer.shape
    if any(share.row[1] > 1 for share in shares):
        return 1
    return sum(Share.count(share.col, width) > 0 and Share.count(share.group, ceil(channels, lanes)) > 0
               for share in shares)


def split_layer(layer: Layer, lanes: int, clusters: int) -> tuple[Share, ...]:
    """Split a layer among clusters by columns, rows or lane groups, whichever leaves the least to the busiest."""
    channels, height, width = layer.shape
    groups = ceil(channels, lanes)
    if clusters == 1:
        return (Share(),)
    if isinstance(layer, Readout):      # its logits leave in order, from one cluster
        return tuple(Share(row=(index, clusters)) for index in range(clusters))
    costs = {"col": ceil(width, clusters) * height * groups, "row": ceil(height, clusters) * width * groups,
             "group": ceil(groups, clusters) * height * width}
    axis = min(costs, key=costs.get)
    return tuple(Share(**{axis: (index, clusters)}) for index in range(clusters))
