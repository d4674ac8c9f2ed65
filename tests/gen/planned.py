"""Networks and plans for the tests of the planner: random ones, and small ones made for a purpose."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from qblif.gen.network import Input, Network, Neuron, NeuronLayer, Readout, Source
from qblif.gen.plan import make_plan
from qblif.sim.random_networks import Limits, random_network

LIMITS = Limits(side=6, channels=20, steps=3, row_adds=6_000)

OPTIONS = [{"lanes": 4, "word_bits": 32}, {"lanes": 16}, {"lanes": 8, "clusters": 2, "word_bits": 32},
           {"lanes": 4, "clusters": 3, "cores": "max"}, {"lanes": 32, "neuron_lanes": 32, "buffers": 1},
           {"lanes": 8, "cores": "max", "buffers": 1, "neuron_lanes": 1}]


@functools.cache
def network(seed):
    """Return the random network of a seed."""
    return random_network(seed, LIMITS)


@functools.cache
def planned(seed, option):
    """Return the plan of the random network of a seed under OPTIONS[option]."""
    return make_plan(network(seed), **OPTIONS[option])


SEEDS = [pytest.param(seed, seed % len(OPTIONS), id=f"{seed}") for seed in range(36)]
"""Parameters (seed, option)."""


def frozen(values, dtype=np.int8):
    array = np.array(values, dtype)
    array.setflags(write=False)
    return array


def conv(index, out, inputs, size=1, **more):
    """Return a dense source with random weights and a square kernel."""
    rng = np.random.default_rng([out, inputs, size])
    return Source(index, frozen(rng.integers(-8, 8, (out, inputs, size, size))), **more)


def layer(name, shape, *sources, levels=5):
    """Return a layer without bias and shift."""
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
