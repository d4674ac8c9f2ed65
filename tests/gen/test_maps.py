"""Maps lie as documented, and those that are needed at the same time never overlap."""

import pytest

from qblif.gen.maps import MapLayout
from qblif.gen.network import layer_inputs
from qblif.gen.plan import make_plan

from .planned import SEEDS, chain, network, planned


def test_a_map_lies_row_by_row_step_by_step_plane_by_plane():
    found = MapLayout(channels=20, steps=3, planes=2, height=5, width=7, word_bits=64)
    assert (found.plane_words, found.step_words, found.row_words, found.words) == (3, 6, 18, 90)


@pytest.mark.parametrize("seed, option", SEEDS)
def test_layouts_hold_every_channel_and_agree_with_what_the_host_sends(seed, option):
    plan, net = planned(seed, option), network(seed)
    core = plan.design.cores[0]
    for index in range(len(net.layers)):
        found, packed = plan.layouts[index], plan.packing.positions[index]
        channels, height, width = net.map_shape(index)
        assert found.channels >= channels and (found.height, found.width) == (height, width)
        assert found.channels * packed % core.lanes == 0 if packed else index == 0 and found.channels == channels
        assert packed <= 1 or found.channels * packed == core.lanes
        assert found.word_bits == core.word_bits
        assert found.planes == net.map_bits(index)
        assert found.steps == (1 if net.map_static(index) else net.steps)
    first = plan.layouts[0]
    assert plan.input_layout.words == first.words and plan.input_layout.stored_channels == first.channels


def live(net, segment, number):
    """Return the maps that have to stand in memory while layer `number` of a segment works, its output among them."""
    read = {index for later in range(number, segment.last + 1) for index in layer_inputs(net.layers[later])}
    maps = {index for index in read if index <= number} | {segment.first}
    return maps | ({number + 1} if number < segment.last else set())


@pytest.mark.parametrize("seed, option", SEEDS)
def test_maps_that_are_needed_at_the_same_time_never_overlap(seed, option):
    plan, net = planned(seed, option), network(seed)
    for segment, core in zip(plan.segments, plan.design.cores, strict=True):
        def extent(index, segment=segment, core=core):
            words = plan.layouts[index].words
            buffered = index == segment.first and segment.buffer_step
            return range(segment.bases[index], segment.bases[index] + words + (segment.buffer_step if buffered else 0))

        for number in range(segment.first, segment.last + 1):
            extents = sorted((extent(index).start, extent(index).stop) for index in live(net, segment, number))
            assert all(before[1] <= after[0] for before, after in zip(extents, extents[1:], strict=False))
            assert extents[0][0] >= 0 and extents[-1][1] <= segment.map_words <= core.map_depth
        assert segment.buffer_step in (0, plan.layouts[segment.first].words)


def test_a_map_that_is_done_with_makes_room_for_a_later_one():
    plan = make_plan(chain(layers=6))
    (segment,) = plan.segments
    assert segment.map_words == 2 * plan.layouts[0].words + 2 * plan.layouts[1].words
