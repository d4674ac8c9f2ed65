"""Weight memories hold each lane group that their clusters work on once, and the tables find it there."""

import numpy as np
import pytest

from qblif.gen.errors import PlanError
from qblif.gen.needs import join, layer_needs
from qblif.gen.plan import depth, make_plan
from qblif.host import abi
from qblif.host.abi import MemoryId

from ..program_image import parse
from .planned import chain, network


def sections(plan):
    """Return (cluster, rows) of the sections that fill weight memories."""
    return [(section.cluster, len(section.rows)) for section in parse(plan.program, plan.design).sections
            if section.memory == MemoryId.WEIGHTS]


def groups(plan, cluster, layer):
    """Return [group of the cluster] -> rows of its weights, (rows, lanes), by the cluster's tables."""
    image, core = parse(plan.program, plan.design), plan.design.cores[0]
    table = image.table(0, cluster, MemoryId.LAYERS)[layer]
    source = image.table(0, cluster, MemoryId.SOURCES)[table["source_first"]]
    weights = np.array(image.weights(core, 0, cluster))
    count = source["tap_rows"] * source["tap_row_weights"]
    step = table["group_weights"]
    firsts = [source["weight_first"] + group * step for group in range(table["groups"] if table["rows"] else 0)]
    return [weights[first:first + count] for first in firsts]


def test_clusters_that_split_columns_need_the_same_rows_which_are_sent_once():
    wide = chain(side=8)
    one, four = (make_plan(wide, lanes=4, clusters=clusters) for clusters in (1, 4))
    assert four.segments[0].shares[0][1].col == (1, 4)
    assert [cluster for cluster, _ in sections(one)] == [abi.ALL_CLUSTERS] and sections(four) == sections(one)
    assert one.design.cores[0].weight_depth == four.design.cores[0].weight_depth


@pytest.mark.parametrize("clusters", [2, 3, 4])
def test_clusters_that_split_lane_groups_find_theirs_among_those_of_both(clusters):
    net = chain(channels=28, side=1, layers=1)                # 7 lane groups
    plan = make_plan(net, lanes=4, clusters=clusters)
    assert plan.segments[0].shares[0][1].group == (1, clusters)
    weight = net.layers[0].sources[0].weight.transpose(2, 3, 1, 0).reshape(-1, 28)
    for cluster in range(clusters):
        found = groups(plan, cluster, 0)
        assert len(found) == len(range(cluster, 7, clusters))
        for mine, group in zip(found, range(cluster, 7, clusters), strict=True):
            assert np.array_equal(mine, weight[:, 4 * group:4 * group + 4])
    held = [sum(len(range(cluster, 7, clusters)) for cluster in bank if cluster < clusters)
            for bank in ((0, 1), (2, 3))]
    rows, head = len(weight), 28
    wanted = [(cluster, groups * rows + head) for cluster, groups in zip((0, 2), held, strict=True) if groups]
    if clusters == 2:
        wanted = [(abi.ALL_CLUSTERS, wanted[0][1])]
    assert sections(plan) == wanted


def test_a_memory_of_two_clusters_that_is_too_small_is_refused_by_its_depth():
    net = chain(channels=28, side=1, layers=1)
    needed = 7 * 9 * 28 + 28
    assert make_plan(net, lanes=4, clusters=2, weight_depth=2048).design.cores[0].weight_depth == 2048
    with pytest.raises(PlanError, match=f"needs weight_depth >= {needed:,}, the build has 1,024"):
        make_plan(net, lanes=4, clusters=2, weight_depth=1024)


@pytest.mark.parametrize("clusters", [1, 2, 3, 5])
@pytest.mark.parametrize("seed", range(6))
def test_depths_are_known_before_the_tables_are_written(seed, clusters):
    net = network(seed)
    plan = make_plan(net, lanes=4, clusters=clusters)
    core = plan.design.cores[0]
    needed = join([layer_needs(net, layer, plan.packing, clusters, core.chunks) for layer in range(len(net.layers))])
    image = parse(plan.program, plan.design)
    assert needed["weight_depth"] == max(len(image.memory(0, cluster, MemoryId.WEIGHTS)) for cluster in range(clusters))
    assert {name: depth(name, rows) for name, rows in needed.items()} == {name: getattr(core, name) for name in needed}
