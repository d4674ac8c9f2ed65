"""Counts are exact: they equal a walk over every output position and every tap."""

import dataclasses
import itertools

import numpy as np
import pytest

from qblif.gen.network import Input, MaxPool, Network, Readout, Source
from qblif.gen.packing import unpacked
from qblif.gen.sizes import macs
from qblif.sim import golden, reference
from qblif.sim.random_networks import Limits, random_input, random_network

POPCOUNT = np.array([bin(level).count("1") for level in range(256)])
LANES = (4, 16)


def sources(layer):
    if isinstance(layer, MaxPool):
        return [Source(layer.map, np.ones((layer.shape[0], 1, *layer.kernel), np.int8), 0, layer.stride, layer.padding)]
    return list(layer.sources)


def field_sum(source, levels, shape, channels=1):
    """Sum of the levels that every output position reads, each channel by itself for diagonal sources."""
    ones = dataclasses.replace(source, weight=np.ones_like(source.weight))
    return sum(sum(reference.tap(ones, levels, c, y, x))
               for c, y, x in itertools.product(range(channels), range(shape[1]), range(shape[2])))


def expected(network, index, maps):
    """SOPs, those of the input, additions (unary, double) and row additions for the given maps, each a list of (C, H,
    W) over steps."""
    layer = network.layers[index]
    pooling = isinstance(layer, MaxPool)
    static = not pooling and all(network.map_static(source.map) for source in layer.sources)
    sops = of_input = unary = double = 0
    rows = dict.fromkeys(LANES, 0)
    for source in sources(layer):
        alone = source.diagonal or pooling
        for t in range(1 if static else network.steps):
            levels = maps[source.map][t]
            if not pooling:
                width, channels = (1, layer.shape[0]) if alone else (layer.shape[0], 1)
                unary += width * field_sum(source, levels, layer.shape, channels)
                events = width * field_sum(source, levels, layer.shape, channels) * (network.steps if static else 1)
                sops += events
                of_input += events if source.map == 0 else 0
                double += width * field_sum(source, POPCOUNT[levels], layer.shape, channels)
            for lanes in LANES:
                groups = range(0, layer.shape[0], lanes)
                if not alone:
                    rows[lanes] += len(groups) * field_sum(source, POPCOUNT[levels], layer.shape)
                    continue
                kernel = (1, 1, *source.kernel)
                chunk = dataclasses.replace(source, weight=np.ones(kernel, np.int8))
                for first, plane in itertools.product(groups, range(8)):
                    mask = (levels[first:first + lanes] >> plane & 1).max(0, keepdims=True)
                    rows[lanes] += field_sum(chunk, mask, layer.shape)
    return sops, of_input, unary, double, rows


@pytest.mark.parametrize("seed", range(15))
def test_counts_equal_a_walk_over_all_outputs_and_taps(seed):
    network = random_network(seed, Limits(row_adds=3000, channels=20))
    x = random_input(network, seed, 2)
    packings = {lanes: unpacked(network, lanes) for lanes in LANES}
    counts = golden.run(network, x, count=True, packings=tuple(packings.values())).counts
    for image in range(2):
        _, layers = reference.run(network, x[image] if network.input.static else x[:, image])
        frames = [x[image]] * network.steps if network.input.static else x[:, image]
        maps = [[reference.pad_input(network, frame) for frame in frames], *(layer.get("levels") for layer in layers)]
        for index, found in enumerate(counts):
            sops, of_input, unary, double, rows = expected(network, index, maps)
            assert (found.sops[image], found.input_sops[image]) == (sops, of_input)
            assert {key: values[image] for key, values in found.additions.items()} == \
                {"unary": unary, "double": double, "shift-add": double}
            assert {lanes: found.row_adds[packing][image] for lanes, packing in packings.items()} == rows


def test_row_adds_are_given_by_layer_and_image():
    network = random_network(4)
    x = random_input(network, 0, 3)
    packing = unpacked(network, 16)
    rows = golden.row_adds(network, x, packing, batch_size=2)
    assert rows.shape == (len(network.layers), 3)
    assert rows.sum(0).tolist() == [golden.row_adds(network, x[i:i + 1], packing).sum() for i in range(3)]


def test_no_event_means_no_work():
    network = random_network(4)
    packing = unpacked(network, 16)
    nothing = random_input(network, 0, 2, density=0)
    first = golden.run(network, nothing, count=True, packings=(packing,)).counts[0]
    assert not first.sops.any() and not first.row_adds[packing].any() and not first.set_bits.any()


def test_counts_of_a_layer_computed_by_hand():
    """Level 5 (101) at (0, 0), 8 at (1, 1) of a 3x3 map; 2x2 kernel, padding 1, 10 channels on 4 lanes, T = 3."""
    weight = np.ones((10, 1, 2, 2), np.int8)
    network = Network("hand", 3, Input((1, 3, 3), 4), (
        Readout("out", (Source(0, weight, stride=(9, 9), padding=(1, 1)),), np.zeros(10, np.int32)),))
    x = np.zeros((1, 1, 3, 3), np.uint8)
    x[0, 0, 0, 0], x[0, 0, 1, 1] = 5, 8
    packing = unpacked(network, 4)
    count = golden.run(network, x, count=True, packings=(packing,)).counts[0]
    # The only output position, (0, 0), sees rows and columns -1 and 0: level 5 through one tap.
    assert count.set_bits.tolist() == [3]
    assert count.sops.tolist() == [3 * 5 * 10]
    assert {key: value.tolist() for key, value in count.additions.items()} == \
        {"unary": [50], "double": [20], "shift-add": [20]}
    assert count.row_adds[packing].tolist() == [2 * 3]
    assert count.macs == macs(network, network.layers[0]) == 10 * 4 * 3
