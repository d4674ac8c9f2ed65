"""The output stage, across resets and errors."""

from __future__ import annotations

import random

import pytest

from qblif.hw.output import Output

from .bench import get, pause, put, simulate, stability


@pytest.mark.parametrize("seed", range(3))
def test_logits_become_frames_under_random_stalls(seed):
    rng = random.Random(seed)
    dut = Output()
    images = [[rng.getrandbits(32) for _ in range(rng.randint(1, 5))] for _ in range(30)]
    done = []

    async def send(ctx):
        for image in images:
            for index, value in enumerate(image):
                await pause(ctx, rng, 0.2 * seed)
                await put(ctx, dut.i, {"value": value, "last": index == len(image) - 1})

    async def receive(ctx):
        for image in images:
            for index, value in enumerate(image):
                await pause(ctx, rng, 0.4)
                beat = await get(ctx, dut.o)
                assert (beat.data, beat.last) == (value, index == len(image) - 1)
        await ctx.tick()
        assert sum(done) == len(images)

    async def count(ctx):
        async for _, _, value in ctx.tick().sample(dut.done):
            done.append(value)

    simulate(dut, send, receive, processes=[stability(dut.o), count])


@pytest.mark.parametrize("sent", [1, 2, 3])
@pytest.mark.parametrize("held", [False, True])
def test_a_reset_ends_the_frame_it_cuts_off_and_counts_nothing(sent, held):
    """Of a frame of three logits, some have gone out, or the last of them waits, when the reset comes."""
    dut = Output()

    async def bench(ctx):
        for index in range(sent):
            await put(ctx, dut.i, {"value": 10 + index, "last": index == 2})
            if index < sent - 1 or not held:
                assert (await get(ctx, dut.o)).data == 10 + index
        ctx.set(dut.i.payload, {"value": 99, "last": 0})
        ctx.set(dut.i.valid, 1)
        ctx.set(dut.clear, 1)
        assert ctx.get(dut.i.ready) == 0
        await ctx.tick()
        ctx.set(dut.clear, 0)
        ctx.set(dut.i.valid, 0)
        await ctx.tick().repeat(3)
        ctx.set(dut.o.ready, 1)
        beats = []
        for _ in range(6):
            if ctx.get(dut.o.valid):
                beats.append((ctx.get(dut.o.p.data), ctx.get(dut.o.p.last)))
                assert ctx.get(dut.done) == 0
            await ctx.tick()
        assert beats == [(9 + sent, int(sent == 3))] * held + [(0, 1)] * (sent < 3)
        ctx.set(dut.o.ready, 0)
        await put(ctx, dut.i, {"value": 5, "last": 1})
        beat = await get(ctx, dut.o)
        assert (beat.data, beat.last) == (5, 1)

    simulate(dut, bench, processes=[stability(dut.o)], cycles=60)


@pytest.mark.parametrize("seed", range(5))
def test_resets_at_random_times_leave_whole_frames_only(seed):
    """Every frame that comes out is one that went in, or a part of one that a reset ended with a zero."""
    rng = random.Random(seed)
    dut = Output()
    received = []

    async def send(ctx):
        value, index, offered = 1, 0, False
        for cycle in range(640):
            clear, offered = cycle < 600 and rng.random() < 0.04, cycle < 600 and (offered or rng.random() < 0.7)
            ctx.set(dut.clear, clear)
            ctx.set(dut.i.valid, offered)
            ctx.set(dut.i.payload, {"value": value, "last": index == 3})
            *_, ready = await ctx.tick().sample(dut.i.ready)
            taken = offered and ready
            if taken or clear:
                value, index, offered = value + 1, 0 if clear else (index + 1) % 4, False

    async def receive(ctx):
        while True:
            await pause(ctx, rng, 0.4)
            received.append(await get(ctx, dut.o))

    simulate(dut, send, processes=[receive, stability(dut.o)])
    frames, frame = [], []
    for beat in received:
        frame.append(beat.data)
        if beat.last:
            frames.append(frame)
            frame = []
    whole = [f for f in frames if f[-1]]
    cut = [f for f in frames if not f[-1]]
    assert whole and cut
    assert all(len(f) == 4 and f == list(range(f[0], f[0] + 4)) for f in whole)
    assert all(2 <= len(f) <= 4 and f[:-1] == list(range(f[0], f[0] + len(f) - 1)) for f in cut)


def test_nothing_new_is_sent_while_halted_but_what_was_offered_stays():
    dut = Output()

    async def bench(ctx):
        await put(ctx, dut.i, {"value": 7, "last": 0})
        ctx.set(dut.halted, 1)
        ctx.set(dut.i.valid, 1)
        await ctx.tick().repeat(5)
        beat = await get(ctx, dut.o)
        assert beat.data == 7
        await ctx.tick().repeat(5)
        assert (ctx.get(dut.o.valid), ctx.get(dut.i.ready)) == (0, 0)

    simulate(dut, bench, processes=[stability(dut.o)], cycles=20)
