"""Plans fit their design or say by how much they do not; images are well formed, reproducible and told apart."""

import dataclasses
import re

import numpy as np
import pytest

from qblif.gen.errors import PlanError, VerifyError
from qblif.gen.network import Input, MaxPool, Network, Neuron, Readout, Source
from qblif.gen.plan import make_plan
from qblif.gen.split import choose_lanes
from qblif.host.abi import MemoryId
from qblif.hw.params import CoreParams, DesignParams
from qblif.sim.random_networks import random_network

from ..program_image import parse
from .planned import LIMITS, SEEDS, chain, conv, frozen, layer, planned, shortcut


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


def max_pool_of(size):
    """Return a network with a max pooling over a whole map, which takes a source per tap."""
    return Network("wide", 1, Input((4, size, size), 1), (
        layer("a", (4, size, size), conv(0, 4, 4)), MaxPool("max", 1, (size, size), (1, 1), (0, 0), (4, 1, 1)),
        Readout("head", (conv(2, 2, 4),), frozen([0, 0], np.int32))))


def test_too_many_sources_of_a_layer_are_named():
    with pytest.raises(PlanError, match=r"needs contexts >= 64, the build has 32 \(32 too few\)"):
        make_plan(max_pool_of(8), design=DesignParams((ROOMY,)))


def test_what_no_core_can_be_built_for_is_named_too():
    with pytest.raises(PlanError, match=r"needs contexts >= 144, the build has 128 \(16 too few\)"):
        make_plan(max_pool_of(12))


def test_what_the_fields_of_the_tables_cannot_hold_is_named():
    net = Network("long", 1, Input((32, 1, 4095), 1), (
        Readout("head", (Source(0, frozen(np.ones((1, 32, 1, 4095)))),), frozen([0], np.int32)),))
    with pytest.raises(PlanError, match="'run_bits' is 131040, allowed is 0 to 65535"):
        make_plan(net)


def test_unary_fan_out_is_limited_in_scan_steps():
    a = layer("a", (4, 4, 4), conv(0, 4, 4), conv(0, 4, 4, exponent=17))
    net = Network("steep", 1, Input((4, 4, 4), 3), (
        a, Readout("head", (conv(1, 3, 4, 4),), frozen([0, 0, 0], np.int32))))
    assert make_plan(net).design.cores[0].acc_bits > 24       # without a design, what is needed is chosen
    with pytest.raises(PlanError, match=r"limited to 16 scan steps; layer 'a' has 20 \(exponents up to 17\)"):
        make_plan(net, acc_bits=32, fanout="unary")


def test_a_network_that_breaks_a_rule_is_not_planned():
    net = chain()
    with pytest.raises(VerifyError):
        make_plan(dataclasses.replace(net, steps=0))


def test_input_buffers_follow_each_other_or_there_is_one():
    plan = make_plan(chain())
    (two,), (one,) = plan.segments, make_plan(chain(), buffers=1).segments
    assert two.buffer_step == plan.layouts[0].words and one.buffer_step == 0
    assert one.map_words < two.map_words
    with pytest.raises(PlanError, match="buffers is 3, allowed is 1 or 2"):
        make_plan(chain(), buffers=3)


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
        dataclasses.replace(net, layers=(*net.layers[:-1],
                                         dataclasses.replace(head, bias=frozen([0, 0, 1], np.int32)))),
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


def test_without_being_told_the_planner_takes_the_most_lanes_that_the_channels_keep_busy():
    chosen = make_plan(chain()).design.cores[0].lanes
    assert chosen == choose_lanes(chain()) and 8 <= chosen <= 64
