"""A Zynq-7000 without Vivado's IP: the processing system as a primitive, with the accelerator at its ports.

Processor -> M_AXI_GP0 (AXI3) -> bridge -> registers; accelerator -> S_AXI_HP0 (AXI3, 64 bits) -> DDR memory. Clock and
reset are the processing system's FCLKCLK[0] and FCLKRESETN[0]. There are no other ports, hence no pin constraints.
Whatever lies behind the processing system (DDR, pins, PLLs) is set by the board's boot loader, not by a bitstream.
"""

from __future__ import annotations

from amaranth.hdl import ClockDomain, ClockSignal, Const, Instance, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.cdc import ResetSynchronizer
from amaranth.lib.wiring import In, Out, connect, flipped

from ..axi3 import ADDRESS_BITS, Axi3, Axi3ToLite
from ..axi_lite import AxiLite

GP_ID_BITS, HP_ID_BITS, HP_DATA_BITS = 12, 6, 64
"""Widths of the identifiers of a general-purpose and a high-performance port, and of the latter's data."""

_CLOCKS = ("MAXIGP0ACLK", "MAXIGP1ACLK", "SAXIGP0ACLK", "SAXIGP1ACLK", "SAXIACPACLK", "SAXIHP0ACLK", "SAXIHP1ACLK",
           "SAXIHP2ACLK", "SAXIHP3ACLK")


class Axi3Dma(wiring.Component):
    """An accelerator with a DMA (`dma_top.DmaTop`) as the ports of a Zynq-7000 see it.

    Every burst of the accelerator has to fit AXI3: at most 16 beats; one identifier, 0, so that data stays in order.

    Parameters
    ----------
    dma: component with the ports of DmaTop, of 32 address bits

    Members
    -------
    gp0: In(Axi3(12, 32)), registers; any address of the port reaches them, they repeat every 4 KiB
    hp0: Out(Axi3(6, 64)), memory
    """

    def __init__(self, dma: wiring.Component):
        found = len(dma.m_axi_awaddr)
        if found != ADDRESS_BITS:
            raise ValueError(f"the accelerator's memory addresses have {found} bits, a Zynq-7000 has {ADDRESS_BITS}")
        self._dma = dma
        super().__init__({"gp0": In(Axi3(GP_ID_BITS, 32)), "hp0": Out(Axi3(HP_ID_BITS, HP_DATA_BITS))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.dma = dma = self._dma
        address_bits = len(dma.s_axi_awaddr)
        m.submodules.bridge = bridge = Axi3ToLite(GP_ID_BITS, address_bits)
        connect(m, flipped(self.gp0), bridge.axi)
        for name, member in AxiLite(address_bits).members.items():
            inner, outer = getattr(dma, f"s_axi_{name}"), getattr(bridge.lite, name)
            m.d.comb += inner.eq(outer) if member.flow == Out else outer.eq(inner)
        for name, member in Axi3(HP_ID_BITS, HP_DATA_BITS).members.items():
            # AXI4 has no wid, and its master of one identifier neither awid nor arid; lock and qos stay 0 too.
            if name.endswith(("id", "lock", "qos")) and not name.endswith("valid"):
                continue
            inner, outer = getattr(dma, f"m_axi_{name}"), getattr(self.hp0, name)
            m.d.comb += outer.eq(inner) if member.flow == Out else inner.eq(outer)
        return m


class Zynq7(wiring.Component):
    """Top of a Zynq-7000 design: processing system, clock, reset and accelerator; no ports at all.

    The clock domain `sync` is FCLKCLK[0] behind a global buffer; its reset follows FCLKRESETN[0], at once into the
    reset, synchronised out of it.

    Parameters
    ----------
    dma: component with the ports of DmaTop
    """

    def __init__(self, dma: wiring.Component):
        self._dma = dma
        super().__init__({})

    def elaborate(self, platform):
        m = Module()
        m.submodules.accelerator = accelerator = Axi3Dma(self._dma)
        m.domains.sync = sync = ClockDomain()
        clocks, resets = Signal(4, name="fclk_clk"), Signal(4, name="fclk_reset_n")
        m.submodules.clock_buffer = Instance("BUFG", i_I=clocks[0], o_O=sync.clk)
        m.submodules.reset = ResetSynchronizer(~resets[0])

        ports = {f"i_{name}": ClockSignal() for name in _CLOCKS}
        for prefix, port in (("MAXIGP0", accelerator.gp0), ("SAXIHP0", accelerator.hp0)):
            for name, member in port.signature.members.items():
                # The member's flow is the accelerator's side's: what it puts out, the processing system takes in.
                direction = "i" if member.flow == Out else "o"
                ports[f"{direction}_{prefix}{name.upper()}"] = getattr(port, name)
        # What is left open counts as 0: nothing is valid or taken at the ports that nobody uses.
        for name in ("SAXIHP0RDISSUECAP1EN", "SAXIHP0WRISSUECAP1EN"):
            ports[f"i_{name}"] = Const(0, 1)
        # Without the attribute a tool may drop the primitive: none of its ports leads to a pin of the design.
        m.submodules.ps7 = Instance("PS7", a_DONT_TOUCH="true", a_keep="true", o_FCLKCLK=clocks, o_FCLKRESETN=resets,
                                    **ports)
        return m
