"""The cycle model: when a plan's cores are done with given images, predicted from the bits of their feature maps.

    model = CycleModel(plan)
    prediction = model.predict(images)
    prediction.cycles, prediction.latency           # as sim.simulation.Result has them, from the RTL

What is read comes from the tables of the plan's program (sim/reads.py), what is in it from the golden model, and when
it happens from the rules of the pipeline (sim/timing.py). Nothing here is fitted to a measurement.
"""

from __future__ import annotations

import dataclasses
from collections import deque

import numpy as np
import torch

from qblif.gen.maps import MapLayout
from qblif.gen.plan import Plan
from qblif.host import abi
from qblif.host.abi import LayerKind, MemoryId
from qblif.hw.baked import decode
from qblif.hw.neuron import LATENCY
from qblif.hw.params import CoreParams

from . import golden
from .reads import Reads, entries, reads
from .simulation import BLOCK, Result, spans
from .timing import FETCHED, IDLE, LOGIT, NEVER, NEXT, Neurons, Scan, WriteBack


@dataclasses.dataclass(frozen=True, eq=False)
class LayerCycles:
    """One layer of one image on a core.

    core, layer: where; layer counts from the core's first one. begin: cycle in which its clusters begin; idle: in which
    all are idle again; cycles: from `begin` until the next layer may begin. adds: weight rows, doublings: cycles that
    only double, waited: cycles in which a sum waited for the neuron unit, all summed over the clusters. updates: per
    cluster, int64, the cycles in which the lane groups are issued in the neuron unit.
    """

    core: int
    layer: int
    begin: int
    idle: int
    cycles: int
    adds: int
    doublings: int
    waited: int
    updates: tuple[np.ndarray, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Prediction:
    """Cycles of images that follow each other without pause, in blocks of sim.simulation.BLOCK.

    cycles, latency: int64 (B,), as in sim.simulation.Result. layers: per image, in the order in which cores and layers
    begin; cycles are counted from the first input beat of the image's block.
    """

    cycles: np.ndarray
    latency: np.ndarray
    layers: tuple[tuple[LayerCycles, ...], ...]


class _Port:
    """A core's write port, as its input sees it: the core's own writes go first, and a buffer has to be free.

    double: the core has two input buffers."""

    def __init__(self, double: bool):
        self._double = double
        self.released: list[int] = []               # cycles in which the core was done with an image
        self.own: deque[tuple[int, int]] = deque()  # first and last cycles of its writes, in order
        self._images = 0                            # committed to it

    def take(self, offered: int, commit: bool = False) -> int:
        """Return the cycle in which a write is taken that is offered from a cycle on; calls are in order."""
        at = offered
        before = self._images - self._double - 1
        if before >= 0:
            at = max(at, self.released[before] + 1)
        while self.own and self.own[0][0] <= at:
            if self.own[0][1] >= at:
                at = self.own[0][1] + 1
            self.own.popleft()
        self._images += commit
        return at


class _Stage:
    """The register between two cores."""

    def __init__(self, port: _Port):
        self._port, self.left = port, NEVER

    def accept(self, offered: int, commit: bool = False) -> int:
        """Return the cycle in which a write is taken; the next core has it in `left`."""
        at = max(offered, self.left)
        self.left = self._port.take(at + 1, commit)
        return at


class CycleModel:
    """Predicts the cycles of a plan. What depends on the tables alone is computed once.

    Raises ValueError for a plan whose program is not for its design.
    """

    def __init__(self, plan: Plan):
        self.plan = plan
        self._layouts = plan.layouts
        self._configs, self._tables = [], []
        for params, contents in zip(plan.design.cores, decode(plan.program, plan.design).cores, strict=True):
            (config,) = contents.table(MemoryId.CONFIG, abi.CONFIG_FIELDS)
            self._configs.append(config)
            self._tables.append([self._cluster(params, contents.cluster(index), config["layers"])
                                 for index in range(params.clusters)])

    @staticmethod
    def _cluster(params: CoreParams, contents, layers: int) -> list[tuple[dict, Reads | None]]:
        """Return the rows of a cluster's layer table and what it reads for each; None where it has no share."""
        sources = contents.table(MemoryId.SOURCES, abi.SOURCE_FIELDS)
        found = []
        for layer in contents.table(MemoryId.LAYERS, abi.LAYER_FIELDS)[:layers]:
            own = sources[layer["source_first"]:layer["source_first"] + layer["sources"]]
            found.append((layer, reads(layer, own, params) if layer["rows"] else None))
        return found

    def predict(self, x) -> Prediction:
        """Predict for images as golden.run takes them; raises InputError for anything else."""
        x = torch.from_numpy(golden.checked(self.plan.network, x))
        axis = 0 if self.plan.network.input.static else 1
        images = torch.split(x, 1, dim=axis)
        starts, ends, layers = [], [], []
        for number, image in enumerate(images):
            if number % BLOCK == 0:
                block = _Block(self)
            start, end, found = block.image(self._contents(image))
            starts.append(start)
            ends.append(end)
            layers.append(tuple(found))
        cycles, latency = [], []
        for at in range(0, len(images), BLOCK):
            parts = spans(np.array(starts[at:at + BLOCK], np.int64), np.array(ends[at:at + BLOCK], np.int64))
            cycles.append(parts[0])
            latency.append(parts[1])
        return Prediction(np.concatenate(cycles), np.concatenate(latency), tuple(layers))

    def _contents(self, image: torch.Tensor) -> list[np.ndarray]:
        """Return the maps of an image as they lie in memory, uint8 (words, word_bits / 8), but the logits."""
        network = self.plan.network
        maps = [golden.pad_input(network, image), *(step.levels for step in golden.walk(network, image))]
        return [stored(maps[index][:, 0].numpy(), layout) for index, layout in self._layouts.items()]


def layer_ends(plan: Plan, prediction: Prediction) -> np.ndarray:
    """Return int64 (B, layers): cycle in which the last lane group of a layer is issued in the neuron unit."""
    ends = [[max(int(updates[-1]) for updates in layer.updates if len(updates)) for layer in image]
            for image in prediction.layers]
    return np.array(ends, np.int64).reshape(len(prediction.layers), len(plan.network.layers))


def measured_ends(plan: Plan, result: Result) -> np.ndarray:
    """Return what `layer_ends` predicts, from the records of a traced simulation."""
    ends = np.full((len(result.cycles), len(plan.network.layers)), NEVER)
    for (core, cluster), cycles in result.trace_cycles.items():
        records, chunks = result.traces[core, cluster], plan.design.cores[core].chunks
        segment = plan.segments[core]
        for layer in range(segment.last - segment.first + 1):
            firsts = (records["layer"][0] == layer) & (records["chunk"][0] % chunks == 0)
            if firsts.any():
                at = segment.first + layer
                ends[:, at] = np.maximum(ends[:, at], cycles[:, np.flatnonzero(firsts)[-1]] - LATENCY)
    return ends


def difference(plan: Plan, prediction: Prediction, result: Result, within: float = 0) -> str | None:
    """Return in words where prediction and simulation differ first, or None where all images agree in their cycles.

    within: relative error that counts as agreement. With the records of a traced simulation the layer is named."""
    wrong = np.flatnonzero((np.abs(prediction.cycles - result.cycles) > within * result.cycles)
                           | (np.abs(prediction.latency - result.latency) > within * result.latency))
    if not len(wrong):
        return None
    image = int(wrong[0])
    said = (f"image {image}: {prediction.cycles[image]:,} cycles predicted, {result.cycles[image]:,} measured (latency "
            f"{prediction.latency[image]:,} and {result.latency[image]:,})")
    if result.traces is None:
        return said
    predicted, measured = layer_ends(plan, prediction), measured_ends(plan, result)
    images, layers = np.nonzero(predicted != measured)
    if not len(images):
        return f"{said}; all layers end as predicted, the input or the output does not"
    image, layer = int(images[0]), int(layers[0])
    before = (predicted[image, layer - 1], measured[image, layer - 1]) if layer else (0, 0)
    return (f"{said}; first in image {image}, layer {plan.network.layers[layer].name!r}: "
            f"{predicted[image, layer] - before[0]:,} cycles predicted from the end of the layer before to its own, "
            f"{measured[image, layer] - before[1]:,} measured")


def stored(levels: np.ndarray, layout: MapLayout) -> np.ndarray:
    """Return a map (T, C, H, W) as it lies in memory: uint8 (words, word_bits / 8)."""
    levels = levels[:layout.steps].transpose(2, 0, 3, 1)                    # row, step, column, channel
    planes = levels[:, :, None] >> np.arange(layout.planes).reshape(-1, 1, 1) & 1
    bits = np.zeros((*planes.shape[:4], layout.channels), np.uint8)
    bits[..., :planes.shape[4]] = planes
    bits = bits.reshape(*bits.shape[:3], -1)
    rows = np.zeros((*bits.shape[:3], layout.plane_words * layout.word_bits), np.uint8)
    rows[..., :bits.shape[3]] = bits
    return np.packbits(rows, axis=-1, bitorder="little").reshape(-1, layout.word_bits // 8)


class _Block:
    """Images that follow each other, from an empty pipeline on."""

    def __init__(self, model: CycleModel):
        self._model = model
        self._design, self._segments = model.plan.design, model.plan.segments
        self._ports = [_Port(config["buffer_step"] != 0) for config in model._configs]
        self._stages = [_Stage(port) for port in self._ports[1:]]
        self._idle = [NEVER] * len(self._ports)             # cycle in which a core is idle again
        self._begun = [NEVER] * len(self._ports)            # its last layer's begin
        self._beat = 0                                      # first beat of the next image
        self._memories = [np.zeros((core.map_depth, core.word_bits // 8), np.uint8) for core in self._design.cores]

    def image(self, maps: list[np.ndarray]) -> tuple[int, int, list[LayerCycles]]:
        """Return the cycles of an image's first beat and last logit, and its layers. maps: as they lie in memory."""
        start, arrived = self._input()
        found = []
        for core, segment in enumerate(self._segments):
            memory = self._memories[core]
            self._store(memory, segment.bases[segment.first], maps[segment.first])
            begin = max(max(self._idle[core], arrived + 1) + NEXT, self._begun[core] + FETCHED)
            for layer in range(segment.last - segment.first + 1):
                done, end = self._layer(core, layer, begin, memory)
                found.append(done)
                if segment.first + layer < segment.last:
                    self._store(memory, segment.bases[segment.first + layer + 1], maps[segment.first + layer + 1])
                    begin += done.cycles
            self._begun[core] = begin
            idle = done.idle
            if core < len(self._stages):        # the map is complete: the next core is told
                idle = self._stages[core].accept(idle + 1, commit=True)
                arrived = self._stages[core].left
            self._ports[core].released.append(idle)
            self._idle[core] = idle + 1
        return start, end, found

    @staticmethod
    def _store(memory: np.ndarray, base: int, words: np.ndarray) -> None:
        memory[base:base + len(words)] = words

    def _input(self) -> tuple[int, int]:
        """Return the cycles of an image's first beat, and of its arrival in the first core (hw/input.py)."""
        parts = self._design.cores[0].word_bits // abi.LINK_BITS
        port, start = self._ports[0], self._beat
        word = start + parts - 1            # last beat of a word
        taken = before = NEVER              # words in the core
        for _ in range(self._model._configs[0]["input_words"]):
            buffered = max(word, before) + 1
            before, taken = taken, port.take(max(buffered, taken) + 1)
            word = max(word, buffered - 1) + parts
        arrived = port.take(max(max(buffered, before) + 1, taken) + 1, commit=True)
        self._beat = arrived + 1
        return start, arrived

    def _layer(self, core: int, layer: int, begin: int, memory: np.ndarray) -> tuple[LayerCycles, int]:
        """Return the times of a layer, and the cycle of the last logit where it sends some."""
        params = self._design.cores[core]
        idle, logit = begin + IDLE, NEVER
        adds = doublings = waited = 0
        updates, writes, busy = [], [], set()
        left = self._stages[core].left if core < len(self._stages) else NEVER
        for row, read in (cluster[layer] for cluster in self._model._tables[core]):
            if read is None:
                updates.append(np.zeros(0, np.int64))
                continue
            accept = self._acceptor(core, row, params, busy, left)
            bits = entries(read, memory)
            scan, writeback = Scan(read, bits, params, begin), WriteBack(row, params, accept)
            neurons = Neurons(row, params, writeback)
            for _ in range(read.sums):
                neurons.take(scan.next(neurons.may))
            adds, doublings, waited = adds + bits.adds, doublings + bits.doublings, waited + scan.waited
            updates.append(np.array(neurons.updates, np.int64))
            writes += writeback.writes
            if row["kind"] == LayerKind.READOUT:
                idle = max(idle, neurons.idle)
                group, lane = divmod(row["classes"] - 1, params.lanes)
                logit = neurons.logits[group] + LOGIT + neurons.logit(lane)
            else:
                idle = max(idle, writeback.end + IDLE)
            if params.clusters > 1:
                busy.update(at for first, last in writeback.writes for at in range(first, last + 1))
        if not row["to_stream"]:
            self._ports[core].own.extend(sorted(writes))
        cycles = max(idle + NEXT - begin, FETCHED)
        return LayerCycles(core, layer, begin, idle, cycles, adds, doublings, waited, tuple(updates)), logit

    def _acceptor(self, core: int, row: dict, params: CoreParams, busy: set, left: int):
        """Return what tells when a cluster's map write is taken; None: at once.

        busy: cycles in which clusters before it write; left: when the stage behind the core is free."""
        stage = None
        if row["to_stream"]:
            stage = self._stages[core]
            stage.left = left
        if params.clusters == 1:
            return stage.accept if stage else None

        def accept(offered: int) -> int:
            while True:
                at = stage.accept(offered) if stage else offered
                if at not in busy:
                    return at
                offered = at + 1

        return accept
