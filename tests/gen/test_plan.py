"""Plans: what the image says computes the network, nothing overlaps, and what does not fit is named with figures."""

import dataclasses
import functools
import re

import numpy as np
import pytest

from qblif.gen.errors import PlanError, VerifyError
from qblif.gen.network import Input, MaxPool, Network, Neuron, NeuronLayer, Readout, Source, layer_inputs
from qblif.gen.plan import MapLayout, allowed_cuts, make_plan, map_layout
from qblif.host.abi import MemoryId
from qblif.hw.params import CoreParams, DesignParams
from qblif.sim import golden
from qblif.sim.random_networks import Limits, random_input, random_network

from ..program_image import parse
from .table_machine import TableMachine

LIMITS = Limits(side=6, channels=20, steps=3, row_adds=6_000)

OPTIONS = [{"lanes": 4, "word_bits": 32}, {"lanes": 16}, {"lanes": 8, "clusters": 2, "word_bits": 32},
           {"lanes": 4, "clusters": 3, "cores": "max"}, {"lanes": 32, "neuron_lanes": 32, "buffers": 1},
           {"lanes": 8, "cores": "max", "buffers": 1, "neuron_lanes": 1}]


@functools.cache
def network(seed):
    return random_network(seed, LIMITS)


@functools.cache
def planned(seed, option):
    return make_plan(network(seed), **OPTIONS[option])


SEEDS = [pytest.param(seed, seed % len(OPTIONS), id=f"{seed}") for seed in range(36)]


def frozen(values, dtype=np.int8):
    array = np.array(values, dtype)
    array.setflags(write=False)
    return array


def conv(index, out, inputs, size=1, **more):
    rng = np.random.default_rng([out, inputs, size])
    return Source(index, frozen(rng.integers(-8, 8, (out, inputs, size, size))), **more)


def layer(name, shape, *sources, levels=5):
    zeros = frozen(np.zeros(shape[0]), np.int32)
    return NeuronLayer(name, sources, zeros, frozen(zeros, np.uint8),
                       Neuron(levels), shape)


def chain(channels=4, side=4, layers=3, classes=3):
    """Return a network of equal 3 x 3 convolutions in a row."""
    shape = (channels, side, side)
    body = [layer(f"conv{i}", shape, conv(i, channels, channels, 3, padding=(1, 1))) for i in range(layers)]
    head = Readout("head", (conv(layers, classes, channels, side),), frozen(np.zeros(classes), np.int32))
    return Network("chain", 2, Input(shape, 3), (*body, head))


def shortcut():
    """Return a network of four layers: the second is skipped by a shortcut around it."""
    shape = (4, 4, 4)
    layers = (layer("a", shape, conv(0, 4, 4)), layer("b", shape, conv(1, 4, 4)),
              layer("c", shape, conv(2, 4, 4), Source(1, frozen([1, 2, 3, 4]))), layer("d", shape, conv(3, 4, 4)),
              Readout("head", (conv(4, 3, 4, 4),), frozen([0, 0, 0], np.int32)))
    return Network("shortcut", 2, Input(shape, 3), layers)


# The image computes the network -----------------------------------------------------------------------------

@pytest.mark.parametrize("seed, option", SEEDS)
def test_the_image_by_the_abi_alone_computes_the_golden_model_s_logits(seed, option):
    """Weights, addresses, clipping, shares of the clusters, hand-overs and buffers are all right, or this fails."""
    plan = planned(seed, option)
    machine = TableMachine(parse(plan.program, plan.design), plan.design)
    x = random_input(network(seed), seed, batch=3)
    found = [machine.run(frame) for frame in plan.input_layout.pack(x)]
    np.testing.assert_array_equal(found, golden.run(network(seed), x).logits)


@pytest.mark.parametrize("seed, option", SEEDS)
def test_clusters_write_each_place_of_a_map_once_and_none_twice(seed, option):
    plan = planned(seed, option)
    machine = TableMachine(parse(plan.program, plan.design), plan.design)      # which fails at a second write
    machine.run(plan.input_layout.pack(random_input(network(seed), seed, 1))[0])
    for core, params, segment in zip(machine.cores[:-1], plan.design.cores, plan.segments, strict=False):
        out = map_layout(network(seed), segment.last + 1, params.lanes, params.word_bits)
        chunks = -(-out.width * out.channels // params.lanes)
        assert set(core.written) == {(row * out.plane_words + chunk // params.banks, chunk % params.banks)
                                     for row in range(out.height * out.steps * out.planes) for chunk in range(chunks)}


def test_weight_rows_hold_one_input_of_the_kernel_each_and_one_output_channel_per_lane():
    weight = frozen(np.arange(-27, 27).reshape(3, 2, 3, 3))
    net = Network("one", 1, Input((2, 5, 5), 1), (
        layer("conv", (3, 3, 3), Source(0, weight)),
        Readout("head", (conv(1, 1, 3, 3),), frozen([0], np.int32))))
    plan = make_plan(net, lanes=4, word_bits=32)
    image = parse(plan.program, plan.design)
    rows = image.weights(plan.design.cores[0], 0, 0)
    assert rows[:18] == [[*weight[:, c, y, x].tolist(), 0] for y in range(3) for x in range(3) for c in range(2)]
    source = image.table(0, 0, MemoryId.SOURCES)[0]
    assert source["weight_first"] == 0 and source["run_bits"] == 6 and source["tap_row_weights"] == 6


# Maps -------------------------------------------------------------------------------------------------------

def test_a_map_lies_row_by_row_step_by_step_plane_by_plane():
    found = MapLayout(channels=20, steps=3, planes=2, height=5, width=7, word_bits=64)
    assert (found.plane_words, found.step_words, found.row_words, found.words) == (3, 6, 18, 90)


@pytest.mark.parametrize("seed, option", SEEDS)
def test_layouts_hold_every_channel_and_agree_with_what_the_host_sends(seed, option):
    plan, net = planned(seed, option), network(seed)
    core = plan.design.cores[0]
    for index in range(len(net.layers)):
        found = map_layout(net, index, core.lanes, core.word_bits)
        channels, height, width = net.map_shape(index)
        assert found.channels >= channels and (found.height, found.width) == (height, width)
        assert index == 0 or found.channels % core.lanes == 0
        assert found.planes == net.map_bits(index)
        assert found.steps == (1 if net.map_static(index) else net.steps)
    first = map_layout(net, 0, core.lanes, core.word_bits)
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
            words = map_layout(net, index, core.lanes, core.word_bits).words
            buffered = index == segment.first and segment.buffer_step
            return range(segment.bases[index], segment.bases[index] + words + (segment.buffer_step if buffered else 0))

        for number in range(segment.first, segment.last + 1):
            extents = sorted((extent(index).start, extent(index).stop) for index in live(net, segment, number))
            assert all(before[1] <= after[0] for before, after in zip(extents, extents[1:], strict=False))
            assert extents[0][0] >= 0 and extents[-1][1] <= segment.map_words <= core.map_depth
        assert segment.buffer_step in (0, map_layout(net, segment.first, core.lanes, core.word_bits).words)


def test_a_map_that_is_done_with_makes_room_for_a_later_one():
    net = chain(layers=6)
    words = map_layout(net, 1, 16, 64).words
    (segment,) = make_plan(net).segments
    assert segment.map_words == 2 * map_layout(net, 0, 16, 64).words + 2 * words


def test_input_buffers_follow_each_other_or_there_is_one():
    (two,), (one,) = make_plan(chain()).segments, make_plan(chain(), buffers=1).segments
    assert two.buffer_step == map_layout(chain(), 0, 16, 64).words and one.buffer_step == 0
    assert one.map_words < two.map_words
    with pytest.raises(PlanError, match="buffers is 3, allowed is 1 or 2"):
        make_plan(chain(), buffers=3)


# Cuts -------------------------------------------------------------------------------------------------------

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


# Designs ----------------------------------------------------------------------------------------------------

def test_without_a_design_the_smallest_depths_that_fit_are_chosen():
    plan = make_plan(chain())
    core, image = plan.design.cores[0], parse(plan.program, plan.design)
    for memory, depth in ((MemoryId.LAYERS, core.layer_depth), (MemoryId.SOURCES, core.source_depth),
                          (MemoryId.CHANNELS, core.channel_depth), (MemoryId.WEIGHTS, core.weight_depth)):
        used = len(image.memory(0, 0, memory))
        assert used <= depth and (depth == 2 or used > depth // 2)
    assert plan.segments[0].map_words <= core.map_depth < 2 * plan.segments[0].map_words


def test_parameters_that_are_given_are_kept():
    core = make_plan(chain(), lanes=8, clusters=2, fanout="unary", weight_depth=4096, acc_bits=30).design.cores[0]
    assert (core.lanes, core.clusters, core.fanout, core.weight_depth, core.acc_bits) == (8, 2, "unary", 4096, 30)
    with pytest.raises(ValueError, match="lanes is 7, allowed is a power of two"):
        make_plan(chain(), lanes=7)


ROOMY = CoreParams(map_depth=4096, weight_depth=4096, layer_depth=64, source_depth=256, channel_depth=512)


def test_a_plan_goes_onto_an_existing_design():
    design = DesignParams((dataclasses.replace(ROOMY, clusters=2),) * 2)
    plan = make_plan(shortcut(), design=design)
    image = parse(plan.program, design)
    assert plan.design is design and len(plan.segments) == 2
    assert (image.build_hash, image.program_hash) == (design.build_hash, plan.program_hash)


def test_one_buffer_is_used_where_two_do_not_fit():
    net = chain()
    needed = make_plan(net, buffers=1).segments[0].map_words
    depth = 1 << (needed - 1).bit_length()
    design = DesignParams((dataclasses.replace(ROOMY, map_depth=depth),))
    assert make_plan(net).segments[0].map_words > depth
    assert make_plan(net, design=design).segments[0].buffer_step == 0


TIGHT = CoreParams(map_depth=16, weight_depth=2, layer_depth=2, source_depth=2, channel_depth=2, contexts=2,
                   weight_bits=2, acc_bits=12, level_bits=1)


def test_everything_that_does_not_fit_is_listed_with_figures():
    """What has to be larger is told in numbers; a design made of them then fits."""
    net = shortcut()
    with pytest.raises(PlanError) as caught:
        make_plan(net, design=DesignParams((TIGHT,)))
    text = str(caught.value)
    assert net.name in text
    found = {name: (int(need.replace(",", "")), int(has.replace(",", "")), int(missing.replace(",", "")))
             for name, need, has, missing in re.findall(
                 r"needs (\w+) >= ([\d,]+), the build has ([\d,]+) \(([\d,]+) too few\)", text)}
    assert set(found) == {"map_depth", "weight_depth", "layer_depth", "source_depth", "channel_depth"}
    assert all(need - has == missing > 0 and has == getattr(TIGHT, name)
               for name, (need, has, missing) in found.items())
    for name in "abcd":
        assert f"emits levels of 1 bits, layer '{name}' has 3" in text
    assert "has weights of 2 bits, the network's have 8" in text
    sizes = {name: 1 << (need - 1).bit_length() for name, (need, _, _) in found.items()}
    make_plan(net, design=DesignParams((dataclasses.replace(TIGHT, **sizes, weight_bits=8, level_bits=3,
                                                            acc_bits=24),)))


def test_accumulators_that_are_too_narrow_are_named_with_the_bits_needed():
    with pytest.raises(PlanError) as caught:
        make_plan(chain(channels=16), acc_bits=12)
    (bits,) = set(re.findall(r"accumulators of 12 bits, layer 'conv1' needs (\d+)", str(caught.value)))
    make_plan(chain(channels=16), acc_bits=max(map(int, re.findall(r"needs (\d+)", str(caught.value)))))
    assert int(bits) > 12


def test_too_many_sources_of_a_layer_are_named():
    net = Network("wide", 1, Input((4, 8, 8), 1), (
        layer("a", (4, 8, 8), conv(0, 4, 4)), MaxPool("max", 1, (8, 8), (1, 1), (0, 0), (4, 1, 1)),
        Readout("head", (conv(2, 2, 4),), frozen([0, 0], np.int32))))
    with pytest.raises(PlanError, match=r"needs contexts >= 64, the build has 32 \(32 too few\)"):
        make_plan(net, design=DesignParams((ROOMY,)))


def test_unary_fan_out_is_limited_in_scan_steps():
    a = layer("a", (4, 4, 4), conv(0, 4, 4), conv(0, 4, 4, exponent=14))
    net = Network("steep", 1, Input((4, 4, 4), 3), (
        a, Readout("head", (conv(1, 3, 4, 4),), frozen([0, 0, 0], np.int32))))
    make_plan(net, acc_bits=32)
    with pytest.raises(PlanError, match=r"limited to 16 scan steps; layer 'a' has 17 \(exponents up to 14\)"):
        make_plan(net, acc_bits=32, fanout="unary")


def test_a_network_that_breaks_a_rule_is_not_planned():
    net = chain()
    with pytest.raises(VerifyError):
        make_plan(dataclasses.replace(net, steps=0))


# The image --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("seed, option", SEEDS[:12])
def test_the_image_is_well_formed_and_of_this_build(seed, option):
    plan = planned(seed, option)
    image = parse(plan.program, plan.design)
    assert plan.program.dtype == np.uint32 and not plan.program.flags.writeable
    assert (image.build_hash, image.program_hash) == (plan.design.build_hash, plan.program_hash)
    for number, segment in enumerate(plan.segments):
        (config,) = image.table(number, 0, MemoryId.CONFIG)
        assert config["layers"] == segment.last - segment.first + 1
        assert config["buffer_step"] == segment.buffer_step


def test_the_same_network_gives_the_same_image():
    first, second = make_plan(random_network(5, LIMITS)), make_plan(random_network(5, LIMITS))
    np.testing.assert_array_equal(first.program, second.program)
    assert first.program_hash == second.program_hash


def test_the_hash_changes_with_every_content():
    net = chain()
    head = net.layers[-1]
    others = [make_plan(changed) for changed in (
        dataclasses.replace(net, steps=3),
        dataclasses.replace(net, layers=(*net.layers[:-1], dataclasses.replace(head, bias=frozen([0, 0, 1], np.int32)))),
        dataclasses.replace(net, layers=(dataclasses.replace(net.layers[0], neuron=Neuron(5, decay=2)),
                                         *net.layers[1:])),
        chain(classes=2))]
    others += [make_plan(net, clusters=2), make_plan(net, 2), make_plan(net, map_depth=4096)]
    hashes = [plan.program_hash for plan in (make_plan(net), *others)]
    assert len(set(hashes)) == len(hashes) and all(hashes)


def test_tracing_does_not_change_the_image():
    np.testing.assert_array_equal(make_plan(chain()).program, make_plan(chain(), trace=True).program)


def test_the_description_names_cores_layers_and_memory():
    text = make_plan(shortcut(), 2).describe()
    assert all(part in text for part in ("shortcut", "core 0", "core 1", "layer 4 head", "words"))
