"""The input feeder, with a supervisor that collects its faults."""

from __future__ import annotations

import random

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import connect

from qblif.host.abi import Error
from qblif.hw.input import Input
from qblif.hw.params import CoreParams
from qblif.hw.supervisor import Supervisor

from .bench import get, pause, put, put_frame, simulate, stability


class Bench(wiring.Component):
    def __init__(self, word_bits=64):
        self.params = CoreParams(lanes=16, word_bits=word_bits)
        self.input, self.supervisor = Input(self.params), Supervisor()
        super().__init__({})

    def elaborate(self, platform):
        m = Module()
        m.submodules.input, m.submodules.supervisor = self.input, self.supervisor
        connect(m, self.input.fault, self.supervisor.input_fault)
        m.d.comb += [self.input.halted.eq(self.supervisor.halted), self.supervisor.image_in.eq(self.input.done)]
        return m

    def start(self, ctx, words, row_words=1):
        ctx.set(self.input.words, words)
        ctx.set(self.input.row_words, row_words)
        ctx.set(self.input.loaded, 1)

    def run(self, *testbenches, cycles=20_000):
        simulate(self, *testbenches, processes=[stability(self.input.o)], cycles=cycles)


@pytest.mark.parametrize("word_bits", [32, 64, 256])
@pytest.mark.parametrize(("words", "row_words"), [(1, 1), (7, 7), (8, 2)])
@pytest.mark.parametrize("stalls", [0, 0.5])
def test_frames_become_words_at_rising_addresses_the_ends_of_rows_marked_and_a_commit(word_bits, words, row_words,
                                                                                      stalls):
    rng = random.Random(word_bits + words)
    bench = Bench(word_bits)
    parts = word_bits // 32
    frames = [[rng.getrandbits(32) for _ in range(words * parts)] for _ in range(4)]

    async def send(ctx):
        bench.start(ctx, words, row_words)
        await ctx.tick().repeat(2)
        for frame in frames:
            await put_frame(ctx, bench.input.i, frame, rng if stalls else None)

    async def receive(ctx):
        for frame in frames:
            for address in range(words):
                await pause(ctx, rng, stalls)
                write = await get(ctx, bench.input.o)
                word = sum(beat << 32 * i for i, beat in enumerate(frame[address * parts:(address + 1) * parts]))
                assert (write.commit, write.address, write.data) == (0, address, word)
                assert write.enable == (1 << bench.params.banks) - 1
                assert write.part == ((address + 1) % row_words == 0)
            await pause(ctx, rng, stalls)
            write = await get(ctx, bench.input.o)
            assert (write.commit, write.enable, write.part) == (1, 0, 0)
            await ctx.tick().repeat(2)
        assert ctx.get(bench.supervisor.images_in) == len(frames)
        assert ctx.get(bench.input.busy) == 0
        assert ctx.get(bench.supervisor.error) == Error.NONE

    bench.run(send, receive)


def test_a_beat_is_taken_every_cycle_of_a_frame():
    bench = Bench(32)

    async def send(ctx):
        bench.start(ctx, 50)
        ctx.set(bench.input.o.ready, 1)
        await ctx.tick()
        await put_frame(ctx, bench.input.i, range(50))

    bench.run(send, cycles=52)


@pytest.mark.parametrize(("length", "last", "loaded", "error", "info"), [
    (1, True, True, Error.SHORT_INPUT, 0),
    (2, True, True, Error.SHORT_INPUT, 1),
    (5, True, True, Error.SHORT_INPUT, 4),
    (6, False, True, Error.LONG_INPUT, 5),
    (7, True, True, Error.LONG_INPUT, 5),
    (40, True, True, Error.LONG_INPUT, 5),
    (6, True, False, Error.NO_PROGRAM, 0),
    (1, True, False, Error.NO_PROGRAM, 0),
])
def test_a_wrong_frame_is_reported_swallowed_and_never_committed(length, last, loaded, error, info):
    bench = Bench(64)
    writes = []

    async def send(ctx):
        ctx.set(bench.input.words, 3)
        ctx.set(bench.input.loaded, loaded)
        await ctx.tick()
        await put_frame(ctx, bench.input.i, range(length), last=last)
        await put_frame(ctx, bench.input.i, range(6))
        await ctx.tick().repeat(10)
        assert (ctx.get(bench.supervisor.error), ctx.get(bench.supervisor.error_info)) == (error, info)
        assert ctx.get(bench.supervisor.images_in) == 0
        assert all(not write.commit for write in writes)

    async def receive(ctx):
        while True:
            writes.append(await get(ctx, bench.input.o))

    simulate(bench, send, processes=[receive, stability(bench.input.o)], cycles=100)


def test_no_length_fits_a_program_of_no_words():
    bench = Bench(32)

    async def send(ctx):
        bench.start(ctx, 0)
        ctx.set(bench.input.o.ready, 1)
        await ctx.tick()
        await put_frame(ctx, bench.input.i, range(3))
        await ctx.tick()
        assert ctx.get(bench.supervisor.error) == Error.SHORT_INPUT

    bench.run(send, cycles=20)


def test_a_frame_waits_for_a_program_that_is_loaded_but_one_begun_goes_on():
    bench = Bench(32)

    async def send(ctx):
        bench.start(ctx, 2)
        ctx.set(bench.input.o.ready, 1)
        ctx.set(bench.input.hold, 1)
        ctx.set(bench.input.i.valid, 1)
        await ctx.tick().repeat(5)
        assert ctx.get(bench.input.busy) == 0
        ctx.set(bench.input.hold, 0)
        await put(ctx, bench.input.i, {"data": 1, "last": 0})
        ctx.set(bench.input.hold, 1)
        await put(ctx, bench.input.i, {"data": 2, "last": 1})
        await ctx.tick().repeat(5)
        assert ctx.get(bench.supervisor.images_in) == 1

    bench.run(send, cycles=20)
