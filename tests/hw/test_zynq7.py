"""The shell without Vivado's IP: an accelerator at the ports of a Zynq-7000, simulated, and its netlist looked at."""

from __future__ import annotations

import random

import pytest

from qblif.host import abi
from qblif.host.abi import Error
from qblif.hw.boards.zynq7 import Axi3Dma
from qblif.hw.dma_top import DmaTop
from qblif.hw.params import CoreParams, DesignParams

from .axi_memory import Checker, Memory, Pace
from .bench import program, section, simulate
from .stand_in import CLASSES, StandIn, config, expected
from .zynq7_ports import Gp0, as_memory_port, watch_identifiers

DESIGN = DesignParams((CoreParams(lanes=4, word_bits=32, neuron_lanes=1, weight_depth=4, source_depth=4,
                                  layer_depth=4, channel_depth=4, map_depth=16),))
DRAM, SIZE = 0x1000_0000, 0x8000
PROGRAM, SOURCE, TARGET = DRAM, DRAM + 0x2F80, DRAM + 0x5FE8
IMAGES, PROGRAMS = 0, 1


class Board:
    """A processing system around an accelerator: processor at GP0, memory at HP0."""

    def __init__(self, dma, seed=0, pace=None):
        self.rng = random.Random(seed)
        self.shell = Axi3Dma(dma)
        self.host = Gp0(self.shell.gp0, self.rng)
        port = as_memory_port(self.shell.hp0)
        self.memory, self.checker = Memory(port, DRAM, SIZE, self.rng, pace), Checker(port)

    def run(self, testbench, cycles=60_000):
        simulate(self.shell, testbench, cycles=cycles, processes=[
            self.memory.reads, self.memory.writes, self.checker.reads, self.checker.writes,
            watch_identifiers(self.shell.hp0)])


@pytest.mark.parametrize("pace", [Pace(), Pace(20, 30, 0.3), Pace(3, 0, 0.3, "address first"),
                                  Pace(3, 0, 0.3, "data first")], ids=str)
def test_jobs_run_from_memory_to_memory(pace):
    board = Board(DmaTop(DESIGN, core=StandIn), pace=pace)
    words, frames, weight = 9, 12, 1234
    images = [[board.rng.getrandbits(32) for _ in range(words)] for _ in range(frames)]
    beats = program(DESIGN, [section(DESIGN, 0, abi.MemoryId.WEIGHTS, 0, [weight]),
                             section(DESIGN, 0, abi.MemoryId.CONFIG, 0, [config(1, words)])])

    async def processor(ctx):
        host, memory = board.host, board.memory
        assert await host.read(ctx, "ID") == abi.MAGIC
        # A word of 64 bits, as a processor's load of two registers makes it, is a burst.
        assert [value for value, _ in await host.read_burst(ctx, 0x08, 1)] == abi.beats(DESIGN.build_hash, 2)
        assert abi.unpack(abi.CAPS_FIELDS, await host.read(ctx, "CAPS"))["address_bits"] == 32
        await host.write(ctx, SCRATCH=0xCAFE_F00D, WATCHDOG=5000)
        assert await host.read(ctx, "SCRATCH") == 0xCAFE_F00D
        memory.put(PROGRAM, beats)
        assert await host.job(ctx, PROGRAMS, PROGRAM, len(beats)) == Error.NONE
        memory.put(SOURCE, [word for image in images for word in image])
        assert await host.job(ctx, IMAGES, SOURCE, words, TARGET, frames, CLASSES) == Error.NONE
        assert memory.get(TARGET, frames * CLASSES) == [
            logit for image in images for logit in expected(image, [weight])]

    board.run(processor)
    assert board.checker.open == {"read": 0, "write": 0}
    assert max(length for _, _, length in board.memory.log) == 16


def test_an_error_of_the_memory_port_ends_the_job():
    board = Board(DmaTop(DESIGN, core=StandIn))

    async def processor(ctx):
        assert await board.host.job(ctx, PROGRAMS, DRAM + SIZE, 20) == Error.READ_DECODE
        assert await board.host.read(ctx, "JOB_ERROR_LO") == DRAM + SIZE

    board.run(processor)


def test_memory_addresses_are_those_of_the_family():
    with pytest.raises(ValueError, match="the accelerator's memory addresses have 40 bits, a Zynq-7000 has 32"):
        Axi3Dma(DmaTop(DESIGN, 40, core=StandIn))
