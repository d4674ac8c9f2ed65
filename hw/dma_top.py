"""The whole design with its own DMA: the accelerator behind AXI4-Lite and one AXI master."""

from __future__ import annotations

import numpy as np
from amaranth.hdl import Module, Mux
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect

from .accelerator import ADDRESS_BITS, Accelerator
from .axi_lite import AxiLite, AxiLiteFrontEnd
from .axi_master import DATA_BITS, AxiRead, AxiWrite
from .chain import trace_ports
from .core import Core
from .dma import Dma
from .job_registers import PAGE, PAGE_BITS
from .params import DesignParams, Shell


class DmaTop(wiring.Component):
    """A design that fetches its frames from memory and writes its results there: one job is a few register writes.

    Jobs are described by abi.JOB_REGISTERS and carried out as `dma.Dma` and `job.Job` tell. Frames, and what happens
    after an error, are told at `accelerator.Accelerator`.

    Parameters
    ----------
    design: sizes of the cores
    address_bits: width of the master's addresses; 16 to 64
    core: class of the cores (another one in tests of what surrounds them)
    baked: program image that is in place from power-up, uint32 (beats,); None: none is

    Members
    -------
    s_axi_*: AXI4-Lite, 12 address bits, 32 data bits
    m_axi_*: AXI master, 64 data bits
    trace_<core>_<cluster>_valid, _data: trace records (layouts.trace, lowest bits first), only with trace
    """

    def __init__(self, design: DesignParams, address_bits: int = 32, core=Core, baked: np.ndarray | None = None):
        if not 16 <= address_bits <= 64:
            raise ValueError(f"address_bits is {address_bits!r}, allowed is 16 to 64")
        self._design, self._address_bits, self._core, self._baked = design, address_bits, core, baked
        ports = {f"s_axi_{name}": member.flip() for name, member in AxiLite(ADDRESS_BITS).members.items()}
        for channels in (AxiWrite(address_bits), AxiRead(address_bits)):
            ports |= {f"m_axi_{name}": member for name, member in channels.members.items()}
        for name, layout in trace_ports(design).items():
            ports |= {f"{name}_valid": Out(1), f"{name}_data": Out(layout.size)}
        super().__init__(ports)

    @property
    def design(self) -> DesignParams:
        """The parameters of the design."""
        return self._design

    @property
    def address_bits(self) -> int:
        """Width of the master's addresses."""
        return self._address_bits

    def elaborate(self, platform):
        m = Module()
        bits = self._address_bits
        shell = Shell("dma", address_bits=bits, data_bits=DATA_BITS)
        m.submodules.axi_lite = axi_lite = AxiLiteFrontEnd(ADDRESS_BITS)
        m.submodules.accelerator = accelerator = Accelerator(self._design, self._core, shell, self._baked)
        m.submodules.dma = dma = Dma(bits)

        def attach(port, prefix, signature):
            for name, member in signature.members.items():
                inner, outer = getattr(port, name), getattr(self, f"{prefix}_{name}")
                m.d.comb += inner.eq(outer) if member.flow == In else outer.eq(inner)

        attach(dma.read, "m_axi", AxiRead(bits))
        attach(dma.write, "m_axi", AxiWrite(bits))
        attach(axi_lite.axi, "s_axi", AxiLite(ADDRESS_BITS).flip())

        # Registers: the job's part, and all the rest.
        bus = axi_lite.bus
        writes_job, reads_job = (address[PAGE_BITS - 2:] == PAGE >> PAGE_BITS
                                 for address in (bus.write_address, bus.read_address))
        for part, written, asked in ((dma.bus, writes_job, reads_job), (accelerator.bus, ~writes_job, ~reads_job)):
            m.d.comb += [
                part.write.eq(bus.write & written), part.write_address.eq(bus.write_address),
                part.write_data.eq(bus.write_data), part.write_strobe.eq(bus.write_strobe),
                part.read.eq(bus.read & asked), part.read_address.eq(bus.read_address),
            ]
        m.d.comb += [
            bus.read_done.eq(Mux(reads_job, dma.bus.read_done, accelerator.bus.read_done)),
            bus.read_data.eq(Mux(reads_job, dma.bus.read_data, accelerator.bus.read_data)),
        ]

        connect(m, dma.program, accelerator.program)
        connect(m, dma.input, accelerator.input)
        connect(m, accelerator.output, dma.output)
        m.d.comb += [dma.clear.eq(accelerator.clear), dma.watchdog.eq(accelerator.watchdog),
                     dma.core_error.eq(accelerator.error)]
        for name in trace_ports(self._design):
            port = getattr(accelerator, name)
            m.d.comb += [getattr(self, f"{name}_valid").eq(port.valid), getattr(self, f"{name}_data").eq(port.p)]
        return m
