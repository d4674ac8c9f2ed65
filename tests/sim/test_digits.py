"""The digits network at the time steps and burst levels of the paper's Table 6, bit for bit.

Not trained, since equality does not depend on accuracy: BatchNorm has seen the data, so that all layers are lively. One
simulated core, built for the largest, runs all of them.
"""

from __future__ import annotations

import functools

import pytest
import torch

from qblif import gen
from qblif.gen.plan import make_plan
from qblif.gen.training import digits_data
from qblif.sim import golden
from qblif.sim.simulation import Simulation
from qblif.sim.trace import decode
from qblif.sim.verdict import Verdict

STEPS = (1, 2, 4)
LEVELS = (1, 2, 5, 10, 15, 20)
IMAGES = 24


@functools.cache
def quantised(steps: int, levels: int) -> gen.QuantisedNetwork:
    torch.manual_seed(0)
    data = digits_data()
    module = gen.digits_net(steps, levels).train()
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.endswith("norm2.weight"):  # 0 at the start: a residual block would be its shortcut
                parameter.fill_(1)
            if name.endswith("gamma"):
                parameter.fill_(0.2)
        for images in data.train_x.split(64):
            module(images)
    return gen.quantise(module.eval(), data.train_x[:1])


@functools.cache
def largest_core():
    return make_plan(gen.fold(quantised(max(STEPS), max(LEVELS)))).design


def check(steps: int, levels: int) -> None:
    """Quantised PyTorch == golden == RTL: logits, and every current, membrane and level."""
    module = quantised(steps, levels)
    network = gen.fold(module)
    images = digits_data().test_x[:IMAGES]
    expected = golden.run(network, images.numpy(), record=True)
    plan = make_plan(network, design=largest_core())
    with Simulation(plan.design, trace=True) as sim:
        sim.program(plan.program)
        result = sim.infer(plan.input_layout.pack(images.numpy()), network.classes)
        found = decode(plan, sim.traces)
    verdict = Verdict(network)
    verdict.logits("PyTorch", expected.logits, module.integers(images).numpy())
    verdict.logits("RTL", expected.logits, result.logits)
    verdict.levels("RTL", expected.records, [vars(record) for record in found])
    assert verdict.first is None, verdict.first
    peak = max(record.levels.max() for record in expected.records if record.levels is not None)
    assert peak == levels or peak > 5, "the network says too little to show anything"


def test_the_digits_network_is_bit_exact_on_simulated_hardware():
    check(steps=2, levels=20)


@pytest.mark.long
@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("steps", STEPS)
def test_the_digits_network_is_bit_exact_at_all_steps_and_levels(steps, levels):
    check(steps, levels)
