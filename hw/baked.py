"""A program as the initial contents of the memories: the accelerator answers right after power-up."""

from __future__ import annotations

import dataclasses

import numpy as np

from qblif.host import abi
from qblif.host.abi import MemoryId
from qblif.host.program import read_header

from .params import DesignParams, weight_banks


@dataclasses.dataclass(frozen=True)
class Contents:
    """Initial rows of the loadable memories of a core, or of one of its clusters.

    rows: (cluster, memory) -> rows from row 0 on, as integers, lowest bits first; WEIGHTS at the first of the clusters
        that share them
    """

    rows: dict[tuple[int, MemoryId], list[int]] = dataclasses.field(default_factory=dict)

    def cluster(self, index: int) -> Contents:
        """Return the contents of a cluster, as its cluster 0."""
        return Contents({(0, memory): rows for (cluster, memory), rows in self.rows.items() if cluster == index})

    def memory(self, memory: MemoryId, cluster: int = 0) -> list[int]:
        """Return the rows of a memory; none where a program does not fill it."""
        return self.rows.get((cluster, memory), [])

    def table(self, memory: MemoryId, fields, widths: dict[str, int] | None = None) -> list[dict[str, int]]:
        """Return the rows of a table as field values; of a field named in `widths` that many low bits."""
        widths = widths or {}
        return [{name: value & (1 << widths[name]) - 1 if name in widths else value
                 for name, value in abi.unpack(fields, row).items()} for row in self.memory(memory)]


EMPTY = Contents()
"""No program: all memories begin with zeros."""


@dataclasses.dataclass(frozen=True)
class Baked:
    """A decoded program image: its hash, and the contents of each core."""

    program_hash: int
    cores: tuple[Contents, ...]


def decode(image: np.ndarray, design: DesignParams) -> Baked:
    """Return what the memories of `design` hold after a program image (uint32 beats) was loaded.

    Raises ValueError, saying what was found, for an image that the hardware would refuse."""
    header = read_header(image)
    if header.build_hash != design.build_hash:
        raise ValueError(f"the program was planned for build {header.build_hash:016x}, the design is "
                         f"{design.build_hash:016x}: plan the network for this design")
    words = image[:-1].astype("<u4")
    memories: list[dict[tuple[int, MemoryId], dict[int, int]]] = [{} for _ in design.cores]
    at = abi.PREAMBLE_BEATS
    for number in range(header.sections):
        if at + abi.SECTION_BEATS > len(words):
            raise ValueError(f"the program image ends before section {number} of {header.sections}")
        target, first, count = map(int, words[at:at + abi.SECTION_BEATS])
        target = abi.unpack(abi.TARGET_FIELDS, target)
        at += abi.SECTION_BEATS
        core, cluster = target["core"], target["cluster"]
        where = f"section {number} of the program image"
        if core >= len(design.cores):
            raise ValueError(f"{where} is for core {core}, the design has {len(design.cores)}")
        params = design.cores[core]
        if target["memory"] not in set(MemoryId) or not (cluster < params.clusters or cluster == abi.ALL_CLUSTERS):
            raise ValueError(f"{where} is for memory {target['memory']} of cluster {cluster}, which core {core} lacks")
        memory = MemoryId(target["memory"])
        bits = params.memory_bits(memory)
        beats = abi.row_beats(bits)
        if first + count > params.memory_rows(memory):
            raise ValueError(f"{where} fills {memory.name} to row {first + count}, it has {params.memory_rows(memory)}")
        if at + count * beats > len(words):
            raise ValueError(f"the program image ends amid section {number} of {header.sections}")
        data = words[at:at + count * beats].reshape(count, beats)
        rows = {first + index: int.from_bytes(row.tobytes(), "little") & (1 << bits) - 1
                for index, row in enumerate(data)}
        at += count * beats
        targets = range(params.clusters) if cluster == abi.ALL_CLUSTERS else (cluster,)
        if memory == MemoryId.WEIGHTS:
            targets = [bank.start for bank in weight_banks(params.clusters) if set(bank) & set(targets)]
        for index in targets:
            memories[core].setdefault((index, memory), {}).update(rows)
    if at != len(words):
        raise ValueError(f"the program image goes on for {len(words) - at} beats after its last section")
    return Baked(header.program_hash, tuple(
        Contents({place: [rows.get(index, 0) for index in range(max(rows, default=-1) + 1)]
                  for place, rows in contents.items()}) for contents in memories))
