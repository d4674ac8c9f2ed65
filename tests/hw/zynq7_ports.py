"""What a Zynq-7000's processing system is to the ports of a design: a manager on GP0, a memory's port on HP0."""

from __future__ import annotations

import random
from types import SimpleNamespace

from qblif.host import abi
from qblif.hw.axi3 import Burst

OFFSETS = {name: offset for name, offset, *_ in (*abi.REGISTERS, *abi.JOB_REGISTERS)}


def beat_addresses(address: int, length: int, size: int, burst: int) -> list[int]:
    """Return the address of each beat. Ref: IHI 0022, A3.4.1 (Address_N and Wrap_Boundary)."""
    width, count = 1 << size, length + 1
    aligned = address // width * width
    found = []
    for index in range(count):
        if burst == Burst.FIXED.value:
            found.append(address)
        elif burst == Burst.WRAP.value:
            low = address // (width * count) * (width * count)
            found.append(low + (address - low + index * width) % (width * count))
        else:
            found.append(address if index == 0 else aligned + index * width)
    return found


class Gp0:
    """The processor at an AXI3 port `axi` of 12 identifier bits: one burst at a time, identifiers and pauses at random.

    prefix: added to addresses, as the port's place in the processor's address space."""

    def __init__(self, axi, rng: random.Random | None = None, prefix: int = 0x43C0_0000):
        self._axi, self._rng, self._prefix = axi, rng or random.Random(1), prefix
        self.pauses = 0.0

    async def _pause(self, ctx):
        while self._rng.random() < self.pauses:
            await ctx.tick()

    def _offer(self, ctx, channel, address, length, size, burst):
        identifier = self._rng.getrandbits(12)
        for name, value in (("addr", self._prefix + address), ("id", identifier), ("len", length), ("size", size),
                            ("burst", burst), ("cache", self._rng.getrandbits(4)), ("prot", self._rng.getrandbits(3)),
                            ("lock", 0), ("qos", self._rng.getrandbits(4)), ("valid", 1)):
            ctx.set(getattr(self._axi, channel + name), value)
        return identifier

    async def read_burst(self, ctx, address, length=0, size=2, burst=1):
        """Return (data, response) of every beat; checks identifier and last."""
        axi, beats = self._axi, []
        identifier = self._offer(ctx, "ar", address, length, size, burst)
        await ctx.tick().until(axi.arready)
        ctx.set(axi.arvalid, 0)
        for index in range(length + 1):
            await self._pause(ctx)
            ctx.set(axi.rready, 1)
            data, response, last, rid = await ctx.tick().sample(axi.rdata, axi.rresp, axi.rlast, axi.rid).until(
                axi.rvalid)
            ctx.set(axi.rready, 0)
            assert (rid, last) == (identifier, index == length)
            beats.append((data, response))
        return beats

    async def write_burst(self, ctx, address, words, size=2, burst=1, strobes=None):
        """Write the words; return the response; checks the identifier."""
        axi = self._axi
        identifier = self._offer(ctx, "aw", address, len(words) - 1, size, burst)

        async def cycle():
            """Let a cycle pass; return whether the data was taken. The address may be taken in any of them."""
            *_, address_taken, data_taken = await ctx.tick().sample(axi.awready & axi.awvalid, axi.wready & axi.wvalid)
            if address_taken:
                ctx.set(axi.awvalid, 0)
            return data_taken

        for index, word in enumerate(words):
            while self._rng.random() < self.pauses:
                await cycle()
            for name, value in (("data", word), ("id", identifier), ("strb", strobes[index] if strobes else 15),
                                ("last", index == len(words) - 1), ("valid", 1)):
                ctx.set(getattr(axi, "w" + name), value)
            while not await cycle():
                pass
            ctx.set(axi.wvalid, 0)
        assert not ctx.get(axi.awvalid), "data was taken before its address"
        await self._pause(ctx)
        ctx.set(axi.bready, 1)
        response, bid = await ctx.tick().sample(axi.bresp, axi.bid).until(axi.bvalid)
        ctx.set(axi.bready, 0)
        assert bid == identifier
        return response

    async def read(self, ctx, register):
        """Return a register, by name or offset."""
        ((value, response),) = await self.read_burst(ctx, OFFSETS.get(register, register))
        assert response == 0
        return value

    async def write(self, ctx, **values):
        """Write registers, by name."""
        for name, value in values.items():
            assert await self.write_burst(ctx, OFFSETS[name], [value]) == 0

    async def job(self, ctx, kind, source, in_beats, target=0, frames=1, out_beats=0, polls=20_000):
        """Run a job; return its error."""
        await self.write(ctx, JOB_KIND=kind, JOB_SOURCE_LO=source, JOB_SOURCE_HI=0, JOB_TARGET_LO=target,
                         JOB_TARGET_HI=0, JOB_FRAMES=frames, JOB_IN_BEATS=in_beats, JOB_OUT_BEATS=out_beats,
                         JOB_CONTROL=1)
        for _ in range(polls):
            status = abi.unpack(abi.JOB_STATUS_FIELDS, await self.read(ctx, "JOB_STATUS"))
            if status["done"]:
                return abi.Error(status["error"])
            await ctx.tick().repeat(20)
        raise TimeoutError("the job does not end")


def as_memory_port(axi):
    """Return an AXI3 port in the shape that axi_memory.Memory and Checker take."""
    members = {"axi": SimpleNamespace(signature=axi.signature)}
    return SimpleNamespace(axi=axi, signature=SimpleNamespace(members=members))


def watch_identifiers(axi):
    """Return a process that fails where a burst of HP0 is not of the one identifier, locked, or of another quality."""
    async def watch(ctx):
        names = ("arid", "awid", "wid", "arlock", "awlock", "arqos", "awqos")
        async for _, _, *values in ctx.tick().sample(*(getattr(axi, name) for name in names)):
            assert not any(values), dict(zip(names, values, strict=True))
    return watch
