"""Comparisons with constants, for every value and every constant near its range."""

import pytest
from amaranth.hdl import Module, Signal
from amaranth.sim import Simulator

from qblif.hw.compare import at_most, equals


@pytest.mark.parametrize("bits", [1, 3, 4, 6])
def test_comparisons_are_those_of_integers(bits):
    m, value = Module(), Signal(bits)
    bounds, numbers = range(-2, (2 << bits) + 1), range(1 << bits)
    below, same = [Signal(name=f"below_{at}") for at in range(len(bounds))], [Signal(name=f"same_{n}") for n in numbers]
    m.d.comb += [signal.eq(at_most(value, bound)) for signal, bound in zip(below, bounds, strict=True)]
    m.d.comb += [signal.eq(equals(value, number)) for signal, number in zip(same, numbers, strict=True)]

    async def bench(ctx):
        for now in numbers:
            ctx.set(value, now)
            await ctx.delay(1e-9)
            assert [ctx.get(signal) for signal in below] == [now <= bound for bound in bounds]
            assert [ctx.get(signal) for signal in same] == [now == number for number in numbers]

    simulator = Simulator(m)
    simulator.add_testbench(bench)
    simulator.run()
