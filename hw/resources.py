"""The resource model: what a design takes of an ECP5, in a second instead of minutes of synthesis.

Block RAM follows the rule by which Yosys maps memories, and is exact; so does LUT RAM, but for bits of a row that
nobody reads, which Yosys leaves out. For logic and flip-flops the elaborated design is counted (hw/structure.py: bits
of registers, and of operators by class), module by module:

    flip-flops(module) = share(module) * register bits
    carry(module)      = share(module) * bits of sums and comparisons, two to a CCU2C
    LUT4(module)       = share(module) * sum over classes of weight(class) * bits

The weights say what a bit of a class costs on average, the shares what synthesis makes of this very module: merged
choices, clock enables, registers that nobody reads. Both are fitted to what synthesis made of other designs
(hw/calibration.json, `python -m qblif.hw.calibrate`).
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Iterable

import numpy as np
from amaranth.hdl import Module as Elaborated
from amaranth.hdl import ResetInserter, Signal
from amaranth.lib import wiring

from .calibrate import CLOCK_HZ, load
from .core import Core
from .layouts import CoreSignature
from .occupancy import Occupancy
from .params import CoreParams, DesignParams
from .structure import CLASSES, MemoryShape, Module, modules
from .uart_top import UartTop

BLOCK_SHAPES = ((1, 16384), (2, 8192), (4, 4096), (9, 2048), (18, 1024), (36, 512))
"""Bits of a row and rows of a DP16KD."""

_BLOCK_COST, _LUT_RAM_COST, _MUX_COST, _REGISTER_COST = 128, 4, 0.5, 1
"""By which Yosys chooses: of a DP16KD, of a DPR16X4, of a bit of the multiplexers behind them, of a clocked LUT RAM.
The first two stand in its lattice/brams_16kd.txt and lutrams_trellis.txt."""

LUT_RAM_LUTS = 4
"""LUT4 that a DPR16X4 (16 rows of 4 bits) takes the place of."""


def block_rams(width: int, depth: int, dual: bool = False) -> tuple[int, float]:
    """Return the DP16KD that a memory takes, and what they cost Yosys. dual: both ports read, up to 18 bits each."""
    readers = 1 + dual

    def cost(shape):
        bits, rows = shape
        high = -(-depth // rows)
        count = -(-width // bits) * high
        return count * _BLOCK_COST + _MUX_COST * readers * width * (high - 1), count

    best = min(cost((bits, rows)) for bits, rows in BLOCK_SHAPES if bits <= 36 // readers)
    return best[1], best[0]


def lut_rams(width: int, depth: int) -> tuple[int, float]:
    """Return the DPR16X4 that a memory takes, and what they cost Yosys."""
    high = -(-depth // 16)
    count = -(-width // 4) * high
    return count, count * _LUT_RAM_COST + _MUX_COST * width * (high - 1) + _REGISTER_COST


def rams(memory: MemoryShape) -> tuple[int, int]:
    """Return the DP16KD and the DPR16X4 that a memory takes."""
    blocks, distributed = block_rams(memory.width, memory.depth, memory.dual), lut_rams(memory.width, memory.depth)
    block = memory.clocked and (memory.style == "block" or (not memory.style and blocks[1] <= distributed[1]))
    return (blocks[0], 0) if block else (0, distributed[0])


@dataclasses.dataclass(frozen=True)
class Resources:
    """What a design takes: LUT4, CCU2C, TRELLIS_FF, TRELLIS_DPR16X4 and DP16KD."""

    lut: int
    carry: int
    ff: int
    lut_ram: int
    block_ram: int

    @property
    def logic(self) -> int:
        """LUT4, two for each CCU2C among them."""
        return self.lut + 2 * self.carry

    def __add__(self, other: Resources) -> Resources:
        return Resources(*(a + b for a, b in zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True)))

    @property
    def slots(self) -> int:
        """LUT4, with those of carry and LUT RAM: what a device has to have at least."""
        return self.logic + LUT_RAM_LUTS * self.lut_ram


@dataclasses.dataclass(frozen=True)
class Fit:
    """Weights of the classes, for LUT4, and shares: figure -> kind of module -> share; "" is for a kind not seen."""

    weights: dict[str, float]
    shares: dict[str, dict[str, float]]


CORE = "accelerator.chain.core"
"""Path of the cores in a design, without the number."""


def kind(path: str) -> str:
    """Return what a module is, from the path of one of its instances."""
    return re.sub(r"_\d[\dx]*", "", path.removeprefix("top.").removeprefix("top"))


def parts(design: DesignParams) -> tuple[Module, ...]:
    """Return the modules of a design on a serial line: its shell, and the modules of each core."""
    cores = (dataclasses.replace(module, path=f"{CORE}_{index}" + module.path.removeprefix(CORE))
             for index, core in enumerate(design.cores) for module in of_core(core))
    return *of_shell(design), *cores


@functools.lru_cache(maxsize=256)
def of_core(core: CoreParams) -> tuple[Module, ...]:
    """Return the modules of a core, with the reset that the accelerator around it adds."""
    return tuple(dataclasses.replace(module, path=f"{CORE}.{module.path}".rstrip("."))
                 for module in modules(ResetInserter(Signal())(Core(core))))


@functools.lru_cache(maxsize=64)
def of_occupancy(core: CoreParams) -> tuple[Module, ...]:
    """Return the modules that watch the input map of a cluster."""
    return tuple(dataclasses.replace(module, path=f"{CORE}.cluster_0.occupancy")
                 for module in modules(ResetInserter(Signal())(Occupancy(core))))


@functools.lru_cache(maxsize=64)
def of_shell(design: DesignParams) -> tuple[Module, ...]:
    """Return the modules around the cores of a design on a serial line."""
    return tuple(module for module in modules(UartTop(design, CLOCK_HZ, core=_Hollow))
                 if not module.path.startswith(CORE))


class _Hollow(wiring.Component):
    """The ports of a core, and nothing behind them."""

    def __init__(self, params: CoreParams):
        super().__init__(CoreSignature(params))

    def elaborate(self, platform):
        return Elaborated()


def _bits(module: Module, weights: dict[str, float]) -> dict[str, float]:
    """Return figure -> bits that its share is of."""
    counted = module.operators
    return {"LUT4": sum(weights[name] * counted[name] for name in CLASSES),
            "CCU2C": (counted["add"] + counted["compare"]) / 2, "TRELLIS_FF": module.registers}


def fit(measured: dict[str, dict]) -> Fit:
    """Fit weights and shares to measured designs, name -> {"design", "modules"}."""
    rows, targets, known = [], [], []
    for one in measured.values():
        found: dict[str, dict[str, int]] = {}
        for path, cells in one["modules"].items():
            mine = found.setdefault(kind(path), {})
            for cell, count in cells.items():
                mine[cell] = mine.get(cell, 0) + count
        own: dict[str, list[Module]] = {}
        for module in parts(DesignParams.from_dict(one["design"])):
            own.setdefault(kind(module.path), []).append(module)
        for name, group in own.items():
            rows.append([sum(module.operators[each] for module in group) for each in CLASSES])
            targets.append(found.get(name, {}).get("LUT4", 0))
            known.append((name, group, found.get(name, {})))
    weights = dict(zip(CLASSES, _non_negative(np.array(rows, float), np.array(targets, float)), strict=True))
    shares: dict[str, dict[str, float]] = {}
    for figure in ("LUT4", "CCU2C", "TRELLIS_FF"):
        sums: dict[str, list[float]] = {}
        for name, group, found in known:
            bits = sum(_bits(module, weights)[figure] for module in group)
            for key in (name, ""):
                total = sums.setdefault(key, [0.0, 0.0])
                total[0] += found.get(figure, 0)
                total[1] += bits
        shares[figure] = {name: got / bits if bits else 0.0 for name, (got, bits) in sums.items()}
    return Fit(weights, shares)


def _non_negative(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the x >= 0 of least squares: what would be negative is left out."""
    used = np.ones(a.shape[1], bool)
    while True:
        x = np.zeros(a.shape[1])
        x[used] = np.linalg.lstsq(a[:, used], b, rcond=None)[0]
        if (x >= 0).all():
            return x
        used &= x > 0


def placed(used: Resources, measured: dict[str, dict] | None = None) -> int | None:
    """Return the TRELLIS_COMB (LUT4 of the device) after place and route, which adds some to carry chains.

    measured: as for `fit`, default: the calibration's. None where no design in it was routed."""
    routed = [(one["comb"], total(one).slots) for one in (measured or load()["designs"]).values() if "comb" in one]
    return round(used.slots * sum(comb for comb, _ in routed) / sum(slots for _, slots in routed)) if routed else None


def total(one: dict) -> Resources:
    """Return what a measured design takes."""
    return Resources(*(sum(module.get(cell, 0) for module in one["modules"].values())
                       for cell in ("LUT4", "CCU2C", "TRELLIS_FF", "TRELLIS_DPR16X4", "DP16KD")))


@functools.lru_cache(maxsize=1)
def calibrated() -> Fit:
    """Return the fit to all measured designs, as `calibrate` left it beside them: making it takes 15 s."""
    return Fit(**load()["fit"])


def estimate(design: DesignParams, by: Fit | None = None) -> Resources:
    """Return what a design takes, on a serial line. by: another fit than `calibrated`."""
    found = parts(design)
    logic = cells(found, by or calibrated())
    memories = [rams(memory) for module in found for memory in module.memories]
    return Resources(round(logic["LUT4"]), round(logic["CCU2C"]), round(logic["TRELLIS_FF"]),
                     sum(lut for _, lut in memories), sum(block for block, _ in memories))


def cells(found: Iterable[Module], by: Fit) -> dict[str, float]:
    """Return figure -> cells of the logic of modules, by a fit."""
    logic = dict.fromkeys(by.shares, 0.0)
    for module in found:
        for figure, bits in _bits(module, by.weights).items():
            shares = by.shares[figure]
            logic[figure] += shares.get(kind(module.path), shares[""]) * bits
    return logic
