"""What goes into stream `i` comes out of stream `o`, in order: tries what the other benches are made of.

Vectors: ``items``.
"""

from __future__ import annotations

import cocotb

from .monitors import Driver, Sink
from .ports import Bench


@cocotb.test(timeout_time=100, timeout_unit="us")
@cocotb.parametrize(pause=[0.0, 0.6])
async def items_come_back(dut, pause):
    """Sends all items and compares."""
    bench = await Bench(dut).start()
    out = Sink(bench, "o", pause, patience=100)
    cocotb.start_soon(Driver(bench, "i", pause, patience=100_000).send(bench.vectors["items"]))
    for expected in bench.vectors["items"]:
        found, = await out.take(1)
        assert found == expected, f"{found} came, expected {expected}"
    await out.silent(10)
