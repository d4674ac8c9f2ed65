"""The second simulator: the same answers as the first, and its own ways to fail."""

import numpy as np
import pytest

from qblif.gen.plan import make_plan
from qblif.host.errors import DeviceError, Timeout, ToolMissing
from qblif.sim import golden, icarus, trace
from qblif.sim.model import Stalls
from qblif.sim.random_networks import Limits, random_input, random_network

SMALL = Limits(layers=2, side=4, channels=6, steps=2, row_adds=1500, weight_rows=256)


@pytest.fixture(scope="module")
def case():
    network = random_network(3, SMALL)
    return network, make_plan(network, lanes=4, word_bits=32), random_input(network, 3, 2)


@pytest.mark.icarus
@pytest.mark.parametrize("stalls", [None, Stalls(0.3, 0.3, 0.3, 0.3, seed=5)], ids=["calm", "stalls"])
def test_every_integer_equals_the_golden_models(case, stalls):
    network, plan, x = case
    seen = []
    result = icarus.run_icarus(plan.design, plan.program, plan.input_layout.pack(x), network.classes, trace=True,
                               stalls=stalls, progress=seen.append)
    expected = golden.run(network, x, record=True)
    np.testing.assert_array_equal(result.logits, expected.logits)
    for found, record in zip(trace.decode(plan, result.traces), expected.records, strict=True):
        for kind in ("current", "membrane", "levels"):
            np.testing.assert_equal(getattr(found, kind), getattr(record, kind))
    assert np.all(result.latency >= result.cycles) and result.simulated > result.cycles.sum()
    assert seen[-1:] == [2]


@pytest.mark.icarus
def test_a_damaged_program_is_the_devices_error(case):
    network, plan, x = case
    damaged = plan.program.copy()
    damaged[-1] ^= 1
    with pytest.raises(DeviceError, match="BAD_CRC"):
        icarus.run_icarus(plan.design, damaged, plan.input_layout.pack(x), network.classes)


@pytest.mark.icarus
def test_too_few_seconds_are_a_timeout(case):
    network, plan, x = case
    with pytest.raises(Timeout, match="did not finish within"):
        icarus.run_icarus(plan.design, plan.program, plan.input_layout.pack(x), network.classes, timeout=0.0)


def test_a_missing_icarus_is_named(case, monkeypatch, tmp_path):
    network, plan, x = case
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolMissing, match="apt install iverilog"):
        icarus.run_icarus(plan.design, plan.program, plan.input_layout.pack(x), network.classes)
