"""Weight memory: clusters of a core share it in pairs, since a block RAM has two ports."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from qblif.host import abi

from .layouts import LoadBus, row_for
from .params import CoreParams


class WeightPort(wiring.Signature):
    """How a cluster reads its weights, one row a cycle.

    address: of a row. row: `lanes` weights, lane 0 in the lowest weight_bits. Chunk c of a row (`neuron_lanes` weights)
    comes c + 1 cycles after its address; anything may come while rows are written.
    """

    def __init__(self, params: CoreParams):
        super().__init__({"address": Out(params.weight_address_bits), "row": In(params.lanes * params.weight_bits)})


class WeightBank(wiring.Component):
    """Weight rows of one or two clusters, each of which reads whatever row it wants in every cycle.

    A memory per chunk. Addresses go from chunk to chunk, one a cycle, none of them to all memories at once. So do
    writes, in place of reads of the first cluster, whose port of the memories they take: a program is loaded while
    nothing runs. Chunk c is written c cycles after `load.valid` (layouts.LoadBus says how long rows stay).

    Parameters: params; readers: 1 or 2; rows: initial ones, as integers, from row 0 on.

    Members
    -------
    load: In, program rows (already filtered for this bank).
    ports: In, WeightPort of each reader.
    """

    def __init__(self, params: CoreParams, readers: int, rows=()):
        if not 1 <= readers <= abi.WEIGHT_READERS:
            raise ValueError(f"a weight bank has 1 to {abi.WEIGHT_READERS} readers, not {readers!r}")
        self._params, self._readers, self._rows = params, readers, rows
        super().__init__({"load": In(LoadBus(params)), "ports": In(WeightPort(params)).array(readers)})

    def elaborate(self, platform):
        m = Module()
        p = self._params
        bits = p.neuron_lanes * p.weight_bits
        write = row_for(m, self.load, abi.MemoryId.WEIGHTS)
        addresses = [port.address for port in self.ports]
        addresses[0] = Mux(write, self.load.address, addresses[0])
        for chunk in range(p.chunks):
            here = [Signal(p.weight_address_bits, name=f"address_{chunk}_{reader}", reset_less=True)
                    for reader in range(self._readers)]
            enable = Signal(name=f"write_{chunk}")
            # The first memory takes part at once, the others a cycle after their neighbour.
            domain = m.d.sync if chunk else m.d.comb
            domain += [*(mine.eq(ahead) for mine, ahead in zip(here, addresses, strict=True)), enable.eq(write)]
            m.submodules[f"chunk_{chunk}"] = memory = Memory(
                shape=bits, depth=p.weight_depth, attrs={"no_rw_check": 1, "ram_style": "block"},
                init=[row >> chunk * bits & (1 << bits) - 1 for row in self._rows])
            # One address for the write and the first read makes them one port, and the memory true dual port.
            port, row = memory.write_port(), self.load.data.word_select(chunk, bits)
            m.d.comb += [port.en.eq(enable), port.addr.eq(here[0]), port.data.eq(row)]
            for reader, address in zip(self.ports, here, strict=True):
                read = memory.read_port()
                m.d.comb += [read.addr.eq(address), reader.row.word_select(chunk, bits).eq(read.data)]
            addresses, write = here, enable
        return m
