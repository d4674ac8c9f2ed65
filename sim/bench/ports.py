"""What a bench in the simulator knows of its component: the ports by name, packed and unpacked as they are declared."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

from cocotb.clock import Clock
from cocotb.triggers import RisingEdge

from qblif.host import abi

CASE = "QBLIF_BENCH"
"""Environment variable with the path of the case: JSON, ``{"ports": ..., "vectors": ...}`` (sim/bench/runner.py)."""

RESET_CYCLES = 3


def pauses(share: float):
    """Yield, for ever, whether a port pauses in a cycle."""
    while True:
        yield random.random() < share


def pack(shape: dict, value) -> int:
    """Return `value` (an integer, a list, or a dict of fields; missing fields are 0) as a flat vector of `shape`.

    Raises ValueError where a number does not fit or a field is unknown."""
    if "fields" in shape:
        unknown = set(value) - set(shape["fields"])
        if unknown:
            raise ValueError(f"no field is called {sorted(unknown)}; there are {sorted(shape['fields'])}")
        return sum(pack(shape["fields"][name], part) << shape["fields"][name]["offset"] for name, part in value.items())
    if "items" in shape:
        if len(value) != shape["count"]:
            raise ValueError(f"{len(value)} items where there are {shape['count']}")
        return sum(pack(shape["items"], part) << index * shape["stride"] for index, part in enumerate(value))
    width = shape["width"]
    low, high = (-(1 << width - 1), (1 << width - 1) - 1) if shape["signed"] else (0, (1 << width) - 1)
    if not low <= value <= high:
        raise ValueError(f"{value} is not in {low} to {high}")
    return value & (1 << width) - 1


def unpack(shape: dict, word: int):
    """Inverse of `pack`."""
    if "fields" in shape:
        return {name: unpack(field, word >> field["offset"]) for name, field in shape["fields"].items()}
    if "items" in shape:
        return [unpack(shape["items"], word >> index * shape["stride"]) for index in range(shape["count"])]
    word &= (1 << shape["width"]) - 1
    return word - (1 << shape["width"]) if shape["signed"] and word >> shape["width"] - 1 else word


class Port:
    """One port of the component. width: bits; shape: what the bits mean, as sim/bench/runner.py describes it."""

    def __init__(self, handle, name: str, shape: dict):
        self._handle, self.name, self.shape, self.width = handle, name, shape, shape["width"]

    def set(self, value) -> None:
        """Drive an input from the next clock edge's end on; packed as declared."""
        self._handle.value = pack(self.shape, value)

    def set_raw(self, word: int) -> None:
        """Drive an input with a flat vector."""
        self._handle.value = word

    def raw(self) -> int:
        """Return the port's flat vector; raises ValueError where a bit is X or Z."""
        try:
            return int(self._handle.value)
        except ValueError:
            raise ValueError(f"{self.name} is {self._handle.value}") from None

    def get(self):
        """Return the port's value, unpacked as declared; raises ValueError where a bit is X or Z."""
        return unpack(self.shape, self.raw())


class Bench:
    """A component under test, its clock, and the vectors of the case.

    clk: the clock's handle. vectors: what the test beside the simulator passed. Use::

        bench = await Bench(dut).start()
    """

    def __init__(self, dut):
        case = json.loads(Path(os.environ[CASE]).read_text())
        self.dut, self.clk, self.vectors, self._ports = dut, dut.clk, case["vectors"], case["ports"]

    async def start(self) -> Bench:
        """Start the clock, drive every input with 0, and reset; returns the bench."""
        for name, port in self._ports.items():
            if port["dir"] == "in":
                self[name].set_raw(0)
        self.dut.rst.value = 1
        Clock(self.clk, 10, "ns").start()
        await self.cycles(RESET_CYCLES)
        self.dut.rst.value = 0
        await self.cycles(1)
        return self

    async def cycles(self, count: int) -> None:
        """Let `count` clock edges pass; ports then read as they were just before the last one."""
        for _ in range(count):
            await RisingEdge(self.clk)

    async def until(self, name: str, value: int, patience: int) -> None:
        """Wait until a port has a value; fail after `patience` cycles."""
        for _ in range(patience):
            await self.cycles(1)
            if self[name].raw() == value:
                return
        raise AssertionError(f"{name} was not {value} within {patience} cycles")

    def __contains__(self, name: str) -> bool:
        return name in self._ports

    def __getitem__(self, name: str) -> Port:
        return Port(getattr(self.dut, name), name, self._ports[name]["shape"])

    async def load(self, memory: int, rows, first: int = 0, cluster: int = 0, hold: int = 0) -> None:
        """Write program rows (flat integers) through the port `load`, one per cycle; a layer's comes beat by beat.

        hold: cycles for which each row stays, as weights have to"""
        beats = abi.row_beats(abi.field_bits(abi.LAYER_FIELDS)) if memory == abi.MemoryId.LAYERS else 1
        self["load__memory"].set(memory)
        self["load__cluster"].set(cluster)
        await self.cycles(1)
        for address, row in enumerate(rows, first):
            self["load__address"].set(address)
            self["load__data"].set(row)
            for place, beat in enumerate(abi.beats(row, beats)):
                for name, value in (("beat_valid", 1), ("beat", beat), ("place", place), ("valid", place == beats - 1)):
                    self[f"load__{name}"].set(value)
                await self.cycles(1)
            if hold:
                self["load__valid"].set(0)
                self["load__beat_valid"].set(0)
                await self.cycles(hold)
        self["load__valid"].set(0)
        self["load__beat_valid"].set(0)
