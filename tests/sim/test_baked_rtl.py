"""The emitted hardware with a network baked in, as Verilator runs it: no program is ever sent."""

from __future__ import annotations

import numpy as np

from qblif.gen.plan import make_plan
from qblif.hw.emit import emit_top
from qblif.sim import golden
from qblif.sim.deploy import random_images
from qblif.sim.random_networks import Limits, random_network
from qblif.sim.simulation import REGISTER, Simulation

from .designs import ONE_CORE


def plan(seed):
    return make_plan(random_network(seed, Limits(side=6, channels=20, steps=3, row_adds=6_000)), design=ONE_CORE)


def loaded(sim):
    return sim.read(REGISTER["STATUS"]) & 1, sim.read(REGISTER["PROGRAM_LO"]) | sim.read(REGISTER["PROGRAM_HI"]) << 32


def test_golden_vectors_are_answered_without_a_program_until_another_one_is_loaded():
    baked, other = plan(3), plan(4)

    def answers(sim, which):
        images = random_images(which.network, 5)
        result = sim.infer(which.input_layout.pack(images), which.network.classes)
        assert np.array_equal(result.logits, golden.run(which.network, images).logits)

    with Simulation(baked.design, verilog=emit_top(baked.design, baked.program), threads=1) as sim:
        assert loaded(sim) == (1, baked.program_hash)
        answers(sim, baked)
        sim.write(REGISTER["CONTROL"], 1)
        assert loaded(sim) == (1, baked.program_hash)
        answers(sim, baked)
        sim.reset()                        # the pin
        assert loaded(sim) == (1, baked.program_hash)
        sim.program(other.program)
        assert loaded(sim) == (1, other.program_hash)
        answers(sim, other)
        sim.write(REGISTER["CONTROL"], 1)
        assert loaded(sim) == (0, 0)
        sim.program(baked.program)
        answers(sim, baked)
