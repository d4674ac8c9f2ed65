"""AXI3 as the processing system of a Zynq-7000 speaks it: its ports, and a bridge from there to AXI4-Lite.

Ref: ARM IHI 0022, AMBA AXI Protocol Specification, part A (AXI3); Xilinx UG585, Zynq-7000 Technical Reference Manual,
chapter 5."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import enum, wiring
from amaranth.lib.wiring import In, Out

from .axi_lite import AxiLite

ADDRESS_BITS = 32
"""Of all ports of the processing system."""


class Axi3(wiring.Signature):
    """The five channels of AXI3, seen from the manager; names as in the specification, in lower case.

    A burst has 1 to 16 beats (awlen + 1); the size is given as the logarithm of 1, 2, 4 or 8 bytes.
    """

    def __init__(self, id_bits: int, data_bits: int):
        members = {}
        for channel in ("aw", "ar"):
            members |= {f"{channel}{name}": Out(bits) for name, bits in (
                ("addr", ADDRESS_BITS), ("id", id_bits), ("len", 4), ("size", 2), ("burst", 2), ("lock", 2),
                ("cache", 4), ("prot", 3), ("qos", 4), ("valid", 1))} | {f"{channel}ready": In(1)}
        super().__init__(members | {
            "wdata": Out(data_bits), "wid": Out(id_bits), "wstrb": Out(data_bits // 8), "wlast": Out(1),
            "wvalid": Out(1), "wready": In(1),
            "bid": In(id_bits), "bresp": In(2), "bvalid": In(1), "bready": Out(1),
            "rdata": In(data_bits), "rid": In(id_bits), "rresp": In(2), "rlast": In(1), "rvalid": In(1),
            "rready": Out(1),
        })


class Burst(enum.Enum, shape=2):
    """Values of awburst and arburst."""

    FIXED = 0
    INCR = 1
    WRAP = 2


class ReadState(enum.Enum):
    """States of the read channel."""

    IDLE = 0
    ASK = 1
    ANSWER = 2


class WriteState(enum.Enum):
    """States of the write channel."""

    IDLE = 0
    ADDRESS = 1
    DATA = 2
    RESPONSE = 3
    ANSWER = 4


class Axi3ToLite(wiring.Component):
    """AXI3 subordinate of 32 data bits in front of AXI4-Lite: one read and one write outstanding.

    Every burst is answered completely, beat by beat, whatever its type, length and size: a processor whose access is
    left without an answer hangs until it is switched off. Identifiers are reflected. The response of a write is the
    worst of its beats'. Address bits above `address_bits` are ignored, so the registers repeat; lock, cache and
    quality of service are ignored too.

    Parameters
    ----------
    id_bits: width of the identifiers
    address_bits: width of the byte address of `lite`

    Members
    -------
    axi: In(Axi3(id_bits, 32))
    lite: Out(AxiLite(address_bits))
    """

    def __init__(self, id_bits: int, address_bits: int = 12):
        self._id_bits, self._address_bits = id_bits, address_bits
        super().__init__({"axi": In(Axi3(id_bits, 32)), "lite": Out(AxiLite(address_bits))})

    def elaborate(self, platform):
        m = Module()
        axi, lite = self.axi, self.lite

        def burst(channel: str):
            """Make the registers of a burst under way; return them, what loads them and what steps to the next beat."""
            address = Signal(self._address_bits, name=f"{channel}_address")
            identifier, left = Signal(self._id_bits, name=f"{channel}_id"), Signal(4, name=f"{channel}_left")
            size, kind = Signal(2, name=f"{channel}_size"), Signal(Burst, name=f"{channel}_burst")
            mask, protection = Signal(7, name=f"{channel}_mask"), Signal(3, name=f"{channel}_prot")
            length = getattr(axi, f"{channel}len")
            begin = [address.eq(getattr(axi, f"{channel}addr")), identifier.eq(getattr(axi, f"{channel}id")),
                     left.eq(length), size.eq(getattr(axi, f"{channel}size")),
                     kind.eq(getattr(axi, f"{channel}burst")), protection.eq(getattr(axi, f"{channel}prot")),
                     mask.eq(((length + 1) << getattr(axi, f"{channel}size")) - 1)]
            step = Signal(4, name=f"{channel}_step")
            following = Signal(self._address_bits, name=f"{channel}_next")
            m.d.comb += [step.eq(1 << size), following.eq(address + step)]
            wrapped = Cat(*(Mux(mask[bit], following[bit], address[bit]) for bit in range(7)), address[7:])
            onward = [left.eq(left - 1),
                      address.eq(Mux(kind == Burst.FIXED, address, Mux(kind == Burst.WRAP, wrapped, following)))]
            return address, identifier, left, protection, begin, onward

        address, identifier, left, protection, begin, onward = burst("ar")
        m.d.comb += [lite.araddr.eq(address), lite.arprot.eq(protection), axi.rid.eq(identifier),
                     axi.rdata.eq(lite.rdata), axi.rresp.eq(lite.rresp), axi.rlast.eq(left == 0)]
        with m.FSM(init=ReadState.IDLE, name="read"):
            # IDLE -- waits for a burst
            with m.State(ReadState.IDLE):
                m.d.comb += axi.arready.eq(1)
                with m.If(axi.arvalid):
                    m.d.sync += begin
                    m.next = ReadState.ASK
            # ASK -- until the address of a beat is taken
            with m.State(ReadState.ASK):
                m.d.comb += lite.arvalid.eq(1)
                with m.If(lite.arready):
                    m.next = ReadState.ANSWER
            # ANSWER -- hands the beat over
            with m.State(ReadState.ANSWER):
                m.d.comb += [axi.rvalid.eq(lite.rvalid), lite.rready.eq(axi.rready)]
                with m.If(lite.rvalid & axi.rready):
                    m.d.sync += onward
                    m.next = ReadState.ASK
                    with m.If(left == 0):
                        m.next = ReadState.IDLE

        address, identifier, left, protection, begin, onward = burst("aw")
        worst = Signal(2)
        m.d.comb += [lite.awaddr.eq(address), lite.awprot.eq(protection), lite.wdata.eq(axi.wdata),
                     lite.wstrb.eq(axi.wstrb), axi.bid.eq(identifier), axi.bresp.eq(worst)]
        with m.FSM(init=WriteState.IDLE, name="write"):
            # IDLE -- waits for a burst
            with m.State(WriteState.IDLE):
                m.d.comb += axi.awready.eq(1)
                with m.If(axi.awvalid):
                    m.d.sync += [*begin, worst.eq(0)]
                    m.next = WriteState.ADDRESS
            # ADDRESS -- until the address of a beat is taken
            with m.State(WriteState.ADDRESS):
                m.d.comb += lite.awvalid.eq(1)
                with m.If(lite.awready):
                    m.next = WriteState.DATA
            # DATA -- hands the beat over
            with m.State(WriteState.DATA):
                m.d.comb += [lite.wvalid.eq(axi.wvalid), axi.wready.eq(lite.wready)]
                with m.If(axi.wvalid & lite.wready):
                    m.next = WriteState.RESPONSE
            # RESPONSE -- waits for what became of it
            with m.State(WriteState.RESPONSE):
                m.d.comb += lite.bready.eq(1)
                with m.If(lite.bvalid):
                    m.d.sync += onward
                    with m.If(lite.bresp > worst):
                        m.d.sync += worst.eq(lite.bresp)
                    m.next = WriteState.ADDRESS
                    with m.If(left == 0):
                        m.next = WriteState.ANSWER
            # ANSWER -- one response for the whole burst
            with m.State(WriteState.ANSWER):
                m.d.comb += axi.bvalid.eq(1)
                with m.If(axi.bready):
                    m.next = WriteState.IDLE
        return m
