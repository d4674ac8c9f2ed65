"""Job control: one job from its start to its end, or to its first error, and how long it took."""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib import enum, wiring
from amaranth.lib.wiring import In, Out

from qblif.host import abi

from .axi_master import Fault

SETTLE = 8
"""Cycles from a program's last beat to the end of its job: the loader's verdict is in by then."""


class State(enum.Enum):
    """What is under way."""

    IDLE = 0
    RUN = 1
    DRAIN = 2


class HalfStatus(wiring.Signature):
    """What one half of the DMA reports, seen from it; members as in DmaRead and DmaWrite."""

    def __init__(self, address_bits: int):
        super().__init__({"done": Out(1), "pending": Out(1), "moved": Out(1), "fault": Out(Fault(address_bits))})


class Patience(wiring.Component):
    """Tells when something pending has not moved for too long.

    Members
    -------
    limit: In(32), cycles; 0 = never
    pending, moved: In(1)
    over: Out(1), `pending` without `moved` in each of the last `limit` cycles; a cycle or two late
    """

    def __init__(self):
        super().__init__({"limit": In(32), "pending": In(1), "moved": In(1), "over": Out(1)})

    def elaborate(self, platform):
        m = Module()
        left, armed, restart = Signal(33), Signal(), Signal()    # cycles minus 1: the sign tells that none is left
        m.d.sync += [armed.eq(self.limit != 0), restart.eq(self.moved | ~self.pending)]
        with m.If(restart | ~armed):
            m.d.sync += left.eq(self.limit - 1)
        with m.Elif(~left[-1]):
            m.d.sync += left.eq(left - 1)
        m.d.comb += self.over.eq(armed & left[-1])
        return m


class Job(wiring.Component):
    """Runs one job: starts both halves of the DMA, waits until they are done, and stops them at the first error.

    Images end when every result is in memory, a program SETTLE cycles after its last beat was taken. The first error
    counts: an abort or a CONTROL reset, then the bus and its time-out, then the accelerator. An error ends the job when
    no burst is pending any more. After a job that was cut off frames may be anywhere, so that until the next CONTROL
    reset a start ends at once: with CORE if the accelerator shows an error, else with ABORTED.

    A time-out comes when for `watchdog` cycles a burst of a direction was pending and none of its channels moved,
    unless that is 0. Bus errors come before those of the accelerator, which stands still because of them.

    Parameters
    ----------
    address_bits: of the bus

    Members
    -------
    start, abort: In(1), one cycle each, from JOB_CONTROL; a start while a job runs is ignored
    is_program: In(1), JOB_KIND is a program; bad: In(1), the registers contradict each other
    clear: In(1), a CONTROL reset; core_error: In(1), the accelerator shows an error; watchdog: In(32)
    read, write: In(HalfStatus)
    go: Out(1), both halves take their parameters and begin (the writing one not for a program); one cycle
    stop: Out(1), both halves give up
    running: Out(1), beats may flow; program: Out(1), and they are a program's
    frame_written, read_stall, write_stall: In(1), counted while running
    busy, done: Out(1); error: Out(8), abi.Error; error_address: Out, of the burst with the bus error
    written: Out(32), frames in memory; cycles: Out(64), clock cycles from start to idle
    read_stalls, write_stalls: Out(32), modulo 2**32
    """

    def __init__(self, address_bits: int):
        super().__init__({
            "start": In(1), "abort": In(1), "is_program": In(1), "bad": In(1),
            "clear": In(1), "core_error": In(1), "watchdog": In(32),
            "read": In(HalfStatus(address_bits)), "write": In(HalfStatus(address_bits)),
            "go": Out(1), "stop": Out(1), "running": Out(1), "program": Out(1),
            "frame_written": In(1), "read_stall": In(1), "write_stall": In(1),
            "busy": Out(1), "done": Out(1), "error": Out(8), "error_address": Out(address_bits),
            "written": Out(32), "cycles": Out(64), "read_stalls": Out(32), "write_stalls": Out(32),
        })

    def elaborate(self, platform):
        m = Module()
        read, write = self.read, self.write
        cut_off = Signal()                        # a job was, and no CONTROL reset came since
        settled = Signal(range(SETTLE + 1))

        # One per direction: while writes hang, reads go on until the buffer is full.
        m.submodules.read_patience = read_patience = Patience()
        m.submodules.write_patience = write_patience = Patience()
        for patience, half in ((read_patience, read), (write_patience, write)):
            m.d.comb += [patience.limit.eq(self.watchdog), patience.pending.eq(half.pending),
                         patience.moved.eq(half.moved)]

        def end(code):
            m.d.sync += [self.error.eq(code), self.done.eq(1)]
            m.next = State.IDLE

        def fail(code, address=0):
            m.d.sync += [self.error.eq(code), self.error_address.eq(address), cut_off.eq(1)]
            m.next = State.DRAIN

        with m.If(read.done & (settled != SETTLE)):
            m.d.sync += settled.eq(settled + 1)
        with m.FSM(init=State.IDLE):
            # IDLE -- no job; results that come are thrown away
            with m.State(State.IDLE):
                with m.If(self.start):
                    m.d.sync += [self.done.eq(0), self.error.eq(abi.Error.NONE), self.error_address.eq(0),
                                 self.program.eq(self.is_program), settled.eq(0),
                                 self.written.eq(0), self.cycles.eq(0), self.read_stalls.eq(0), self.write_stalls.eq(0)]
                    with m.If(self.bad):
                        end(abi.Error.BAD_JOB)
                    with m.Elif(self.core_error):
                        end(abi.Error.CORE)
                    with m.Elif(cut_off):
                        end(abi.Error.ABORTED)
                    with m.Else():
                        m.d.comb += self.go.eq(1)
                        m.next = State.RUN
            # RUN -- until all is done, or something is wrong
            with m.State(State.RUN):
                m.d.comb += self.running.eq(1)
                with m.If(self.abort | self.clear):
                    fail(abi.Error.ABORTED)
                with m.Elif(read.fault.valid):
                    fail(read.fault.code, read.fault.address)
                with m.Elif(write.fault.valid):
                    fail(write.fault.code, write.fault.address)
                with m.Elif(read_patience.over | write_patience.over):
                    fail(abi.Error.BUS_TIMEOUT)
                with m.Elif(self.core_error):
                    fail(abi.Error.CORE)
                with m.Elif(read.done & (self.program & (settled == SETTLE) | ~self.program & write.done)):
                    end(abi.Error.NONE)
            # DRAIN -- completes what is on the bus
            with m.State(State.DRAIN):
                m.d.comb += self.stop.eq(1)
                with m.If(~read.pending & ~write.pending):
                    m.d.sync += self.done.eq(1)
                    m.next = State.IDLE
        with m.If(self.clear):
            m.d.sync += cut_off.eq(0)

        carry = Signal()
        m.d.comb += self.busy.eq(self.running | self.stop)
        m.d.sync += carry.eq(0)
        with m.If(self.busy):
            m.d.sync += [self.cycles[:32].eq(self.cycles[:32] + 1), carry.eq(self.cycles[:32] == 0xFFFF_FFFF)]
        with m.If(self.running):
            m.d.sync += [self.written.eq(self.written + self.frame_written),
                         self.read_stalls.eq(self.read_stalls + self.read_stall),
                         self.write_stalls.eq(self.write_stalls + self.write_stall)]
        with m.If(carry):
            m.d.sync += self.cycles[32:].eq(self.cycles[32:] + 1)
        return m
