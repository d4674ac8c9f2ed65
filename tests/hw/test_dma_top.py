"""Jobs: the whole design with its DMA around a stand-in for the core, as a host with memory sees it."""

from __future__ import annotations

import gc
import random

import pytest

from qblif.host import abi
from qblif.host.abi import Error
from qblif.hw.dma_top import DmaTop
from qblif.hw.params import CoreParams, DesignParams

from . import bench
from .axi_memory import DECODE, OKAY, SLAVE, Checker, Memory, Pace
from .bench import program, section, simulate
from .stand_in import CLASSES, HANG, StandIn, config, expected

CORE = CoreParams(lanes=4, word_bits=32, neuron_lanes=1, weight_depth=4, source_depth=4, layer_depth=4,
                  channel_depth=4, map_depth=16)
BASE = 0x4_0000
SIZE = 0x4000
PROGRAM = BASE
SOURCE = BASE + 0xFE8
TARGET = BASE + 0x2FD0
IMAGES, PROGRAMS = 0, 1


class Registers(bench.Registers):
    """The register port, by names of job registers too."""

    OFFSETS = bench.Registers.OFFSETS | {name: offset for name, offset, *_ in abi.JOB_REGISTERS}


class Board:
    """A design with memory, whose cores are stand-ins, and the host's side of its registers."""

    def __init__(self, rng=None, pace=None, address_bits=32):
        self.rng = rng or random.Random(0)
        self.design = DesignParams((CORE,))
        self.top = DmaTop(self.design, address_bits, core=StandIn)
        self.registers = Registers(self.top)
        self.memory = Memory(self.top, BASE, SIZE, self.rng, pace)
        self.checker = Checker(self.top)

    async def read(self, ctx, register):
        return await self.registers.read(ctx, register)

    async def write(self, ctx, **values):
        for register, value in values.items():
            await self.registers.write(ctx, register, value)

    async def status(self, ctx):
        """Return busy, done and error of the job."""
        fields = abi.unpack(abi.JOB_STATUS_FIELDS, await self.read(ctx, "JOB_STATUS"))
        return fields["busy"], fields["done"], Error(fields["error"])

    async def start(self, ctx, kind=IMAGES, frames=1, in_beats=5, source=SOURCE, target=TARGET, out_beats=CLASSES):
        """Begin a job; say what it may touch."""
        self.checker.frozen = self.checker.stopping = False
        self.checker.readable = range(source, source + 4 * frames * in_beats)
        self.checker.writable = range(target, target + 4 * frames * out_beats if kind == IMAGES else target)
        await self.write(ctx, JOB_KIND=kind, JOB_SOURCE_LO=source & 0xFFFF_FFFF, JOB_SOURCE_HI=source >> 32,
                         JOB_TARGET_LO=target & 0xFFFF_FFFF, JOB_TARGET_HI=target >> 32, JOB_FRAMES=frames,
                         JOB_IN_BEATS=in_beats, JOB_OUT_BEATS=out_beats, JOB_CONTROL=1)

    async def end(self, ctx, polls=600):
        """Wait until no job runs; return its error."""
        for _ in range(polls):
            busy, done, error = await self.status(ctx)
            if not busy:
                assert done
                return error
        raise TimeoutError(f"the job does not end, its error is {error!r}")

    async def load(self, ctx, weight=7, words=5):
        """Run the job of a program."""
        beats = program(self.design, [section(self.design, 0, abi.MemoryId.WEIGHTS, 0, [weight]),
                                      section(self.design, 0, abi.MemoryId.CONFIG, 0, [config(1, words)])])
        self.memory.put(PROGRAM, beats)
        await self.start(ctx, PROGRAMS, in_beats=len(beats), source=PROGRAM)
        assert await self.end(ctx) == Error.NONE
        assert (await self.registers.status(ctx))["loaded"] == 1

    async def infer(self, ctx, frames, weight=7, words=5, source=SOURCE, target=TARGET):
        """Run a job of random images and check what is in memory then."""
        images = [[self.rng.getrandbits(32) for _ in range(words)] for _ in range(frames)]
        self.memory.put(source, [word for image in images for word in image])
        around = slice(target - BASE + 4 * frames * CLASSES, None), slice(0, target - BASE)
        before = [bytes(self.memory.bytes[part]) for part in around]
        await self.start(ctx, frames=frames, in_beats=words, source=source, target=target)
        assert await self.end(ctx) == Error.NONE
        assert self.memory.get(target, frames * CLASSES) == [
            logit for image in images for logit in expected(image, [weight])]
        assert [bytes(self.memory.bytes[part]) for part in around] == before
        assert await self.read(ctx, "JOB_DONE") == frames

    async def recover(self, ctx, weight=7):
        """Do what a host does after an error, and see that the next job is right."""
        await self.write(ctx, JOB_CONTROL=2)
        for _ in range(600):
            if not (await self.status(ctx))[0]:
                break
        assert self.checker.open == {"read": 0, "write": 0}
        await self.write(ctx, CONTROL=1)
        await self.load(ctx, weight)
        await self.infer(ctx, 2, weight)

    def run(self, *testbenches, cycles=20_000):
        simulate(self.top, *testbenches, cycles=cycles, processes=[
            self.memory.reads, self.memory.writes, self.checker.reads, self.checker.writes])


def test_a_program_and_images_are_a_few_register_writes_each():
    board = Board()

    async def host(ctx):
        assert await board.read(ctx, "ID") == abi.MAGIC
        caps = abi.unpack(abi.CAPS_FIELDS, await board.read(ctx, "CAPS"))
        assert (abi.FRONT_ENDS[caps["front_end"]], caps["address_bits"], caps["data_bits"]) == ("dma", 32, 64)
        assert await board.status(ctx) == (0, 0, Error.NONE)
        await board.load(ctx)
        assert await board.read(ctx, "JOB_DONE") == 0
        await board.infer(ctx, 3)
        assert await board.status(ctx) == (0, 1, Error.NONE)
        assert await board.read(ctx, "IMAGES_OUT") == 3
        cycles = await board.read(ctx, "JOB_CYCLES_LO")
        assert 3 * 9 < cycles < 100
        assert await board.read(ctx, "JOB_CYCLES_HI") == 0

    board.run(host)


@pytest.mark.parametrize("pace", [Pace(), Pace(30, 5), Pace(10, 40, 0.5), Pace(3, 0, 0.3, "address first"),
                                  Pace(3, 0, 0.3, "data first")], ids=str)
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(1, 20))])
def test_jobs_of_any_size_and_place_give_the_right_results(seed, pace):
    rng = random.Random(seed)
    board = Board(rng, pace)

    async def host(ctx):
        await board.write(ctx, WATCHDOG=1000)
        for weight in range(2):
            words = rng.randint(1, 20)
            await board.load(ctx, weight, words)
            for frames in (1, rng.randint(2, 15)):
                await board.infer(ctx, frames, weight, words, SOURCE + 8 * rng.randrange(16),
                                  TARGET + 8 * rng.randrange(16))

    board.run(host)
    assert board.checker.open == {"read": 0, "write": 0}


def test_registers_of_a_job_keep_what_is_written_and_a_job_does_not_change_them():
    board = Board(address_bits=40)
    names = [name for name, _, access, _ in abi.JOB_REGISTERS if access == "rw"]

    async def host(ctx):
        values = {name: board.rng.getrandbits(32) for name in names}
        await board.write(ctx, **values)
        assert {name: await board.read(ctx, name) for name in names} == values
        await board.registers.write(ctx, "JOB_TAG", 0x1122_3344)
        await board.registers.write(ctx, "JOB_TAG", 0xAABB_CCDD, strobe=0b0101)
        assert await board.read(ctx, "JOB_TAG") == 0x11BB_33DD
        assert await board.read(ctx, "JOB_CONTROL") == 0
        for unused in (0x248, 0x2FC, 0x300, 0x3FC, 0x400, 0x600, 0xFFC):
            await board.registers.write(ctx, unused, 0xFFFF_FFFF)
            assert await board.read(ctx, unused) == 0
        await board.load(ctx)
        await board.infer(ctx, 2)
        values |= dict(JOB_TAG=0x11BB_33DD, JOB_KIND=IMAGES, JOB_SOURCE_LO=SOURCE, JOB_SOURCE_HI=0,
                       JOB_TARGET_LO=TARGET, JOB_TARGET_HI=0, JOB_FRAMES=2, JOB_IN_BEATS=5, JOB_OUT_BEATS=CLASSES)
        await board.write(ctx, CONTROL=1)
        assert {name: await board.read(ctx, name) for name in names} == values
        assert await board.status(ctx) == (0, 1, Error.NONE)

    board.run(host)


def test_the_next_job_may_be_described_while_one_runs_and_a_start_is_ignored():
    board = Board(pace=Pace(40))

    async def host(ctx):
        await board.load(ctx)
        images = [[board.rng.getrandbits(32) for _ in range(5)] for _ in range(6)]
        board.memory.put(SOURCE, [word for image in images for word in image])
        await board.start(ctx, frames=6)
        await board.write(ctx, JOB_SOURCE_LO=1, JOB_TARGET_LO=1, JOB_FRAMES=99, JOB_IN_BEATS=7, JOB_OUT_BEATS=8,
                          JOB_CONTROL=1)
        assert await board.status(ctx) == (1, 0, Error.NONE)
        assert await board.end(ctx) == Error.NONE
        assert board.memory.get(TARGET, 18) == [logit for image in images for logit in expected(image, [7])]
        assert await board.read(ctx, "JOB_DONE") == 6

    board.run(host)


def test_results_are_in_memory_when_they_are_counted():
    board = Board(pace=Pace(20))
    images = [[board.rng.getrandbits(32) for _ in range(5)] for _ in range(8)]
    results = [expected(image, [7]) for image in images]
    counts = set()

    async def host(ctx):
        await board.load(ctx)
        board.memory.put(SOURCE, [word for image in images for word in image])
        await board.start(ctx, frames=8)
        while len(counts) == 0 or max(counts) < 8:
            count = await board.read(ctx, "JOB_DONE")
            counts.add(count)
            found = board.memory.get(TARGET, 3 * count)
            assert found == [logit for result in results[:count] for logit in result]

    board.run(host)
    assert len(counts) > 3, "results come one by one"


def test_statistics_tell_where_the_cycles_of_a_job_went():
    board = Board()

    async def job(ctx, frames):
        await board.infer(ctx, frames)
        return [await board.read(ctx, name) for name in ("JOB_CYCLES_LO", "JOB_READ_STALLS", "JOB_WRITE_STALLS")]

    async def host(ctx):
        await board.load(ctx)
        # Of one frame of 5 beats and 3 results: the least that a job takes (docs/architecture.md)
        assert await job(ctx, 1) == [29, 9, 0]
        board.memory.pace = Pace(latency=30)
        assert await job(ctx, 1) == [29 + 2 * 30, 9 + 30, 0]
        board.memory.pace = Pace()
        board.memory.hanging = {"w"}
        await board.start(ctx, frames=30)
        await ctx.tick().repeat(500)
        assert await board.read(ctx, "JOB_WRITE_STALLS") > 100
        board.memory.hanging = set()
        assert await board.end(ctx) == Error.NONE
        assert await board.read(ctx, "JOB_DONE") == 30

    board.run(host)


BAD_JOBS = [dict(source=SOURCE + 4), dict(source=SOURCE + 1), dict(target=TARGET + 4), dict(frames=0),
            dict(in_beats=0), dict(out_beats=0), dict(kind=2), dict(kind=0x8000_0000), dict(source=1 << 32),
            dict(target=1 << 63), dict(kind=PROGRAMS, frames=2), dict(kind=PROGRAMS, in_beats=0),
            dict(kind=PROGRAMS, source=SOURCE + 4)]


def test_jobs_that_cannot_be_right_touch_nothing():
    board = Board()

    async def host(ctx):
        await board.load(ctx)
        board.memory.log.clear()
        for bad in BAD_JOBS:
            await board.start(ctx, **bad)
            assert await board.status(ctx) == (0, 1, Error.BAD_JOB), bad
        assert not board.memory.log
        await board.infer(ctx, 1)

    board.run(host)


def test_only_addresses_that_the_bus_lacks_are_bad():
    board = Board(address_bits=40)

    async def host(ctx):
        await board.load(ctx)
        await board.start(ctx, source=0x12_3456_7890)
        assert await board.end(ctx) == Error.READ_DECODE
        assert await board.read(ctx, "JOB_ERROR_LO") == 0x3456_7890
        assert await board.read(ctx, "JOB_ERROR_HI") == 0x12
        await board.recover(ctx)
        await board.start(ctx, source=0x112_3456_7890)
        assert await board.end(ctx) == Error.BAD_JOB

    board.run(host)


@pytest.mark.parametrize(("direction", "response", "error"), [
    ("read", SLAVE, Error.READ_SLAVE), ("read", DECODE, Error.READ_DECODE),
    ("write", SLAVE, Error.WRITE_SLAVE), ("write", DECODE, Error.WRITE_DECODE)])
def test_error_responses_end_a_job_with_their_code_and_address(direction, response, error):
    board = Board(pace=Pace(10, 10))
    wrong = {"read": SOURCE // 128 * 128 + 256, "write": TARGET // 128 * 128 + 128}[direction]

    async def host(ctx):
        await board.load(ctx)
        board.memory.faults = lambda way, address: response if way == direction and address == wrong else OKAY
        board.checker.stopping = True
        await board.start(ctx, frames=20)
        board.checker.stopping = True
        assert await board.end(ctx) == error
        assert await board.read(ctx, "JOB_ERROR_LO") == wrong
        board.memory.faults = lambda way, address: OKAY
        await board.recover(ctx)
        assert await board.read(ctx, "JOB_ERROR_LO") == 0

    board.run(host)


@pytest.mark.parametrize(("job", "error", "core"), [
    (dict(out_beats=CLASSES + 1), Error.SHORT_OUTPUT, Error.NONE),
    (dict(out_beats=CLASSES - 1), Error.LONG_OUTPUT, Error.NONE),
    (dict(in_beats=4), Error.CORE, Error.SHORT_INPUT),
    (dict(in_beats=6), Error.CORE, Error.LONG_INPUT)])
def test_frames_of_the_wrong_length_end_a_job(job, error, core):
    board = Board()

    async def host(ctx):
        await board.load(ctx)
        await board.infer(ctx, 2)
        await board.start(ctx, **{"frames": 4} | job)
        board.checker.stopping = True
        assert await board.end(ctx) == error
        assert (await board.registers.status(ctx))["error"] == core
        assert await board.read(ctx, "JOB_DONE") == 0
        await board.recover(ctx)

    board.run(host)


@pytest.mark.parametrize(("place", "error"), [(0, Error.BAD_MAGIC), (3, Error.WRONG_BUILD), (9, Error.LONG_PROGRAM),
                                              (-1, Error.BAD_CRC)])
def test_a_wrong_program_ends_its_job_with_an_error_of_the_core(place, error):
    board = Board()

    async def host(ctx):
        await board.load(ctx)
        beats = program(board.design, [section(board.design, 0, abi.MemoryId.WEIGHTS, 0, [1])])
        beats[place] ^= 1
        board.memory.put(PROGRAM, beats)
        await board.start(ctx, PROGRAMS, in_beats=len(beats), source=PROGRAM)
        assert await board.end(ctx) == Error.CORE
        assert (await board.registers.status(ctx))["error"] == error
        await board.recover(ctx)

    board.run(host)


def test_images_without_a_program_and_a_core_that_hangs_are_errors_of_the_core():
    board = Board()

    async def host(ctx):
        await board.start(ctx)
        assert await board.end(ctx) == Error.CORE
        assert (await board.registers.status(ctx))["error"] == Error.NO_PROGRAM
        # Again: the accelerator still shows its error
        await board.start(ctx)
        assert await board.end(ctx) == Error.CORE
        await board.recover(ctx)
        await board.write(ctx, WATCHDOG=200)
        await board.load(ctx, weight=HANG)
        await board.start(ctx, frames=3)
        assert await board.end(ctx) == Error.CORE
        assert (await board.registers.status(ctx))["error"] == Error.WATCHDOG
        await board.recover(ctx)

    board.run(host)


@pytest.mark.parametrize("reset", [False, True], ids=["abort", "control reset"])
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(1, 30))])
def test_a_job_cut_off_at_any_time_completes_its_transfers_and_the_next_one_is_right(seed, reset):
    rng = random.Random(seed)
    pace = Pace(rng.randrange(30), rng.randrange(20), rng.choice([0, 0.5]),
                rng.choice(["any", "address first", "data first"]))
    board = Board(rng, pace)
    cut = 0

    async def host(ctx):
        nonlocal cut
        await board.load(ctx)
        for _ in range(4):
            kind = rng.choice([IMAGES, IMAGES, PROGRAMS])
            await board.start(ctx, kind, frames=1 if kind else 30, in_beats=20 if kind else 5,
                              source=PROGRAM if kind else SOURCE)
            for _ in range(rng.choice([3, 30, 150, 300])):
                await ctx.tick()
            board.checker.stopping = True
            await board.write(ctx, **({"CONTROL": 1} if reset else {"JOB_CONTROL": 2}))
            await ctx.tick().repeat(2)
            board.checker.frozen = True
            error = await board.end(ctx)
            assert error in (Error.ABORTED, Error.NONE, Error.CORE)
            cut += error == Error.ABORTED
            assert board.checker.open == {"read": 0, "write": 0}
            if not reset:
                board.checker.frozen = False
                if error == Error.ABORTED:
                    # Frames may be anywhere: nothing runs before a reset
                    board.memory.log.clear()
                    await board.start(ctx)
                    assert await board.end(ctx) in (Error.ABORTED, Error.CORE)
                    assert not board.memory.log
                await board.write(ctx, CONTROL=1)
            await board.load(ctx, weight := rng.getrandbits(16))
            await board.infer(ctx, rng.randint(1, 3), weight)

    board.run(host, cycles=60_000)
    assert cut


def test_an_abort_without_a_job_does_nothing():
    board = Board()

    async def host(ctx):
        await board.write(ctx, JOB_CONTROL=2)
        assert await board.status(ctx) == (0, 0, Error.NONE)
        await board.load(ctx)
        await board.write(ctx, JOB_CONTROL=3)
        assert await board.status(ctx) == (0, 1, Error.NONE)
        await board.infer(ctx, 1)

    board.run(host)


@pytest.mark.parametrize("channel", ["ar", "r", "aw", "w", "b"])
def test_a_bus_that_hangs_is_a_time_out_and_busy_until_it_moves_again(channel):
    board = Board()

    async def host(ctx):
        await board.write(ctx, WATCHDOG=150)
        await board.load(ctx)
        board.memory.hanging = {channel}
        await board.start(ctx, frames=300)    # more than is read ahead
        board.checker.stopping = True
        await ctx.tick().repeat(120)
        assert (await board.status(ctx))[0] == 1
        await ctx.tick().repeat(150)
        assert await board.status(ctx) == (1, 0, Error.BUS_TIMEOUT)
        await board.write(ctx, JOB_CONTROL=2, CONTROL=1)
        await ctx.tick().repeat(100)
        assert await board.status(ctx) == (1, 0, Error.BUS_TIMEOUT), "transfers are still under way"
        await board.start(ctx)
        assert await board.status(ctx) == (1, 0, Error.BUS_TIMEOUT)
        board.checker.stopping = True
        board.memory.hanging = set()
        assert await board.end(ctx) == Error.BUS_TIMEOUT
        await board.recover(ctx)

    board.run(host)


@pytest.mark.parametrize("watchdog", [0, 400])
def test_a_slow_bus_is_no_time_out(watchdog):
    board = Board(pace=Pace(latency=300))

    async def host(ctx):
        await board.write(ctx, WATCHDOG=watchdog)
        await board.load(ctx)
        await board.infer(ctx, 3)

    board.run(host)


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_addresses_have_16_to_64_bits():
    with pytest.raises(ValueError, match="address_bits is 12, allowed is 16 to 64"):
        DmaTop(DesignParams((CORE,)), 12)
    gc.collect()
