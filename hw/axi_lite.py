"""AXI4-Lite slave that turns bus transactions into register accesses.

Ref: ARM IHI 0022, AMBA AXI and ACE Protocol Specification, part B (AXI4-Lite)."""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib import enum, wiring
from amaranth.lib.wiring import In, Out


class AxiLite(wiring.Signature):
    """The five channels of AXI4-Lite with 32-bit data, seen from the manager; names as in the specification."""

    def __init__(self, address_bits: int):
        super().__init__({
            "awaddr": Out(address_bits), "awprot": Out(3), "awvalid": Out(1), "awready": In(1),
            "wdata": Out(32), "wstrb": Out(4), "wvalid": Out(1), "wready": In(1),
            "bresp": In(2), "bvalid": In(1), "bready": Out(1),
            "araddr": Out(address_bits), "arprot": Out(3), "arvalid": Out(1), "arready": In(1),
            "rdata": In(32), "rresp": In(2), "rvalid": In(1), "rready": Out(1),
        })


class RegisterBus(wiring.Signature):
    """Register accesses, seen from whoever asks; at most one read and one write at a time.

    write: one cycle; the bytes of write_data named by write_strobe go to the word at write_address.
    read: one cycle; read_address then stays until read_done, one cycle, in which read_data holds the answer.
    Addresses count 32-bit words.
    """

    def __init__(self, address_bits: int):
        super().__init__({
            "write": Out(1), "write_address": Out(address_bits), "write_data": Out(32), "write_strobe": Out(4),
            "read": Out(1), "read_address": Out(address_bits), "read_done": In(1), "read_data": In(32),
        })


class State(enum.Enum):
    """States of the read channel."""

    IDLE = 0
    READ = 1
    WAIT = 2
    RESPOND = 3


class AxiLiteFrontEnd(wiring.Component):
    """AXI4-Lite slave: one read and one write outstanding, write address and data in any order, always OKAY.

    The two low address bits and the protection bits are ignored. A write is done in the cycle before its
    response appears. A read takes two cycles more than the register file.

    Parameters
    ----------
    address_bits: width of the byte address, in bits

    Members
    -------
    axi: In(AxiLite)
    bus: Out(RegisterBus), word addresses of address_bits - 2 bits
    """

    def __init__(self, address_bits: int = 12):
        super().__init__({"axi": In(AxiLite(address_bits)), "bus": Out(RegisterBus(address_bits - 2))})

    def elaborate(self, platform):
        m = Module()
        axi, bus = self.axi, self.bus

        # Address and data wait for each other in one register each.
        have_address, have_data = Signal(), Signal()
        m.d.comb += [
            axi.awready.eq(~have_address),
            axi.wready.eq(~have_data),
            bus.write.eq(have_address & have_data & (~axi.bvalid | axi.bready)),
        ]
        with m.If(axi.bready):
            m.d.sync += axi.bvalid.eq(0)
        with m.If(bus.write):
            m.d.sync += [axi.bvalid.eq(1), have_address.eq(0), have_data.eq(0)]
        with m.If(axi.awvalid & axi.awready):
            m.d.sync += [have_address.eq(1), bus.write_address.eq(axi.awaddr[2:])]
        with m.If(axi.wvalid & axi.wready):
            m.d.sync += [have_data.eq(1), bus.write_data.eq(axi.wdata), bus.write_strobe.eq(axi.wstrb)]

        with m.FSM(init=State.IDLE):
            # IDLE -- waits for a read address
            with m.State(State.IDLE):
                m.d.comb += axi.arready.eq(1)
                with m.If(axi.arvalid):
                    m.d.sync += bus.read_address.eq(axi.araddr[2:])
                    m.next = State.READ
            # READ -- asks the register file
            with m.State(State.READ):
                m.d.comb += bus.read.eq(1)
                m.next = State.WAIT
            # WAIT -- until the register file has answered
            with m.State(State.WAIT):
                with m.If(bus.read_done):
                    m.d.sync += axi.rdata.eq(bus.read_data)
                    m.next = State.RESPOND
            # RESPOND -- until the manager has taken the answer
            with m.State(State.RESPOND):
                m.d.comb += axi.rvalid.eq(1)
                with m.If(axi.rready):
                    m.next = State.IDLE
        return m
