"""The emitted design with its DMA, before a memory that is not ours, in two simulators, against the golden model."""

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from qblif.gen.plan import make_plan
from qblif.host import abi
from qblif.hw.dma_top import DmaTop
from qblif.sim import golden
from qblif.sim.bench import runner
from qblif.sim.random_networks import random_input, random_network

from .benches import BOTH, SMALL


class WithIds(wiring.Component):
    """A DmaTop with the one id that it implies: 0."""

    def __init__(self, top: DmaTop):
        self._top = top
        self._ports = {name: member.flow(member.shape) for name, member in top.signature.members.items()}
        super().__init__(self._ports | {"m_axi_awid": Out(1), "m_axi_bid": In(1), "m_axi_arid": Out(1),
                                        "m_axi_rid": In(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.top = self._top
        for name, member in self._ports.items():
            inner, outer = getattr(self._top, name), getattr(self, name)
            m.d.comb += inner.eq(outer) if member.flow == In else outer.eq(inner)
        return m


def check(seed, simulator, folder, batch=3, tests=None, **options):
    """Run jobs of random network `seed`; return how many tests passed."""
    network = random_network(seed, SMALL)
    plan = make_plan(network, **{"lanes": 4, "word_bits": 32, "neuron_lanes": 2} | options)
    x = random_input(network, seed, batch)
    offsets = {name: offset for name, offset, *_ in abi.REGISTERS + abi.JOB_REGISTERS}
    vectors = {"registers": offsets, "program": plan.program.tolist(), "images": plan.input_layout.pack(x).tolist(),
               "logits": golden.run(network, x).logits.tolist()}
    return runner.run(WithIds(DmaTop(plan.design)), "qblif.sim.bench.dma_bench", vectors, folder, simulator,
                      seed=seed + 1, tests=tests)


@pytest.mark.parametrize("simulator", [BOTH[1]])
def test_jobs_of_a_small_random_network(simulator, tmp_path):
    assert check(6, simulator, tmp_path, batch=2, tests="jobs_give") == 2


@pytest.mark.long
@pytest.mark.parametrize("simulator", BOTH)
@pytest.mark.parametrize("seed, options", [(6, {"clusters": 2, "word_bits": 64}), (0, {"cores": 2})], ids=str)
def test_jobs_of_random_networks(seed, options, simulator, tmp_path):
    assert check(seed, simulator, tmp_path, **options) == 4
