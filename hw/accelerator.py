"""The accelerator without a bus front-end: registers, program, input and output links around a chain of cores."""

from __future__ import annotations

import dataclasses

import numpy as np
from amaranth.hdl import Cat, Module, ResetInserter, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from qblif.host import abi

from .axi_lite import RegisterBus
from .baked import decode
from .chain import Chain, trace_members, trace_ports
from .core import Core
from .input import Input
from .link import beat
from .loader import Loader
from .output import Output
from .params import STREAMS, DesignParams, Shell
from .registers import Registers
from .supervisor import Supervisor

ADDRESS_BITS = (abi.REGISTER_SPACE - 1).bit_length()
"""Width of the register space's byte address."""


class Accelerator(wiring.Component):
    """A design behind a register bus and three streams; what every bus front-end and board shell is built around.

    Frames: a program image; an image's input beats; an image's logits (signed, one per beat). Several images
    may be in flight. A program may come at any time: it waits until no image is in the chain, and an input
    frame waits while a program waits or is loaded.

    The first malformed frame, or the watchdog, halts the design: STATUS.error and ERROR_INFO tell why, input and
    program beats are accepted and discarded, no new output beat is sent. A reset by the CONTROL register takes one
    cycle, and one more in the cores, ends that, forgets the program, and keeps WATCHDOG and SCRATCH; the next beat of
    each incoming stream begins a frame, so senders have to be at rest. An output frame it cuts off is ended by a beat
    of value 0 with TLAST. No multiplier, and no memory outside the cores.

    Parameters
    ----------
    design: sizes of the cores
    core: class of the cores (another one in tests of what surrounds them)
    shell: what is around it, for the registers CAPS and CLOCK_HZ
    baked: program image (uint32 beats) that is in place from power-up, and after resets by the CONTROL register, until
        another program begins; ValueError where it is not for this design

    Members
    -------
    bus: In(RegisterBus), word addresses of abi.REGISTERS and abi.COUNTERS
    program, input: In (stream of link.beat)
    output: Out (stream of link.beat)
    clear: Out(1), a reset by the CONTROL register, in its one cycle
    watchdog: Out(32), the WATCHDOG register
    error: Out(1), STATUS shows an error
    loaded, busy: Out(1), as in STATUS
    trace_<core>_<cluster>: Out (layouts.trace with valid), only with trace
    """

    def __init__(self, design: DesignParams, core=Core, shell: Shell = STREAMS, baked: np.ndarray | None = None):
        self._design, self._core = design, core
        self._shell = dataclasses.replace(shell, baked=baked is not None)
        self._baked = None if baked is None else decode(baked, design)
        super().__init__({
            "bus": In(RegisterBus(ADDRESS_BITS - 2)),
            "program": In(stream.Signature(beat)), "input": In(stream.Signature(beat)),
            "output": Out(stream.Signature(beat)), "clear": Out(1), "watchdog": Out(32), "error": Out(1),
            "loaded": Out(1), "busy": Out(1),
        } | trace_members(design))

    @property
    def design(self) -> DesignParams:
        """The parameters of the design."""
        return self._design

    def elaborate(self, platform):
        m = Module()
        design, baked = self._design, self._baked
        m.submodules.registers = registers = Registers(design, self._shell)
        m.submodules.output = output = Output()
        loader, feeder = Loader(design, baked.program_hash if baked else 0), Input(design.cores[0])
        chain, supervisor = Chain(design, self._core, baked), Supervisor()
        halted = supervisor.halted
        # ResetInserter does not stop memory writes. A row or map word written during the reset does no harm:
        # without a program nothing reads it, and a program and an image write what they use. A baked program is
        # no longer valid when the first row is written.
        clear = ResetInserter(registers.clear)
        m.submodules.loader = clear(loader)
        m.submodules.input = clear(feeder)
        # The chain, which is spread over the whole chip, is reset a cycle later, by a register of its own.
        chain_clear = Signal()
        m.d.sync += chain_clear.eq(registers.clear)
        m.submodules.chain = ResetInserter(chain_clear)(chain)
        m.submodules.supervisor = clear(supervisor)

        connect(m, flipped(self.bus), registers.bus)

        # A beat accepted in the cycle of a reset would be lost; in the next one the feeder gets ready for a frame.
        clearing = registers.clear | chain_clear
        for source, sink in ((self.program, loader.i), (self.input, feeder.i)):
            m.d.comb += [sink.p.eq(source.p), sink.valid.eq(source.valid & ~clearing),
                         source.ready.eq(sink.ready & ~clearing)]
        connect(m, output.o, flipped(self.output))

        busy = feeder.busy | chain.busy | supervisor.in_flight
        m.d.comb += [self.clear.eq(registers.clear), self.watchdog.eq(registers.watchdog), self.error.eq(halted),
                     self.loaded.eq(loader.loaded), self.busy.eq(busy)]

        for index in range(len(design.cores)):
            connect(m, getattr(loader, f"load_{index}"), getattr(chain, f"load_{index}"))
        connect(m, feeder.o, chain.i_map)
        m.d.comb += [output.i.p.eq(chain.logits.p), output.i.valid.eq(chain.logits.valid & ~chain_clear),
                     chain.logits.ready.eq(output.i.ready & ~chain_clear)]
        connect(m, loader.fault, supervisor.loader_fault)
        connect(m, feeder.fault, supervisor.input_fault)
        for name in trace_ports(design):
            connect(m, getattr(chain, name), flipped(getattr(self, name)))

        m.d.comb += [
            loader.hold.eq(busy),
            loader.halted.eq(halted),
            feeder.words.eq(chain.input_words), feeder.row_words.eq(chain.input_row_words),
            feeder.loaded.eq(loader.loaded),
            feeder.halted.eq(halted),
            chain.enable.eq(loader.loaded & ~halted),
            output.clear.eq(registers.clear),
            output.halted.eq(halted),
            supervisor.watchdog.eq(registers.watchdog),
            supervisor.working.eq(busy | loader.loading),
            supervisor.image_in.eq(feeder.done),
            supervisor.image_out.eq(output.done),
            registers.status.loaded.eq(loader.loaded),
            registers.status.busy.eq(busy),
            registers.status.loading.eq(loader.loading),
            registers.status.error.eq(supervisor.error),
            registers.error_info.eq(supervisor.error_info),
            registers.images_in.eq(supervisor.images_in),
            registers.images_out.eq(supervisor.images_out),
            registers.program_hash.eq(loader.program_hash),
        ]
        # Handshakes all over the design end here, so they are looked at a cycle later.
        streams = (loader.i, feeder.i, feeder.o, output.i, output.o)
        moves = Signal(len(streams) + 1)
        m.d.sync += moves.eq(Cat(chain.progress, *(stream.valid & stream.ready for stream in streams)))
        m.d.comb += supervisor.progress.eq(moves.any())
        # What the loader is doing is told a cycle late, so that it decides nothing else in the same one; it begins with
        # a beat that is offered, or that it has taken, and that is told at once.
        loads = Signal()
        m.d.sync += loads.eq(loader.loading)
        m.d.comb += feeder.hold.eq(loads | loader.waits | loader.i.valid)
        m.d.comb += [chain.counter_index.eq(registers.counter_index),
                     *(shown.eq(value) for shown, value in zip(registers.counter, chain.counter, strict=True))]
        return m
