"""The benches' own machinery: what breaks the rules of a stream, or runs nothing, does not pass."""

import pytest
from amaranth.hdl import Module, Signal, signed
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.wiring import In, Out

from qblif.sim.bench.ports import pack, unpack
from qblif.sim.bench.runner import BenchFailed, describe, run

BENCH = "qblif.sim.bench.echo_bench"
"""Sends the vectors' items through a component with streams `i` and `o` and expects them back."""

ITEM = data.StructLayout({"value": signed(6), "tags": data.ArrayLayout(2, 3)})


class Fault(enum.Enum):
    NONE = 0
    CHANGES = 1
    VANISHES = 2
    SILENT = 3
    WRONG = 4


class Echo(wiring.Component):
    """Hands on each item, one at a time; or breaks the rules in the way of `fault`."""

    i: In(stream.Signature(ITEM))
    o: Out(stream.Signature(ITEM))

    def __init__(self, fault=Fault.NONE):
        self._fault = fault
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        full, held = Signal(), Signal.like(self.i.p)
        m.d.comb += [self.i.ready.eq(~full), self.o.valid.eq(full if self._fault != Fault.SILENT else 0),
                     self.o.p.eq(held)]
        with m.If(self.o.ready | (self._fault == Fault.VANISHES)):
            m.d.sync += full.eq(0)
        if self._fault == Fault.CHANGES:
            m.d.sync += held.value.eq(held.value + 1)
        with m.If(self.i.ready & self.i.valid):
            m.d.sync += [full.eq(1), held.eq(self.i.p)]
            if self._fault == Fault.WRONG:
                m.d.sync += held.tags[2].eq(0)
        return m


ITEMS = [{"value": value, "tags": [value & 3, 1, 3]} for value in range(-12, 12)]


@pytest.mark.icarus
def test_what_is_right_passes(tmp_path):
    assert run(Echo(), BENCH, {"items": ITEMS}, tmp_path, "icarus") == 2


@pytest.mark.icarus
@pytest.mark.parametrize("fault, message", [
    (Fault.CHANGES, "o__payload changed from"), (Fault.VANISHES, "o__valid fell before the item was taken"),
    (Fault.SILENT, "Stuck: o gave 0 of 1 items"), (Fault.WRONG, "expected")], ids=str)
def test_a_fault_of_the_component_fails(fault, message, tmp_path):
    with pytest.raises(BenchFailed, match=f"(?s)tests failed.*{message}"):
        run(Echo(fault), BENCH, {"items": ITEMS}, tmp_path, "icarus")


@pytest.mark.icarus
def test_a_run_without_any_test_fails(tmp_path):
    with pytest.raises(BenchFailed, match="0 of 0 tests"):
        run(Echo(), BENCH, {"items": ITEMS}, tmp_path, "icarus", tests="no such test")


def test_a_simulator_that_is_not_known_is_refused(tmp_path):
    with pytest.raises(ValueError, match="'modelsim' is none of"):
        run(None, BENCH, {}, tmp_path, "modelsim")


def test_values_are_packed_as_amaranth_packs_them():
    layout = data.StructLayout({"value": signed(6), "tags": data.ArrayLayout(signed(3), 3), "on": 1})
    value = {"value": -5, "tags": [1, -4, 3], "on": 1}
    assert pack(describe(layout), value) == layout.const(value).as_value().value
    assert unpack(describe(layout), pack(describe(layout), value)) == value


@pytest.mark.parametrize("value, message", [({"value": 32}, "32 is not in -32 to 31"), ({"tag": 1}, r"\['tag'\]"),
                                            ({"tags": [1]}, "1 items where there are 3")])
def test_what_does_not_fit_a_port_is_refused(value, message):
    with pytest.raises(ValueError, match=message):
        pack(describe(ITEM), value)
