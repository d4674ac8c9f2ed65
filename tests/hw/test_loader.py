"""The program loader, with a supervisor that collects its faults."""

from __future__ import annotations

import random

import pytest
from amaranth.hdl import Module, ResetInserter, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import connect

from qblif.host import abi
from qblif.host.abi import Error, MemoryId
from qblif.hw.loader import Loader
from qblif.hw.params import CoreParams, DesignParams
from qblif.hw.supervisor import Supervisor

from .bench import checked, program, put_frame, section, simulate

SMALL = {"weight_depth": 16, "source_depth": 8, "layer_depth": 4, "channel_depth": 2, "map_depth": 16}
DESIGN = DesignParams((
    CoreParams(lanes=8, word_bits=32, neuron_lanes=2, clusters=2, **SMALL),
    CoreParams(lanes=8, word_bits=32, neuron_lanes=1, weight_bits=4, **SMALL | {"weight_depth": 4}),
    CoreParams(lanes=8, word_bits=32, neuron_lanes=2, clusters=2, **SMALL),
))


class Bench(wiring.Component):
    """Loader and supervisor, which `clear` resets, and a record of the rows written."""

    def __init__(self):
        self.loader, self.supervisor, self.clear = Loader(DESIGN), Supervisor(), Signal()
        self.rows = []
        super().__init__({})

    def elaborate(self, platform):
        m = Module()
        m.submodules.loader = ResetInserter(self.clear)(self.loader)
        m.submodules.supervisor = ResetInserter(self.clear)(self.supervisor)
        connect(m, self.loader.fault, self.supervisor.loader_fault)
        m.d.comb += self.loader.halted.eq(self.supervisor.halted)
        return m

    def recorder(self, core):
        async def record(ctx):
            load = getattr(self.loader, f"load_{core}")
            async for _, _, valid, *row in ctx.tick().sample(load.valid, load.memory, load.cluster, load.address,
                                                             load.data):
                if valid:
                    bits = DESIGN.cores[core].memory_bits(MemoryId(row[0]))
                    self.rows.append((core, *row[:3], row[3] & (1 << bits) - 1))
        return record

    async def load(self, ctx, words, rng=None, last=True):
        """Send one frame after a reset; return (loaded, program hash, error, error info)."""
        ctx.set(self.clear, 1)
        await ctx.tick()
        ctx.set(self.clear, 0)
        await put_frame(ctx, self.loader.i, words, rng, last)
        await ctx.tick().repeat(SETTLE)
        return (ctx.get(self.loader.loaded), ctx.get(self.loader.program_hash),
                Error(ctx.get(self.supervisor.error)), ctx.get(self.supervisor.error_info))

    def run(self, bench, cycles=20_000):
        simulate(self, bench, processes=[self.recorder(core) for core in range(len(DESIGN.cores))], cycles=cycles)


SETTLE = 6 + max(core.load_pause for core in DESIGN.cores)
"""Cycles from a frame's last beat until what it brings about shows."""

LOADED = (1, 0x0123_4567_89AB_CDEF, Error.NONE, 0)


def random_sections(rng, count=8):
    """Return sections in random order of cores, memories and row ranges, and the rows they write."""
    sections, rows = [], []
    for _ in range(count):
        core, memory = rng.randrange(len(DESIGN.cores)), rng.choice(list(MemoryId))
        params = DESIGN.cores[core]
        depth, bits = params.memory_rows(memory), params.memory_bits(memory)
        first = rng.randrange(depth + 1)
        cluster = rng.choice([*range(params.clusters), abi.ALL_CLUSTERS])
        values = [rng.getrandbits(bits) for _ in range(rng.randint(0, depth - first))]
        sections.append(section(DESIGN, core, memory, first, values, cluster))
        rows += [(core, memory, cluster, first + i, value) for i, value in enumerate(values)]
    return sections, rows


@pytest.mark.parametrize("seed", range(4))
def test_every_row_of_a_program_is_written_once_where_its_section_says(seed):
    rng = random.Random(seed)
    sections, rows = random_sections(rng)
    dut = Bench()

    async def bench(ctx):
        assert await dut.load(ctx, program(DESIGN, sections), rng if seed else None) == LOADED
        assert dut.rows == rows

    dut.run(bench)


def test_a_beat_is_taken_every_other_cycle_but_for_the_pause_that_weights_need_and_one_before_the_checksum():
    words = program(DESIGN, [section(DESIGN, 0, MemoryId.WEIGHTS, 0, [0] * 16)])
    dut, pause = Bench(), max(core.load_pause for core in DESIGN.cores)

    async def bench(ctx):
        assert await dut.load(ctx, words) == LOADED

    dut.run(bench, cycles=2 * len(words) + 15 * pause + 5 + SETTLE)


GOOD = [*program(DESIGN, [section(DESIGN, 0, MemoryId.WEIGHTS, 3, [5, 6]),
                          section(DESIGN, 1, MemoryId.CHANNELS, 0, [7])])]


def header(core=0, memory=MemoryId.WEIGHTS, cluster=abi.ALL_CLUSTERS, reserved=0, first=0, rows=1):
    """Return an image with one section of this header, its rows zero."""
    target = memory | cluster << 8 | core << 16 | reserved << 24
    return checked([*GOOD[:6], 1, target, first, rows, *[0] * 40])


WRONG = [
    ([GOOD[0] ^ 1, *GOOD[1:]], Error.BAD_MAGIC, 0),
    ([0], Error.BAD_MAGIC, 0),
    ([GOOD[0], GOOD[1] + 1, *GOOD[2:]], Error.BAD_VERSION, 1),
    ([*GOOD[:2], GOOD[2] ^ 1 << 31, *GOOD[3:]], Error.WRONG_BUILD, 2),
    ([*GOOD[:3], GOOD[3] ^ 1, *GOOD[4:]], Error.WRONG_BUILD, 3),
    (header(core=3), Error.BAD_SECTION, 7),
    (header(core=255), Error.BAD_SECTION, 7),
    (header(memory=5), Error.BAD_SECTION, 7),
    (header(cluster=2), Error.BAD_SECTION, 7),
    (header(cluster=254), Error.BAD_SECTION, 7),
    (header(core=1, cluster=1), Error.BAD_SECTION, 7),
    (header(reserved=1), Error.BAD_SECTION, 7),
    (header(first=17), Error.BAD_SECTION, 8),
    (header(first=0xFFFF_FFFF), Error.BAD_SECTION, 8),
    (header(first=16), Error.BAD_SECTION, 9),
    (header(first=15, rows=2), Error.BAD_SECTION, 9),
    (header(first=15, rows=0xFFFF_FFF8), Error.BAD_SECTION, 9),
    (header(core=1, first=3, rows=2), Error.BAD_SECTION, 9),
    (header(memory=MemoryId.CONFIG, rows=2), Error.BAD_SECTION, 9),
    (GOOD[:1], Error.SHORT_PROGRAM, 0),
    (GOOD[:7], Error.SHORT_PROGRAM, 6),
    (GOOD[:-1], Error.SHORT_PROGRAM, len(GOOD) - 2),
    ([*GOOD, 0], Error.LONG_PROGRAM, len(GOOD) - 1),
    ([*GOOD[:-1], GOOD[-1] ^ 1], Error.BAD_CRC, len(GOOD) - 1),
    ([*GOOD[:4], GOOD[4] ^ 2, *GOOD[5:]], Error.BAD_CRC, len(GOOD) - 1),
    ([*GOOD[:10], GOOD[10] ^ 4, *GOOD[11:]], Error.BAD_CRC, len(GOOD) - 1),
    (GOOD, Error.LONG_PROGRAM, len(GOOD) - 1),   # the only one sent without an end
]
"""Frame, error, index of the wrong beat."""


def test_the_first_wrong_beat_is_reported_and_nothing_is_loaded():
    dut = Bench()

    async def bench(ctx):
        for number, (words, error, info) in enumerate(WRONG):
            assert await dut.load(ctx, words, last=words is not GOOD) == (0, 0, error, info), f"row {number} of WRONG"
            # Whatever comes after the first error is discarded, a good program too.
            await put_frame(ctx, dut.loader.i, GOOD)
            assert ctx.get(dut.supervisor.error) == error
            assert ctx.get(dut.loader.loaded) == 0
        assert await dut.load(ctx, GOOD) == LOADED

    dut.run(bench)


def test_a_program_cut_off_anywhere_is_short():
    dut = Bench()

    async def bench(ctx):
        for length in range(1, len(GOOD)):
            assert await dut.load(ctx, GOOD[:length]) == (0, 0, Error.SHORT_PROGRAM, length - 1)

    dut.run(bench)


@pytest.mark.parametrize("seed", range(3))
def test_no_damaged_program_is_ever_loaded(seed):
    """Single and several flipped bits, exchanged, repeated, missing and random beats, at random places."""
    rng = random.Random(seed)
    dut = Bench()
    words = program(DESIGN, random_sections(rng, 3)[0])

    def damage():
        bad = list(words)
        for _ in range(rng.choice([1, 1, 2, 5])):
            at, other = rng.randrange(len(bad)), rng.randrange(len(bad))
            match rng.randrange(5):
                case 0:
                    bad[at] ^= 1 << rng.randrange(32)
                case 1:
                    bad[at], bad[other] = bad[other], bad[at]
                case 2:
                    bad.insert(at, bad[other])
                case 3:
                    del bad[at]
                case 4:
                    bad[at] = rng.choice([0, 1, 2, 0xFFFF_FFFF, rng.getrandbits(32)])
        return bad or [0]

    async def bench(ctx):
        for _ in range(40):
            bad = damage()
            loaded, program_hash, error, info = await dut.load(ctx, bad)
            if bad != words:
                assert (loaded, program_hash) == (0, 0)
                assert error != Error.NONE
                assert info < len(bad)
        assert await dut.load(ctx, words) == LOADED

    dut.run(bench)


def test_a_program_waits_while_images_are_in_the_chain_and_the_old_one_stays_until_then():
    bench = Bench()
    loader = bench.loader

    async def test(ctx):
        await put_frame(ctx, loader.i, GOOD)
        await ctx.tick().repeat(SETTLE)
        assert ctx.get(loader.loaded) == 1
        ctx.set(loader.hold, 1)
        ctx.set(loader.i.p.data, abi.MAGIC)
        ctx.set(loader.i.p.last, 0)
        ctx.set(loader.i.valid, 1)
        await ctx.tick().repeat(10)
        assert (ctx.get(loader.loaded), ctx.get(loader.loading)) == (1, 0)
        ctx.set(loader.hold, 0)
        await ctx.tick()
        ctx.set(loader.i.valid, 0)
        await ctx.tick().repeat(SETTLE)
        assert (ctx.get(loader.loaded), ctx.get(loader.loading)) == (0, 1)
        assert ctx.get(loader.program_hash) == 0
        ctx.set(loader.hold, 1)    # matters for the first beat only
        await put_frame(ctx, loader.i, GOOD[1:])
        await ctx.tick().repeat(SETTLE)
        assert (ctx.get(loader.loaded), ctx.get(loader.loading)) == (1, 0)

    simulate(bench, test, cycles=200)
