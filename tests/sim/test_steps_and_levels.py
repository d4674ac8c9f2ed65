"""The digits network for every T and N of the paper's Table 6 (N) and 2 (T), on one and the same elaborated core."""

import pytest
import torch

from qblif.gen import digits_net, fold, neurons, quantise
from qblif.gen.data import digits_data
from qblif.gen.plan import make_plan
from qblif.gen.training import Run, one_thread, recipe
from qblif.sim import golden
from qblif.sim.compare import compare_logits, first_mismatch
from qblif.sim.simulation import Simulation
from qblif.sim.trace import decode

from .designs import ONE_CORE

STEPS, LEVELS = (1, 2, 4), (1, 2, 5, 10, 15, 20)
IMAGES = 24


@pytest.fixture(scope="module")
def device():
    with Simulation(ONE_CORE, trace=True, threads=1) as simulation:
        yield simulation


def check(device, steps, levels, folder):
    with one_thread():
        # Short: spikes in all layers are wanted, not accuracy.
        short = recipe.load("digits", (f"train.T={steps}", f"neuron.levels={levels}", "train.epochs=2",
                                       "train.quantised_epochs=1"))
        trained = Run(short, folder).train()
    network = fold(trained.quantised)
    assert network.steps == steps
    assert {layer.neuron.levels for layer in network.layers[:-1]} == {levels}
    expected = compare(device, network, trained.quantised)
    assert all(record.levels.any() for record in expected.records[:-1])


def compare(device, network, quantised):
    """Compare quantised PyTorch, the golden model and the RTL, every integer of some images; return the golden run."""
    images = digits_data().test_x[:IMAGES]
    expected = golden.run(network, images, record=True)
    assert compare_logits(network, expected.logits, quantised.integers(images).numpy()) is None
    by_torch = [{kind: values[short].numpy() for kind, short in (("current", "c"), ("membrane", "v"), ("levels", "s"))
                 if short in values} for values in quantised.record(images).values()]
    assert first_mismatch(network, expected.records, by_torch) is None

    plan = make_plan(network, design=ONE_CORE)
    device.program(plan.program)
    result = device.infer(plan.input_layout.pack(images), network.classes)
    assert compare_logits(network, expected.logits, result.logits) is None
    assert first_mismatch(network, expected.records, decode(plan, device.traces)) is None
    return expected


def test_another_n_in_each_layer_runs_bit_exactly(device):
    with one_thread():
        torch.manual_seed(0)
        module = digits_net(2, 31, learn_levels=True, gamma=0.2)
        for neuron, levels in zip(neurons(module).values(), (3, 31, 1, 7, 2), strict=True):
            neuron.learned_levels.data.fill_(levels + 0.3)
        for _ in range(20):
            module.train()(digits_data().train_x[:64].float())  # until BatchNorm has the input's statistics
        quantised = quantise(module.eval(), digits_data().test_x[:2])
    network = fold(quantised)
    assert [layer.neuron.levels for layer in network.layers[:-1]] == [3, 31, 1, 7, 2]
    expected = compare(device, network, quantised)
    assert [int(record.levels.max()) for record in expected.records[:-1]][::2] == [3, 1, 2]  # where N is small it clips


def test_four_steps_of_binary_spikes_run_bit_exactly(device, tmp_path):
    check(device, 4, 1, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("steps", STEPS)
def test_every_t_and_n_of_the_papers_tables_runs_bit_exactly(device, steps, levels, tmp_path):
    check(device, steps, levels, tmp_path)
