"""A network is cut where one map is alive, into segments of like work."""

import dataclasses
import re

import pytest

from qblif.gen.errors import PlanError
from qblif.gen.network import layer_inputs
from qblif.gen.plan import allowed_cuts, make_plan
from qblif.hw.params import DesignParams

from .planned import chain, network, shortcut


def test_a_shortcut_cannot_be_cut_through():
    assert allowed_cuts(shortcut()) == [0, 2, 3]
    assert [(s.first, s.last) for s in make_plan(shortcut(), "max").segments] == [(0, 0), (1, 2), (3, 3), (4, 4)]


@pytest.mark.parametrize("seed", range(40))
def test_cuts_are_where_exactly_one_map_is_still_needed(seed):
    net = network(seed)
    for cut in range(len(net.layers) - 1):
        needed = {index for later in net.layers[cut + 1:] for index in layer_inputs(later) if index <= cut + 1}
        assert (cut in allowed_cuts(net)) == (needed == {cut + 1})


@pytest.mark.parametrize("cores", [1, 2, 3, 4])
def test_segments_follow_each_other_and_cover_all_layers(cores):
    plan = make_plan(shortcut(), cores)
    assert len(plan.segments) == len(plan.design.cores) == cores
    layers = [index for segment in plan.segments for index in range(segment.first, segment.last + 1)]
    assert layers == list(range(5))


def test_equal_layers_are_shared_out_equally():
    plan = make_plan(chain(layers=6, classes=1), 3)
    assert [segment.last - segment.first + 1 for segment in plan.segments] == [2, 2, 3]


@pytest.mark.parametrize("cores", [0, 5, 2.0, "many"])
def test_more_cores_than_segments_are_refused_with_the_places_of_the_cuts(cores):
    with pytest.raises(PlanError, match=re.escape(f"{cores!r} cores; allowed is 1 to 4") + r".*\[0, 2, 3\]"):
        make_plan(shortcut(), cores)


def test_measured_work_is_shared_out_instead_of_an_estimate():
    net = chain(layers=6, classes=1)
    plan = make_plan(net, 2, work=[10, 1, 1, 1, 1, 1, 1])
    assert [(segment.first, segment.last) for segment in plan.segments] == [(0, 0), (1, 6)]
    with pytest.raises(PlanError, match=re.escape("the work of 2 layers is given, network 'chain' has 7")):
        make_plan(net, 2, work=[1, 1])


def test_clusters_share_the_work_of_their_core():
    net = chain(layers=6, classes=1)
    design = make_plan(net, 2, lanes=4, map_depth=512, weight_depth=512, layer_depth=8, source_depth=8,
                       channel_depth=16).design
    cores = tuple(dataclasses.replace(core, clusters=count) for core, count in zip(design.cores, (1, 2), strict=True))
    plan = make_plan(net, design=DesignParams(cores))
    assert [segment.last - segment.first + 1 for segment in plan.segments] == [2, 5]        # the read-out is small


@pytest.mark.parametrize("seed", range(40))
def test_a_network_fits_the_chain_that_was_made_for_it_however_it_was_cut(seed):
    net = network(seed)
    ends = [*allowed_cuts(net), len(net.layers) - 1]
    for cut in ends[:-1]:
        spans = [(0, cut), (cut + 1, len(net.layers) - 1)]
        design = make_plan(net, lanes=8, spans=spans).design
        plan = make_plan(net, design=design)
        assert len(plan.segments) == 2 and plan.segments[0].last in ends


def test_what_fits_no_cut_is_told_for_the_one_that_fits_most_cores():
    net = chain(layers=6, classes=1)
    design = make_plan(net, 2, lanes=4).design
    small = dataclasses.replace(design.cores[0], weight_depth=4)
    with pytest.raises(PlanError, match="core 0 needs weight_depth") as told:
        make_plan(net, design=DesignParams((small, dataclasses.replace(design.cores[1], weight_depth=1024,
                                                                       layer_depth=8, source_depth=8))))
    assert "core 1" not in str(told.value)


def test_layers_go_to_cores_as_they_are_told_to():
    plan = make_plan(shortcut(), 2, spans=[(0, 3), (4, 4)])
    assert [(segment.first, segment.last) for segment in plan.segments] == [(0, 3), (4, 4)]


@pytest.mark.parametrize("spans", [[(0, 1), (2, 4)], [(0, 4), (4, 4)], [(0, 3)], [(1, 4)], [(0, 2), (4, 4)], []])
def test_spans_that_leave_layers_out_or_cut_a_shortcut_are_refused(spans):
    with pytest.raises(PlanError, match=re.escape("a core may end after layers [0, 2, 3, 4]")):
        make_plan(shortcut(), spans=spans)


def test_spans_are_as_many_as_the_build_has_cores():
    design = make_plan(shortcut(), 2).design
    with pytest.raises(PlanError, match="given to 1 cores, the build has 2"):
        make_plan(shortcut(), design=design, spans=[(0, 4)])
