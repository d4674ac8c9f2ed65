"""The digits network at the time steps and burst levels of the paper's Table 6, bit for bit.

Trained for an epoch only: equality does not depend on accuracy. One simulated core runs all of them; what it was
built for is the largest.
"""

from __future__ import annotations

import functools

import numpy as np
import pytest

from qblif import gen
from qblif.gen import digits
from qblif.gen.plan import make_plan
from qblif.gen.training import Recipe, digits_data
from qblif.sim import golden
from qblif.sim.simulation import Simulation
from qblif.sim.trace import decode
from qblif.sim.verdict import Verdict

STEPS = (1, 2, 4)
LEVELS = (1, 2, 5, 10, 15, 20)
QUICK = Recipe(epochs=1, quantised_epochs=1, batch=128)
IMAGES = 24


@functools.cache
def quantised(steps: int, levels: int) -> gen.QuantisedNetwork:
    with digits.one_thread():
        return gen.train_digits(steps, levels, recipe=QUICK).quantised


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
    assert len(np.unique(expected.logits)) > IMAGES  # the network has something to say


def test_the_digits_network_is_bit_exact_on_simulated_hardware():
    check(steps=2, levels=20)


@pytest.mark.long
@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("steps", STEPS)
def test_the_digits_network_is_bit_exact_at_all_steps_and_levels(steps, levels):
    check(steps, levels)
