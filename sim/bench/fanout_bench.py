"""Scanner and accumulators give the weighted sums of the case, with one addition for each set bit.

Vectors: ``memory`` (id of the weight memory), ``weights`` (its rows, flat), ``chunks`` (of a row), ``entries``
(fields of each scan entry), ``sums`` (in order, one number per lane), ``adds``
(weight rows that all of them take).
"""

from __future__ import annotations

import cocotb
from cocotb.triggers import RisingEdge

from .monitors import Driver, Sink
from .ports import Bench


async def count_adds(bench: Bench, found: list[int]) -> None:
    """Count the weight rows added, into found[0]; never ends."""
    retired = bench["retired"]
    while True:
        await RisingEdge(bench.clk)
        event = retired.get()
        found[0] += event["valid"] & event["add"]


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(idle=[0.0, 0.4], pause=[0.0, 0.7])
async def sums_are_those_of_the_model(dut, idle, pause):
    """Runs all entries of the case, for each kind of surroundings."""
    bench = await Bench(dut).start()
    vectors, adds = bench.vectors, [0]
    await bench.load(vectors["memory"], vectors["weights"], hold=vectors["chunks"])
    cocotb.start_soon(count_adds(bench, adds))
    sums = Sink(bench, "o", pause)
    feeding = cocotb.start_soon(Driver(bench, "i", idle).send(vectors["entries"]))
    for number, expected in enumerate(vectors["sums"]):
        found, = await sums.take(1)
        assert found == expected, f"sum {number} is {found}, expected {expected}"
    await feeding
    await sums.silent(12)
    assert bench["idle"].raw()
    assert adds[0] == vectors["adds"]
