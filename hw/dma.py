"""The DMA: jobs described by registers, carried out between memory and the accelerator's streams."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from qblif.host import abi

from .axi_lite import RegisterBus
from .axi_master import AxiRead, AxiWrite
from .dma_read import DmaRead
from .dma_write import DmaWrite
from .job import Job
from .job_registers import JobRegisters
from .link import beat


class Dma(wiring.Component):
    """Fetches frames from memory for an accelerator's streams, and writes the frames that come back to memory.

    Jobs are described by abi.JOB_REGISTERS and carried out as `job.Job` tells. Results are written from the first beat
    of a job's input on; those that come before, or while no job runs, are thrown away. Beats are withdrawn when a job
    is cut off: the streams lead to an accelerator, not to a bus.

    The bursts are legal in AXI3 and AXI4: INCR, 8 bytes a transfer, at most 16 transfers, never across 4 KiB, one id.

    Parameters
    ----------
    address_bits: width of memory addresses

    Members
    -------
    bus: In(RegisterBus), word addresses; only accesses to abi.JOB_REGISTERS
    read, write: Out(AxiRead), Out(AxiWrite)
    program, input: Out (stream of link.beat)
    output: In (stream of link.beat)
    clear: In(1), a CONTROL reset; watchdog: In(32); core_error: In(1); of the accelerator
    """

    def __init__(self, address_bits: int):
        self._address_bits = address_bits
        super().__init__({
            "bus": In(RegisterBus((abi.REGISTER_SPACE - 1).bit_length() - 2)),
            "read": Out(AxiRead(address_bits)), "write": Out(AxiWrite(address_bits)),
            "program": Out(stream.Signature(beat)), "input": Out(stream.Signature(beat)),
            "output": In(stream.Signature(beat)),
            "clear": In(1), "watchdog": In(32), "core_error": In(1),
        })

    def elaborate(self, platform):
        m = Module()
        bits = self._address_bits
        m.submodules.registers = registers = JobRegisters(bits)
        m.submodules.job = job = Job(bits)
        m.submodules.read = read = DmaRead(bits)
        m.submodules.write = write = DmaWrite(bits)
        connect(m, flipped(self.bus), registers.bus)
        connect(m, read.axi, flipped(self.read))
        connect(m, write.axi, flipped(self.write))

        # Control
        for half, seen in ((read, job.read), (write, job.write)):
            m.d.comb += [seen.done.eq(half.done), seen.pending.eq(half.pending), seen.moved.eq(half.moved),
                         half.stop.eq(job.stop), half.frames.eq(registers.frames)]
            connect(m, half.fault, seen.fault)
        m.d.comb += [
            job.start.eq(registers.start), job.abort.eq(registers.abort), job.is_program.eq(registers.is_program),
            job.bad.eq(registers.bad),
            job.clear.eq(self.clear), job.core_error.eq(self.core_error), job.watchdog.eq(self.watchdog),
            read.start.eq(job.go), read.address.eq(registers.source), read.beats.eq(registers.in_beats),
            write.start.eq(job.go & ~registers.is_program), write.address.eq(registers.target),
            write.beats.eq(registers.out_beats),
            registers.status.busy.eq(job.busy), registers.status.done.eq(job.done),
            registers.status.error.eq(job.error), registers.error_address.eq(job.error_address),
            job.frame_written.eq(write.written),
            registers.written.eq(job.written), registers.cycles.eq(job.cycles),
            registers.read_stalls.eq(job.read_stalls), registers.write_stalls.eq(job.write_stalls),
        ]

        # Beats
        flowing, receiving = Signal(), Signal()    # the accelerator got a beat of this job; results are this job's
        wanted = Mux(job.program, self.program.ready, self.input.ready)
        with m.If(read.o.valid & read.o.ready):
            m.d.sync += flowing.eq(1)
        with m.If(job.go):
            m.d.sync += flowing.eq(0)
        for frames, chosen in ((self.program, job.program), (self.input, ~job.program)):
            m.d.comb += [frames.p.eq(read.o.p), frames.valid.eq(read.o.valid & job.running & chosen)]
        m.d.comb += [
            receiving.eq(job.running & ~job.program & flowing),
            read.o.ready.eq(job.running & wanted),
            write.i.p.eq(self.output.p),
            write.i.valid.eq(self.output.valid & receiving),
            self.output.ready.eq(~receiving | write.i.ready),
            job.read_stall.eq(wanted & ~read.o.valid & ~read.done),
            job.write_stall.eq(self.output.valid & ~self.output.ready),
        ]
        return m
