"""The AXI master's side of memory: channels, burst addresses and what is reported when an access goes wrong.

Ref: ARM IHI 0022, AMBA AXI and ACE Protocol Specification, part A. Bursts are legal in AXI3 too.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import enum, wiring
from amaranth.lib.wiring import In, Out

DATA_BITS = 64
"""Width of the data channels; an AXI word is 8 bytes."""

WORD_BYTES = DATA_BITS // 8
BURST_WORDS = 16
"""Most words in a burst. Bursts end at multiples of this many words, and so never cross 4 KiB."""

BURST_BYTES = BURST_WORDS * WORD_BYTES
OUTSTANDING = 4
"""Most bursts of one direction on the bus."""

SIZE = 3
"""AxSIZE: 2**3 bytes per transfer."""

CACHE = 0b0011
"""AxCACHE: normal memory, not cached, bufferable."""

PROTECTION = 0
"""AxPROT: unprivileged, secure, data."""


class Burst(enum.Enum, shape=2):
    """AxBURST."""

    FIXED = 0
    INCR = 1
    WRAP = 2


class Response(enum.Enum, shape=2):
    """RRESP and BRESP."""

    OKAY = 0
    EXOKAY = 1
    SLAVE = 2
    DECODE = 3


def _address_channel(prefix: str, address_bits: int) -> dict:
    return {f"{prefix}addr": Out(address_bits), f"{prefix}len": Out(8), f"{prefix}size": Out(3, init=SIZE),
            f"{prefix}burst": Out(2, init=Burst.INCR.value), f"{prefix}cache": Out(4, init=CACHE),
            f"{prefix}prot": Out(3, init=PROTECTION), f"{prefix}valid": Out(1), f"{prefix}ready": In(1)}


class AxiRead(wiring.Signature):
    """Read channels (AR, R) of AXI4 with 64-bit data and one implied id, seen from the manager."""

    def __init__(self, address_bits: int):
        super().__init__(_address_channel("ar", address_bits) | {
            "rdata": In(DATA_BITS), "rresp": In(2), "rlast": In(1), "rvalid": In(1), "rready": Out(1)})


class AxiWrite(wiring.Signature):
    """Write channels (AW, W, B) of AXI4 with 64-bit data and one implied id, seen from the manager."""

    def __init__(self, address_bits: int):
        super().__init__(_address_channel("aw", address_bits) | {
            "wdata": Out(DATA_BITS), "wstrb": Out(WORD_BYTES), "wlast": Out(1), "wvalid": Out(1), "wready": In(1),
            "bresp": In(2), "bvalid": In(1), "bready": Out(1)})


class Fault(wiring.Signature):
    """Report of a transfer that went wrong, one cycle long.

    valid: something is wrong. code: abi.Error. address: of the burst, for errors of the bus; else 0.
    """

    def __init__(self, address_bits: int):
        super().__init__({"valid": Out(1), "code": Out(8), "address": Out(address_bits)})


class Cursor(wiring.Component):
    """Address of the next burst: advances by words, and tells how many are left to the next burst boundary.

    Parameters
    ----------
    address_bits: width of the byte address

    Members
    -------
    load: In(1), take `start` (bytes, a multiple of 8)
    step: In(1), go on by `words` (at most `room`)
    address: Out, in bytes
    room: Out(5), words up to the next multiple of BURST_BYTES; 1 to 16
    over: Out(1), the end of the address space has been passed
    """

    def __init__(self, address_bits: int):
        self._address_bits = address_bits
        super().__init__({"load": In(1), "start": In(address_bits), "step": In(1), "words": In(5),
                          "address": Out(address_bits), "room": Out(5), "over": Out(1)})

    def elaborate(self, platform):
        m = Module()
        slot, line = Signal(4), Signal(self._address_bits - 7 + 1)
        following = Signal(5)
        m.d.comb += [
            following.eq(slot + self.words),
            self.address.eq(Cat(slot << 3, line)[:self._address_bits]),
            self.room.eq(BURST_WORDS - slot),
            self.over.eq(line[-1]),
        ]
        with m.If(self.load):
            m.d.sync += [slot.eq(self.start[3:7]), line.eq(self.start[7:])]
        with m.Elif(self.step):
            m.d.sync += [slot.eq(following), line.eq(line + following[4])]
        return m
