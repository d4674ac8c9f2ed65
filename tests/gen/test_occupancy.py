"""Which layers ask where their input is empty, and that nothing is read outside the windows that they ask for."""

import dataclasses

import numpy as np
import pytest

from qblif.gen import occupancy
from qblif.gen.network import Input, MaxPool, Network
from qblif.gen.plan import make_plan
from qblif.host import abi
from qblif.host.abi import MemoryId
from qblif.hw.params import CoreParams, DesignParams

from ..program_image import parse
from .planned import chain, conv, layer, network


def image(side=12, bits=8, channels=1, kernel=3, stride=1, **more):
    """Return a network of one convolution on images of so many bits."""
    padding = kernel // 2
    out = (side + 2 * padding - kernel) // stride + 1
    first = layer("first", (4, out, out), conv(0, 4, channels, kernel, padding=(padding, padding),
                                               stride=(stride, stride), **more))
    head = chain(4, out, 1).layers[-1]
    return Network("image", 1, Input((channels, side, side), bits), (
        first, dataclasses.replace(head, sources=(conv(1, 3, 4, out),))))


def asked(plan, cluster=0):
    """Return abi.WINDOW_FIELDS of the layers of the first core."""
    fields = plan.design.cores[0].layer_fields
    rows = parse(plan.program, plan.design).memory(0, cluster, MemoryId.LAYERS)
    return [{name: abi.unpack(fields, rows[index])[name] for name, *_ in abi.WINDOW_FIELDS} for index in sorted(rows)]


def test_a_window_of_many_words_is_asked_for():
    """8 planes of 3 rows are 24 words, each of which costs a cycle."""
    plan = make_plan(image(), lanes=4)
    assert plan.design.cores[0].occupancy == 36 and plan.packing.positions[1] == 1
    assert asked(plan) == [{"window_rows": 3, "window_bits": 3, "window_first": 1, "window_step": 1}, occupancy.NONE]
    assert asked(make_plan(image(), lanes=4, asks=False)) == [occupancy.NONE] * 2


def test_positions_side_by_side_have_a_window_together():
    plan = make_plan(image(), lanes=16)
    assert plan.packing.positions[1] == 4
    assert asked(plan)[0] == {"window_rows": 3, "window_bits": 6, "window_first": 4, "window_step": 4}


@pytest.mark.parametrize("net", [image(bits=4), image(kernel=1), chain()], ids=["4 bits", "1 x 1", "events"])
def test_a_window_of_few_words_is_not_worth_asking_for(net):
    assert make_plan(net, lanes=4).design.cores[0].occupancy == 0
    design = make_plan(net, lanes=4, occupancy=32).design
    assert set(map(str, asked(make_plan(net, design=design)))) == {str(occupancy.NONE)}
    assert asked(make_plan(net, design=design, asks=True))[0] != occupancy.NONE


@pytest.mark.parametrize("side, channels, word_bits, wanted", [
    (28, 1, 64, 36), (35, 1, 64, 36), (36, 1, 64, 64), (36, 1, 128, 72), (63, 1, 64, 64), (64, 1, 64, 0),
    (64, 1, 128, 72), (12, 3, 64, 64), (32, 3, 128, 0)])
def test_a_core_has_as_many_columns_as_a_row_of_its_image_and_what_windows_reach_beyond(side, channels, word_bits,
                                                                                     wanted):
    net = image(side, channels=channels)
    assert occupancy.columns(net, word_bits) == wanted
    assert wanted == 0 or asked(make_plan(net, lanes=4, word_bits=word_bits))[0] != occupancy.NONE


def test_only_the_first_core_of_a_chain_sees():
    design = make_plan(image(), lanes=4, cores=2).design
    assert [core.occupancy for core in design.cores] == [36, 0]


def test_a_max_pooling_does_not_ask():
    net = image()
    pool = MaxPool("pool", 0, (2, 2), (2, 2), (0, 0), (1, 6, 6))
    head = dataclasses.replace(net.layers[1], sources=(conv(1, 3, 1, 6),))
    net = dataclasses.replace(net, layers=(pool, head))
    assert occupancy.columns(net, 64) == 0
    assert asked(make_plan(net, lanes=4, occupancy=36, asks=True))[0] == occupancy.NONE


@pytest.mark.parametrize("clusters", [1, 3])
@pytest.mark.parametrize("seed", range(40))
def test_nothing_is_read_of_a_sum_outside_its_window(seed, clusters):
    """Rows, columns and bits of all fields, by the tables; kernels, strides, paddings and packings of any kind."""
    net = network(seed)
    core = CoreParams(lanes=8, clusters=clusters, occupancy=64, map_depth=8192, weight_depth=8192, source_depth=256,
                      channel_depth=512, layer_depth=64)
    plan = make_plan(net, design=DesignParams((core,)), asks=True)
    parsed = parse(plan.program, plan.design)
    for cluster in range(clusters):
        rows = parsed.memory(0, cluster, MemoryId.LAYERS)
        row = abi.unpack(core.layer_fields, rows[0])
        if not row["rows"] or not row["window_bits"]:
            continue
        sources = parsed.table(0, cluster, MemoryId.SOURCES)[row["source_first"]:row["source_first"] + row["sources"]]
        for at in range(row["rows"]):
            after = row["input_first"] + at * row["input_step"]
            for col in range(row["cols"]):
                last = row["window_first"] + col * row["window_step"]
                for source in sources:
                    y = source["y_init"] + at * source["y_step"] + source["tap_dy"] * np.arange(source["tap_rows"])
                    x = source["x_init"] + col * source["x_step"] + source["tap_col_step"] * np.arange(
                        source["tap_cols"])
                    assert after - row["window_rows"] <= y.min() <= y.max() < after
                    assert last - row["window_bits"] < x.min() <= x.max() + source["run_bits"] - 1 <= last < 64
