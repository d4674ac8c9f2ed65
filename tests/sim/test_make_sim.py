"""What `make sim` promises, held on the network that it trains (kept from there, or trained here once)."""

import pytest

from qblif.gen.data import digits_data
from qblif.gen.plan import make_plan
from qblif.host.stats import CoreStats
from qblif.sim import golden, subjects
from qblif.sim.compare import compare_logits
from qblif.sim.simulation import Simulation


@pytest.fixture(scope="module")
def network():
    return subjects.digits_network(subjects.Options())


def test_the_digits_network_is_right_on_98_5_percent_of_all_360_test_images(network):
    data = digits_data()
    assert len(data.test_y) == 360
    right = golden.run(network, data.test_x).predictions == data.test_y.numpy()
    assert right.mean() >= 0.985


def test_one_core_scans_it_with_an_efficiency_of_0_80_bit_exactly(network):
    images = digits_data().test_x.numpy()[:36]
    plan = make_plan(network, lanes=subjects.LANES)
    expected = golden.run(network, images, count=True, packings=(plan.packing,))
    with Simulation(plan.design, threads=1) as sim:
        sim.program(plan.program)
        result = sim.infer(plan.input_layout.pack(images), network.classes)
        core = CoreStats(1, sim.counters())
    assert compare_logits(network, expected.logits, result.logits) is None
    needed = sum(int(layer.row_adds[plan.packing].sum()) for layer in expected.counts)
    assert needed / core.counters["cycles"] >= 0.80
    # The hardware's own account of where the cycles went is complete.
    causes = ("adds", "doublings", "starved", "neuron_stalls", "turnaround", "input_stalls")
    assert sum(core.counters[name] for name in causes) == core.counters["cycles"]
