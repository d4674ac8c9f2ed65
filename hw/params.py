"""Elaboration parameters of the hardware: one frozen object that the RTL, the planner and the tests share."""

from __future__ import annotations

import dataclasses

from qblif.host import abi

FANOUTS = ("double", "unary")

LARGEST_OCCUPANCY = 72
"""Bits of `occupancy`, of which one is looked up in a cycle."""

LARGEST = {"map_depth": 1 << 20, "weight_depth": 1 << 20, "layer_depth": 1 << 12, "source_depth": 1 << 14,
           "channel_depth": 1 << 16, "contexts": 128}
"""What the sizes of a core may be at most; all are powers of two from 2 upwards."""


def _bits(depth: int) -> int:
    return max(1, (depth - 1).bit_length())


def weight_banks(clusters: int) -> list[range]:
    """Return which clusters of a core read the same weight memory: 2k and 2k + 1, an odd last one alone."""
    return [range(first, min(first + abi.WEIGHT_READERS, clusters)) for first in range(0, clusters, abi.WEIGHT_READERS)]


@dataclasses.dataclass(frozen=True)
class CoreParams:
    """Size of one core.

    Parameters
    ----------
    lanes: accumulators of a cluster (P); a power of two, 4 to 256
    word_bits: width of a feature-map word (W); lanes times a power of two, a multiple of 32
    neuron_lanes: neurons updated per cycle (NL); a power of two that divides lanes
    clusters: scan-accumulate-update pipelines of the core, each with a copy of the map; two share a weight memory
    weight_bits: width of a stored weight, 2 to 8
    acc_bits: width of accumulators, currents and membranes, two's complement
    level_bits: widest burst level that the neuron unit can emit, in bits
    map_depth: words of feature-map memory
    weight_depth: rows (of `lanes` weights) of a weight memory
    layer_depth, source_depth, channel_depth: rows of the layer, source and channel tables
    contexts: most sources of one layer
    occupancy: columns of the input map, in stored bits, in which windows without a set bit are found and not read
        (hw/occupancy.py), up to word_bits; 0: none are. Only in the first core of a chain
    fanout: "double" (bit planes, accumulators double between planes) or "unary" (equation (10): plane p is
        scanned 2**p times)
    trace: adds the trace ports (simulation only)
    """

    lanes: int = 16
    word_bits: int = 64
    neuron_lanes: int = 4
    clusters: int = 1
    weight_bits: int = 8
    acc_bits: int = 24
    level_bits: int = 5
    map_depth: int = 1024
    weight_depth: int = 1024
    layer_depth: int = 32
    source_depth: int = 128
    channel_depth: int = 128
    contexts: int = 32
    occupancy: int = 0
    fanout: str = "double"
    trace: bool = False

    def __post_init__(self):
        def check(name, ok, allowed):
            if not ok:
                raise ValueError(f"core parameter {name} is {getattr(self, name)!r}, allowed is {allowed}")

        def power(n):
            return isinstance(n, int) and n > 0 and n & (n - 1) == 0

        check("lanes", power(self.lanes) and 4 <= self.lanes <= 256,
              "a power of two, 4 to 256: 4, 8, 16, 32, 64, 128 or 256")
        check("word_bits", power(self.word_bits) and self.word_bits >= max(32, self.lanes)
              and self.word_bits <= 512, "a power of two, at least 32 and at least `lanes`, at most 512")
        check("neuron_lanes", power(self.neuron_lanes) and self.neuron_lanes <= self.lanes,
              f"a power of two up to lanes = {self.lanes}")
        check("clusters", 1 <= self.clusters <= 16, "1 to 16")
        check("weight_bits", 2 <= self.weight_bits <= 8, "2 to 8")
        check("acc_bits", 12 <= self.acc_bits <= 32, "12 to 32")
        check("level_bits", 1 <= self.level_bits <= 8, "1 to 8")
        for name, most in LARGEST.items():
            check(name, power(getattr(self, name)) and 2 <= getattr(self, name) <= most,
                  f"a power of two, 2 to {most}")
        most = min(LARGEST_OCCUPANCY, self.word_bits)
        check("occupancy", 0 <= self.occupancy <= most,
              f"0 to {most}: up to word_bits = {self.word_bits} and {LARGEST_OCCUPANCY}")
        check("fanout", self.fanout in FANOUTS, f"one of {FANOUTS}")

    # Derived sizes ------------------------------------------------------------------------------------------

    @property
    def chunks(self) -> int:
        """Neuron-unit cycles per lane group: lanes / neuron_lanes."""
        return self.lanes // self.neuron_lanes

    @property
    def sums_kept(self) -> int:
        """Finished sums that wait for the neuron unit or are in it: those of sixteen rows of LUT RAM, one to four."""
        return min(4, max(1, 16 // self.chunks))

    @property
    def banks(self) -> int:
        """Chunks of `lanes` bits in a feature-map word."""
        return self.word_bits // self.lanes

    @property
    def map_bits(self) -> int:
        """Address width of the feature-map memory."""
        return _bits(self.map_depth)

    @property
    def weight_address_bits(self) -> int:
        """Address width of the weight memory."""
        return _bits(self.weight_depth)

    @property
    def load_pause(self) -> int:
        """Cycles from the write of a weight row until the next row may begin to replace it, beat by beat.

        Chunk c is written c cycles after chunk 0, and the beat that it begins with is the c * bits / 32-th."""
        bits = self.neuron_lanes * self.weight_bits
        return max(chunk - chunk * bits // abi.LINK_BITS for chunk in range(self.chunks))

    @property
    def layer_fields(self) -> tuple:
        """Fields of a row of the layer table."""
        return abi.LAYER_FIELDS + (abi.WINDOW_FIELDS if self.occupancy else ())

    def memory_rows(self, memory: abi.MemoryId) -> int:
        """Return the depth of a loadable memory in rows."""
        return {abi.MemoryId.CONFIG: 1, abi.MemoryId.LAYERS: self.layer_depth,
                abi.MemoryId.SOURCES: self.source_depth, abi.MemoryId.CHANNELS: self.channel_depth,
                abi.MemoryId.WEIGHTS: self.weight_depth}[memory]

    def memory_bits(self, memory: abi.MemoryId) -> int:
        """Return the width of a row of a loadable memory in bits."""
        return {abi.MemoryId.CONFIG: abi.field_bits(abi.CONFIG_FIELDS),
                abi.MemoryId.LAYERS: abi.field_bits(self.layer_fields),
                abi.MemoryId.SOURCES: abi.field_bits(abi.SOURCE_FIELDS),
                abi.MemoryId.CHANNELS: abi.field_bits(abi.CHANNEL_FIELDS) * self.neuron_lanes,
                abi.MemoryId.WEIGHTS: self.lanes * self.weight_bits}[memory]


@dataclasses.dataclass(frozen=True)
class DesignParams:
    """A chain of cores behind one register block and three streams.

    Cores of a chain share `lanes` and `word_bits`, since they hand over feature-map words."""

    cores: tuple[CoreParams, ...] = (CoreParams(),)

    def __post_init__(self):
        if not 1 <= len(self.cores) <= 64:
            raise ValueError(f"a design has {len(self.cores)} cores, allowed is 1 to 64")
        first = self.cores[0]
        for index, core in enumerate(self.cores):
            if (core.lanes, core.word_bits) != (first.lanes, first.word_bits):
                raise ValueError(f"core {index} has lanes={core.lanes}, word_bits={core.word_bits}; all cores of a "
                                 f"chain need those of core 0: {first.lanes}, {first.word_bits}")
            if index and core.occupancy:
                raise ValueError(f"core {index} has occupancy={core.occupancy}; only core 0, which gets images, can")

    def to_dict(self) -> dict:
        """Return a JSON-able description, the inverse of `from_dict`."""
        cores = [dataclasses.asdict(core) for core in self.cores]
        # What a core does not have is not told, so that hardware without it is the same build as before there was any.
        cores = [{name: value for name, value in core.items() if name != "occupancy" or value} for core in cores]
        return {"abi": abi.ABI_VERSION, "cores": cores}

    @classmethod
    def from_dict(cls, data: dict) -> DesignParams:
        """Rebuild parameters from `to_dict`'s output; raises ValueError on unknown or bad values."""
        known = {field.name for field in dataclasses.fields(CoreParams)}
        for core in data["cores"]:
            if set(core) - known:
                raise ValueError(f"unknown core parameter(s) {sorted(set(core) - known)}")
        return cls(tuple(CoreParams(**core) for core in data["cores"]))

    @property
    def build_hash(self) -> int:
        """64-bit hash that ties programs to hardware: what makes an image loadable, so without `trace`."""
        return abi.build_hash(self.to_dict())


@dataclasses.dataclass(frozen=True)
class Shell:
    """What is around the accelerator, as registers CAPS and CLOCK_HZ tell the host; it changes nothing in the cores.

    Parameters
    ----------
    front_end: "streams" (AXI4-Streams), "dma" (own AXI master, job registers) or "uart" (framed byte link)
    baked: a program is in the memories from power-up
    address_bits, data_bits: of the AXI master; 0 where there is none
    clock_hz: frequency of the clock that a shell makes itself; 0 where the host sets it
    """

    front_end: str = "streams"
    baked: bool = False
    address_bits: int = 0
    data_bits: int = 0
    clock_hz: int = 0

    def __post_init__(self):
        if self.front_end not in abi.FRONT_ENDS:
            raise ValueError(f"front_end is {self.front_end!r}, allowed is one of {abi.FRONT_ENDS}")

    def caps(self) -> dict[str, int]:
        """Return the fields of CAPS."""
        return {"front_end": abi.FRONT_ENDS.index(self.front_end), "baked": int(self.baked), "reserved": 0,
                "address_bits": self.address_bits, "data_bits": self.data_bits}


STREAMS = Shell()
"""Nothing but AXI4-Streams."""
