"""All 10,000 MNIST test images in RTL: every logit is the golden model's, in minutes."""

import pytest
import torch

from qblif.gen.plan import make_plan
from qblif.hw import boards
from qblif.sim import golden, named
from qblif.sim.simulation import Simulation

MINUTES = 30
"""That two processors may take."""


@pytest.mark.long
@pytest.mark.datasets("mnist")
def test_every_logit_of_the_mnist_test_set_on_the_hardware_of_the_ulx3s(capsys):
    one = named.find("mnist-small")
    plan = make_plan(one.network, design=boards.find("ulx3s")[0].implementation().default_design())
    test = one.test_set().test
    x, labels = test.batch(torch.arange(len(test)))
    expected = golden.run(one.network, x, count=True)
    with Simulation(plan.design) as sim:
        sim.program(plan.program)
        result = sim.infer(plan.input_layout.pack(x.numpy()), one.network.classes)
    different = int((result.logits != expected.logits).sum())
    additions = sum(int(count.additions["double"].sum()) for count in expected.counts)
    with capsys.disabled():
        print(f"\n{len(x):,} images, {result.simulated:,} cycles, {additions:,} additions, {different} of "
              f"{result.logits.size:,} logits differ\n"
              f"{result.processor:.0f} s of processor time, {result.seconds:.0f} s on {sim.instances} threads\n"
              f"{additions / result.processor / 1e6:.1f} million additions and "
              f"{result.simulated / result.processor / 1e6:.2f} million cycles a second on one thread")
    assert different == 0 and len(x) == 10_000
    assert (result.logits.argmax(1) == labels.numpy()).mean() == one.card.golden_accuracy
    assert result.processor / 2 < 60 * MINUTES
