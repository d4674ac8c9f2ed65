"""The part of the register space that describes jobs: abi.JOB_REGISTERS."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from qblif.host import abi

from .axi_lite import RegisterBus

status = data.StructLayout(dict(abi.JOB_STATUS_FIELDS))
"""The JOB_STATUS register."""

OFFSETS = {name: offset for name, offset, *_ in abi.JOB_REGISTERS}
WRITABLE = [name for name, _, access, _ in abi.JOB_REGISTERS if access == "rw"]
PAGE = min(OFFSETS.values())
"""First byte address of the part; a multiple of its size."""

PAGE_BITS = 9
"""Width of byte addresses within it."""


class JobRegisters(wiring.Component):
    """Registers of a job. A read is answered one cycle after `bus.read`; unused addresses read 0.

    Parameters of the next job may be written while one runs. Nothing here is changed by a CONTROL reset.

    Parameters
    ----------
    address_bits: of the AXI master; an address that needs more is `bad`

    Members
    -------
    bus: In(RegisterBus), word addresses; only the part's own accesses
    start, abort: Out(1), for the one cycle after they were written; with both only abort
    is_program: Out(1); source, target: Out, in bytes; frames, in_beats, out_beats: Out(32)
    bad: Out(1), the registers contradict each other; right from the cycle of `start` on
    status: In(status); written: In(32); cycles: In(64); read_stalls, write_stalls: In(32); error_address: In
    """

    def __init__(self, address_bits: int):
        self._address_bits = address_bits
        super().__init__({
            "bus": In(RegisterBus((abi.REGISTER_SPACE - 1).bit_length() - 2)),
            "start": Out(1), "abort": Out(1), "bad": Out(1), "is_program": Out(1),
            "source": Out(address_bits), "target": Out(address_bits),
            "frames": Out(32), "in_beats": Out(32), "out_beats": Out(32),
            "status": In(status), "written": In(32), "cycles": In(64), "read_stalls": In(32), "write_stalls": In(32),
            "error_address": In(address_bits),
        })

    def elaborate(self, platform):
        m = Module()
        bus = self.bus
        held = {name: Signal(32, name=name.lower()) for name in WRITABLE}
        high = Signal(32)                        # of JOB_CYCLES, when its low word was read
        error_address = Signal(64)
        m.d.comb += error_address.eq(self.error_address)

        # Writes
        m.d.sync += [self.start.eq(0), self.abort.eq(0)]
        with m.If(bus.write):
            with m.Switch(bus.write_address[:PAGE_BITS - 2]):
                for name, register in held.items():
                    with m.Case(OFFSETS[name] - PAGE >> 2):
                        for lane in range(4):
                            with m.If(bus.write_strobe[lane]):
                                byte = slice(8 * lane, 8 * lane + 8)
                                m.d.sync += register[byte].eq(bus.write_data[byte])
                with m.Case(OFFSETS["JOB_CONTROL"] - PAGE >> 2):
                    with m.If(bus.write_strobe[0]):
                        m.d.sync += [self.start.eq(bus.write_data[0] & ~bus.write_data[1]),
                                     self.abort.eq(bus.write_data[1])]

        # What the job is made of, and whether it can be. The checks are a cycle behind the registers, as is `start`.
        source = Cat(held["JOB_SOURCE_LO"], held["JOB_SOURCE_HI"])
        target = Cat(held["JOB_TARGET_LO"], held["JOB_TARGET_HI"])
        bad_job, bad_source, bad_target = Signal(), Signal(), Signal()
        no_frames, one_frame, no_input, no_output = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            self.is_program.eq(held["JOB_KIND"][0]),
            self.source.eq(source), self.target.eq(target),
            self.frames.eq(held["JOB_FRAMES"]),
            self.in_beats.eq(held["JOB_IN_BEATS"]), self.out_beats.eq(held["JOB_OUT_BEATS"]),
            self.bad.eq(bad_job | bad_source | no_input
                        | Mux(self.is_program, ~one_frame, no_frames | bad_target | no_output)),
        ]

        def misplaced(address):
            return address[:3].any() | address[self._address_bits:].any()

        m.d.sync += [
            bad_job.eq(held["JOB_KIND"][1:].any()),
            bad_source.eq(misplaced(source)), bad_target.eq(misplaced(target)),
            no_frames.eq(held["JOB_FRAMES"] == 0), one_frame.eq(held["JOB_FRAMES"] == 1),
            no_input.eq(held["JOB_IN_BEATS"] == 0), no_output.eq(held["JOB_OUT_BEATS"] == 0),
        ]

        # Reads
        values = held | {
            "JOB_STATUS": self.status.as_value(), "JOB_DONE": self.written,
            "JOB_CYCLES_LO": self.cycles[:32], "JOB_CYCLES_HI": high,
            "JOB_READ_STALLS": self.read_stalls, "JOB_WRITE_STALLS": self.write_stalls,
            "JOB_ERROR_LO": error_address[:32], "JOB_ERROR_HI": error_address[32:],
        }
        m.d.sync += bus.read_done.eq(bus.read)
        with m.If(bus.read):
            m.d.sync += bus.read_data.eq(0)
            with m.Switch(bus.read_address[:PAGE_BITS - 2]):
                for name, value in values.items():
                    with m.Case(OFFSETS[name] - PAGE >> 2):
                        m.d.sync += bus.read_data.eq(value)
                        if name == "JOB_CYCLES_LO":
                            m.d.sync += high.eq(self.cycles[32:])
        return m
