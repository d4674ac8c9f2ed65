"""A core gives the logits of the case, whatever the pace of its neighbours.

Vectors: ``sections``: of the program, each with ``memory``, ``cluster``, ``first``, ``rows`` (flat); ``enable`` (that
of a whole word), ``images`` (words of the input map), ``logits`` (of each image).
"""

from __future__ import annotations

import cocotb

from .monitors import Driver, Sink
from .ports import Bench


async def send_images(bench: Bench, idle: float) -> None:
    """Send all maps, each followed by its commit."""
    writes = Driver(bench, "i_map", idle)
    for words in bench.vectors["images"]:
        for address, word in enumerate(words):
            await writes.put({"address": address, "enable": bench.vectors["enable"], "data": word})
        await writes.put({"commit": 1})


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize((("idle", "pause"), [(0.0, 0.0), (0.5, 0.7)]))
async def logits_are_those_of_the_golden_model(dut, idle, pause):
    """Loads the program, sends the images and compares."""
    bench = await Bench(dut).start()
    vectors = bench.vectors
    for section in vectors["sections"]:
        await bench.load(section["memory"], section["rows"], section["first"], section["cluster"], vectors["chunks"])
    bench["enable"].set(1)
    logits, handed_over = Sink(bench, "logits", pause, patience=20_000), Sink(bench, "o_map")
    sending = cocotb.start_soon(send_images(bench, idle))
    for number, expected in enumerate(vectors["logits"]):
        items = await logits.take(len(expected))
        found = [item["value"] - (item["value"] >> 31 << 32) for item in items]
        assert found == expected, f"image {number}: logits {found}, expected {expected}"
        assert [item["last"] for item in items] == [0] * (len(items) - 1) + [1], f"image {number}: end marks"
    await sending
    await bench.until("busy", 0, 200)
    await logits.silent(20)
    await handed_over.silent(0)
