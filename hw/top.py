"""The whole design: registers, program, input and output links around a chain of cores."""

from __future__ import annotations

from amaranth.hdl import Module, ResetInserter
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect

from qblif.host import abi

from .axi_lite import AxiLite, AxiLiteFrontEnd
from .chain import Chain, trace_ports
from .core import Core
from .input import Input
from .loader import Loader
from .output import Output
from .params import DesignParams
from .registers import Registers
from .supervisor import Supervisor

ADDRESS_BITS = (abi.REGISTER_SPACE - 1).bit_length()


def _axi_stream(name: str, flow, back) -> dict:
    return {f"{name}_tdata": flow(abi.LINK_BITS), f"{name}_tvalid": flow(1), f"{name}_tready": back(1),
            f"{name}_tlast": flow(1)}


class Top(wiring.Component):
    """A design as AXI sees it: one AXI4-Lite port, a program and an input stream in, an output stream out.

    Frames: a program image; an image's input beats; an image's logits (signed, one per beat). Several images
    may be in flight. A program may come at any time: it waits until no image is in the chain, and an input
    frame waits while a program waits or is loaded.

    The first malformed frame, or the watchdog, halts the design: STATUS.error and ERROR_INFO tell why, input
    and program beats are accepted and discarded, no new output beat is sent. A reset by the CONTROL register
    takes one cycle, ends that, forgets the program, and keeps WATCHDOG and SCRATCH; the next beat of each
    incoming stream begins a frame, so senders have to be at rest. An output frame it cuts off is ended by a
    beat of value 0 with TLAST. No multiplier, and no memory outside the cores.

    Parameters
    ----------
    design: sizes of the cores
    core: class of the cores (another one in tests of what surrounds them)

    Members
    -------
    s_axi_*: AXI4-Lite, 12 address bits, 32 data bits
    s_axis_program_*, s_axis_input_*: AXI4-Stream in, 32 data bits (tdata, tvalid, tready, tlast)
    m_axis_output_*: AXI4-Stream out, 32 data bits
    trace_<core>_<cluster>_valid, _data: trace records (layouts.trace, lowest bits first), only with trace
    """

    def __init__(self, design: DesignParams, core=Core):
        self._design, self._core = design, core
        ports = {f"s_axi_{name}": member.flip() for name, member in AxiLite(ADDRESS_BITS).members.items()}
        ports |= _axi_stream("s_axis_program", In, Out)
        ports |= _axi_stream("s_axis_input", In, Out)
        ports |= _axi_stream("m_axis_output", Out, In)
        for name, layout in trace_ports(design).items():
            ports |= {f"{name}_valid": Out(1), f"{name}_data": Out(layout.size)}
        super().__init__(ports)

    @property
    def design(self) -> DesignParams:
        """The parameters of the design."""
        return self._design

    def elaborate(self, platform):
        m = Module()
        design = self._design
        m.submodules.axi_lite = axi_lite = AxiLiteFrontEnd(ADDRESS_BITS)
        m.submodules.registers = registers = Registers(design)
        m.submodules.output = output = Output()
        loader, feeder = Loader(design), Input(design.cores[0])
        chain, supervisor = Chain(design, self._core), Supervisor()
        # ResetInserter does not stop memory writes. A row or map word written during the reset does no harm:
        # without a program nothing reads it, and a program and an image write what they use.
        clear = ResetInserter(registers.clear)
        m.submodules.loader = clear(loader)
        m.submodules.input = clear(feeder)
        m.submodules.chain = clear(chain)
        m.submodules.supervisor = clear(supervisor)

        for name, member in AxiLite(ADDRESS_BITS).members.items():
            inner, outer = getattr(axi_lite.axi, name), getattr(self, f"s_axi_{name}")
            m.d.comb += inner.eq(outer) if member.flow == Out else outer.eq(inner)
        connect(m, axi_lite.bus, registers.bus)

        # A beat accepted in the cycle of a reset would be lost.
        for name, sink in (("program", loader.i), ("input", feeder.i)):
            m.d.comb += [
                sink.p.data.eq(getattr(self, f"s_axis_{name}_tdata")),
                sink.p.last.eq(getattr(self, f"s_axis_{name}_tlast")),
                sink.valid.eq(getattr(self, f"s_axis_{name}_tvalid") & ~registers.clear),
                getattr(self, f"s_axis_{name}_tready").eq(sink.ready & ~registers.clear),
            ]
        m.d.comb += [
            self.m_axis_output_tdata.eq(output.o.p.data),
            self.m_axis_output_tlast.eq(output.o.p.last),
            self.m_axis_output_tvalid.eq(output.o.valid),
            output.o.ready.eq(self.m_axis_output_tready),
        ]

        for index in range(len(design.cores)):
            connect(m, getattr(loader, f"load_{index}"), getattr(chain, f"load_{index}"))
        connect(m, feeder.o, chain.i_map)
        connect(m, chain.logits, output.i)
        connect(m, loader.fault, supervisor.loader_fault)
        connect(m, feeder.fault, supervisor.input_fault)
        for name in trace_ports(design):
            port = getattr(chain, name)
            m.d.comb += [getattr(self, f"{name}_valid").eq(port.valid), getattr(self, f"{name}_data").eq(port.p)]

        halted = supervisor.halted
        busy = feeder.busy | chain.busy | supervisor.in_flight
        m.d.comb += [
            loader.hold.eq(busy),
            loader.halted.eq(halted),
            feeder.words.eq(chain.input_words),
            feeder.loaded.eq(loader.loaded),
            feeder.hold.eq(loader.loading | loader.i.valid),
            feeder.halted.eq(halted),
            chain.enable.eq(loader.loaded & ~halted),
            output.clear.eq(registers.clear),
            output.halted.eq(halted),
            supervisor.watchdog.eq(registers.watchdog),
            supervisor.working.eq(busy | loader.loading),
            supervisor.progress.eq(loader.i.valid & loader.i.ready | feeder.i.valid & feeder.i.ready
                                   | feeder.o.valid & feeder.o.ready | chain.progress
                                   | output.i.valid & output.i.ready | output.o.valid & output.o.ready),
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
        m.d.comb += [shown.eq(counted) for shown, counted in zip(registers.counters, chain.counters, strict=True)]
        return m
