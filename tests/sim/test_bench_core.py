"""The emitted core, in two simulators, against the golden model."""

import pytest

from qblif.gen.plan import make_plan
from qblif.hw.core import Core
from qblif.sim import golden
from qblif.sim.bench import runner
from qblif.sim.random_networks import random_input, random_network

from ..program_image import parse
from .benches import BOTH, SMALL

CASES = [(6, {}), (2, {"clusters": 2, "fanout": "unary", "neuron_lanes": 1})]
"""Seed, options of the plan: two convolutions; a maximum."""


@pytest.mark.long
@pytest.mark.parametrize("simulator", BOTH)
@pytest.mark.parametrize("seed, options", CASES, ids=str)
def test_random_networks(seed, options, simulator, tmp_path):
    network = random_network(seed, SMALL)
    plan = make_plan(network, **{"lanes": 4, "word_bits": 32, "neuron_lanes": 2} | options)
    core, = plan.design.cores
    x = random_input(network, seed, batch=3)
    beats = core.word_bits // 32
    images = [[sum(int(beat) << 32 * i for i, beat in enumerate(frame[at:at + beats]))
               for at in range(0, len(frame), beats)] for frame in plan.input_layout.pack(x)]
    sections = [{"memory": int(section.memory), "cluster": section.cluster, "first": section.first,
                 "rows": section.rows} for section in parse(plan.program, plan.design).sections]
    vectors = {"sections": sections, "chunks": core.chunks, "enable": (1 << core.banks) - 1, "images": images,
               "logits": golden.run(network, x).logits.tolist()}
    assert runner.run(Core(core), "qblif.sim.bench.core_bench", vectors, tmp_path, simulator, seed=seed) == 2
