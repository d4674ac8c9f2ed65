"""Who computes what: the network is cut into segments, one per core, and a layer is shared out to clusters."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence

from .errors import PlanError
from .gather import gathers
from .network import MaxPool, Network, Readout, layer_inputs
from .packing import Packing, ceil, unpacked

Spans = Sequence[tuple[int, int]]
"""First and last layer of each core of a chain."""

Fits = Callable[[int, int, int], bool]
"""Number of a core, first and last layer -> whether it is deep and wide enough for them."""


@dataclasses.dataclass(frozen=True)
class Share:
    """What a cluster computes of a layer: every `step`-th row, column and lane group from `first` on.

    A column is one of the packing: its P positions stay together."""

    row: tuple[int, int] = (0, 1)
    col: tuple[int, int] = (0, 1)
    group: tuple[int, int] = (0, 1)

    @staticmethod
    def count(part: tuple[int, int], total: int) -> int:
        """Return how many of `total` the part (first, step) holds."""
        first, step = part
        return max(0, ceil(total - first, step))


WHOLE = Share()
"""All of a layer."""


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


def _work(network: Network, layer: int, packing: Packing) -> int:
    """Return an upper bound of the weight rows that a layer accumulates, to balance segments by."""
    height, rows = network.layers[layer].shape[1], 0
    for gather in gathers(network, layer, packing):
        inputs = 1 if gather.mask else gather.weight.shape[1]
        rows += sum(field.taps[0] * field.taps[1] * (1 if gather.mask else field.run) * inputs
                    * network.map_bits(field.map) for field in gather.fields)
    once = not isinstance(network.layers[layer], MaxPool) and all(
        network.map_static(index) for index in layer_inputs(network.layers[layer]))
    steps = 1 if once else network.steps
    return rows * height * packing.columns(network, layer) * packing.groups(network, layer) * steps


def choose_lanes(network: Network) -> int:
    """Return the most lanes, 8 to 64, of which less than a fifth idles because channels do not fill lane groups."""
    def work(lanes: int) -> int:
        return lanes * sum(_work(network, layer, unpacked(network, lanes)) for layer in range(len(network.layers)))

    useful = work(1)
    return max((lanes for lanes in (16, 32, 64) if work(lanes) * 4 < useful * 5), default=8)


def cut(network: Network, cores: int | str, packing: Packing, work: Sequence[float] | None = None,
        clusters: Sequence[int] | None = None, fits: Fits | None = None) -> list[tuple[int, int]]:
    """Return the first and last layer of each core, the longest time of a core made as short as the cuts allow.

    work: of each layer, measured; default: an upper bound. clusters: of each core, which share its work; default: as
    many in all. fits: of cores that there are; where no cut fits all of them, as many as can be have layers that do.
    Raises PlanError where there are not so many cuts."""
    if work is None:
        work = [_work(network, index, packing) for index in range(len(network.layers))]
    elif len(work) != len(network.layers):
        raise PlanError(f"the work of {len(work)} layers is given, network {network.name!r} has {len(network.layers)}")
    cuts = allowed_cuts(network)
    most = len(cuts) + 1
    if cores == "max":
        cores = most
    if not isinstance(cores, int) or not 1 <= cores <= most:
        raise PlanError(f"network {network.name!r} cannot be cut into {cores!r} cores; allowed is 1 to {most} "
                        f"cores: a cut needs a place where exactly one feature map is alive, and those are after "
                        f"layers {cuts}")
    firsts, lasts = [0, *(c + 1 for c in cuts)], [*cuts, len(network.layers) - 1]
    shared = math.lcm(*clusters) if clusters else 1
    pace = [shared // count for count in clusters] if clusters else [1] * cores

    @functools.cache
    def best(number: int, start: int) -> tuple[tuple[int, float], tuple[int, ...]]:
        """Return misfits and the longest time of the cores from `number` on, and where each ends."""
        options = []
        for end in range(start, most - (cores - number) + 1) if number < cores - 1 else [most - 1]:
            first, last = firsts[start], lasts[end]
            misfits, time = int(fits is not None and not fits(number, first, last)), sum(work[first:last + 1])
            longest, tail = time * pace[number], ()
            if number < cores - 1:
                (more, rest), tail = best(number + 1, end + 1)
                misfits, longest = misfits + more, max(longest, rest)
            options.append(((misfits, longest), (end, *tail)))
        return min(options)

    ends = best(0, 0)[1]
    return [(firsts[start], lasts[end]) for start, end in zip([0, *(end + 1 for end in ends)], ends, strict=False)]


def cut_as(network: Network, spans: Spans) -> list[tuple[int, int]]:
    """Return the first and last layer of each core, as given, if the network may be cut so; raises PlanError."""
    ends = [*allowed_cuts(network), len(network.layers) - 1]
    firsts = [0, *(last + 1 for _, last in spans)]
    if [first for first, _ in spans] != firsts[:-1] or firsts[-1] != len(network.layers) or any(
            last not in ends for _, last in spans):
        raise PlanError(f"network {network.name!r} of {len(network.layers)} layers cannot be cut into {list(spans)}: "
                        f"cores take layers in order, all of them, and a core may end after layers {ends}")
    return [tuple(span) for span in spans]


def row_parts(network: Network, layer: int, packing: Packing, shares: tuple[Share, ...]) -> int:
    """Return in how many parts a row of a layer's map is handed over: one for each cluster that computes some of it."""
    if any(share.row[1] > 1 for share in shares):
        return 1
    return sum(Share.count(share.col, packing.columns(network, layer)) > 0
               and Share.count(share.group, packing.groups(network, layer)) > 0 for share in shares)


def split_layer(network: Network, layer: int, packing: Packing, clusters: int) -> tuple[Share, ...]:
    """Split a layer among clusters by columns, rows or lane groups, whichever leaves the least to the busiest."""
    item, columns, groups = network.layers[layer], packing.columns(network, layer), packing.groups(network, layer)
    height = item.shape[1]
    if clusters == 1:
        return (Share(),)
    if isinstance(item, Readout):       # its logits leave in order, from one cluster
        return tuple(Share(row=(index, clusters)) for index in range(clusters))
    costs = {"col": ceil(columns, clusters) * height * groups, "row": ceil(height, clusters) * columns * groups,
             "group": ceil(groups, clusters) * height * columns}
    axis = min(costs, key=costs.get)
    return tuple(Share(**{axis: (index, clusters)}) for index in range(clusters))
