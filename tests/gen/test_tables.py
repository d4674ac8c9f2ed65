"""The tables of a plan, executed by the ABI alone, compute the network; each output has one place and one cluster."""

import dataclasses

import numpy as np
import pytest

from qblif.gen.network import Input, MaxPool, Network, Readout, Source
from qblif.gen.plan import make_plan
from qblif.host.abi import MemoryId
from qblif.sim import golden
from qblif.sim.random_networks import random_input

from ..program_image import parse
from .planned import SEEDS, frozen, layer, network, planned
from .table_machine import TableMachine


def logits(plan, x):
    """Return what the tables of a plan make of images x."""
    machine = TableMachine(parse(plan.program, plan.design), plan.design)
    return [machine.run(frame) for frame in plan.input_layout.pack(x)]


@pytest.mark.parametrize("seed, option", SEEDS)
def test_the_image_by_the_abi_alone_computes_the_golden_model_s_logits(seed, option):
    """Weights, addresses, clipping, shares of the clusters, hand-overs and buffers are all right, or this fails."""
    x = random_input(network(seed), seed, batch=3)
    np.testing.assert_array_equal(logits(planned(seed, option), x), golden.run(network(seed), x).logits)


def of_everything(shape):
    """Return a network with strides, padding, diagonal sources, exponents and max pooling on maps of this shape."""
    channels, height, width = shape
    rng = np.random.default_rng(height)

    def dense(index, out, size, **more):
        return Source(index, frozen(rng.integers(-8, 8, (out, channels, *size))), **more)

    def diagonal(index, **more):
        return Source(index, frozen(rng.integers(-8, 8, channels)), **more)

    stride, kernel = zip(*((1, 1) if n == 1 else (2, 3) for n in (height, width)), strict=True)
    half = tuple((n + 1) // 2 for n in (height, width))
    window = tuple(min(2, n) for n in half)
    rest = tuple(n - k + 1 for n, k in zip(half, window, strict=True))
    first = layer("first", (channels, *half),
                  dense(0, channels, kernel, stride=stride, padding=tuple(k // 2 for k in kernel)),
                  diagonal(0, exponent=2, stride=stride), levels=15)
    second = layer("second", (channels, *rest), dense(2, channels, (1, 1), exponent=1), diagonal(2), levels=31)
    first, second = (dataclasses.replace(part, shift=frozen(np.full(channels, 3), np.uint8))
                     for part in (first, second))
    return Network("everything", 3, Input(shape, 3, static=False), (
        first, MaxPool("pool", 1, window, (1, 1), (0, 0), (channels, *rest)), second,
        Readout("head", (dense(3, 9, rest),), frozen(np.arange(9), np.int32))))


@pytest.mark.parametrize("axis, shape", [("row", (3, 9, 1)), ("col", (3, 1, 9)), ("group", (11, 1, 1)),
                                         ("row", (3, 9, 2)), ("col", (6, 6, 9))])
@pytest.mark.parametrize("clusters", [2, 3])
def test_clusters_may_split_rows_columns_or_lane_groups(axis, shape, clusters):
    net = of_everything(shape)
    plan = make_plan(net, lanes=4, word_bits=32, clusters=clusters)
    assert any(getattr(shares[1], axis) == (1, clusters) for shares in plan.segments[0].shares[:-1])
    x = random_input(net, 1, batch=2, density=0.5)
    expected = golden.run(net, x, record=True)
    assert expected.records[2].levels.any()
    np.testing.assert_array_equal(logits(plan, x), expected.logits)


@pytest.mark.parametrize("seed, option", SEEDS)
def test_clusters_write_each_place_of_a_map_once_and_none_twice(seed, option):
    plan = planned(seed, option)
    machine = TableMachine(parse(plan.program, plan.design), plan.design)      # which fails at a second write
    machine.run(plan.input_layout.pack(random_input(network(seed), seed, 1))[0])
    for core, params, segment in zip(machine.cores[:-1], plan.design.cores, plan.segments, strict=False):
        out = plan.layouts[segment.last + 1]
        chunks = -(-out.width * out.channels // params.lanes)
        assert set(core.written) == {(row * out.plane_words + chunk // params.banks, chunk % params.banks)
                                     for row in range(out.height * out.steps * out.planes) for chunk in range(chunks)}


def test_weight_rows_hold_one_input_of_the_kernel_each_and_one_output_channel_per_lane():
    weight = frozen(np.arange(-27, 27).reshape(3, 2, 3, 3))
    net = Network("one", 1, Input((2, 5, 5), 1), (
        layer("conv", (3, 3, 3), Source(0, weight)),
        Readout("head", (Source(1, frozen(np.ones((1, 3, 3, 3)))),), frozen([0], np.int32))))
    plan = make_plan(net, lanes=4, word_bits=32)
    image = parse(plan.program, plan.design)
    rows = image.weights(plan.design.cores[0], 0, 0)
    assert rows[:18] == [[*weight[:, c, y, x].tolist(), 0] for y in range(3) for x in range(3) for c in range(2)]
    source = image.table(0, 0, MemoryId.SOURCES)[0]
    assert source["weight_first"] == 0 and source["run_bits"] == 6 and source["tap_row_weights"] == 6
