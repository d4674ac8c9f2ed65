"""Processes are resumed by cycle, then by rank; events resume whoever waits; writes share a port as in hardware."""

import pytest

from qblif.sim.handover import Between, Merge, Port
from qblif.sim.processes import Clock, Event


def test_processes_are_resumed_by_cycle_and_rank():
    clock, seen = Clock(), []

    def process(name, cycles):
        for cycle in cycles:
            yield cycle
            seen.append((clock.now, name))

    clock.start(process("b", [3, 5, 5]), 1)
    clock.start(process("a", [4, 5, 6]), 0)
    clock.run()
    assert seen == [(3, "b"), (4, "a"), (5, "a"), (5, "b"), (5, "b"), (6, "a")]


def test_a_cycle_that_is_over_does_not_turn_the_clock_back():
    clock, seen = Clock(), []

    def process():
        yield 7
        yield 2
        seen.append(clock.now)

    clock.start(process(), 0)
    clock.run()
    assert seen == [7]


def test_an_event_resumes_all_that_wait_for_it():
    clock, event, seen = Clock(), Event(), []

    def waits(name):
        yield event
        seen.append((clock.now, name))

    def fires():
        yield 9
        clock.fire(event)

    for rank, process in ((2, waits("late")), (1, waits("early")), (0, fires())):
        clock.start(process, rank)
    clock.run()
    assert seen == [(9, "early"), (9, "late")]


def chain(double=False):
    """Return clock, port of a core, and a function that starts a part of a process and collects what it returns."""
    clock = Clock()
    found = {}

    def start(name, part, rank):
        def process():
            found[name] = yield from part
        clock.start(process(), rank)

    return clock, Port(clock, double), start, found


@pytest.mark.parametrize("offered, taken", [(10, 10), (11, 14), (13, 14), (14, 14)])
def test_a_core_s_own_writes_go_first_a_cycle_after_they_were_taken(offered, taken):
    clock, port, start, found = chain()
    start("input", port.take(offered), 9)
    start("own", port.write(10, 3), 0)
    clock.run()
    assert found == {"own": 12, "input": taken}


@pytest.mark.parametrize("double, taken", [(False, 51), (True, 12)], ids=["one buffer", "two buffers"])
def test_a_map_waits_for_a_free_buffer(double, taken):
    clock, port, start, found = chain(double)

    def maps():
        yield from port.take(10, part=True)
        yield from port.take(11, commit=True)
        found["second"] = yield from port.take(12)

    def core():
        found["there"] = yield from port.there(0, 1)
        found["complete"] = yield from port.there(0)
        yield 40
        port.release(50)

    clock.start(maps(), 1)
    clock.start(core(), 0)
    clock.run()
    assert found == {"there": 11, "complete": 12, "second": taken}


def test_parts_are_announced_in_turns_behind_the_writes():
    clock, port, start, found = chain()
    merge = Merge(clock, Between(clock, port, 9), 8)
    merge.begin([1, 1])
    start("second", merge.write(1, 20, True), 1)            # its row is complete first, and announced second
    start("first", merge.write(0, 30, True), 0)
    start("idle", merge.idle(), 7)
    start("parts", port.there(0, 1), 6)
    clock.run()
    # Known in 31, announced in 32 and 33, each a cycle later at the next core.
    assert found == {"second": 20, "first": 30, "idle": 34, "parts": 34}
