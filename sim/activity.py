"""The cycles that layers take a cluster on given images, without the pipeline: what the search of layouts balances
cores by.

A sum (one output position, lane group and time step) takes as many cycles as it has weight rows to add, or words to
read, or chunks of neurons to update, whichever are most: while one sum is added the words of the next are read and the
neurons of the one before updated. What sim/timing.py has beside that, queues, latencies, hand-overs, is left out.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from qblif.gen.gather import Field, gathers
from qblif.gen.network import MaxPool, Network, layer_inputs
from qblif.gen.occupancy import pays
from qblif.gen.packing import Packing
from qblif.gen.split import Share
from qblif.hw.params import CoreParams

from . import golden
from .counts import chunk_planes, popcount


class Activity:
    """Counts cycles on images, means over them. Called as gen.explore.Work.

    x: images as golden.run takes them. Maps are computed once; sums of a layer are counted once for each packing of the
    maps that it reads and writes."""

    def __init__(self, network: Network, x: np.ndarray):
        self._network, self._bits, self._sums, self._found = network, {}, {}, {}
        images = torch.from_numpy(golden.checked(network, x))
        self._maps = [golden.pad_input(network, images), *(step.levels for step in golden.walk(network, images))]

    def __call__(self, layer: int, packing: Packing, share: Share, core: CoreParams) -> float:
        """Return the cycles of a share of a layer on a cluster of such a core."""
        key = (*self._key(layer, packing, core.word_bits), share, core.chunks, core.occupancy)
        if key not in self._found:
            groups = range(share.group[0], packing.groups(self._network, layer), share.group[1])
            self._found[key] = sum(self._cycles(layer, packing, share, group, core) for group in groups)
        return self._found[key]

    def rows(self, layer: int, packing: Packing, count: int = 0) -> float:
        """Return the weight rows that clusters add for a layer, all of it: mean of the first images; 0: of all."""
        found = [rows[:, :count or None] for group in range(packing.groups(self._network, layer))
                 for rows, _ in self._counted(layer, packing, group)]
        return sum(float(rows.sum()) / rows.shape[1] for rows in found)

    def _key(self, layer: int, packing: Packing, word_bits: int) -> tuple:
        """Return what decides the sums of a layer."""
        near = (*layer_inputs(self._network.layers[layer]), layer + 1)
        return (layer, word_bits, packing.lanes, *(packing.positions[index] for index in near))

    def _cycles(self, layer: int, packing: Packing, share: Share, group: int, core: CoreParams) -> float:
        """Return the cycles of a lane group of a share."""
        updates = core.chunks * (self._network.steps if self._static(layer) else 1)
        (row, row_step), (col, col_step) = share.row, share.col
        total = 0.0
        for rows, words in self._counted(layer, packing, group, core.word_bits):
            if layer == 0 and core.occupancy and pays(int(words.max())):
                words = torch.where(rows.any(0), words, 1)              # (B, rows, columns): blank windows are not read
            least = words[..., row::row_step, col::col_step].clamp(min=updates)
            total += float(torch.maximum(rows[:, :, row::row_step, col::col_step], least).sum()) / rows.shape[1]
        return total

    def _static(self, layer: int) -> bool:
        """Return whether a layer's sums are made once for all steps."""
        stage = self._network.layers[layer]
        return not isinstance(stage, MaxPool) and all(map(self._network.map_static, layer_inputs(stage)))

    def _counted(self, layer: int, packing: Packing, group: int, word_bits: int = 64):
        """Return weight rows (T, or 1 of a static layer, B, rows, columns) and words (rows, columns) of the sums of a
        lane group; of a max pooling, one pair for each tap of the window."""
        key = (*self._key(layer, packing, word_bits), group)
        if key not in self._sums:
            found = [(self._field_rows(layer, packing, field, gather.packed, group),
                      self._field_words(layer, packing, field, word_bits))
                     for gather in gathers(self._network, layer, packing) for field in gather.fields]
            if not isinstance(self._network.layers[layer], MaxPool):
                rows, words = zip(*found, strict=True)
                found = [(sum(rows), sum(words))]
            steps = 1 if self._static(layer) else self._network.steps
            self._sums[key] = [(rows.expand(steps, *rows.shape[1:]), words) for rows, words in found]
        return self._sums[key]

    def _field_rows(self, layer: int, packing: Packing, field: Field, packed: int, group: int) -> torch.Tensor:
        """Return the weight rows that a field adds at each output position, int32 (T or 1, B, rows, columns)."""
        bits = self._chunks(field.map, packed, packing.lanes, group) if field.mask else self._positions(field.map)
        (first, end), inside = self._columns(layer, packing, field), self._rows(layer, field)
        if field.mask:                  # a run is one chunk, which holds P columns
            first, end = first // packed, -(-end // packed)
        before = F.pad(bits.cumsum(-1, dtype=torch.int32), (1, 0))
        runs = (before[..., end] - before[..., first]).sum(-1, dtype=torch.int32)         # (T, B, height, columns)
        runs = F.pad(runs, (0, 0, 0, 1))                                                  # taps outside read nothing
        return runs[:, :, torch.where(inside >= 0, inside, runs.shape[2] - 1)].sum(3, dtype=torch.int32)

    def _field_words(self, layer: int, packing: Packing, field: Field, word_bits: int) -> torch.Tensor:
        """Return the words that are read of a field at each output position, int32 (rows, columns)."""
        stored = packing.channels(self._network, field.map)
        first, end = (at * stored for at in self._columns(layer, packing, field))
        if field.mask:
            end = torch.minimum(end, first + packing.lanes)
        words = torch.where(end > first, (end - 1) // word_bits - first // word_bits + 1, 0).sum(-1)
        taps = (self._rows(layer, field) >= 0).sum(-1)
        return (taps[:, None] * words * self._network.map_bits(field.map)).int()

    def _rows(self, layer: int, field: Field) -> torch.Tensor:
        """Return the map's rows that the taps of an output row read, (rows, taps); -1: outside."""
        rows = torch.arange(self._network.layers[layer].shape[1])[:, None] * field.step[0]
        at = field.offset[0] + rows + field.tap_step[0] * torch.arange(field.taps[0])
        return torch.where((at >= 0) & (at < field.size[0]), at, -1)

    def _columns(self, layer: int, packing: Packing, field: Field) -> tuple[torch.Tensor, torch.Tensor]:
        """Return first and end of the map's columns that the taps of an output column read, (columns, taps) each."""
        columns = torch.arange(packing.columns(self._network, layer))[:, None] * field.step[1]
        at = field.offset[1] + columns + field.tap_step[1] * torch.arange(field.taps[1])
        return at.clamp(0, field.size[1]), (at + field.run).clamp(0, field.size[1])

    def _positions(self, index: int) -> torch.Tensor:
        """Return (T or 1, B, H, W): the set bits of a map, of all channels."""
        if index not in self._bits:
            self._bits[index] = popcount(self._maps[index]).sum(2, dtype=torch.int32)
        return self._bits[index]

    def _chunks(self, index: int, packed: int, lanes: int, group: int) -> torch.Tensor:
        """Return (T or 1, B, H, columns): the planes of chunks of P columns that have a bit set."""
        key = (index, packed, lanes)
        if key not in self._bits:
            self._bits[key] = chunk_planes(self._maps[index], packed, lanes, self._network.map_bits(index))
        return self._bits[key][:, :, group]
