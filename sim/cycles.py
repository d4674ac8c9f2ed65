"""The cycle model: when a plan's cores are done with given images, predicted from the bits of their feature maps.

    model = CycleModel(plan)
    prediction = model.predict(images)
    prediction.cycles, prediction.latency           # as sim.simulation.Result has them, from the RTL

What is read comes from the tables of the plan's program (sim/reads.py), what is in it from the golden model, and when
it happens from the rules of the pipeline (sim/timing.py) and of the chain (sim/flow.py). Nothing here is fitted to a
measurement.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from qblif.gen.maps import MapLayout
from qblif.gen.plan import Plan
from qblif.host import abi
from qblif.host.abi import MemoryId
from qblif.hw.baked import decode
from qblif.hw.neuron import LATENCY
from qblif.hw.params import CoreParams

from . import golden
from .flow import Block, LayerCycles, Programmed
from .reads import Reads, reads
from .simulation import BLOCK, Result, spans
from .timing import NEVER


@dataclasses.dataclass(frozen=True, eq=False)
class Prediction:
    """Cycles of images that follow each other without pause, in blocks of sim.simulation.BLOCK.

    cycles, latency: int64 (B,), as in sim.simulation.Result. layers: per image, in the order in which cores and layers
    begin; cycles are counted from the first input beat of the image's block.
    """

    cycles: np.ndarray
    latency: np.ndarray
    layers: tuple[tuple[LayerCycles, ...], ...]


class CycleModel:
    """Predicts the cycles of a plan. What depends on the tables alone is computed once.

    skip_empty: what if words and planes without set bits were not even read? The hardware reads them, a word a cycle
    and ahead of the scan, so that they cost a cycle only where there is little to add and no neuron to wait for.
    Raises ValueError for a plan whose program is not for its design.
    """

    def __init__(self, plan: Plan, *, skip_empty: bool = False):
        self.plan = plan
        self._layouts = plan.layouts
        self._cores = []
        for params, contents, segment in zip(plan.design.cores, decode(plan.program, plan.design).cores, plan.segments,
                                             strict=True):
            (config,) = contents.table(MemoryId.CONFIG, abi.CONFIG_FIELDS)
            shares = [self._shares(params, contents.cluster(index), config["layers"])
                      for index in range(params.clusters)]
            self._cores.append(Programmed(params, config, list(zip(*shares, strict=True)), segment, skip_empty))

    @staticmethod
    def _shares(params: CoreParams, contents, layers: int) -> list[tuple[dict, Reads | None]]:
        """Return the rows of a cluster's layer table and what it reads for each; None where it has no share."""
        sources = contents.table(MemoryId.SOURCES, abi.SOURCE_FIELDS)
        found = []
        for layer in contents.table(MemoryId.LAYERS, params.layer_fields)[:layers]:
            own = sources[layer["source_first"]:layer["source_first"] + layer["sources"]]
            found.append((layer, reads(layer, own, params) if layer["rows"] else None))
        return found

    def predict(self, x) -> Prediction:
        """Predict for images as golden.run takes them; raises InputError for anything else."""
        x = torch.from_numpy(golden.checked(self.plan.network, x))
        axis = 0 if self.plan.network.input.static else 1
        cycles, latency, layers = [], [], []
        for images in torch.split(x, BLOCK, dim=axis):
            block = Block(self._cores, [self._contents(image) for image in torch.split(images, 1, dim=axis)])
            for values, found in zip((cycles, latency), spans(block.starts, block.ends), strict=True):
                values.append(found)
            layers += block.layers
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


def difference(plan: Plan, prediction: Prediction, result: Result) -> str | None:
    """Return in words where prediction and simulation differ first, or None where all images agree in their cycles.

    With the records of a traced simulation the layer is named."""
    wrong = np.flatnonzero((prediction.cycles != result.cycles) | (prediction.latency != result.latency))
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
