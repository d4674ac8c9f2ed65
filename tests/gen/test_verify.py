"""`verify` passes sound networks and names everything that is wrong with others, all at once."""

import dataclasses

import numpy as np
import pytest

from qblif.gen.errors import VerifyError
from qblif.gen.network import Input, MaxPool, Network, Neuron, NeuronLayer, Readout, Reset, Source
from qblif.gen.verify import verify


def frozen(values, dtype=np.int8):
    array = np.array(values, dtype)
    array.setflags(write=False)
    return array


def network(**changes):
    """Input 2x6x6 -> conv 3x3, 4 channels, and a diagonal shortcut -> max pool 2 -> read-out of 3 classes."""
    conv = NeuronLayer("conv", (Source(0, frozen(np.ones((4, 2, 3, 3))), padding=(1, 1)),), frozen([0] * 4, np.int32),
                       frozen([3] * 4, np.uint8), Neuron(20), (4, 6, 6))
    res = NeuronLayer("res", (Source(1, frozen(np.ones((4, 4, 3, 3))), padding=(1, 1)),
                              Source(1, frozen([1, 2, 3, 4]), exponent=2)),
                      frozen([0] * 4, np.int32), frozen([3] * 4, np.uint8), Neuron(5), (4, 6, 6))
    pool = MaxPool("pool", 2, (2, 2), (2, 2), (0, 0), (4, 3, 3))
    out = Readout("out", (Source(3, frozen(np.ones((3, 4, 3, 3)))),), frozen([0] * 3, np.int32))
    base = Network("net", 2, Input((2, 6, 6), 4), (conv, res, pool, out))
    return dataclasses.replace(base, **changes)


def changed(index, source=None, **changes):
    """The network with one layer (or one of its sources) changed."""
    base = network()
    layer = base.layers[index]
    if source is not None:
        parts = list(layer.sources)
        parts[source] = dataclasses.replace(parts[source], **changes)
        changes = {"sources": tuple(parts)}
    layers = list(base.layers)
    layers[index] = dataclasses.replace(layer, **changes)
    return dataclasses.replace(base, layers=tuple(layers))


def neuron(**changes):
    return changed(0, neuron=dataclasses.replace(Neuron(20), **changes))


def given(**changes):
    return network(input=dataclasses.replace(network().input, **changes))


def test_a_sound_network_passes_and_is_returned():
    sound = network()
    assert verify(sound) is sound


BROKEN = {
    "no steps": (network(steps=0), r"steps \(T\) is 0, allowed is 1 to 255"),
    "too many steps": (network(steps=256), r"steps \(T\) is 256"),
    "steps of numpy": (network(steps=np.int64(2)), r"steps \(T\) is .*int64.*allowed is a Python int"),
    "weight bits": (network(weight_bits=9), "weight_bits is 9, allowed is 2 to 8"),
    "bias bits": (network(bias_bits=25), "bias_bits is 25, allowed is 2 to 24"),
    "name": (network(name="a\nb"), r"name is 'a\\nb', allowed is printable text"),
    "meta": (network(meta={"accuracy": 0.9}), "meta holds something else than text"),
    "no layers": (network(layers=()), "layers is a tuple, allowed is a tuple of 1 to"),
    "foreign layer": (network(layers=("conv", *network().layers[1:])), "layer 0 is a str, allowed are NeuronLayer"),
    "no read-out": (network(layers=network().layers[:-1]), r"Readouts stand at \[\] of 3 layers"),
    "two read-outs": (network(layers=(*network().layers, network().layers[-1])), r"Readouts stand at \[3, 4\]"),
    "same names": (changed(1, name="conv"), r"layer names \['conv'\] occur more than once"),
    "input shape": (given(shape=(2, 6)), r"input shape is \(2, 6\), allowed is a tuple \(C, H, W\)"),
    "huge input": (given(shape=(2, 4000, 4095), padding=(90, 90, 0, 0)), "padded input shape is .* allowed are"),
    "input bits": (given(bits=9), "input bits is 9, allowed is 1 to 8"),
    "input padding": (given(padding=(0, 0, -1, 0)), "input padding is"),
    "zero points": (given(zero_point=(3,)), r"zero_point is \(3,\), allowed is \(\) or one Python int, 0 to 15, per"),
    "large zero point": (given(zero_point=(3, 16)), r"zero_point is \(3, 16\)"),
    "padding zero points": (given(zero_point=(3, 0)), r"padding is \(1, 1\), allowed on an input with zero points"),
    "shape": (changed(0, shape=(4, 0, 6)), r"layer 0 \(conv\): shape is \(4, 0, 6\), allowed"),
    "later map": (changed(0, 0, map=1), "map is 1, allowed are maps made before this layer, 0 to 0"),
    "weight type": (changed(0, 0, weight=frozen(np.ones((4, 2, 3, 3)), np.int16)), "dtype int16, allowed is int8"),
    "weight dimensions": (changed(0, 0, weight=frozen(np.ones((4, 2)))),
                          r"weight has shape \(4, 2\), allowed are 1 or 4"),
    "weight of lists": (changed(0, 0, weight=[1, 2]), "weight is a list, allowed is a numpy array of int8"),
    "writeable": (changed(0, 0, weight=np.ones((4, 2, 3, 3), np.int8)), "weight is writeable"),
    "wide weights": (network(weight_bits=2, layers=(changed(0, 0, weight=frozen(np.full((4, 2, 3, 3), 2))).layers[0],
                                                    *network().layers[1:])),
                     "weights range from 2 to 2, allowed with 2 bits is -2 to 1"),
    "wide biases": (changed(0, bias=frozen([1 << 23] * 4, np.int32)), "biases range from 8388608 to 8388608, allowed"),
    "no sources": (changed(0, sources=()), "sources is not a tuple of at least one Source"),
    "negative exponent": (changed(1, 1, exponent=-1), r"source 1 \(map 1\): exponent is -1, allowed is 0 to 31"),
    "no finest source": (changed(1, 0, exponent=1),
                         r"exponents are \[1, 2\], allowed are lists with at least one 0"),
    "stride": (changed(0, 0, stride=(0, 1)), r"stride is \(0, 1\), allowed is 1 to"),
    "large padding": (changed(0, 0, padding=(3, 1)), r"padding is \(3, 1\), allowed is less than the kernel \(3, 3\)"),
    "overlapping pool": (changed(0, 0, pool=(2, 2), padding=(1, 1)), "overlapping pooling"),
    "max padding": (changed(2, padding=(2, 0)), "at most half of the kernel"),
    "bias length": (changed(0, bias=frozen([0] * 3, np.int32)), "bias has 3 entries, allowed is one per channel: 4"),
    "bias type": (changed(0, bias=frozen([0] * 4, np.int64)), "bias has dtype int64, allowed is int32"),
    "shift length": (changed(0, shift=frozen([0] * 5, np.uint8)), "shift has 5 entries"),
    "shift": (changed(0, shift=frozen([0, 21, 0, 0], np.uint8)),
              r"shift goes up to 21 \(channel 1\), allowed is 0 to 20"),
    "subtract": (neuron(style=Reset.SUBTRACT, reset=4), "shift goes down to 3 .* reset exponent 4 is at least 4"),
    "levels": (neuron(levels=32), r"levels \(N\) is 32, allowed is 1 to 31"),
    "no levels": (neuron(levels=0), r"levels \(N\) is 0"),
    "decay": (neuron(decay=15), "decay is 15, allowed is 0 to 14"),
    "reset": (neuron(reset=0.5), "reset is 0.5 .float., allowed is a Python int"),
    "style": (neuron(style="subtract"), "style is 'subtract'"),
    "rounds": (neuron(rounds=1), "rounds is 1, allowed is True or False"),
    "diagonal": (changed(1, 1, weight=frozen([1, 2])),
                 r"diagonal weight of shape \(2,\) reads 2 channels, the map has 4"),
    "channels": (changed(0, 0, weight=frozen(np.ones((4, 3, 3, 3)))), "reads 3 channels, the map has 2"),
    "geometry": (changed(0, 0, padding=(0, 1)),
                 r"gives \(4, 4, 6\) from \(2, 6, 6\), the layer's shape is \(4, 6, 6\)"),
    "pool too large": (changed(0, 0, pool=(7, 1), pool_stride=(7, 1)), r"pool \(7, 1\) does not fit the map"),
    "pooled geometry": (changed(2, shape=(4, 3, 2)), r"gives \(4, 3, 3\) from map 2 .*, its shape says \(4, 3, 2\)"),
    "read-out geometry": (changed(3, 0, weight=frozen(np.ones((3, 4, 2, 2)))), r"the layer's shape is \(3, 1, 1\)"),
    "scale": (changed(3, scale=float("nan")), "scale is nan, allowed is a finite float above 0"),
    "bounds": (changed(1, 1, exponent=29), "which takes 37 bits; allowed is 32"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_wrong_is_named_with_what_was_found_and_what_is_allowed(case):
    broken, text = BROKEN[case]
    with pytest.raises(VerifyError, match=text):
        verify(broken)


def test_a_layer_that_nobody_reads_is_refused():
    base = network()
    skipping = dataclasses.replace(base.layers[2], map=1)
    with pytest.raises(VerifyError, match=r"layer 1 \(res\): no later layer reads its output"):
        verify(network(layers=(*base.layers[:2], skipping, base.layers[3])))


def test_everything_that_is_wrong_is_told_at_once():
    base = changed(0, neuron=Neuron(40, decay=-1))
    bad = dataclasses.replace(base.layers[2], kernel=(2, 0))
    worse = dataclasses.replace(base.layers[1], shift=frozen([30] * 4, np.uint8))
    with pytest.raises(VerifyError) as caught:
        verify(dataclasses.replace(base, layers=(base.layers[0], worse, bad, base.layers[3])))
    assert len(caught.value.failures) == 4
    for text in ("(N) is 40", "decay is -1", "shift goes up to 30", "kernel is (2, 0)"):
        assert text in str(caught.value)


def test_something_else_than_a_network_is_refused():
    with pytest.raises(VerifyError, match="is a dict, allowed is a Network"):
        verify({"name": "net"})
