"""Searches the layouts of cores for a network: cores of a chain, clusters of each core, lanes, and who has which layer.

A layout is valued by the cycles of its slowest core (throughput) or of all cores together (latency), and by what it
takes of a part. Both add up over the layers of a core, so chains are built from the front, core by core, and of those
that end after the same layer only the ones stay that no other one beats in everything: cycles, LUTs, flip-flops and
block RAM. Nothing else is left out, so among the numbers of lanes and clusters and the packings that are looked at the
best layout is found, as far as the figures go that it is given: measured work (cycles) and sizes.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator

from qblif.hw.params import LARGEST, CoreParams, DesignParams
from qblif.hw.sizing import Size, Sizes

from .fill import choose
from .maps import map_layout, place
from .needs import Rows, join, layer_needs
from .network import Network
from .packing import Packing
from .plan import core_shape, depth
from .split import Share, allowed_cuts, split_layer

GOALS = ("throughput", "latency")

SHAPES = ((16, 4), (32, 2), (32, 4), (64, 2), (64, 4), (128, 2), (128, 4), (128, 8))
"""Lanes and neuron lanes that are looked at."""

CLUSTERS = (1, 2, 4)
"""Clusters of a core that are looked at; cores of a chain may differ."""

LAYER = 80
"""Cycles that a layer takes beside its work: begin, first word, last write. What comes of it is held against the exact
model in sim/planner.py, which times the best layouts by that."""

Work = Callable[[int, Packing, Share, CoreParams], float]
"""Layer, packing, share of a cluster, its core -> cycles that the cluster works on it for an image, as measured."""


@dataclasses.dataclass(frozen=True)
class Layout:
    """A layout. cores: with depths that fit; spans: first and last layer of each; two_maps: all have two input maps.

    cycles: estimated, of each core for an image; size: of the design, shell included."""

    cores: tuple[CoreParams, ...]
    spans: tuple[tuple[int, int], ...]
    packing: Packing
    two_maps: bool
    cycles: tuple[float, ...]
    size: Size

    def cost(self, goal: str) -> float:
        """Return the cycles that count: of the slowest core, or of all."""
        return max(self.cycles) if goal == "throughput" else sum(self.cycles)

    @property
    def design(self) -> DesignParams:
        """The hardware."""
        return DesignParams(self.cores)


@dataclasses.dataclass(frozen=True)
class _Label:
    """A chain as far as it is built."""

    cost: float
    size: Size
    before: _Label | None = None
    core: CoreParams | None = None
    span: tuple[int, int] = (0, -1)
    cycles: float = 0.0
    two_maps: bool = True

    def chain(self) -> list[_Label]:
        return [] if self.before is None else [*self.before.chain(), self]


def explore(network: Network, work: Work, sizes: Sizes, goal: str = "throughput", *, room: Size | None = None,
            shapes=SHAPES, clusters=CLUSTERS, chain: tuple[int, ...] | None = None, most_cores: int = 16,
            **core_params) -> list[Layout]:
    """Return layouts that no other beats in cycles, LUTs, flip-flops and block RAM at once, fewest cycles first; of
    those whose cores all have two input maps, that none of these beats.

    work: counts cycles; sizes: what cores take; room: leave out what is larger; chain: clusters of each core, only
    layouts with these; core_params: of all cores."""
    clusters = clusters if chain is None else tuple(dict.fromkeys(chain))
    found = []
    for lanes, neuron_lanes in shapes:
        shape = core_shape(network, lanes, {"neuron_lanes": neuron_lanes, **core_params})
        for packing in packings(network, shape, clusters):
            found += _Search(network, work, sizes, goal, room, shape, clusters, packing, most_cores, chain).run()
    best = front(found, lambda one: (one.cost(goal), one.size))
    best += [one for one in front([one for one in found if one.two_maps], lambda one: (one.cost(goal), one.size))
             if one not in best]
    return sorted(best, key=lambda one: (one.cost(goal), not one.two_maps))


def packings(network: Network, shape: CoreParams, clusters=CLUSTERS) -> list[Packing]:
    """Return the packings that are looked at: the fastest for each number of clusters, and those that pack less."""
    halves = [shape.lanes >> k for k in range(1, shape.lanes.bit_length())]
    asked = [*((count, shape.lanes) for count in clusters), *((1, most) for most in halves)]
    return list(dict.fromkeys(choose(network, shape.lanes, neuron_lanes=shape.neuron_lanes, clusters=count, most=most)
                              for count, most in asked))


def layer_cycles(network: Network, index: int, packing: Packing, core: CoreParams, work: Work) -> float:
    """Return the cycles of a layer's busiest cluster, and LAYER."""
    shares = dict.fromkeys(split_layer(network, index, packing, core.clusters))
    return max(work(index, packing, share, core) for share in shares) + LAYER


@dataclasses.dataclass(frozen=True)
class _Option:
    """A core that can take some layers. two_maps: its memory has room for a second input map, and `make_plan` uses it.
    """

    core: CoreParams
    cycles: float
    size: Size
    two_maps: bool


class _Search:
    """The layouts of one core shape and one packing."""

    def __init__(self, network, work, sizes, goal, room, shape, clusters, packing, most_cores, chain=None):
        self.network, self.sizes, self.goal, self.room, self.chain = network, sizes, goal, room, chain
        self.shape, self.packing = shape, packing
        self.most_cores = most_cores if chain is None else len(chain)
        self.layouts = {i: map_layout(network, i, packing, shape.word_bits) for i in range(len(network.layers))}
        layers = range(len(network.layers))
        self.cycles = {(count, occupancy): [layer_cycles(network, i, packing, dataclasses.replace(
            shape, clusters=count, occupancy=occupancy), work) for i in layers]
            for count in clusters for occupancy in {0, shape.occupancy}}
        self.needs = {count: [layer_needs(network, i, packing, count, shape.chunks) for i in layers]
                      for count in clusters}

    def run(self) -> Iterator[Layout]:
        """Yield the layouts that no other of this search beats."""
        firsts = [0, *(last + 1 for last in allowed_cuts(self.network)), len(self.network.layers)]
        # labels[at][count]: chains of so many cores for the layers before firsts[at]
        labels: list[dict[int, list[_Label]]] = [{0: [_Label(0.0, Size(0, 0, 0))]}, *({} for _ in firsts[1:])]
        for at in range(1, len(firsts)):
            options = [(start, option) for start in range(at)
                       for option in self._options(firsts[start], firsts[at] - 1)]
            for start, option in options:
                span = (firsts[start], firsts[at] - 1)
                for count, chains in labels[start].items():
                    if count < self.most_cores and (self.chain is None or self.chain[count] == option.core.clusters):
                        labels[at].setdefault(count + 1, []).extend(
                            self._longer(one, option, span) for one in chains)
            labels[at] = {count: self._best(chains, count) for count, chains in labels[at].items()}
        for count, chains in labels[-1].items():
            for label in chains if self.chain is None or len(self.chain) == count else ():
                steps = label.chain()
                yield Layout(tuple(step.core for step in steps), tuple(step.span for step in steps), self.packing,
                             label.two_maps, tuple(step.cycles for step in steps), label.size + self.sizes.shell(count))

    def _best(self, chains: list[_Label], count: int) -> list[_Label]:
        """Return the chains that fit and that no other one beats which the next core sees as it sees them.

        Second input maps are worth more than is estimated, since images differ: chains that have them all are not
        beaten by such that have not."""
        alike: dict[tuple[int, int, bool], list[_Label]] = {}
        for one in chains:
            if self._fits(one.size, count):
                alike.setdefault((one.core.clusters, one.core.occupancy, one.two_maps), []).append(one)
        return [one for some in alike.values() for one in front(some, lambda one: (one.cost, one.size))]

    def _longer(self, chain: _Label, option: _Option, span: tuple[int, int]) -> _Label:
        """Return a chain with a core more."""
        cycles = option.cycles
        if self.goal == "throughput" and not option.two_maps and chain.core is not None:
            # The only input map is written while this core's first layer reads it, and not before its last one is done.
            writing = self.cycles[chain.core.clusters, chain.core.occupancy][chain.span[1]]
            cycles += max(0.0, writing - self.cycles[option.core.clusters, 0][span[0]])
        cost = max(chain.cost, cycles) if self.goal == "throughput" else chain.cost + cycles
        two_maps = chain.two_maps and option.two_maps
        return _Label(cost, chain.size + option.size, chain, option.core, span, cycles, two_maps)

    def _fits(self, size: Size, count: int) -> bool:
        return self.room is None or (size + self.sizes.shell(count)).within(self.room)

    def _options(self, first: int, last: int) -> list[_Option]:
        """Return the cores that can take layers first to last, with one input map and with two; those left out that
        another one with as many beats, unless the clusters of each core are given."""
        found = {}
        words = {buffers: place(self.network, first, last, self.layouts, buffers)[1] for buffers in (2, 1)}
        sees = dict.fromkeys([0] if first else [0, self.shape.occupancy])
        for (count, layers), buffers, occupancy in itertools.product(self.needs.items(), words, sees):
            need: Rows = join(layers[first:last + 1]) | {"map_depth": words[buffers]}
            if any(rows > LARGEST[name] for name, rows in need.items()):
                continue
            core = dataclasses.replace(self.shape, clusters=count, occupancy=occupancy,
                                       **{name: depth(name, rows) for name, rows in need.items()})
            two, cycles = core.map_depth >= words[2], sum(self.cycles[count, occupancy][first:last + 1])
            if not two:             # the next image comes when this one is done
                cycles += self.layouts[first].words * (self.shape.word_bits // 32 if first == 0 else 1)
            found[core] = _Option(core, cycles, self.sizes.core(core), two)
        if self.chain:
            return list(found.values())
        return [one for two in (True, False) for one in front([one for one in found.values() if one.two_maps == two],
                                                              lambda one: (one.cycles, one.size))]


def front(items: list, key: Callable[[object], tuple[float, Size]]) -> list:
    """Return those of the items that no other beats or equals in cost, LUTs, flip-flops and block RAM, cheapest first.
    """
    valued = sorted((((cost, size.lut, size.ff, size.block_ram), item) for cost, size, item in
                     ((*key(item), item) for item in items)), key=lambda one: one[0])
    kept, sizes = [], []
    for (_, lut, ff, blocks), item in valued:
        for index, (least_lut, least_ff, least_blocks) in enumerate(sizes):
            if least_lut <= lut and least_ff <= ff and least_blocks <= blocks:
                # What beats one beats the next one, too, as a rule: it is asked first
                sizes.insert(0, sizes.pop(index))
                break
        else:
            kept.append(item)
            sizes.append((lut, ff, blocks))
    return kept
