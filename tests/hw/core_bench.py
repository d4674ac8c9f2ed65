"""What the tests of the core's components share: program rows, and streams that run side by side."""

from __future__ import annotations

from qblif.host import abi

from .bench import get, put

SETTLE = 12
"""Cycles after the last expected item in which no other may come."""


async def load_rows(ctx, load, memory, rows, first=0, hold=0):
    """Write rows (integers, lowest bits first) to a memory, one per cycle; a layer's comes beat by beat.

    hold: cycles for which each row stays, as weights have to"""
    beats = abi.row_beats(abi.field_bits(abi.LAYER_FIELDS)) if memory == abi.MemoryId.LAYERS else 1
    ctx.set(load.memory, memory)
    await ctx.tick()
    for address, row in enumerate(rows, first):
        for place, beat in enumerate(abi.beats(row, beats)):
            ctx.set(load.address, address)
            ctx.set(load.beat_valid, 1)
            ctx.set(load.beat, beat)
            ctx.set(load.place, place)
            ctx.set(load.valid, place == beats - 1)
            ctx.set(load.data, row)
            await ctx.tick()
        for _ in range(hold):
            ctx.set(load.valid, 0)
            ctx.set(load.beat_valid, 0)
            await ctx.tick()
    ctx.set(load.valid, 0)
    ctx.set(load.beat_valid, 0)


async def feed(ctx, stream, items, rng=None, probability=0.3):
    """Offer items one after the other, with pauses where there is a random generator."""
    for item in items:
        while rng is not None and rng.random() < probability:
            await ctx.tick()
        await put(ctx, stream, item)


async def take(ctx, stream, count, rng=None, probability=0.3):
    """Take `count` items with pauses, see that no more come, and return them."""
    items = []
    for _ in range(count):
        while rng is not None and rng.random() < probability:
            await ctx.tick()
        items.append(plain(await get(ctx, stream)))
    ctx.set(stream.ready, 1)
    for _ in range(SETTLE):
        *_, valid, item = await ctx.tick().sample(stream.valid, stream.payload)
        assert not valid, f"another item came: {plain(item)}"
    return items


async def gather(ctx, stream, cycles):
    """Take every item that comes within `cycles` cycles; return (cycle, item) pairs."""
    items = []
    ctx.set(stream.ready, 1)
    for cycle in range(cycles):
        *_, valid, item = await ctx.tick().sample(stream.valid, stream.payload)
        if valid:
            items.append((cycle, plain(item)))
    return items


def plain(value):
    """Return a sampled structure as a dict, an array as a list, a number as it is."""
    shape = getattr(value, "shape", None)
    if shape is None:
        return value
    keys = list(shape())
    named = [(key, plain(value[key])) for key, _ in keys]
    return [item for _, item in named] if all(isinstance(key, int) for key, _ in named) else dict(named)
