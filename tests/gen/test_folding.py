"""What `fold` makes of modules: the same function, in integers, for every kind of graph."""

import numpy as np
import pytest
import torch
from torch import nn

from qblif.gen import QBLIF, Flatten, MeanOverTime, QConv2d, QLinear, Repeat, fold, neurons, quantise
from qblif.gen.network import MaxPool, NeuronLayer, Readout, Reset

from . import zoo
from .integer_reference import run

CASES = sorted(zoo.all_cases())


def case(name, fill, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module, shape = zoo.all_cases()[name]
    return fill(module, seed), zoo.pixels(shape, seed)


def float_logits(module, x):
    with torch.no_grad():
        y = module.double()(x.double())
    module.float()
    return y.mean(0) if y.dim() == 3 else y


@pytest.mark.parametrize("name", CASES)
def test_with_parameters_that_need_no_rounding_the_quantised_network_equals_the_float_module(name):
    for seed in range(2):
        module, x = case(name, zoo.make_exact, seed)
        expected = float_logits(module, x)
        assert torch.equal(quantise(module, x, input_bits=3)(x).double(), expected)


@pytest.mark.parametrize("name", CASES)
def test_logits_levels_and_membranes_equal_the_integer_reference(name):
    module, x = case(name, zoo.make_random)
    quantised = quantise(module, x, input_bits=3)
    network = fold(quantised)
    record = quantised.record(x)
    axis = 0 if network.input.static else 1
    for i in range(1):
        image = x.select(axis, i).reshape((() if axis == 0 else (-1,)) + network.input.shape).long().numpy()
        logits, maps, membranes = run(network, image)
        assert quantised.integers(x)[i].tolist() == logits.tolist()
        for layer, levels, v in zip(network.layers, maps[1:], membranes[1:], strict=False):
            seen = record[layer.name]
            if isinstance(layer, NeuronLayer):
                assert np.array_equal(seen["v"][:, i].numpy(), np.stack(v).astype(np.int64)), layer.name
            assert np.array_equal(seen["s"].expand(network.steps, *seen["s"].shape[1:])[:, i].numpy(),
                                  np.stack(levels).astype(np.int64)), layer.name


@pytest.mark.parametrize("bits", [2, 3, 4, 6])
def test_narrow_weights_stay_within_their_width_and_exact(bits):
    module, x = case("deep_identity", zoo.make_random)
    for n in neurons(module).values():
        n.gamma.data.fill_(4.0)  # larger than the weights: nothing has to be clipped
    quantised = quantise(module, x, weight_bits=bits, input_bits=3)
    network = fold(quantised)
    assert network.weight_bits == bits
    largest = max(int(np.abs(s.weight.astype(int)).max()) for layer in network.layers for s in layer.sources)
    assert (1 << bits - 2) <= largest <= (1 << bits - 1) - 1
    assert quantised.integers(x)[0].tolist() == run(network, x[0].long().numpy())[0].tolist()


def test_every_layer_can_have_weights_of_its_own_width():
    module = nn.Sequential(Repeat(2), QConv2d(1, 2, 3, weight_bits=3), QBLIF(4), Flatten(), QLinear(8, 2),
                           MeanOverTime())
    network = fold(module.eval(), zoo.pixels((1, 1, 4, 4)))
    assert np.abs(network.layers[0].sources[0].weight).max() <= 3
    assert np.abs(network.layers[1].sources[0].weight).max() > 3
    assert network.weight_bits == 8


def test_fold_copies_the_integers_of_a_quantised_network():
    module, x = case("digits", zoo.make_random)
    quantised = quantise(module, x, input_bits=5)
    with torch.no_grad():
        module.conv.weight.add_(1)  # fixed in evaluation mode
    network = fold(quantised, name="copy", meta={"from": "a test"})
    weights, bias = quantised.stored(0)
    assert np.array_equal(network.layers[0].sources[0].weight, weights[0].numpy())
    assert np.array_equal(network.layers[0].bias, bias.numpy())
    assert (network.name, network.meta) == ("copy", {"from": "a test"})
    quantised.train()
    quantised.eval()
    assert not np.array_equal(fold(quantised).layers[0].sources[0].weight, network.layers[0].sources[0].weight)


def test_the_digits_network_becomes_the_layers_that_its_paper_draws():
    module, x = case("digits", zoo.make_random)
    n = fold(module, x)
    assert [layer.name for layer in n.layers] == ["neuron", "block1.neuron1", "block1.neuron2", "block2.neuron1",
                                                  "block2.neuron2", "readout"]
    assert (n.name, n.steps, n.classes, n.input.bits, n.input.static) == ("DigitsNet", 2, 10, 5, True)
    identity = n.layers[2].sources[1]
    assert identity.diagonal and identity.map == 1
    pooled = n.layers[4].sources[1]
    assert (pooled.map, pooled.pool, pooled.pool_stride, pooled.kernel) == (3, (2, 2), (2, 2), (1, 1))
    last = n.layers[5]
    assert isinstance(last, Readout) and last.sources[0].pool == (4, 4)
    neuron = n.layers[0].neuron
    assert (neuron.levels, neuron.decay, neuron.reset, neuron.style) == (5, 1, 1, Reset.GATE_SUM)
    for layer in n.layers:
        assert min(s.exponent for s in layer.sources) == 0
        assert not any(a.flags.writeable for a in (layer.bias, *(s.weight for s in layer.sources)))


def test_a_mean_is_padded_by_the_host_with_the_zero_point():
    module, x = case("subtracted_mean", zoo.make_random)
    n = fold(module, x)
    assert n.input.padding == (1, 1, 1, 1) and n.input.zero_point == (3, 1)
    assert all(s.padding == (0, 0) for s in n.layers[0].sources)


def test_an_identity_shortcut_larger_than_its_branch_gets_an_exponent():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.repeat, self.a, self.n1 = Repeat(1), QConv2d(1, 4, 3, padding=1, bias=False), QBLIF(15)
            self.b, self.n2 = QConv2d(4, 4, 3, padding=1, bias=False), QBLIF(15)
            self.flatten, self.out = Flatten(), QLinear(64, 2)

        def forward(self, x):
            x = self.n1(self.a(self.repeat(x)))
            return self.out(self.flatten(self.n2(self.b(x) + x)))

    net = Net().eval()
    with torch.no_grad():
        net.b.weight.mul_(0.02 / net.b.weight.abs().max())
    conv, identity = fold(net, zoo.pixels((1, 1, 4, 4))).layers[1].sources
    assert conv.exponent == 0 and identity.exponent > 3
    assert np.abs(conv.weight).max() > 60 and np.abs(identity.weight).max() > 30


def test_max_pooling_before_the_neuron_becomes_max_pooling_of_levels():
    module, x = case("max_pooling_before_the_neuron", zoo.make_random)
    layers = fold(module, x).layers
    assert isinstance(layers[0], NeuronLayer) and isinstance(layers[1], MaxPool)


def test_what_the_readout_does_not_need_is_left_out():
    module, x = case("unused_branch", zoo.make_random)
    assert [layer.name for layer in fold(module, x).layers] == ["n0", "head.1"]


def test_a_channel_without_weights_takes_the_median_exponent_of_its_layer():
    module, x = case("sequential", zoo.make_random)
    with torch.no_grad():
        module[0].weight[1] = 0
        module[0].bias[1] = 0
    shift = fold(module, x).layers[0].shift
    assert shift[1] in (int(np.floor(np.median(shift[[0, 2]]))), int(np.ceil(np.median(shift[[0, 2]]))))


def test_other_numbers_of_steps_can_be_deployed():
    module, x = case("deep_identity", zoo.make_random)
    quantised = quantise(module, x, steps=5, input_bits=3)
    network = fold(quantised)
    assert network.steps == 5
    assert quantised.integers(x)[0].tolist() == run(network, x[0].long().numpy())[0].tolist()


def test_folding_twice_gives_the_same_integers():
    module, x = case("branches", zoo.make_random)
    for a, b in zip(fold(module, x).layers, fold(module, x).layers, strict=True):
        assert np.array_equal(a.bias, b.bias)
        assert all(np.array_equal(p.weight, q.weight) for p, q in zip(a.sources, b.sources, strict=True))


def test_sums_beyond_float32_are_computed_in_float64():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = nn.Sequential(Repeat(20), Flatten(), QLinear(64, 16), QBLIF(31, tau=float("inf"), alpha=0.0),
                               QLinear(16, 3)).eval()
    with torch.no_grad():
        module[2].weight.mul_(1e-3)
        module[2].bias.fill_(1.0)
    x = zoo.pixels((2, 64), most=255)
    quantised = quantise(module, x)
    assert quantised.record(x)["3"]["v"].max() > 1 << 24
    assert quantised.integers(x)[0].tolist() == run(fold(quantised), x[0].long().numpy().reshape(64, 1, 1))[0].tolist()


def test_the_scale_of_the_readout_gives_the_units_of_training():
    module, x = case("digits", zoo.make_random)
    quantised = quantise(module, x)
    assert torch.equal(quantised(x), quantised.integers(x) * fold(quantised).layers[-1].scale)


def test_saved_quantised_networks_load_with_their_integers(tmp_path):
    module, x = case("digits", zoo.make_random, 0)
    quantised = quantise(module, x)
    other = quantise(case("digits", zoo.make_random, 1)[0], x)
    other.load_state_dict(quantised.state_dict())
    assert torch.equal(other.integers(x), quantised.integers(x))
