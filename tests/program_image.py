"""Reads a program image back by host/abi.py alone, to see what a plan really says."""

from __future__ import annotations

import dataclasses
import zlib

from qblif.host import abi
from qblif.host.abi import MemoryId
from qblif.hw.params import DesignParams


@dataclasses.dataclass(frozen=True)
class Section:
    """Rows (integers, lowest bits first) that go to one memory from row `first` on."""

    memory: MemoryId
    cluster: int
    core: int
    first: int
    rows: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Image:
    """An image whose preamble, section sizes, padding bits and checksum are in order."""

    build_hash: int
    program_hash: int
    sections: tuple[Section, ...]

    def memory(self, core: int, cluster: int, memory: MemoryId) -> dict[int, int]:
        """Return row -> contents of a memory after loading; of the weights, those that the cluster reads."""
        rows, readers = {}, abi.WEIGHT_READERS if memory == MemoryId.WEIGHTS else 1
        for section in self.sections:
            everywhere = section.cluster == abi.ALL_CLUSTERS
            mine = everywhere or section.cluster // readers == cluster // readers
            if mine and (section.core, section.memory) == (core, memory):
                rows.update(enumerate(section.rows, section.first))
        return rows

    def table(self, core: int, cluster: int, memory: MemoryId) -> list[dict]:
        """Return the rows of the CONFIG, LAYERS or SOURCES memory, unpacked."""
        fields = {MemoryId.CONFIG: abi.CONFIG_FIELDS, MemoryId.LAYERS: abi.LAYER_FIELDS,
                  MemoryId.SOURCES: abi.SOURCE_FIELDS}[memory]
        rows = self.memory(core, cluster, memory)
        assert sorted(rows) == list(range(len(rows)))
        return [abi.unpack(fields, rows[index]) for index in range(len(rows))]

    def weights(self, params, core: int, cluster: int) -> list[list[int]]:
        """Return the weight rows, one signed integer per lane."""
        rows = self.memory(core, cluster, MemoryId.WEIGHTS)
        return [_numbers(rows[index], params.lanes, params.weight_bits) for index in range(len(rows))]

    def channels(self, core: int, cluster: int, params) -> list[tuple[int, int]]:
        """Return (bias, shift) of every stored channel."""
        rows = self.memory(core, cluster, MemoryId.CHANNELS)
        fields = [abi.unpack(abi.CHANNEL_FIELDS, rows[index] >> 32 * lane & 0xFFFF_FFFF) for index in range(len(rows))
                  for lane in range(params.neuron_lanes)]
        return [(channel["bias"], channel["shift"]) for channel in fields]


def _numbers(row: int, count: int, bits: int) -> list[int]:
    values = [row >> bits * index & (1 << bits) - 1 for index in range(count)]
    return [value - (value >> bits - 1 << bits) for value in values]


def parse(words, design: DesignParams) -> Image:
    """Return what an image (integers of 32 bits) says for hardware of `design`; fail where it is malformed."""
    words = [int(word) for word in words]
    data = b"".join(word.to_bytes(4, "little") for word in words[:-1])
    assert words[-1] == zlib.crc32(data), "checksum"
    magic, version, build_low, build_high, low, high, count = words[:abi.PREAMBLE_BEATS]
    assert (magic, version) == (abi.MAGIC, abi.ABI_VERSION)
    at, sections = abi.PREAMBLE_BEATS, []
    for _ in range(count):
        target, first, rows = words[at:at + abi.SECTION_BEATS]
        target = abi.unpack(abi.TARGET_FIELDS, target)
        params, memory = design.cores[target["core"]], MemoryId(target["memory"])
        bits = params.memory_bits(memory)
        beats = abi.row_beats(bits)
        at += abi.SECTION_BEATS
        values = tuple(sum(word << 32 * i for i, word in enumerate(words[start:start + beats]))
                       for start in range(at, at + rows * beats, beats))
        assert all(value < 1 << bits for value in values), "bits beyond the row"
        assert first + rows <= params.memory_rows(memory), f"{memory.name} has too few rows"
        assert target["cluster"] in (*range(params.clusters), abi.ALL_CLUSTERS)
        sections.append(Section(memory, target["cluster"], target["core"], first, values))
        at += rows * beats
    assert at == len(words) - 1, "words after the last section"
    return Image(build_high << 32 | build_low, high << 32 | low, tuple(sections))
