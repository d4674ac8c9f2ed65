"""The register block of abi.REGISTERS and abi.COUNTERS."""

from __future__ import annotations

from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from qblif.host import abi

from .axi_lite import RegisterBus
from .counters import BITS
from .layouts import COUNTER_CYCLES, COUNTER_INDEX
from .params import STREAMS, DesignParams, Shell

status = data.StructLayout(dict(abi.STATUS_FIELDS))
"""The STATUS register."""

OFFSETS = {name: offset for name, offset, *_ in abi.REGISTERS}


class Registers(wiring.Component):
    """Register file: identity, status, control and the 64-bit counters of the selected core.

    A read is answered four cycles after `bus.read`, that of a counter COUNTER_CYCLES later. The 64 bits of one are
    those of one cycle: reading its low word keeps the high word for the next read of any counter's high word. Counters
    of a core that does not exist, and unused addresses, read 0.

    `clear` is high for the one cycle after a 1 was written to bit 0 of CONTROL; CORE_SELECT and the kept high
    word are cleared by it too, WATCHDOG and SCRATCH are not.

    Parameters
    ----------
    design: the design whose identity is shown
    shell: what is around it

    Members
    -------
    bus: In(RegisterBus), word addresses
    clear: Out(1), reset everything else
    watchdog: Out(32), cycles; 0 = never
    status: In(status), its error field included
    error_info, images_in, images_out: In(32)
    program_hash: In(64)
    counter_index: Out, of abi.COUNTERS; counter: In(64), its value in each core, COUNTER_CYCLES later
    """

    def __init__(self, design: DesignParams, shell: Shell = STREAMS):
        self._design, self._shell = design, shell
        address_bits = (abi.REGISTER_SPACE - 1).bit_length() - 2
        super().__init__({
            "bus": In(RegisterBus(address_bits)),
            "clear": Out(1),
            "watchdog": Out(32),
            "status": In(status),
            "error_info": In(32),
            "images_in": In(32),
            "images_out": In(32),
            "program_hash": In(64),
            "counter_index": Out(COUNTER_INDEX), "counter": In(BITS).array(len(design.cores)),
        })

    def elaborate(self, platform):
        m = Module()
        bus, design = self.bus, self._design
        scratch, core_select = Signal(32), Signal(32)

        values = {
            "ID": Const(abi.MAGIC, 32),
            "ABI": Const(abi.ABI_VERSION, 32),
            "BUILD_LO": Const(design.build_hash & 0xFFFF_FFFF, 32),
            "BUILD_HI": Const(design.build_hash >> 32, 32),
            "PROGRAM_LO": self.program_hash[:32],
            "PROGRAM_HI": self.program_hash[32:],
            "CAPS": Const(abi.pack(abi.CAPS_FIELDS, self._shell.caps()), 32),
            "SCRATCH": scratch,
            "STATUS": self.status.as_value(),
            "WATCHDOG": self.watchdog,
            "ERROR_INFO": self.error_info,
            "CORES": Const(len(design.cores), 32),
            "CORE_SELECT": core_select,
            "IMAGES_IN": self.images_in,
            "IMAGES_OUT": self.images_out,
            "CLOCK_HZ": Const(self._shell.clock_hz, 32),
        }

        # Writes ---------------------------------------------------------------------------------------------
        m.d.sync += self.clear.eq(0)
        with m.If(self.clear):
            m.d.sync += core_select.eq(0)
        with m.If(bus.write):
            with m.Switch(bus.write_address):
                for name, register in (("SCRATCH", scratch), ("WATCHDOG", self.watchdog),
                                       ("CORE_SELECT", core_select)):
                    with m.Case(OFFSETS[name] >> 2):
                        for lane in range(4):
                            with m.If(bus.write_strobe[lane]):
                                byte = slice(8 * lane, 8 * lane + 8)
                                m.d.sync += register[byte].eq(bus.write_data[byte])
                with m.Case(OFFSETS["CONTROL"] >> 2):
                    m.d.sync += self.clear.eq(bus.write_data[0] & bus.write_strobe[0])

        # Reads, in four steps: whose address it is, one bit each, so that the rest is ANDs and ORs; the register, or a
        # wait for the counter; the counter of the selected core; the half that is meant.
        plain, is_counter, high, chosen = Signal(32), Signal(), Signal(32), Signal(BITS)
        hits, counter_hit, found = Signal(len(values)), Signal(), Signal()
        wait, here, chosen_now = Signal(range(COUNTER_CYCLES + 1)), Signal(), Signal()
        counter = bus.read_address[1:] - (abi.COUNTER_BASE >> 3)
        m.d.comb += self.counter_index.eq(counter)
        m.d.sync += [
            found.eq(bus.read), chosen_now.eq(here),
            hits.eq(Cat(bus.read_address == OFFSETS[name] >> 2 for name in values)),
            counter_hit.eq(Cat(bus.read_address[1:] == (abi.COUNTER_BASE >> 3) + index
                               for index in range(len(abi.COUNTERS))).any()),
            here.eq((found & ~counter_hit) | (wait == 1)), wait.eq(Mux(wait == 0, 0, wait - 1)),
        ]
        with m.If(found):
            m.d.sync += [
                is_counter.eq(counter_hit), wait.eq(Mux(counter_hit, COUNTER_CYCLES, 0)),
                plain.eq(reduce(or_, (Mux(hit, value, 0) for hit, value in zip(hits, values.values(), strict=True)))),
            ]
        with m.If(here):
            m.d.sync += chosen.eq(0)
            with m.Switch(core_select):
                for index, value in enumerate(self.counter):
                    with m.Case(index):
                        m.d.sync += chosen.eq(value)
        m.d.comb += [bus.read_done.eq(chosen_now), bus.read_data.eq(plain)]
        with m.If(is_counter):
            with m.If(bus.read_address[0]):
                m.d.comb += bus.read_data.eq(high)
            with m.Else():
                m.d.comb += bus.read_data.eq(chosen[:32])
                with m.If(chosen_now):
                    m.d.sync += high.eq(chosen[32:])
        with m.If(self.clear):
            m.d.sync += high.eq(0)
        return m
