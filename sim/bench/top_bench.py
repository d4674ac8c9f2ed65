"""The whole design through its AXI ports gives the logits of the case, and recovers from malformed frames.

The models of AXI are those of cocotbext-axi, so not ours. Vectors: ``registers`` (name to offset), ``identity``
(name to value, without a program), ``program`` (beats), ``program_hash`` (low, high), ``images`` (beats of each),
``logits`` (of each image), ``adds`` (counter 0's offset is ``counters``: name to offset), ``faults``: each with
``stream``, ``words``, ``loaded`` (a program is in place), ``code``, ``info``.
"""

from __future__ import annotations

import cocotb
from cocotb.triggers import with_timeout
from cocotbext.axi import AxiLiteBus, AxiLiteMaster, AxiStreamBus, AxiStreamFrame, AxiStreamSink, AxiStreamSource

from qblif.host import abi

from .monitors import Stuck, stability
from .ports import Bench, pauses

PATIENCE_US = 500
"""Simulated microseconds (100 cycles each) that a frame may take."""

POLLS = 2_000
"""Reads of STATUS until something has to have happened."""


class Host:
    """Masters of all ports of the design, which pause at random, and monitors of what it drives."""

    def __init__(self, bench: Bench, share: float):
        dut, clk = bench.dut, bench.clk
        self._offsets = bench.vectors["registers"]
        self.registers = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axi"), clk)
        self.program, self.input = (AxiStreamSource(AxiStreamBus.from_prefix(dut, f"s_axis_{name}"), clk, byte_lanes=1)
                                    for name in ("program", "input"))
        self.output = AxiStreamSink(AxiStreamBus.from_prefix(dut, "m_axis_output"), clk, byte_lanes=1)
        reads, writes = self.registers.read_if, self.registers.write_if
        if share:
            for port in (self.program, self.input, self.output, reads.ar_channel, reads.r_channel, writes.aw_channel,
                         writes.w_channel, writes.b_channel):
                port.set_pause_generator(pauses(share))
        for name, payload in (("m_axis_output_t", ("data", "last")), ("s_axi_r", ("data", "resp")),
                              ("s_axi_b", ("resp",))):
            cocotb.start_soon(stability(bench, f"{name}valid", f"{name}ready", *(name + part for part in payload)))

    async def read(self, register: str | int) -> int:
        """Return the value of a register, by name or offset."""
        offset = self._offsets.get(register, register)
        return await with_timeout(self.registers.read_dword(offset), PATIENCE_US, "us")

    async def write(self, register: str, value: int) -> None:
        """Write a register and wait for the response."""
        await with_timeout(self.registers.write_dword(self._offsets[register], value), PATIENCE_US, "us")

    async def status(self) -> dict:
        """Return the fields of STATUS."""
        return abi.unpack(abi.STATUS_FIELDS, await self.read("STATUS"))

    async def until(self, **fields) -> None:
        """Read STATUS until its fields have these values; raises Stuck."""
        for _ in range(POLLS):
            status = await self.status()
            if all(status[name] == value for name, value in fields.items()):
                return
        raise Stuck(f"STATUS is {status}, {fields} did not come")

    async def send(self, stream: str, words) -> None:
        """Send one frame; return when its last beat was taken."""
        source = getattr(self, stream)
        await source.send(AxiStreamFrame(list(words)))
        await with_timeout(source.wait(), PATIENCE_US, "us")

    async def frame(self) -> list[int]:
        """Receive one frame of signed numbers."""
        frame = await with_timeout(self.output.recv(), PATIENCE_US, "us")
        return [int(word) - (int(word) >> 31 << 32) for word in frame.tdata]


async def started(dut, share: float) -> tuple[Bench, Host]:
    """Return bench and host after the reset."""
    bench = await Bench(dut).start()
    return bench, Host(bench, share)


@cocotb.test(timeout_time=5, timeout_unit="ms")
@cocotb.parametrize(share=[0.0, 0.4])
async def images_give_the_logits_of_the_golden_model(dut, share):
    """Program, images back to back, registers."""
    bench, host = await started(dut, share)
    vectors = bench.vectors
    for name, value in vectors["identity"].items():
        assert await host.read(name) == value, name
    await host.write("SCRATCH", 0x5A5A_1234)
    assert await host.read("SCRATCH") == 0x5A5A_1234
    await host.send("program", vectors["program"])
    await host.until(loaded=1, error=0)
    assert [await host.read("PROGRAM_LO"), await host.read("PROGRAM_HI")] == vectors["program_hash"]
    for image in vectors["images"]:
        await host.input.send(AxiStreamFrame(list(image)))
    for number, expected in enumerate(vectors["logits"]):
        found = await host.frame()
        assert found == expected, f"image {number}: logits {found}, expected {expected}"
    await host.until(busy=0, error=0)
    assert await host.read("IMAGES_IN") == await host.read("IMAGES_OUT") == len(vectors["images"])
    for name, expected in vectors["counters"].items():
        low = await host.read(int(name))
        assert low + (await host.read(int(name) + 4) << 32) == expected, f"counter at {name}"
    assert host.output.empty()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def a_malformed_frame_ends_in_its_error_code_and_a_reset_recovers(dut):
    """Each fault of the case, in one session."""
    bench, host = await started(dut, 0.2)
    vectors = bench.vectors
    for fault in vectors["faults"]:
        if fault["loaded"]:
            await host.send("program", vectors["program"])
            await host.until(loaded=1, error=0)
        await host.send(fault["stream"], fault["words"])
        await host.until(error=fault["code"])
        assert await host.read("ERROR_INFO") == fault["info"], fault["code"]
        await host.send("input", vectors["images"][0])      # taken and thrown away
        await host.write("CONTROL", 1)
        await host.until(loaded=0, busy=0, loading=0, error=0)
        assert host.output.empty(), "an answer to a malformed frame"
    await host.send("program", vectors["program"])
    await host.until(loaded=1, error=0)
    await host.send("input", vectors["images"][0])
    assert await host.frame() == vectors["logits"][0]
