"""A core that computes almost nothing, to test what surrounds it."""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib import enum, wiring

from qblif.host import abi
from qblif.hw.layouts import CoreSignature, abi_row

CLASSES = 3
HANG = 0xDEAD


class State(enum.Enum):
    TAKE = 0
    LOGITS = 1
    FORWARD = 2
    COMMIT = 3


class StandIn(wiring.Component):
    """Adds up address + low 32 bits of all map words of an image and of row 0 of WEIGHTS, modulo 2**32.

    CONFIG.layers = 1: sends the sum s as logits s, s + 1, s + 2. CONFIG.layers = 2: sends it on as a map of one
    word. A WEIGHTS row 0 of HANG: never does anything with an image. One buffer. Counters: 0 counts cycles of
    work, 1 is a constant, 2 counts cycles in which the core is enabled.
    """

    def __init__(self, params):
        self._params = params
        super().__init__(CoreSignature(params))

    def elaborate(self, platform):
        m = Module()
        config, weight, total = Signal(abi_row(abi.CONFIG_FIELDS)), Signal(32), Signal(32)
        which = Signal(range(CLASSES))
        with m.If(self.load.valid):
            with m.If(self.load.memory == abi.MemoryId.CONFIG):
                m.d.sync += config.eq(self.load.data)
            with m.If((self.load.memory == abi.MemoryId.WEIGHTS) & (self.load.address == 0)):
                m.d.sync += weight.eq(self.load.data)
        m.d.comb += [
            self.input_words.eq(config.input_words),
            self.input_row_words.eq(config.input_row_words),
            self.busy.eq(1),
            self.progress.eq(0),
            self.logits.p.value.eq(total + weight + which),
            self.logits.p.last.eq(which == CLASSES - 1),
            self.o_map.p.enable.eq(-1),
            self.o_map.p.data.eq(total + weight),
        ]
        with m.FSM(init=State.TAKE):
            with m.State(State.TAKE):
                m.d.comb += [self.i_map.ready.eq(self.enable), self.busy.eq(0)]
                with m.If(self.i_map.valid & self.i_map.ready):
                    with m.If(~self.i_map.p.commit):
                        m.d.sync += total.eq(total + self.i_map.p.address + self.i_map.p.data[:32])
                    with m.Elif(config.layers == 1):
                        m.next = State.LOGITS
                    with m.Else():
                        m.next = State.FORWARD
            with m.State(State.LOGITS):
                m.d.comb += self.logits.valid.eq(weight != HANG)
                with m.If(self.logits.valid & self.logits.ready):
                    m.d.sync += which.eq(which + 1)
                    with m.If(self.logits.p.last):
                        m.d.sync += [which.eq(0), total.eq(0)]
                        m.next = State.TAKE
            with m.State(State.FORWARD):
                m.d.comb += self.o_map.valid.eq(weight != HANG)
                with m.If(self.o_map.valid & self.o_map.ready):
                    m.next = State.COMMIT
            with m.State(State.COMMIT):
                m.d.comb += [self.o_map.valid.eq(1), self.o_map.p.commit.eq(1)]
                with m.If(self.o_map.ready):
                    m.d.sync += total.eq(0)
                    m.next = State.TAKE
        worked, enabled = Signal(64), Signal(64)
        m.d.sync += [worked.eq(worked + self.busy), enabled.eq(enabled + self.enable)]
        with m.Switch(self.counter_index):
            with m.Case(0):
                m.d.sync += self.counter.eq(worked)
            with m.Case(1):
                m.d.sync += self.counter.eq(0x1111_2222_3333_4444)
            with m.Case(2):
                m.d.sync += self.counter.eq(enabled)
            with m.Default():
                m.d.sync += self.counter.eq(0)
        return m


def config(layers, input_words):
    """Return the CONFIG row."""
    return abi.pack(abi.CONFIG_FIELDS, {"layers": layers, "input_words": input_words, "input_base": 0,
                                        "buffer_step": 0, "input_row_words": 1})


def expected(beats, weights):
    """Return the logits for an input frame and one weight row per core, for words of 32 bits."""
    total = sum(beats) + sum(range(len(beats))) + sum(weights)
    return [(total + which) % 2**32 for which in range(CLASSES)]
