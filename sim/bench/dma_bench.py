"""The whole design with its DMA runs jobs in a memory that is not ours, and the results are those of the case.

Masters and memory are those of cocotbext-axi. The component is a DmaTop with ids on its bus: that memory has them.
Vectors: ``registers`` (name to offset), ``program`` (beats), ``images`` (beats of each), ``logits`` (of each image).
"""

from __future__ import annotations

import random

import cocotb
from cocotb.triggers import with_timeout
from cocotbext.axi import AxiBus, AxiLiteBus, AxiLiteMaster, AxiRam

from qblif.host import abi
from qblif.host.abi import Error

from .monitors import Stuck, stability
from .ports import Bench, pauses

PATIENCE_US = 500
"""Simulated microseconds (100 cycles each) that a register access may take."""

POLLS = 3_000
"""Reads of JOB_STATUS until a job has to be over."""

PROGRAM, SOURCE, TARGET = 0x1000_0FC8, 0x2000_0FF0, 0x3000_0FD8
"""Addresses a few words before a multiple of 4096."""

IMAGES_KIND, PROGRAM_KIND = 0, 1
START, ABORT = 1, 2
GUARD = bytes(range(1, 65))
"""What lies around the results, before and after."""

OFFERS = {"aw": ("valid", "ready", "addr", "len", "size", "burst"), "w": ("valid", "ready", "data", "strb", "last"),
          "ar": ("valid", "ready", "addr", "len", "size", "burst")}


class Host:
    """A host with registers and memory, both of which pause at random."""

    def __init__(self, bench: Bench, share: float):
        dut, clk = bench.dut, bench.clk
        self.vectors, self._offsets = bench.vectors, bench.vectors["registers"]
        self._registers = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axi"), clk)
        self.memory = AxiRam(AxiBus.from_prefix(dut, "m_axi"), clk, size=1 << 32)
        reads, writes = self.memory.read_if, self.memory.write_if
        self._channels = (reads.ar_channel, reads.r_channel, writes.aw_channel, writes.w_channel, writes.b_channel)
        if share:
            for channel in self._channels:
                channel.set_pause_generator(pauses(share))
        for channel, parts in OFFERS.items():
            cocotb.start_soon(stability(bench, *(f"m_axi_{channel}{part}" for part in parts)))

    async def read(self, register: str) -> int:
        """Return the value of a register."""
        return await with_timeout(self._registers.read_dword(self._offsets[register]), PATIENCE_US, "us")

    async def write(self, **values: int) -> None:
        """Write registers, one after the other."""
        for register, value in values.items():
            await with_timeout(self._registers.write_dword(self._offsets[register], value), PATIENCE_US, "us")

    async def start(self, kind: int, source: int, frames: int, beats: int) -> None:
        """Begin a job."""
        await self.write(JOB_KIND=kind, JOB_SOURCE_LO=source, JOB_TARGET_LO=TARGET, JOB_FRAMES=frames,
                         JOB_IN_BEATS=beats, JOB_OUT_BEATS=len(self.vectors["logits"][0]), JOB_CONTROL=START)

    async def end(self) -> Error:
        """Wait until no job runs, and return its error; raises Stuck."""
        for _ in range(POLLS):
            status = abi.unpack(abi.JOB_STATUS_FIELDS, await self.read("JOB_STATUS"))
            if not status["busy"]:
                return Error(status["error"])
        raise Stuck(f"the job is still busy, JOB_STATUS is {status}")

    async def load(self) -> None:
        """Run the program's job."""
        program = self.vectors["program"]
        self.memory.write_dwords(PROGRAM, program)
        await self.start(PROGRAM_KIND, PROGRAM, 1, len(program))
        assert await self.end() == Error.NONE
        assert abi.unpack(abi.STATUS_FIELDS, await self.read("STATUS"))["loaded"] == 1

    async def infer(self) -> None:
        """Run a job of all images and check the results in memory, and around them."""
        images, logits = self.vectors["images"], self.vectors["logits"]
        size = 4 * len(logits) * len(logits[0])
        self.memory.write_dwords(SOURCE, [word for image in images for word in image])
        self.memory.write(TARGET - len(GUARD), GUARD + bytes(size) + GUARD)
        await self.start(IMAGES_KIND, SOURCE, len(images), len(images[0]))
        assert await self.end() == Error.NONE
        assert await self.read("JOB_DONE") == len(images)
        found = self.memory.read_dwords(TARGET, size // 4)
        assert [word - (word >> 31 << 32) for word in found] == [logit for image in logits for logit in image]
        assert self.memory.read(TARGET - len(GUARD), len(GUARD)) == GUARD
        assert self.memory.read(TARGET + size, len(GUARD)) == GUARD


async def started(dut, share: float) -> Host:
    """Return the host after the reset."""
    return Host(await Bench(dut).start(), share)


@cocotb.test(timeout_time=10, timeout_unit="ms")
@cocotb.parametrize(share=[0.0, 0.4])
async def jobs_give_the_logits_of_the_golden_model(dut, share):
    """A program and images, twice."""
    host = await started(dut, share)
    assert await host.read("ID") == abi.MAGIC
    for _ in range(2):
        await host.load()
        await host.infer()
    assert await host.read("IMAGES_OUT") == 2 * len(host.vectors["images"])


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def aborted_jobs_leave_nothing_behind(dut):
    """Jobs that are cut off at some time, and whole ones after a reset."""
    host = await started(dut, 0.2)
    images = host.vectors["images"]
    for _ in range(3):
        await host.load()
        host.memory.write_dwords(SOURCE, [word for image in images for word in image])
        await host.start(IMAGES_KIND, SOURCE, len(images), len(images[0]))
        for _ in range(random.randrange(20)):
            await host.read("JOB_STATUS")
        await host.write(JOB_CONTROL=ABORT)
        assert await host.end() in (Error.ABORTED, Error.NONE)
        await host.write(CONTROL=1)
        await host.load()
        await host.infer()
        await host.write(CONTROL=1)


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def a_bus_that_stands_still_is_a_time_out(dut):
    """Each channel in turn is never ready, until the error shows."""
    host = await started(dut, 0.0)
    await host.write(WATCHDOG=400)
    for channel in host._channels:
        await host.load()
        channel.pause = True
        images = host.vectors["images"]
        await host.start(IMAGES_KIND, SOURCE, len(images), len(images[0]))
        for _ in range(POLLS):
            status = abi.unpack(abi.JOB_STATUS_FIELDS, await host.read("JOB_STATUS"))
            if status["error"]:
                break
        assert (status["busy"], Error(status["error"])) == (1, Error.BUS_TIMEOUT)
        channel.pause = False
        assert await host.end() == Error.BUS_TIMEOUT
        await host.write(CONTROL=1)
        await host.load()
        await host.infer()
