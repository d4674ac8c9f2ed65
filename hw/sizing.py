"""What cores of any depth take, from few elaborations: for choosing among many layouts before one is estimated exactly.

A core is elaborated once for each shape (lanes, neuron lanes, widths), with two clusters; without the second one's
modules, and without the second port of its weights, it is a core of one. Memories follow the depths asked for, by the
rule of hw/resources.py. More clusters: logic grows by the second cluster for each, memories come in pairs of clusters.
That is within about a percent of logic, and two blocks of RAM for each pair of clusters; what is chosen in the end is
estimated anew, as a whole (`resources.estimate`).
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections import Counter
from collections.abc import Callable
from typing import Any

from . import resources
from .params import CoreParams, DesignParams
from .parts import Part
from .structure import MemoryShape, Module

DEPTHS = {"contexts": 64, "source_depth": 256, "channel_depth": 512, "weight_depth": 4096, "map_depth": 2048,
          "layer_depth": 8}
"""Of the elaborated core: all memories differ in depth, so that a depth names its parameter."""

SECOND = "core.cluster_1"
"""End of the path of the second cluster, with those of its sub-modules behind it."""


@dataclasses.dataclass(frozen=True)
class Size:
    """What a part of a design takes. lut: LUT4, those of carry chains and LUT RAM included; ff; block_ram: DP16KD."""

    lut: float
    ff: float
    block_ram: int

    def __add__(self, other: Size) -> Size:
        return Size(self.lut + other.lut, self.ff + other.ff, self.block_ram + other.block_ram)

    def within(self, room: Size) -> bool:
        """Return whether it fits into a room."""
        return self.lut <= room.lut and self.ff <= room.ff and self.block_ram <= room.block_ram

    @classmethod
    def of(cls, used: resources.Resources) -> Size:
        """Return the size of an estimate: after place and route, as far as routed designs tell."""
        return cls(resources.placed(used) or used.slots, used.ff, used.block_ram)


def misfits(size: Size, part: Part, share: float = 1.0) -> list[str]:
    """Return what a part has too little of: "block RAM 2,900 of 208". share: of LUTs and flip-flops, that may be used.
    """
    return [f"{name} {math.ceil(need):,} of " + (f"{may:.0%} of " if may < 1 else "") + f"{has:,}"
            for name, need, has, may in (("block RAM", size.block_ram, part.block_ram, 1.0),
                                         ("LUT4", size.lut, part.lut, share), ("FF", size.ff, part.ff, share))
            if need > may * has]


def summary(modules: tuple[Module, ...], by: resources.Fit) -> dict:
    """Return what is kept of elaborated modules, JSON-able: cells of their logic, and memories with their number."""
    memories = Counter(memory for module in modules for memory in module.memories)
    return {"cells": resources.cells(modules, by),
            "memories": [[*dataclasses.astuple(memory), count] for memory, count in memories.items()]}


class Sizes:
    """Sizes of cores and shells.

    keep: called with a name and a function that makes a JSON-able value; returns that value, perhaps from an earlier
    call with the same name and the same hardware. Default: made anew by each instance."""

    def __init__(self, keep: Callable[[str, Callable[[], Any]], Any] = lambda name, make: make()):
        self._keep, self.by = keep, resources.calibrated()
        self._elaborated: dict[CoreParams, list[dict]] = {}
        self._cores: dict[CoreParams, Size] = {}
        self._shells: dict[int, Size] = {}

    def core(self, core: CoreParams) -> Size:
        """Return the size of a core, without what is around it."""
        if core not in self._cores:
            self._cores[core] = self._core(core)
        return self._cores[core]

    def shell(self, cores: int) -> Size:
        """Return the size of what is around the cores of a design on a serial line."""
        if cores not in self._shells:
            one, two = (self._keep(f"shell of {count}", lambda count=count: summary(
                resources.of_shell(DesignParams((CoreParams(lanes=64),) * count)), self.by)) for count in (1, 2))
            cells = {name: one["cells"][name] + (cores - 1) * (two["cells"][name] - one["cells"][name])
                     for name in one["cells"]}
            self._shells[cores] = _size(cells, *_memories(one["memories"], {}))
        return self._shells[cores]

    def _core(self, core: CoreParams) -> Size:
        if core.occupancy:                      # beside the rest: that is elaborated once for both
            asks = summary(resources.of_occupancy(core), self.by)
            of_one = _size(asks["cells"], *_memories(asks["memories"], {}))
            return sum([of_one] * core.clusters, self.core(dataclasses.replace(core, occupancy=0)))
        one, two = self._shape(core)
        clusters, depths = core.clusters, {16 * DEPTHS["layer_depth"]: 16 * core.layer_depth}
        depths |= {rows: getattr(core, name) for name, rows in DEPTHS.items() if name != "layer_depth"}
        cells = {name: one["cells"][name] + (clusters - 1) * (two["cells"][name] - one["cells"][name])
                 for name in one["cells"]}
        pairs, alone = (_memories(found["memories"], depths) for found in (two, one))
        blocks, distributed = (clusters // 2 * of_pairs + clusters % 2 * of_one
                               for of_pairs, of_one in zip(pairs, alone, strict=True))
        return _size(cells, blocks, distributed)

    def _shape(self, core: CoreParams) -> list[dict]:
        """Return what is kept of the core's shape with one cluster and with two."""
        shape = dataclasses.replace(core, clusters=2, trace=False, **DEPTHS)
        if shape not in self._elaborated:
            def measure() -> list[dict]:
                two = resources.of_core(shape)
                one = tuple(dataclasses.replace(module, memories=tuple(
                    dataclasses.replace(memory, dual=False) for memory in module.memories))
                    for module in two if f"{SECOND}." not in f"{module.path}.")
                return [summary(one, self.by), summary(two, self.by)]

            self._elaborated[shape] = self._keep(repr(shape), measure)
        return self._elaborated[shape]


def _size(cells: dict[str, float], blocks: int, distributed: int) -> Size:
    slots = cells["LUT4"] + 2 * cells["CCU2C"] + resources.LUT_RAM_LUTS * distributed
    return Size(float(slots * placed_share()), float(cells["TRELLIS_FF"]), blocks)


@functools.cache
def placed_share() -> float:
    """Return LUT4 of the device after place and route per LUT4 of the netlist; 1 as long as no routed design tells."""
    million = 1_000_000
    return (resources.placed(resources.Resources(million, 0, 0, 0, 0)) or million) / million


@functools.lru_cache(maxsize=100_000)
def _rams(memory: MemoryShape) -> tuple[int, int]:
    return resources.rams(memory)


def _memories(memories: list[list], depths: dict[int, int]) -> tuple[int, int]:
    """Return the DP16KD and DPR16X4 of memories; depths: rows of the elaborated ones -> rows wanted."""
    blocks = distributed = 0
    for width, depth, style, clocked, dual, count in memories:
        block, lut = _rams(MemoryShape(width, depths.get(depth, depth), style, clocked, dual))
        blocks, distributed = blocks + count * block, distributed + count * lut
    return blocks, distributed
