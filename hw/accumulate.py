"""Accumulate-only fan-out: weight rows are added to the lanes; nothing is ever multiplied."""

from __future__ import annotations

from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .params import CoreParams
from .scan import event, no_event
from .weights import WeightPort

JOINED = 16
"""Groups of lanes whose sums are joined in one cycle."""

SEGMENT = 16
"""Groups whose masks go from neighbour to neighbour; those of all groups behind them wait in LUT RAM meanwhile."""

RESET_CYCLES = 4
"""Cycles without an event after a reset: what was under way before goes."""


def sums(params: CoreParams) -> data.ArrayLayout:
    """Return the layout of a chunk of finished sums: neuron_lanes numbers of acc_bits, two's complement."""
    return data.ArrayLayout(signed(params.acc_bits), params.neuron_lanes)


def latency(params: CoreParams) -> int:
    """Return the cycles from the event that ends a sum to the sum's first chunk."""
    cycles, groups = 4, params.chunks
    while groups > 1:
        cycles, groups = cycles + 1, -(-groups // JOINED)
    return cycles


def adders_name(params: CoreParams) -> str:
    """Return the name that tells synthesis what an instance of LaneAdders is (hw/ecp5_adders.py)."""
    return f"adders_{params.neuron_lanes}x{params.acc_bits}x{params.weight_bits}"


class LaneAdders(wiring.Component):
    """Adders of a chunk's lanes: total = (double ? 2*acc : acc) + weight, modulo 2**acc_bits. Combinational.

    A component of its own, so that a family whose carry chain has room for the doubling can take it as a whole.

    Members: acc, In, sums; weight, In, neuron_lanes signed weights; double, In(1); total, Out, sums.
    """

    def __init__(self, params: CoreParams):
        self._params = params
        super().__init__({"acc": In(sums(params)), "double": In(1), "total": Out(sums(params)),
                          "weight": In(data.ArrayLayout(signed(params.weight_bits), params.neuron_lanes))})

    def elaborate(self, platform):
        m = Module()
        for acc, weight, total in zip(self.acc, self.weight, self.total, strict=True):
            doubled = (acc << 1)[:self._params.acc_bits].as_signed()
            m.d.comb += total.eq(Mux(self.double, doubled, acc) + weight)
        return m


class LaneGroup(wiring.Component):
    """Accumulators of neighbouring lanes, as many as a chunk has.

    Parameters: params; lanes_left: lanes from the group's first to the last of its segment.

    Members
    -------
    i: In, the operation of this cycle (`operation`).
    o: Out, the same for the next group, a cycle later.
    row: In, the group's part of the weight row, in the cycle after its operation.
    total: Out, the finished sums in the fourth cycle after the operation that ends them, 0 in all others.
    """

    def __init__(self, params: CoreParams, lanes_left: int):
        self._params = params
        n = params.neuron_lanes
        super().__init__({
            "i": In(operation(lanes_left)), "row": In(n * params.weight_bits),
            "o": Out(operation(lanes_left - n)),
            "total": Out(sums(params))})

    def elaborate(self, platform):
        m = Module()
        p, n, i = self._params, self._params.neuron_lanes, self.i
        # Cycle 1: the memory reads. Cycle 2: its output, on its way from the block RAM to the lanes. Cycle 3: masked.
        # Cycle 4: the sum. Nothing here waits, is enabled, or begins: what does nothing adds 0, and whatever ends a sum
        # leaves 0 behind. So does a reset, for as long as what was under way before it may still come. The operations
        # under way become ends of sums that nobody asks for; to reset their masks, too, would take one of the two reset
        # lines that each neighbourhood of the ECP5 has for all of its flip-flops.
        own = operation(n)
        ends, doubles, skips = Signal(init=1), Signal(reset_less=True), Signal.like(self.o.skip, reset_less=True)
        e1, e2 = Signal(own, reset_less=True), Signal(own, reset_less=True)
        raw = Signal(n * p.weight_bits, reset_less=True)
        weight = Signal(data.ArrayLayout(signed(p.weight_bits), n), reset_less=True)
        acc, total = Signal(sums(p), reset_less=True), Signal(sums(p), reset_less=True)
        last_1, last_2, last, amid, double = Signal(init=1), Signal(init=1), Signal(init=1), Signal(), Signal()
        m.submodules[adders_name(p)] = adders = LaneAdders(p)
        m.d.comb += [adders.acc.eq(acc), adders.weight.eq(weight), adders.double.eq(double), self.total.eq(total)]
        m.d.sync += [
            e1.double.eq(i.double), e1.skip.eq(i.skip), e2.eq(e1), double.eq(e2.double),
            last_1.eq(i.last), last_2.eq(last_1), last.eq(last_2), amid.eq(~last_2),
            raw.eq(self.row),
            *(weight[lane].eq(Mux(e2.skip[lane], 0, raw.word_select(lane, p.weight_bits))) for lane in range(n)),
            acc.eq(Mux(last, 0, adders.total)), total.eq(Mux(amid, 0, adders.total)),
            ends.eq(i.last), doubles.eq(i.double), skips.eq(i.skip[n:]),
        ]
        m.d.comb += [self.o.last.eq(ends), self.o.double.eq(doubles), self.o.skip.eq(skips)]
        return m


def operation(lanes: int) -> data.StructLayout:
    """Return the layout of what a group is told: an event, without its weight row and what only the scan has to know.

    last: it ends a sum. double: the accumulators double. skip: lanes that add nothing; a bit for each of the group's
    lanes and of those behind it.
    """
    return data.StructLayout({"last": 1, "double": 1, "skip": lanes})


class Delay(wiring.Component):
    """What comes in leaves `cycles` later, through LUT RAM. Whatever a reset finds inside still leaves.

    Parameters: width: bits; cycles: a power of two.

    Members: i: In, o: Out.
    """

    def __init__(self, width: int, cycles: int):
        self._width, self._cycles = width, cycles
        super().__init__({"i": In(width), "o": Out(width)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = Memory(shape=self._width, depth=self._cycles, init=[],
                                              attrs={"ram_style": "distributed"})
        write, read = memory.write_port(), memory.read_port(domain="comb")
        at, out = Signal(range(self._cycles), reset_less=True), Signal(self._width, reset_less=True)
        m.d.comb += [write.en.eq(1), write.addr.eq(at), write.data.eq(self.i), read.addr.eq(at + 1), self.o.eq(out)]
        m.d.sync += [at.eq(at + 1), out.eq(read.data)]
        return m


class Accumulators(wiring.Component):
    """Accumulators of a cluster, and how its sums come out: a chunk per cycle.

    Per lane and event: ``acc = (double ? 2*acc : acc) + (skip ? 0 : weight)``, and 0 after the event that ends a sum.
    No overflow can occur in a program that the planner accepted (gen/plan.py proves the bounds).

    The lanes of a chunk work a cycle behind those of the chunk before. So operations go from neighbour to neighbour, as
    addresses of weight rows do (hw/weights.py), and chunks leave one by one without being kept anywhere. Masks for all
    lanes behind would be as many flip-flops as there are pairs of chunks; so they wait for their segment (`Delay`).

    Members
    -------
    i: In, the event of this cycle.
    weights: Out, the weight rows that events name.
    o: Out, stream of chunks of finished sums, lane 0 first, which cannot be refused.
    idle: Out, of no sum the first chunk is still to come.

    One event per cycle, never refused; the chunks of a sum come in as many cycles without a pause, the first one
    `latency` cycles after the event that ends it. Sums end at least `params.chunks` cycles apart, and as late after a
    reset; no event comes in the first RESET_CYCLES after one.
    """

    def __init__(self, params: CoreParams):
        self._params = params
        super().__init__({
            "i": In(event(params), init=no_event(params)),
            "weights": Out(WeightPort(params)),
            "o": Out(stream.Signature(sums(params), always_ready=True)),
            "idle": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        p, i = self._params, self.i
        bits = p.neuron_lanes * p.weight_bits

        last, double, skip = i.last, i.valid & i.double, i.skip
        m.d.comb += self.weights.address.eq(i.weight)
        totals = []
        for number in range(p.chunks):
            if number % SEGMENT == 0:       # `skip`: of the lanes from here on
                segment, behind = skip[:SEGMENT * p.neuron_lanes], skip[SEGMENT * p.neuron_lanes:]
                if len(behind):
                    m.submodules[f"masks_{number}"] = delay = Delay(len(behind), SEGMENT)
                    m.d.comb += delay.i.eq(behind)
                    behind = delay.o
            m.submodules[f"group_{number}"] = group = LaneGroup(p, len(segment))
            m.d.comb += [group.i.last.eq(last), group.i.double.eq(double), group.i.skip.eq(segment),
                         group.row.eq(self.weights.row.word_select(number, bits))]
            totals.append(group.total.as_value())
            last, double, segment, skip = group.o.last, group.o.double, group.o.skip, behind

        # At most one group says anything but 0 in a cycle, and its successor does in the next.
        ended = [i.valid & i.last]
        for _ in range(latency(p)):
            ended.append(Signal(name=f"ended_{len(ended)}"))
            m.d.sync += ended[-1].eq(ended[-2])
        while len(totals) > 1:
            joined = [Signal(len(totals[0]), name=f"joined_{len(totals)}_{at}", reset_less=True)
                      for at in range(0, len(totals), JOINED)]
            m.d.sync += [total.eq(reduce(or_, totals[JOINED * at:][:JOINED])) for at, total in enumerate(joined)]
            totals = joined
        left = Signal(range(max(2, p.chunks)))
        amid = Signal()
        with m.If(ended[-1]):
            m.d.sync += [left.eq(p.chunks - 2), amid.eq(p.chunks > 1)]
        with m.Elif(amid):
            m.d.sync += [left.eq(left - 1), amid.eq(left != 0)]
        m.d.comb += [self.o.valid.eq(ended[-1] | amid), self.o.p.eq(totals[0]), self.idle.eq(~Cat(ended[1:]).any())]
        return m
