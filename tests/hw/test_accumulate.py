"""The accumulators add and double exactly what they are told, and sums leave chunk by chunk."""

import dataclasses
import random

import pytest
from amaranth.hdl import Module, ResetInserter, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, connect, flipped
from amaranth.sim import Simulator

from qblif.host.abi import MemoryId
from qblif.hw.accumulate import RESET_CYCLES, SEGMENT, Accumulators, LaneAdders, latency
from qblif.hw.layouts import LoadBus
from qblif.hw.params import CoreParams
from qblif.hw.scan import event as event_layout
from qblif.hw.weights import WeightBank

from .bench import simulate
from .core_bench import SETTLE, load_rows, plain

PARAMS = CoreParams(lanes=8, word_bits=32, neuron_lanes=2, weight_bits=5, acc_bits=14, weight_depth=32)
ALL = (1 << PARAMS.lanes) - 1


class Lanes(wiring.Component):
    """Accumulators with weights of their own."""

    def __init__(self, params=PARAMS):
        self.accumulators, self.bank = Accumulators(params), WeightBank(params, 1)
        self.params = params
        super().__init__({name: member for name, member in self.accumulators.signature.members.items()
                          if name != "weights"} | {"load": In(LoadBus(params))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.accumulators, m.submodules.bank = self.accumulators, self.bank
        connect(m, accumulators=self.accumulators.weights, bank=self.bank.ports[0])
        connect(m, load=flipped(self.load), bank=self.bank.load)
        connect(m, inner=self.accumulators.o, outer=flipped(self.o))
        m.d.comb += [self.accumulators.i.eq(self.i), self.idle.eq(self.accumulators.idle)]
        return m

    async def fill(self, ctx, rows, memory=MemoryId.WEIGHTS):
        """Write rows of weights."""
        await load_rows(ctx, self.load, memory, [packed(row) for row in rows], hold=self.params.chunks)


def event(**values):
    return {name: 0 for name, _ in event_layout(PARAMS)} | {"valid": 1} | values


NOTHING = event(valid=0, double=1, add=1, skip=ALL, weight=3)
"""Not valid, so without effect, whatever the rest says; no lane takes part, and no sum ends."""


def add(weight, mask=ALL, **values):
    return event(add=1, weight=weight, skip=ALL & ~mask, **values)


def random_weights(rng, rows=32, lanes=PARAMS.lanes):
    return [[rng.randint(-16, 15) for _ in range(lanes)] for _ in range(rows)]


def packed(row):
    return sum((weight & 31) << 5 * lane for lane, weight in enumerate(row))


def model(weights, events):
    """Return the sums that the events spell out, in unbounded integers."""
    lanes = len(weights[0])
    sums, acc = [], [0] * lanes
    for e in events:
        if not e["valid"]:
            continue
        acc = [2 * a if e["double"] else a for a in acc]
        acc = [a + (weights[e["weight"]][lane] if e["add"] and not e["skip"] >> lane & 1 else 0)
               for lane, a in enumerate(acc)]
        if e["last"]:
            sums.append(acc)
            acc = [0] * lanes
    return sums


def run(weights, events, params=PARAMS, rng=None):
    """Return ((cycle of the first chunk, sum) of the sums, cycles of the events); checks that chunks do not pause.

    The end of a sum waits until that of its predecessor is as long ago as a sum has chunks, and, with a generator, at
    times longer."""
    dut, nothing = Lanes(params), NOTHING | {"skip": (1 << params.lanes) - 1}
    chunks, given = [], []
    state = {"cycle": 0, "ended": -params.chunks}

    async def source(ctx):
        await dut.fill(ctx, weights)
        for e in events:
            while e["valid"] and e["last"] and (state["cycle"] < state["ended"] + params.chunks
                                                or (rng is not None and rng.random() < 0.5)):
                ctx.set(dut.i, nothing)
                await ctx.tick()
            ctx.set(dut.i, e)
            if e["valid"]:
                given.append(state["cycle"])
                if e["last"]:
                    state["ended"] = state["cycle"]
            await ctx.tick()
        ctx.set(dut.i, nothing)

    async def sink(ctx):
        wanted = sum(e["valid"] and e["last"] for e in events) * params.chunks
        quiet = 0
        while quiet < SETTLE:
            *_, valid, payload, idle = await ctx.tick().sample(dut.o.valid, dut.o.p, dut.idle)
            if valid:
                chunks.append((state["cycle"], plain(payload)))
                assert not idle or len(chunks) % params.chunks != 1, "idle before the first chunk of a sum"
            state["cycle"] += 1
            quiet = quiet + 1 if len(chunks) >= wanted else 0
        assert ctx.get(dut.idle) and len(chunks) == wanted

    simulate(dut, sink, source)
    found = []
    for at in range(0, len(chunks), params.chunks):
        cycles = [cycle for cycle, _ in chunks[at:at + params.chunks]]
        assert cycles == list(range(cycles[0], cycles[0] + params.chunks))
        found.append((cycles[0], [value for _, values in chunks[at:at + params.chunks] for value in values]))
    return found, given


def random_events(rng, sums=25, lanes=PARAMS.lanes):
    """Return events whose sums stay within acc_bits, with invalid ones in between."""
    events = []
    for _ in range(sums):
        length = rng.randint(1, 9)
        for index in range(length):
            double = index > 0 and rng.random() < 0.3
            adds = rng.random() < 0.8
            events.append(event(last=int(index == length - 1), double=int(double),
                                add=int(adds), weight=rng.randrange(32), diagonal=rng.randint(0, 1),
                                skip=rng.choice([0, rng.getrandbits(lanes)]) if adds else (1 << lanes) - 1))
            events += [NOTHING | {"skip": (1 << lanes) - 1}] * (rng.random() < 0.2)
    return events


@pytest.mark.parametrize("stalls", [False, True], ids=["as fast as chunks leave", "pauses"])
@pytest.mark.parametrize("neuron_lanes", [1, 2, 4, 8])
def test_sums_are_those_of_plain_integers(neuron_lanes, stalls):
    rng = random.Random(4)
    weights, events = random_weights(rng), random_events(rng)
    params = dataclasses.replace(PARAMS, neuron_lanes=neuron_lanes)
    sums, _ = run(weights, events, params, rng if stalls else None)
    assert [values for _, values in sums] == model(weights, events)


@pytest.mark.parametrize("lanes, neuron_lanes", [(32, 1), (64, 2), (64, 1)])
def test_masks_of_far_lanes_come_with_their_events(lanes, neuron_lanes):
    params = dataclasses.replace(PARAMS, lanes=lanes, word_bits=lanes, neuron_lanes=neuron_lanes)
    assert params.chunks > SEGMENT
    rng = random.Random(6)
    weights, events = random_weights(rng, lanes=lanes), random_events(rng, 12, lanes)
    assert [values for _, values in run(weights, events, params)[0]] == model(weights, events)


def test_one_event_per_cycle_and_one_chunk_per_cycle():
    events = [add(index % 32, last=int(index % 4 == 3)) for index in range(40)]
    weights = random_weights(random.Random(1))
    sums, given = run(weights, events)
    assert given == list(range(given[0], given[0] + 40))
    assert [cycle for cycle, _ in sums] == list(range(sums[0][0], sums[0][0] + 40, 4))
    assert [values for _, values in sums] == model(weights, events)


@pytest.mark.parametrize("lanes, neuron_lanes", [(8, 8), (8, 2), (8, 1), (16, 1)])
def test_the_first_chunk_comes_latency_cycles_after_the_event_that_ends_the_sum(lanes, neuron_lanes):
    params = dataclasses.replace(PARAMS, lanes=lanes, neuron_lanes=neuron_lanes)
    dut, seen = Lanes(params), []

    async def bench(ctx):
        ctx.set(dut.i, event(last=1, skip=(1 << lanes) - 1))
        await ctx.tick()
        ctx.set(dut.i, event(valid=0, skip=(1 << lanes) - 1))
        for cycle in range(40):
            if ctx.get(dut.o.valid):
                seen.append(cycle + 1)
            await ctx.tick()

    simulate(dut, bench)
    assert seen == list(range(latency(params), latency(params) + params.chunks))


@pytest.mark.parametrize("neuron_lanes", [2, 1])
def test_a_reset_amid_a_sum_leaves_nothing_of_it(neuron_lanes):
    params = dataclasses.replace(PARAMS, neuron_lanes=neuron_lanes)
    rng = random.Random(8)
    weights = random_weights(rng)
    for under_way in range(1, 8 + params.chunks):
        dut, found = Lanes(params), []
        reset = ResetInserter(dut_reset := Signal())(dut)

        async def bench(ctx, dut=dut, dut_reset=dut_reset, found=found, under_way=under_way):
            await dut.fill(ctx, weights)
            for index in range(under_way):
                ctx.set(dut.i, add(index, double=1, last=int(index == 5)))
                await ctx.tick()
            ctx.set(dut_reset, 1)
            await ctx.tick()
            ctx.set(dut_reset, 0)
            ctx.set(dut.i, add(3, valid=0, last=1))     # the scan ends the sum, and its mask is any
            await ctx.tick()
            ctx.set(dut.i, NOTHING)
            await ctx.tick().repeat(max(RESET_CYCLES, params.chunks) - 1)
            ctx.set(dut.i, add(7, last=1))
            await ctx.tick()
            ctx.set(dut.i, NOTHING)
            for _ in range(40):
                *_, valid, chunk = await ctx.tick().sample(dut.o.valid, dut.o.p)
                if valid:
                    found.extend(plain(chunk))

        simulate(reset, bench)
        assert found == weights[7], f"a reset after {under_way} events"


def test_adders_double_and_add_modulo_their_width():
    rng = random.Random(2)
    dut = LaneAdders(PARAMS)

    async def bench(ctx):
        for _ in range(200):
            accs = [rng.randint(-1 << 13, (1 << 13) - 1) for _ in range(2)]
            weights, double = [rng.randint(-16, 15) for _ in range(2)], rng.randint(0, 1)
            ctx.set(dut.acc, accs)
            ctx.set(dut.weight, weights)
            ctx.set(dut.double, double)
            await ctx.delay(1e-9)
            wrapped = [((1 + double) * acc + weight + (1 << 13)) % (1 << 14) - (1 << 13)
                       for acc, weight in zip(accs, weights, strict=True)]
            assert plain(ctx.get(dut.total)) == wrapped

    simulator = Simulator(dut)
    simulator.add_testbench(bench)
    simulator.run()


def test_the_widest_sums_come_out_with_their_sign():
    top = [[-16] * 8, [15] * 8]
    events = [add(row, double=int(step > 0), last=int(step == 8)) for row in (0, 1)
              for step in range(9)]
    (_, low), (_, high) = run(top, events)[0]
    assert low == [-16 * 511] * 8 and high == [15 * 511] * 8      # acc_bits = 14: -8192 to 8191


def test_other_memories_of_the_program_do_not_touch_the_weights():
    dut = Lanes()

    async def bench(ctx):
        await dut.fill(ctx, [[3] * 8])
        for memory in set(MemoryId) - {MemoryId.WEIGHTS}:
            await dut.fill(ctx, [[5] * 8], memory)
        ctx.set(dut.i, add(0, last=1))
        await ctx.tick()
        ctx.set(dut.i, NOTHING)
        found = []
        while len(found) < 8:
            *_, valid, values = await ctx.tick().sample(dut.o.valid, dut.o.p)
            found += plain(values) * valid
        assert found == [3] * 8

    simulate(dut, bench)
