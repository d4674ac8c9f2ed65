"""The emitted neuron unit, in two simulators, against plain integers."""

import dataclasses
import random

import pytest

from qblif.host.abi import LayerKind, MemoryId, ResetStyle
from qblif.hw.neuron import NeuronUnit
from qblif.sim.bench import runner

from ..hw.test_neuron import PARAMS, Job, channel_rows, expected, layer, neuron_job
from .benches import BOTH

WIDE = dataclasses.replace(PARAMS, neuron_lanes=8)


def vectors(jobs, params):
    cases = []
    for job in jobs:
        chunks, logits = expected(job, params)
        cases.append({"row": job.row, "channels": channel_rows(job.channels, params.neuron_lanes), "sums": job.sums,
                      "chunks": chunks, "logits": [list(item) for item in logits]})
    return {"memory": int(MemoryId.CHANNELS), "jobs": cases, "chunks": params.chunks, "kept": params.sums_kept}


def jobs(params, seed, count=3):
    """Return layers of each reset style, a static one, a maximum and read-outs."""
    rng = random.Random(seed)
    made = [neuron_job(rng, params, style=style, decay=rng.choice([0, 1, 3, 15]), reset=rng.choice([0, 1, 15]),
                       steps=rng.randint(1, 3), levels=rng.choice([1, 5, 20, 31]), rounds=rng.randint(0, 1),
                       groups=rng.randint(1, 2), cols=rng.randint(1, 2), static=rng.randint(0, 1))
            for style in ResetStyle for _ in range(count)]
    top = layer(LayerKind.MAX, sources=3, steps=2, cols=2)
    made.append(Job(top, [(0, 0)] * 8, [[rng.randint(0, 31) for _ in range(8)] for _ in range(12)]))
    for classes in (3, 8):
        row = layer(LayerKind.READOUT, classes=classes, steps=2, group_channels=params.chunks)
        made.append(Job(row, [(rng.randint(-999, 999), 0) for _ in range(8)],
                        [[rng.randint(-1 << 20, 1 << 20) for _ in range(8)] for _ in range(2)]))
    rng.shuffle(made)
    return made


@pytest.mark.parametrize("simulator", BOTH)
def test_layers_of_all_kinds(simulator, tmp_path):
    cases = vectors(jobs(PARAMS, 1), PARAMS)
    assert runner.run(NeuronUnit(PARAMS), "qblif.sim.bench.neuron_bench", cases, tmp_path, simulator) == 4


@pytest.mark.long
@pytest.mark.parametrize("simulator", BOTH)
@pytest.mark.parametrize("seed", range(3))
def test_many_layers_of_all_kinds(simulator, seed, tmp_path):
    cases = vectors(jobs(WIDE, seed, 25), WIDE)
    assert runner.run(NeuronUnit(WIDE), "qblif.sim.bench.neuron_bench", cases, tmp_path, simulator, seed=seed) == 4
