"""The penalty counts what the golden model counts, and makes training do with less."""

import numpy as np
import pytest
import torch

from qblif.gen import QBLIF, AvgPool2d, MaxPool2d, QConv2d, fold, models, neurons, quantise
from qblif.gen.training import Recipe, penalty
from qblif.gen.training.penalty import Penalty, SetBits
from qblif.sim import golden

from .helpers import make, tiny


def network(max_pool=False, **neuron):
    torch.manual_seed(1)
    neuron = {"levels": 7, **neuron}
    module = models.build("vgg", shape=(1, 9, 9), T=3, neuron=lambda: QBLIF(**neuron), channels=[3, 4], strides=[1, 2],
                          pool="max" if max_pool else "stride")
    x = torch.randint(0, 256, (5, 1, 9, 9))
    for _ in range(30):
        module.train()(x.float())  # until BatchNorm's running statistics are those of x: else it is silent
    return module, x


def of_golden(quantised, x, what):
    """Return what the golden model counts, without the layers that read the input."""
    counts = golden.run(fold(quantised), x.numpy(), count=True).counts[1:]
    return sum(int((c.sops if what == "sops" else c.additions["double"]).sum()) for c in counts)


@pytest.mark.parametrize("max_pool", [False, True])
@pytest.mark.parametrize("what", ["sops", "additions"])
def test_the_quantised_phase_counts_what_the_golden_model_counts(what, max_pool):
    module, x = network(max_pool)
    quantised = quantise(module.eval(), x)
    cost = Penalty(quantised.graph, what, quantised)
    expected = of_golden(quantised, x, what)
    quantised.train()
    quantised(x.float())
    assert int(cost.take().detach()) == expected > 0
    assert cost.take() == 0
    quantised.eval()(x.float())
    assert cost.take() == 0  # the test set does not count


@pytest.mark.parametrize("max_pool", [False, True])
def test_the_float_phase_counts_nearly_the_same(max_pool):
    module, x = network(max_pool)
    quantised = quantise(module.eval(), x)
    expected = of_golden(quantised, x, "sops")
    cost = Penalty(quantised.graph, "sops")
    for m in module.modules():
        m.training = isinstance(m, QBLIF)  # BatchNorm as it is deployed
    module(x.float())
    assert float(cost.take().detach()) == pytest.approx(expected, rel=0.05) and expected > 0
    cost.close()
    module(x.float())
    assert cost.take() == 0


def test_more_membrane_costs_more_and_more_gamma_costs_less():
    torch.manual_seed(0)
    module, x = network()
    graph = quantise(module.eval(), x).graph
    cost = Penalty(graph, "sops")
    module.train()(x.float())
    cost.take().backward()
    first = module.neuron
    assert first.gamma.grad < 0
    assert module.first.norm.bias.grad.sum() > 0


def test_n_costs_the_fan_out_of_each_neuron_that_reaches_it():
    module, x = network(levels=2, learn_levels=True)
    graph = quantise(module.eval(), x).graph
    first, last = neurons(module).values()
    seen = []
    last.register_forward_hook(lambda neuron, given, spikes: seen.append(spikes.detach() / neuron.gamma.detach()))
    cost = Penalty(graph, "sops")
    module.train()(x.float())
    cost.take().backward()
    reached = (seen[0] >= 2).float().sum((0, 1, 2))  # (H, W)
    expected = float((reached * cost.fans[2]).sum()) * last.gamma_scale(seen[0][0, 0].numel())
    assert last.learned_levels.grad.item() == pytest.approx(expected) and expected > 0
    assert first.learned_levels.grad != 0


def test_set_bits_are_counted():
    level = torch.arange(32, dtype=torch.float32, requires_grad=True)
    bits = SetBits.apply(level)
    assert bits.tolist() == [n.bit_count() for n in range(32)]
    bits.sum().backward()
    smooth = torch.log2(1 + torch.arange(32, dtype=torch.float64).requires_grad_())
    assert (smooth >= torch.tensor([n.bit_count() for n in range(32)])).all()
    assert np.allclose(level.grad, 1 / ((1 + np.arange(32)) * np.log(2)))


def test_pooled_positions_reach_what_the_kernel_over_the_pool_reaches():
    class Pooled(torch.nn.Module):
        def __init__(self):
            super().__init__()
            from qblif.gen import AdaptiveAvgPool2d, Flatten, InputScale, MeanOverTime, QLinear, Repeat

            self.body = torch.nn.Sequential(
                InputScale(1 / 255), QConv2d(1, 2, 1), Repeat(1), QBLIF(3), AvgPool2d(2), QConv2d(2, 3, 1), QBLIF(3),
                MaxPool2d(2), AdaptiveAvgPool2d(1), Flatten(), QLinear(3, 5), MeanOverTime())

        def forward(self, x):
            return self.body(x)

    graph = quantise(Pooled().eval(), torch.zeros(1, 1, 4, 4)).graph
    assert penalty.fan_out(graph, 1).tolist() == [[3.0] * 4] * 4
    assert penalty.fan_out(graph, 2).tolist() == [[0.0] * 2] * 2  # max pooling adds nothing
    assert penalty.fan_out(graph, 3).tolist() == [[5.0]]


def test_a_penalised_network_emits_less(tmp_path):
    counts = {}
    for weight in (0.0, 1000.0):
        done = make(tmp_path / str(weight), tiny(train={"sop_penalty": weight, "epochs": 4})).train()
        x = done.dataset.test.batch(torch.arange(20))[0]
        counts[weight] = of_golden(done.quantised, x, "additions")
    assert counts[1000.0] < 0.7 * counts[0.0]
    assert done.history[-1]["count"] > 0 and done.history[-1]["counted"] == "additions"


def test_no_penalty_counts_nothing():
    module, _ = network()
    assert penalty.of(module, Recipe()) is None
