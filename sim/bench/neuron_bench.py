"""The neuron unit gives the levels and logits of the case, under random credit, pauses and back-pressure.

Vectors: ``memory`` (id of the channel table), ``jobs``: layers one after the other, each with ``row`` (fields of the
layer table), ``channels`` (rows of the channel table, flat), ``sums``, ``chunks`` (levels in order), ``logits``
(value and last). ``chunks``, ``kept``: chunks of a sum, and sums that may be given before one is released.
"""

from __future__ import annotations

import random

import cocotb
from cocotb.triggers import RisingEdge

from .monitors import Sink
from .ports import Bench

QUIET = 18
"""Cycles after a layer in which nothing may come: twice the unit's pipeline."""


async def credit(bench: Bench, refusal: float) -> None:
    """Give credit at random; fail when a lane group is begun without it. Never ends."""
    given, issued, count, gave = bench["credit"], bench["issued"], 0, True
    chunks = next(len(job["sums"][0]) // len(job["chunks"][0]) for job in bench.vectors["jobs"] if job["chunks"])
    while True:
        gives = random.random() >= refusal
        given.set(int(gives))
        await RisingEdge(bench.clk)
        assert gave or not issued.raw() or count % chunks, "a lane group was begun without credit"
        gave = gives        # `issued` is told a cycle later
        count += issued.raw()


async def feed(bench: Bench, sums: list, chunks: int, kept: int, idle: float) -> None:
    """Give sums, each as so many chunks in consecutive cycles; never more than `kept` that were not released, and
    another one from the third cycle after a release."""
    payload, valid, released = bench["i__payload"], bench["i__valid"], bench["released"]
    unreleased, under_way = 0, [0, 0]

    async def cycle() -> int:
        """Wait for a cycle; return the releases of two cycles before."""
        await RisingEdge(bench.clk)
        under_way.append(released.raw())
        return under_way.pop(0)

    for total in sums:
        while unreleased >= kept or random.random() < idle:
            payload.set_raw(random.getrandbits(payload.width))
            unreleased -= await cycle()
        unreleased += 1
        size = len(total) // chunks
        for at in range(0, len(total), size):
            payload.set(total[at:at + size])
            valid.set(1)
            unreleased -= await cycle()
        valid.set(0)


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(idle=[0.0, 0.4], pause=[0.0, 0.6])
async def layers_give_the_integers_of_the_model(dut, idle, pause):
    """Runs all layers of the case, for each kind of surroundings."""
    bench = await Bench(dut).start()
    cocotb.start_soon(credit(bench, pause))
    levels, logits = Sink(bench, "o"), Sink(bench, "logits", pause)
    for number, job in enumerate(bench.vectors["jobs"]):
        await bench.load(bench.vectors["memory"], job["channels"], job["row"]["channel_first"])
        bench["layer"].set(job["row"])
        await bench.cycles(1)                   # the row is there a cycle before
        bench["begin"].set(1)
        await bench.cycles(1)
        bench["begin"].set(0)
        await feed(bench, job["sums"], bench.vectors["chunks"], bench.vectors["kept"], idle)
        found = await levels.take(len(job["chunks"]))
        assert found == job["chunks"], f"layer {number}, {job['row']}: levels {found}, expected {job['chunks']}"
        found = [[item["value"] - (item["value"] >> 31 << 32), item["last"]]
                 for item in await logits.take(len(job["logits"]))]
        assert found == job["logits"], f"layer {number}, {job['row']}: logits {found}, expected {job['logits']}"
        await levels.silent(QUIET)
        await logits.silent(0)
        await bench.until("idle", 1, 100)       # lanes beyond the last class are let go one by one
