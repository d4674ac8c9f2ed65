"""The search finds what trying everything finds, and what it finds can be planned."""

import dataclasses
import itertools
import math

import pytest

from qblif.gen import explore
from qblif.gen.explore import Layout, layer_cycles, packings
from qblif.gen.packing import Packing
from qblif.gen.plan import allowed_cuts, core_shape, make_plan
from qblif.gen.split import split_layer
from qblif.hw.sizing import Size

from .planned import chain, network, shortcut

SHAPES = ((8, 2), (16, 4))


class Simple:
    """Sizes that are easy to add up."""

    @staticmethod
    def core(core):
        memory = core.map_depth * core.word_bits + core.weight_depth * core.lanes * core.weight_bits
        lanes = core.lanes * core.clusters
        return Size(100.0 + 10 * lanes, 300.0 + 40 * core.chunks * core.clusters, -(-memory // 1024))

    @staticmethod
    def shell(cores):
        return Size(50.0 + cores, 20.0, 1)


def dense(net):
    """Return cycles as if each weight row was added at each position of a share."""
    def work(layer, packing, share, core):
        shape = net.layers[layer].shape
        return 7.0 * sum(share.count(part, count) for part, count in (
            (share.row, shape[1]), (share.col, packing.columns(net, layer)), (share.group, packing.groups(net, layer))))

    return work


def everything(net, rows, goal, clusters):
    """Yield cost, size and whether all cores have two input maps, of every chain, every choice of clusters, every
    packing looked at."""
    cuts = allowed_cuts(net)
    for lanes, neuron_lanes in SHAPES:
        shape = core_shape(net, lanes, {"neuron_lanes": neuron_lanes})
        for packing in packings(net, shape, clusters):
            search = explore._Search(net, rows, Simple, goal, None, shape, clusters, packing, 16)
            for count in range(len(cuts) + 1):
                for chosen in itertools.combinations(cuts, count):
                    spans = list(zip([0, *(cut + 1 for cut in chosen)], [*chosen, len(net.layers) - 1], strict=True))
                    for cores in itertools.product(*(search._options(*span) for span in spans)):
                        one = explore._Label(0.0, Size(0, 0, 0))
                        for option, span in zip(cores, spans, strict=True):
                            one = search._longer(one, option, span)
                        alone = (max if goal == "throughput" else sum)(option.cycles for option in cores)
                        assert one.cost == alone or one.cost > alone and not all(option.two_maps for option in cores)
                        yield one.cost, one.size + Simple.shell(len(cores)), one.two_maps


@pytest.mark.parametrize("goal", explore.GOALS)
@pytest.mark.parametrize("net", [chain(layers=5, classes=3), shortcut(), network(3)], ids=("chain", "shortcut", "any"))
def test_nothing_that_fits_is_better_than_what_is_found(net, goal):
    clusters, rows = (1, 2), dense(net)
    tried = list(everything(net, rows, goal, clusters))
    limits = sorted(tried, key=lambda one: one[1].lut + one[1].block_ram)[::max(1, len(tried) // 9)]
    for _, room, _ in limits:
        found = explore.explore(net, rows, Simple, goal, room=room, shapes=SHAPES, clusters=clusters)
        assert found[0].cost(goal) == min(cost for cost, size, _ in tried if size.within(room))
        assert all(one.size.within(room) for one in found)
    found = explore.explore(net, rows, Simple, goal, shapes=SHAPES, clusters=clusters)
    for one in found:
        assert not any(cost < one.cost(goal) and size.within(one.size) for cost, size, two in tried
                       if two or not one.two_maps)
    assert not explore.explore(net, rows, Simple, goal, room=Size(1, 1, 1), shapes=SHAPES, clusters=clusters)


@pytest.mark.parametrize("seed", range(4))
def test_what_is_found_can_be_planned_as_it_says(seed):
    net = network(seed)
    for layout in explore.explore(net, dense(net), Simple, shapes=SHAPES, clusters=(1, 3))[:6]:
        plan = make_plan(net, design=layout.design, packing=layout.packing, spans=layout.spans)
        assert plan.design.cores == layout.cores and plan.packing == layout.packing
        assert tuple((segment.first, segment.last) for segment in plan.segments) == layout.spans


def test_a_layer_takes_as_long_as_its_busiest_cluster():
    net = chain(layers=2, classes=1)
    core = core_shape(net, 8, {"clusters": 2})
    packing = packings(net, core, (1,))[0]
    shares = split_layer(net, 0, packing, 2)
    assert shares[0] != shares[1]
    for busy in shares:
        found = layer_cycles(net, 0, packing, core, lambda layer, packing, share, core, busy=busy:
                             1000.0 if share == busy else 1.0)
        assert found == 1000 + explore.LAYER


@pytest.mark.parametrize("chosen", [(1,), (2,), (1, 2), (2, 2), (2, 1, 1)])
def test_of_a_chain_that_is_asked_for_the_best_is_found(chosen):
    """Its clusters are given, whether another layout beats it or not."""
    net = chain(layers=5, classes=3)
    work, found = dense(net), explore.explore(net, dense(net), Simple, shapes=SHAPES, chain=chosen)
    best = math.inf
    for lanes, neuron_lanes in SHAPES:
        shape = core_shape(net, lanes, {"neuron_lanes": neuron_lanes})
        for packing in packings(net, shape, tuple(dict.fromkeys(chosen))):
            for cuts in itertools.combinations(allowed_cuts(net), len(chosen) - 1):
                spans = zip([0, *(cut + 1 for cut in cuts)], [*cuts, len(net.layers) - 1], strict=True)
                cycles = [[layer_cycles(net, index, packing, dataclasses.replace(shape, clusters=clusters), work)
                           for index in range(first, last + 1)]
                          for clusters, (first, last) in zip(chosen, spans, strict=True)]
                best = min(best, max(map(sum, cycles)))
    assert all(tuple(core.clusters for core in one.cores) == chosen for one in found)
    assert found[0].cost("throughput") == best


def test_a_chain_of_more_cores_than_there_are_cuts_is_not_found():
    net = chain(layers=2, classes=3)
    assert explore.explore(net, dense(net), Simple, shapes=SHAPES, chain=(1,) * 9) == []


def test_cost_is_the_slowest_core_or_all():
    layout = Layout((), (), Packing(8, ()), True, (5.0, 7.0), Size(0, 0, 0))
    assert (layout.cost("throughput"), layout.cost("latency")) == (7.0, 12.0)
