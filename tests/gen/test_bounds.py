"""The bounds hold for every input, and are reached where that can be shown by trying everything."""

import itertools

import numpy as np
import pytest

from qblif.gen.bounds import layer_bounds, signed_bits
from qblif.gen.network import Input, Network, Neuron, NeuronLayer, Readout, Reset, Source


def frozen(values, dtype):
    array = np.array(values, dtype)
    array.setflags(write=False)
    return array


def one_neuron(neuron, shift, weights=(3, -2), bias=1, bits=2, steps=4):
    """A neuron that reads two inputs of `bits` bits, one per step."""
    weight = frozen(np.reshape(weights, (1, 2, 1, 1)), np.int8)
    layer = NeuronLayer("n", (Source(0, weight),), frozen([bias], np.int32), frozen([shift], np.uint8), neuron,
                        (1, 1, 1))
    return Network("net", steps, Input((2, 1, 1), bits, static=False), (layer,))


def reached(neuron, shift, currents, steps):
    """All membranes and intermediate values that any sequence of currents leads to: breadth first over states."""
    h = (1 << shift) >> 1 if neuron.rounds else 0

    def scaled(x, exponent):
        return 0 if exponent is None else x >> exponent

    states, membranes, between = {0}, {0}, {h}
    for _ in range(steps):
        after = set()
        for v, c in itertools.product(states, currents):
            s = min(max((v + h) >> shift, 0), neuron.levels)
            if neuron.style is Reset.GATE_SUM:
                way = scaled(v, neuron.decay) + c
                new = scaled(way, neuron.reset) if s else way
            else:
                way = v - scaled(s << shift, neuron.reset) if neuron.style is Reset.SUBTRACT else \
                    scaled(v, neuron.reset) if s else v
                new = scaled(way, neuron.decay) + c
            between |= {way, new, new + h}
            after.add(new)
        states = after
        membranes |= after
    return membranes, between


@pytest.mark.parametrize("style", Reset)
@pytest.mark.parametrize(("decay", "reset"), [*itertools.product((None, 0, 1, 3), (None, 0, 1, 2))])
def test_no_sequence_of_inputs_leads_out_of_the_bounds(style, decay, reset):
    for shift, levels, rounds in itertools.product((0, 2, 3), (1, 4), (False, True)):
        neuron = Neuron(levels, decay, reset, style, rounds)
        if style is Reset.SUBTRACT and reset is not None and shift < reset:
            continue
        bound = layer_bounds(one_neuron(neuron, shift), one_neuron(neuron, shift).layers[0])
        assert bound.current == (1 - 2 * 3, 1 + 3 * 3)
        membranes, between = reached(neuron, shift, range(-5, 11), 4)
        assert bound.membrane[0] <= min(membranes) and max(membranes) <= bound.membrane[1]
        assert bound.intermediate[0] <= min(between) and max(between) <= bound.intermediate[1]
        # Intervals are exact here but for rest values that subtract may skip over.
        assert bound.membrane[0] == min(membranes) or style is Reset.SUBTRACT
        assert bound.membrane[1] == max(membranes) or style is Reset.SUBTRACT


def test_without_leak_the_bound_grows_with_the_steps():
    neuron = Neuron(31, decay=0, reset=0)
    for steps in (1, 2, 255):
        network = one_neuron(neuron, 0, steps=steps)
        assert layer_bounds(network, network.layers[0]).membrane == (-5 * steps, 10 * steps)


def test_a_leak_of_one_half_bounds_the_membrane_by_twice_the_current():
    network = one_neuron(Neuron(31, decay=1, reset=0), 0, steps=255)
    assert layer_bounds(network, network.layers[0]).membrane == (-10, 19)


def test_logits_count_every_step():
    weight = frozen(np.full((2, 3, 4, 4), -128), np.int8)
    layer = Readout("out", (Source(0, weight, exponent=1), Source(0, weight)), frozen([7, -7], np.int32))
    bound = layer_bounds(Network("net", 9, Input((3, 4, 4), 8), (layer,)), layer)
    assert bound.accumulator == (-3 * 128 * 48 * 255, 0)
    assert bound.current == (bound.accumulator[0] - 7, 7)
    assert bound.membrane == (9 * bound.current[0], 63)


def test_sums_too_large_for_any_width_are_cut_off_not_wrapped():
    weight = frozen(np.full((1, 16, 64, 64), 127), np.int8)
    layer = Readout("out", (Source(0, weight, exponent=31), Source(0, weight)), frozen([0], np.int32))
    bound = layer_bounds(Network("net", 255, Input((16, 64, 64), 8), (layer,)), layer)
    assert bound.bits > 40
    assert bound.membrane[0] == 0


@pytest.mark.parametrize(("low", "high", "bits"), [(0, 0, 1), (-1, 0, 1), (0, 1, 2), (-128, 127, 8), (-129, 0, 9),
                                                   (0, 128, 9)])
def test_signed_bits_are_those_of_twos_complement(low, high, bits):
    assert signed_bits(low, high) == bits
