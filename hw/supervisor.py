"""What watches over the design: the first error, the watchdog and the image counters."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from qblif.host import abi

from .link import Fault

IN_FLIGHT_BITS = 16
"""Enough to count the images in a chain: two per core, at most 64 cores."""


class Supervisor(wiring.Component):
    """Keeps the first error until reset, counts images, and reports work that has stopped moving.

    An error shows two cycles after it was reported; `halted` is high from then on. With several reports in one
    cycle the loader's counts, then the input's. The watchdog reports when for `watchdog` cycles
    work had been under way without progress two cycles ago, unless `watchdog` is 0.

    Members
    -------
    loader_fault, input_fault: In(Fault)
    watchdog: In(32), cycles without progress that are too many; 0 = never
    working: In(1), work is under way (besides images in flight)
    progress: In(1), something moved in this cycle
    image_in, image_out: In(1), an image was handed to the first core; its last logit was sent. Both count two cycles
        later
    error: Out(8), abi.Error of the first error; error_info: Out(32), its beat index (0 for the watchdog)
    halted: Out(1), there is an error
    in_flight: Out(1), more images went in than came out
    images_in, images_out: Out(32), modulo 2**32
    """

    loader_fault: In(Fault())
    input_fault: In(Fault())
    watchdog: In(32)
    working: In(1)
    progress: In(1)
    image_in: In(1)
    image_out: In(1)
    error: Out(8)
    error_info: Out(32)
    halted: Out(1)
    in_flight: Out(1)
    images_in: Out(32)
    images_out: Out(32)

    def elaborate(self, platform):
        m = Module()
        count, idle, stuck = Signal(IN_FLIGHT_BITS), Signal(32), Signal()

        # Handshakes decide these, so they are counted a cycle later.
        came, went = Signal(), Signal()
        m.d.sync += [came.eq(self.image_in), went.eq(self.image_out),
                     self.images_in.eq(self.images_in + came), self.images_out.eq(self.images_out + went),
                     count.eq(count + came - went)]
        m.d.comb += self.in_flight.eq(count != 0)

        working, moving = Signal(), Signal()
        m.d.sync += [working.eq(self.working | self.in_flight), moving.eq(self.progress), stuck.eq(working & ~moving)]
        with m.If(stuck):
            m.d.sync += idle.eq(idle + 1)
        with m.Else():
            m.d.sync += idle.eq(0)

        # A fault is the end of a long path, so it is looked at a cycle later.
        fault = data.StructLayout({"code": 8, "info": 32})
        loader, feeder = Signal(fault, reset_less=True), Signal(fault, reset_less=True)
        loader_fails, feeder_fails = Signal(), Signal()
        for fails, kept, port in ((loader_fails, loader, self.loader_fault), (feeder_fails, feeder, self.input_fault)):
            m.d.sync += [fails.eq(port.valid), kept.code.eq(port.code), kept.info.eq(port.info)]
        with m.If(~self.halted):
            with m.If(loader_fails):
                m.d.sync += [self.halted.eq(1), self.error.eq(loader.code), self.error_info.eq(loader.info)]
            with m.Elif(feeder_fails):
                m.d.sync += [self.halted.eq(1), self.error.eq(feeder.code), self.error_info.eq(feeder.info)]
            with m.Elif(stuck & (self.watchdog != 0) & (idle >= self.watchdog)):
                m.d.sync += [self.halted.eq(1), self.error.eq(abi.Error.WATCHDOG), self.error_info.eq(0)]
        return m
