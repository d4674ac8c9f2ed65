"""What the hardware tests share: streams, a simulator with a time limit, program images, AXI ports of the top."""

from __future__ import annotations

import contextlib
import random
import zlib

from amaranth.hdl import Cat
from amaranth.sim import Simulator

from qblif.host import abi


class Port:
    """A stream made of single signals, in the shape of an Amaranth stream."""

    def __init__(self, component, name):
        self.data, self.last = getattr(component, f"{name}_tdata"), getattr(component, f"{name}_tlast")
        self.payload = Cat(self.data, self.last)
        self.valid, self.ready = getattr(component, f"{name}_tvalid"), getattr(component, f"{name}_tready")


def simulate(dut, *testbenches, processes=(), cycles=20_000, vcd=None):
    """Run the test benches to their end; fail if that takes more than `cycles` clock cycles.

    `processes` may still run then. They must wait by plain ``await ctx.tick()``: the generators in which
    ``until`` and ``repeat`` wait complain when they are thrown away."""
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    for testbench in testbenches:
        simulator.add_testbench(testbench)
    for process in processes:
        simulator.add_testbench(process, background=True)

    # Each step of the simulator ends at one of the clock's two edges.
    with simulator.write_vcd(vcd) if vcd else contextlib.nullcontext():
        for _ in range(2 * cycles):
            if not simulator.advance():
                return
    raise TimeoutError(f"the test benches did not end within {cycles} cycles")


async def pause(ctx, rng: random.Random | None, probability=0.3):
    """Let some cycles pass, sometimes; none without a random generator."""
    while rng is not None and rng.random() < probability:
        await ctx.tick()


async def put(ctx, stream, payload):
    """Offer one item until it is taken."""
    ctx.set(stream.payload, payload)
    ctx.set(stream.valid, 1)
    ready = 0
    while not ready:
        *_, ready = await ctx.tick().sample(stream.ready)
    ctx.set(stream.valid, 0)


async def get(ctx, stream):
    """Take one item and return it."""
    ctx.set(stream.ready, 1)
    valid = 0
    while not valid:
        *_, valid, payload = await ctx.tick().sample(stream.valid, stream.payload)
    ctx.set(stream.ready, 0)
    return payload


def frame(words, last=True):
    """Return the beats of a frame as integers: data in bits 0 to 31, TLAST in bit 32."""
    words = [int(word) for word in words]
    return [word | (last and index == len(words) - 1) << 32 for index, word in enumerate(words)]


async def put_frame(ctx, stream, words, rng=None, last=True):
    """Send one frame; `stream` has a payload of data and last."""
    for beat in frame(words, last):
        await pause(ctx, rng)
        if isinstance(stream, Port):
            await put(ctx, stream, beat)
        else:
            await put(ctx, stream, {"data": beat & 0xFFFF_FFFF, "last": beat >> 32})


async def get_frame(ctx, stream, rng=None):
    """Receive one frame from a Port and return its words."""
    words, last = [], False
    while not last:
        await pause(ctx, rng)
        beat = await get(ctx, stream)
        words.append(beat & 0xFFFF_FFFF)
        last = beat >> 32
    return words


def stability(stream, valid_may_fall=None):
    """Return a process that fails when an offered item changes or vanishes before it is taken."""
    async def monitor(ctx):
        offered = None
        payload = stream.payload if not hasattr(stream.payload, "as_value") else stream.payload.as_value()
        async for _, _, valid, ready, item in ctx.tick().sample(stream.valid, stream.ready, payload):
            if offered is not None:
                assert valid, "an offered item vanished"
                assert item == offered, f"an offered item changed from {offered:#x} to {item:#x}"
            offered = item if valid and not ready else None
    return monitor


def section(design, core, memory, first, rows, cluster=abi.ALL_CLUSTERS):
    """Return the beats of a program section; `rows` are integers, lowest bits first."""
    target = abi.pack(abi.TARGET_FIELDS, {"memory": memory, "cluster": cluster, "core": core, "reserved": 0})
    count = abi.row_beats(design.cores[core].memory_bits(memory))
    return [target, first, len(rows)] + [beat for row in rows for beat in abi.beats(row, count)]


def checked(words):
    """Return the beats followed by their checksum."""
    return [*words, zlib.crc32(b"".join(word.to_bytes(4, "little") for word in words))]


def program(design, sections, program_hash=0x0123_4567_89AB_CDEF):
    """Return a program image of the sections (lists of beats)."""
    words = [abi.MAGIC, abi.ABI_VERSION, *abi.beats(design.build_hash, 2), *abi.beats(program_hash, 2), len(sections)]
    return checked(words + [word for beats in sections for word in beats])


class Registers:
    """The register port of the top, by register name or byte offset."""

    OFFSETS = {name: offset for name, offset, *_ in abi.REGISTERS}

    def __init__(self, top):
        self._axi = {name.removeprefix("s_axi_"): getattr(top, name) for name in top.signature.members
                     if name.startswith("s_axi_")}

    async def read(self, ctx, register):
        """Return the value of a register."""
        axi = self._axi
        ctx.set(axi["araddr"], self.OFFSETS.get(register, register))
        ctx.set(axi["arvalid"], 1)
        await ctx.tick().until(axi["arready"])
        ctx.set(axi["arvalid"], 0)
        ctx.set(axi["rready"], 1)
        value, response = await ctx.tick().sample(axi["rdata"], axi["rresp"]).until(axi["rvalid"])
        ctx.set(axi["rready"], 0)
        assert response == 0
        return value

    async def write(self, ctx, register, value, strobe=0b1111):
        """Write a register; return when the response has come."""
        axi = self._axi
        ctx.set(axi["awaddr"], self.OFFSETS.get(register, register))
        ctx.set(axi["wdata"], value)
        ctx.set(axi["wstrb"], strobe)
        ctx.set(axi["awvalid"], 1)
        ctx.set(axi["wvalid"], 1)
        await ctx.tick().until(axi["awready"] & axi["wready"])
        ctx.set(axi["awvalid"], 0)
        ctx.set(axi["wvalid"], 0)
        ctx.set(axi["bready"], 1)
        response, = await ctx.tick().sample(axi["bresp"]).until(axi["bvalid"])
        ctx.set(axi["bready"], 0)
        assert response == 0

    async def status(self, ctx):
        """Return the fields of STATUS."""
        return abi.unpack(abi.STATUS_FIELDS, await self.read(ctx, "STATUS"))
