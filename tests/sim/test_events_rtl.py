"""The event-based path: recording -> counts -> golden model -> RTL, every integer equal, on real recordings."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from qblif import gen
from qblif.gen import data, methods, models
from qblif.gen.plan import make_plan
from qblif.sim import golden
from qblif.sim.evaluation import evaluate_network
from qblif.sim.simulation import Simulation
from qblif.sim.trace import decode
from qblif.sim.verdict import Verdict

from .designs import ONE_CORE

IMAGES = 4


def small(dataset, steps: int):
    """A network that nobody trained, with BatchNorm's statistics of the data, so that its layers are lively."""
    torch.manual_seed(0)
    module = models.build("vgg", shape=dataset.shape, classes=len(dataset.classes), T=steps, static=False,
                          bits=dataset.bits, neuron=methods.neuron("qblif", levels=7, tau=2.0), channels=[8, 16],
                          strides=[3, 2])
    for neuron in gen.neurons(module).values():
        neuron.gamma.data.fill_(0.3)
    module.train()
    for _ in range(20):
        module(dataset.train.batch(torch.arange(0, len(dataset.train), 40))[0].float())
    return gen.quantise(module.eval(), dataset.test.batch(torch.arange(1))[0], input_bits=dataset.bits)


@pytest.mark.datasets("n-mnist")
@pytest.mark.parametrize(("steps", "bits"), [(8, 2), (3, 4)])
def test_real_recordings_give_the_same_integers_in_pytorch_golden_model_and_rtl(steps, bits):
    dataset = data.load("n-mnist", steps=steps, bits=bits)
    assert dataset.shape == (2, 34, 34) and int(dataset.test.x.max()) <= 2 ** bits - 1
    assert (dataset.clipped > 0) == (int(dataset.test.x.max()) == 2 ** bits - 1)
    quantised = small(dataset, steps)
    network = gen.fold(quantised, name="events")
    index = torch.arange(0, len(dataset.test), len(dataset.test) // IMAGES)[:IMAGES]
    x = dataset.test.batch(index)[0]
    expected = golden.run(network, x, record=True)
    assert all((record.levels > 0).any() for record in expected.records[:-1])
    assert (np.diff(expected.records[0].levels, axis=0) != 0).any()        # time goes on

    whole = evaluate_network(network, dataset.test, data=dataset.name, quantised=quantised)
    assert whole.different == () and whole.images == len(dataset.test)
    assert whole.energy.flops == 0                                          # counts do not multiply

    plan = make_plan(network, design=ONE_CORE)
    verdict = Verdict(network)
    with Simulation(plan.design, trace=True, threads=1) as sim:
        sim.program(plan.program)
        result = sim.infer(plan.input_layout.pack(x.numpy()), network.classes)
        verdict.levels("RTL", expected.records, [vars(record) for record in decode(plan, sim.traces)])
    verdict.logits("quantised PyTorch", expected.logits, quantised.integers(x).numpy())
    verdict.logits("RTL", expected.logits, result.logits)
    assert verdict.mismatches == 0, verdict.first
    assert verdict.comparisons[0].compared > 1000 * IMAGES * steps
