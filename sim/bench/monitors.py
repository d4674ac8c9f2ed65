"""Both ends of a stream, with random pauses, and a monitor of its rules; all give up when nothing moves."""

from __future__ import annotations

import random
from collections.abc import Iterable

import cocotb
from cocotb.triggers import RisingEdge

from .ports import Bench

PATIENCE = 5_000
"""Clock cycles without a transfer after which a driver or a sink gives up."""


class Stuck(AssertionError):
    """Nothing moved for too long."""


class Driver:
    """Sends items into the stream `name`; waits before each with probability `idle` per cycle.

    While it has nothing to offer, the payload is random."""

    def __init__(self, bench: Bench, name: str, idle: float = 0.0, patience: int = PATIENCE):
        self._clk, self._name, self._idle, self._patience = bench.clk, name, idle, patience
        self._payload, self._valid = bench[f"{name}__payload"], bench[f"{name}__valid"]
        self._ready = bench[f"{name}__ready"]

    async def put(self, item) -> None:
        """Offer one item until it is taken; raises Stuck."""
        if random.random() < self._idle:
            self._payload.set_raw(random.getrandbits(self._payload.width))
            await RisingEdge(self._clk)
            while random.random() < self._idle:
                await RisingEdge(self._clk)
        self._payload.set(item)
        self._valid.set(1)
        for _ in range(self._patience):
            await RisingEdge(self._clk)
            if self._ready.raw():
                self._valid.set(0)
                return
        raise Stuck(f"{self._name} took no item for {self._patience} cycles")

    async def send(self, items: Iterable) -> None:
        """Send items one after the other; raises Stuck."""
        for item in items:
            await self.put(item)


class Sink:
    """Takes what comes out of the stream `name`, refusing with probability `pause` per cycle, and watches its rules.

    items: what came so far, unpacked. A stream without `ready` is taken as it comes."""

    def __init__(self, bench: Bench, name: str, pause: float = 0.0, patience: int = PATIENCE):
        self._bench, self._name, self._pause, self._patience = bench, name, pause, patience
        self.items = []
        self._task = cocotb.start_soon(self._run())
        if f"{name}__ready" in bench:
            cocotb.start_soon(stability(bench, f"{name}__valid", f"{name}__ready", f"{name}__payload"))

    async def _run(self) -> None:
        bench, name = self._bench, self._name
        payload, valid = bench[f"{name}__payload"], bench[f"{name}__valid"]
        ready = bench[f"{name}__ready"] if f"{name}__ready" in bench else None
        while True:
            taking = ready is None or random.random() >= self._pause
            if ready is not None:
                ready.set(int(taking))
            await RisingEdge(bench.clk)
            if valid.raw() and taking:
                self.items.append(payload.get())

    async def take(self, count: int) -> list:
        """Wait for `count` items and return them, oldest first; raises Stuck."""
        waited, had = 0, len(self.items)
        while len(self.items) < count:
            await RisingEdge(self._bench.clk)
            waited = waited + 1 if len(self.items) == had else 0
            had = len(self.items)
            if waited > self._patience:
                raise Stuck(f"{self._name} gave {had} of {count} items, then none for {self._patience} cycles")
        taken, self.items[:count] = self.items[:count], []
        return taken

    async def silent(self, cycles: int) -> None:
        """See that nothing (more) comes for some cycles."""
        await self._bench.cycles(cycles)
        assert not self.items, f"{self._name} gave {len(self.items)} items too many, first {self.items[0]}"


async def stability(bench: Bench, valid: str, ready: str, *payload: str) -> None:
    """Fail when an item on offer (the named ports) changes, or vanishes, before it is taken; never ends."""
    is_valid, is_ready, parts = bench[valid], bench[ready], [bench[name] for name in payload]
    offered = None
    while True:
        await RisingEdge(bench.clk)
        now = is_valid.raw()
        if offered is None and not now:
            continue
        item = [part.raw() for part in parts]
        if offered is not None:
            assert now, f"{valid} fell before the item was taken"
            assert item == offered, f"{', '.join(payload)} changed from {offered} to {item} before the item was taken"
        offered = item if not is_ready.raw() else None
