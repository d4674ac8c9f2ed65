"""The register file, against abi.py."""

from __future__ import annotations

import pytest

from qblif.host import abi
from qblif.hw.layouts import COUNTER_CYCLES
from qblif.hw.params import CoreParams, DesignParams, Shell
from qblif.hw.registers import OFFSETS, Registers

from .bench import simulate

DESIGN = DesignParams((CoreParams(), CoreParams(weight_depth=32)))


class Bus:
    def __init__(self):
        self.dut = Registers(DESIGN, Shell("dma", baked=True, address_bits=40, data_bits=64, clock_hz=80_000_000))

    async def read(self, ctx, offset):
        bus = self.dut.bus
        ctx.set(bus.read_address, offset >> 2)
        ctx.set(bus.read, 1)
        await ctx.tick()
        ctx.set(bus.read, 0)
        value, = await ctx.tick().sample(bus.read_data).until(bus.read_done)
        return value

    async def write(self, ctx, offset, value, strobe=0b1111):
        bus = self.dut.bus
        ctx.set(bus.write_address, offset >> 2)
        ctx.set(bus.write_data, value)
        ctx.set(bus.write_strobe, strobe)
        ctx.set(bus.write, 1)
        await ctx.tick()
        ctx.set(bus.write, 0)


def test_every_register_shows_what_the_abi_says():
    bus = Bus()
    dut = bus.dut

    async def bench(ctx):
        ctx.set(dut.program_hash, 0x1111_2222_3333_4444)
        ctx.set(dut.status, {"loaded": 1, "busy": 0, "loading": 1, "error": abi.Error.BAD_CRC})
        ctx.set(dut.error_info, 77)
        ctx.set(dut.images_in, 5)
        ctx.set(dut.images_out, 4)
        await bus.write(ctx, OFFSETS["SCRATCH"], 0xABCD_0123)
        await bus.write(ctx, OFFSETS["WATCHDOG"], 1000)
        await bus.write(ctx, OFFSETS["CORE_SELECT"], 1)
        expected = {
            "ID": abi.MAGIC, "ABI": abi.ABI_VERSION, "BUILD_LO": DESIGN.build_hash & 0xFFFF_FFFF,
            "BUILD_HI": DESIGN.build_hash >> 32, "PROGRAM_LO": 0x3333_4444, "PROGRAM_HI": 0x1111_2222,
            "SCRATCH": 0xABCD_0123, "CONTROL": 0,
            "STATUS": abi.pack(abi.STATUS_FIELDS, {"loaded": 1, "busy": 0, "loading": 1, "reserved": 0, "error": 7}),
            "WATCHDOG": 1000, "ERROR_INFO": 77, "CORES": 2, "CORE_SELECT": 1, "IMAGES_IN": 5, "IMAGES_OUT": 4,
            "CAPS": abi.FRONT_ENDS.index("dma") | 1 << 4 | 40 << 16 | 64 << 24, "CLOCK_HZ": 80_000_000,
        }
        assert set(expected) == set(OFFSETS), "every register of the ABI is tested"
        for name, value in expected.items():
            assert await bus.read(ctx, OFFSETS[name]) == value, name

    simulate(dut, bench)


def test_read_only_and_unused_addresses_ignore_writes_and_unused_ones_read_zero():
    bus = Bus()

    async def bench(ctx):
        used = set(OFFSETS.values()) | {abi.COUNTER_BASE + 4 * i for i in range(2 * len(abi.COUNTERS))}
        for offset in [*range(0, 0x200, 4), 0x800, 0xFFC]:
            if offset not in {OFFSETS[name] for name in ("CONTROL", "SCRATCH", "WATCHDOG", "CORE_SELECT")}:
                await bus.write(ctx, offset, 0xFFFF_FFFF)
            if offset not in used:
                assert await bus.read(ctx, offset) == 0
        assert await bus.read(ctx, OFFSETS["ID"]) == abi.MAGIC
        assert await bus.read(ctx, OFFSETS["SCRATCH"]) == 0
        assert await bus.read(ctx, OFFSETS["WATCHDOG"]) == 0

    simulate(bus.dut, bench)


@pytest.mark.parametrize("name", ["SCRATCH", "WATCHDOG", "CORE_SELECT"])
def test_writes_go_to_the_bytes_of_the_strobe(name):
    bus = Bus()

    async def bench(ctx):
        await bus.write(ctx, OFFSETS[name], 0x1122_3344)
        await bus.write(ctx, OFFSETS[name], 0xAABB_CCDD, strobe=0b0101)
        assert await bus.read(ctx, OFFSETS[name]) == 0x11BB_33DD

    simulate(bus.dut, bench)


def test_control_resets_for_one_cycle_and_keeps_watchdog_and_scratch():
    bus = Bus()
    dut = bus.dut

    async def bench(ctx):
        for name in ("SCRATCH", "WATCHDOG", "CORE_SELECT"):
            await bus.write(ctx, OFFSETS[name], 9)
        for value, strobe, clears in ((0, 15, 0), (2, 15, 0), (1, 0b1110, 0), (1, 1, 1), (3, 15, 1)):
            await bus.write(ctx, OFFSETS["CONTROL"], value, strobe)
            assert ctx.get(dut.clear) == clears
            await ctx.tick()
            assert ctx.get(dut.clear) == 0
        assert await bus.read(ctx, OFFSETS["SCRATCH"]) == 9
        assert await bus.read(ctx, OFFSETS["WATCHDOG"]) == 9
        assert await bus.read(ctx, OFFSETS["CORE_SELECT"]) == 0

    simulate(dut, bench)


def test_counters_of_the_selected_core_are_read_as_consistent_pairs():
    bus = Bus()
    dut = bus.dut
    counters = [[(core + 1 << 40) + (index << 32) + 0xFFFF_FFF0 + index for index in range(len(abi.COUNTERS))]
                for core in range(2)]
    carry = [0]

    async def cores(ctx):
        """Show the counter asked for as late as a core may, and anything until then."""
        before, stable = None, 0
        while True:
            index = ctx.get(dut.counter_index)
            before, stable = index, stable + 1 if index == before else 0
            for core in range(2):
                known = stable >= COUNTER_CYCLES and index < len(abi.COUNTERS)
                ctx.set(dut.counter[core], counters[core][index] + carry[0] if known else 0xDEAD_DEAD_DEAD_DEAD)
            await ctx.tick()

    async def bench(ctx):
        for core in (1, 0):
            await bus.write(ctx, OFFSETS["CORE_SELECT"], core)
            for index in range(len(abi.COUNTERS)):
                carry[0] = 0
                low = await bus.read(ctx, abi.COUNTER_BASE + 8 * index)
                # The carry into the high word after the low word was read must not be seen.
                carry[0] = 0x100
                high = await bus.read(ctx, abi.COUNTER_BASE + 8 * index + 4)
                assert high << 32 | low == counters[core][index]
        for core in (2, 256, 0xFFFF_FFFF):
            await bus.write(ctx, OFFSETS["CORE_SELECT"], core)
            assert await bus.read(ctx, abi.COUNTER_BASE) == 0
            assert await bus.read(ctx, abi.COUNTER_BASE + 4) == 0
        assert await bus.read(ctx, abi.COUNTER_BASE + 8 * len(abi.COUNTERS)) == 0

    simulate(dut, bench, processes=[cores])


def test_a_read_takes_four_cycles():
    bus = Bus()

    async def bench(ctx):
        ctx.set(bus.dut.bus.read, 1)
        await ctx.tick()
        ctx.set(bus.dut.bus.read, 0)
        await ctx.tick().repeat(2)
        assert ctx.get(bus.dut.bus.read_done) == 1

    simulate(bus.dut, bench, cycles=5)
