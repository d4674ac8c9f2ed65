"""The whole design as AXI sees it: the accelerator behind AXI4-Lite and three AXI4-Streams."""

from __future__ import annotations

import numpy as np
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect

from qblif.host import abi

from .accelerator import ADDRESS_BITS, Accelerator
from .axi_lite import AxiLite, AxiLiteFrontEnd
from .chain import trace_ports
from .core import Core
from .params import DesignParams


def _axi_stream(name: str, flow, back) -> dict:
    return {f"{name}_tdata": flow(abi.LINK_BITS), f"{name}_tvalid": flow(1), f"{name}_tready": back(1),
            f"{name}_tlast": flow(1)}


class Top(wiring.Component):
    """A design as AXI sees it: one AXI4-Lite port, a program and an input stream in, an output stream out.

    For people who build a system of their own around it; what the frames are and what happens after an error is told
    at `accelerator.Accelerator`.

    Parameters
    ----------
    design: sizes of the cores
    core: class of the cores (another one in tests of what surrounds them)
    baked: program image that is in place from power-up (see Accelerator)

    Members
    -------
    s_axi_*: AXI4-Lite, 12 address bits, 32 data bits
    s_axis_program_*, s_axis_input_*: AXI4-Stream in, 32 data bits (tdata, tvalid, tready, tlast)
    m_axis_output_*: AXI4-Stream out, 32 data bits
    trace_<core>_<cluster>_valid, _data: trace records (layouts.trace, lowest bits first), only with trace
    """

    def __init__(self, design: DesignParams, core=Core, baked: np.ndarray | None = None):
        self._design, self._core, self._baked = design, core, baked
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
        m.submodules.axi_lite = axi_lite = AxiLiteFrontEnd(ADDRESS_BITS)
        m.submodules.accelerator = accelerator = Accelerator(self._design, self._core, baked=self._baked)

        for name, member in AxiLite(ADDRESS_BITS).members.items():
            inner, outer = getattr(axi_lite.axi, name), getattr(self, f"s_axi_{name}")
            m.d.comb += inner.eq(outer) if member.flow == Out else outer.eq(inner)
        connect(m, axi_lite.bus, accelerator.bus)
        for name, sink in (("program", accelerator.program), ("input", accelerator.input)):
            m.d.comb += [
                sink.p.data.eq(getattr(self, f"s_axis_{name}_tdata")),
                sink.p.last.eq(getattr(self, f"s_axis_{name}_tlast")),
                sink.valid.eq(getattr(self, f"s_axis_{name}_tvalid")),
                getattr(self, f"s_axis_{name}_tready").eq(sink.ready),
            ]
        output = accelerator.output
        m.d.comb += [
            self.m_axis_output_tdata.eq(output.p.data),
            self.m_axis_output_tlast.eq(output.p.last),
            self.m_axis_output_tvalid.eq(output.valid),
            output.ready.eq(self.m_axis_output_tready),
        ]
        for name in trace_ports(self._design):
            port = getattr(accelerator, name)
            m.d.comb += [getattr(self, f"{name}_valid").eq(port.valid), getattr(self, f"{name}_data").eq(port.p)]
        return m
