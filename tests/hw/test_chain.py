"""Two cores in a chain: the second one works on an image while the first one still makes its map."""

import random

import pytest

from qblif.gen.split import row_parts
from qblif.host import abi
from qblif.hw.chain import Chain
from qblif.hw.core import Core

from .bench import put, simulate
from .core_bench import load_rows
from .test_core import COMMIT, Bench, expected_logits, network, planned


class Two(Bench):
    """The network of test_core on a chain of two cores."""

    def __init__(self, **options):
        plan, image = planned(2, **options)
        super().__init__(plan, image, dut=Chain(plan.design, Core))

    async def load(self, ctx):
        for section in self.image.sections:
            bus = getattr(self.dut, f"load_{section.core}")
            ctx.set(bus.cluster, section.cluster)
            await load_rows(ctx, bus, section.memory, section.rows, section.first, self.params.chunks)
        ctx.set(self.dut.enable, 1)

    def cycles(self, ctx, core):
        """Return the counter that is shown where no other one is asked for: cycles in which a core works."""
        return ctx.get(self.dut.counter[core])


@pytest.mark.parametrize("options", [{}, {"buffers": 1, "clusters": 2}, {"clusters": 3}], ids=str)
def test_logits_are_the_golden_model_s_and_the_cores_overlap(options):
    two, rng, found, both = Two(**options), random.Random(3), [], []

    async def collect(ctx):
        found.extend(await two.logits(ctx, 1, rng))
        while ctx.get(two.dut.busy):
            await ctx.tick()

    async def watch(ctx):
        before = 0
        async for _ in ctx.tick():
            now = two.cycles(ctx, 0)
            if now != before and two.cycles(ctx, 1):
                both.append(now)
            before = now

    simulate(two.dut, two.sender(1), collect, processes=[watch])
    assert found == expected_logits(1)
    assert max(both) - min(both) > 50, "the second core begins while the first one works on the only image"


@pytest.mark.parametrize("options", [{"buffers": 1}, {"clusters": 2}], ids=str)
def test_several_images_are_in_the_chain_and_none_is_mixed_up(options):
    two, rng, found = Two(**options), random.Random(4), []

    async def collect(ctx):
        found.extend(await two.logits(ctx, 3, rng))

    simulate(two.dut, two.sender(3, rng), collect)
    assert found == expected_logits(3)


def test_a_chain_whose_sender_stalls_amid_a_map_does_not_move_and_then_goes_on():
    two, stalled = Two(), []

    async def send(ctx):
        await two.load(ctx)
        words = two.frames()[0]
        for address, word in enumerate(words):
            await put(ctx, two.dut.i_map, two.write(address, word))
            if address == 2 * len(words) // 3:
                await ctx.tick().repeat(600)
                for _ in range(100):
                    *_, progress, busy = await ctx.tick().sample(two.dut.progress, two.dut.busy)
                    stalled.append((progress, busy))
        await put(ctx, two.dut.i_map, COMMIT)

    async def collect(ctx):
        assert await two.logits(ctx, 1) == expected_logits(1)

    simulate(two.dut, send, collect)
    assert stalled == [(0, 1)] * 100


@pytest.mark.parametrize("clusters", [1, 2, 3])
def test_parts_of_a_row_are_as_many_as_the_clusters_that_share_it(clusters):
    plan, image = planned(2, clusters=clusters)
    layer, shares = plan.segments[0].last, plan.segments[0].shares[-1]
    parts = row_parts(plan.network, layer, plan.packing, shares)
    rows = [image.table(0, cluster, abi.MemoryId.LAYERS)[-1]["rows"] for cluster in range(clusters)]
    assert sum(rows) == network().layers[layer].shape[1] * parts
