"""Exact counts of the work that a network does on given images, from its feature maps.

Fan-out is counted to output positions that exist: an input position (y, x) reaches fy[y] * fx[x] pairs of output
position and tap (more than one where kernels or pooling windows overlap, fewer at the edges), times the C_out
channels, or times one channel for diagonal sources.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import torch
import torch.nn.functional as F

from qblif.gen.gather import gathers
from qblif.gen.network import MaxPool, Network, Source, layer_inputs
from qblif.gen.packing import Packing
from qblif.gen.sizes import macs

STRATEGIES = ("unary", "double", "shift-add")
"""Fan-out strategies: level k adds a weight k times; once per set bit of k, doubling the accumulators between bit
planes; once per set bit of k, shifted."""


@dataclasses.dataclass(frozen=True, eq=False)
class LayerCounts:
    """Work of one layer; int64 arrays (B,), one value per image, over all T steps.

    set_bits: set bits of the maps that the layer reads, once per source; static maps once
    sops: synaptic operations in the paper's unary sense, sum of level * fan-out, in each of the T steps
    input_sops: those of them whose levels are the network's input
    additions: strategy -> additions of one weight to one accumulator that it really does; a layer whose sources are
        all static is computed once for all steps. "double" and "shift-add" do equally many
    macs: multiply-accumulates of the same layer on dense data, gen/sizes.py, the same for each image
    row_adds: packing -> weight rows that a cluster adds, fields and chunks being those of packed positions
        (gen/packing.py): for sources that are scanned bit by bit the set bits of each field, summed over output
        positions, steps and lane groups; where chunks are lane masks the chunks of a plane with any bit set, summed
        over positions, taps, planes and steps (one row under a mask each). Static layers once. Summed over the layers
        it is what the hardware's counters `set_bits` and `masks` show together, and `adds` under "double"
    """

    name: str
    set_bits: np.ndarray
    sops: np.ndarray
    input_sops: np.ndarray
    additions: dict[str, np.ndarray]
    macs: int
    row_adds: dict[Packing, np.ndarray]


def count_layer(network: Network, index: int, maps, packings: tuple[Packing, ...] = ()) -> LayerCounts:
    """Return the counts of layer `index`; maps: all maps, integers (T or 1, B, C, H, W); packings: keys of row_adds."""
    layer = network.layers[index]
    batch = maps[0].shape[1]
    set_bits, sops, input_sops, unary, adds = (torch.zeros(batch, dtype=torch.int64) for _ in range(5))
    pooling = isinstance(layer, MaxPool)
    static = not pooling and all(network.map_static(m) for m in layer_inputs(layer))
    rows = RowCounter(network, maps)
    for source in _sources(layer):
        shape = network.map_shape(source.map)
        out = source.out_shape(shape)
        repeats = 1 if static else network.steps // len(maps[source.map])
        fan = fan_out(source, shape)
        # Channels and steps are summed first: what is multiplied by the fan-out is then small
        bits = popcount(maps[source.map]).sum((0, 2))
        set_bits += bits.sum((1, 2))
        field_bits = (bits * fan).sum((1, 2)) * repeats
        if not pooling:
            width = 1 if source.diagonal else out[0]
            field_levels = (maps[source.map].sum((0, 2)) * fan).sum((1, 2)) * repeats * width
            events = field_levels * (network.steps if static else 1)
            sops += events
            input_sops += events if source.map == 0 else 0
            unary += field_levels
            adds += field_bits * width
    additions = {"unary": unary.numpy(), "double": adds.numpy(), "shift-add": adds.numpy()}
    return LayerCounts(layer.name, set_bits.numpy(), sops.numpy(), input_sops.numpy(), additions, macs(network, layer),
                       {packing: rows.count(index, packing).numpy() for packing in packings})


class RowCounter:
    """Counts the weight rows of layers on maps, for one packing after another: what maps alone say is counted once.

    maps: all maps of a network, integers (T or 1, B, C, H, W)"""

    def __init__(self, network: Network, maps):
        self._network, self._maps = network, maps
        self._counted: dict[tuple, torch.Tensor] = {}

    def count(self, index: int, packing: Packing) -> torch.Tensor:
        """Return the weight rows that clusters add for a layer, all of it, for each image, int64 (B,)."""
        network, layer = self._network, self._network.layers[index]
        static = not isinstance(layer, MaxPool) and all(network.map_static(m) for m in layer_inputs(layer))
        outputs = range(layer.shape[1]), range(packing.columns(network, index))
        rows = torch.zeros(self._maps[0].shape[1], dtype=torch.int64)
        for gather in gathers(network, index, packing):
            for field in gather.fields:
                repeats = 1 if static else network.steps // len(self._maps[field.map])
                rows_read, columns_read = (torch.from_numpy(field.reads(axis, own))
                                           for axis, own in enumerate(outputs))
                if field.mask:      # one row for each plane of a chunk of `lanes` bits, which holds P columns
                    bits = self._chunks(field.map, gather.packed, packing.lanes)
                    columns_read = columns_read[::gather.packed]
                else:
                    bits = self._bits(field.map) * packing.groups(network, index)
                bits = bits[:, :len(rows_read), :len(columns_read)]
                rows += (bits * rows_read.view(-1, 1) * columns_read).sum((1, 2)) * repeats
        return rows

    def _bits(self, index: int) -> torch.Tensor:
        """Return (B, H, W): the set bits of a map, all steps and channels."""
        if (index,) not in self._counted:
            self._counted[index,] = popcount(self._maps[index]).sum((0, 2))
        return self._counted[index,]

    def _chunks(self, index: int, packed: int, lanes: int) -> torch.Tensor:
        """Return (B, H, columns): the planes of chunks of P columns with a bit set, of all chunks."""
        key = (index, packed, lanes)
        if key not in self._counted:
            found = chunk_planes(self._maps[index], packed, lanes, self._network.map_bits(index))
            self._counted[key] = found.sum((0, 2))
        return self._counted[key]


def join_counts(parts) -> LayerCounts:
    """Return the counts of one layer for the concatenation of several batches."""
    first = parts[0]

    def joined(get):
        return np.concatenate([get(part) for part in parts])

    return LayerCounts(first.name, joined(lambda p: p.set_bits), joined(lambda p: p.sops),
                       joined(lambda p: p.input_sops),
                       {key: joined(lambda p, key=key: p.additions[key]) for key in first.additions}, first.macs,
                       {key: joined(lambda p, key=key: p.row_adds[key]) for key in first.row_adds})


def fan_out(source: Source, shape: tuple[int, int, int]) -> torch.Tensor:
    """Return int64 (H, W): the pairs of output position and tap that read each position of a map."""
    axes = [_fan_axis(n, outputs, k, s, p, pool, pool_stride) for n, outputs, k, s, p, pool, pool_stride in
            zip(shape[1:], source.out_shape(shape)[1:], source.kernel, source.stride, source.padding, source.pool,
                source.pool_stride, strict=True)]
    return axes[0].view(-1, 1) * axes[1].view(1, -1)


@functools.cache
def _fan_axis(n, outputs, kernel, stride, padding, pool, pool_stride) -> torch.Tensor:
    pooled = (n - pool) // pool_stride + 1
    fan = torch.zeros(n, dtype=torch.int64)
    for output in range(outputs):
        for tap in range(kernel):
            at = output * stride - padding + tap
            if 0 <= at < pooled:
                fan[at * pool_stride:at * pool_stride + pool] += 1
    return fan


def popcount(levels: torch.Tensor) -> torch.Tensor:
    """Return the number of set bits of each level, 0 to 255, uint8."""
    x = levels.to(torch.uint8)
    x = x - (x >> 1 & 0x55)
    x = (x & 0x33) + (x >> 2 & 0x33)
    return x + (x >> 4) & 0x0F


def chunk_planes(levels: torch.Tensor, packed: int, lanes: int, planes: int) -> torch.Tensor:
    """Return (T or 1, B, chunks, H, columns): of each chunk of `lanes` bits, which holds P columns, the number of bit
    planes with a bit set. levels: a map, (T or 1, B, C, H, W)."""
    levels = F.pad(levels, (0, -levels.shape[4] % packed)).unflatten(4, (-1, packed)).movedim(5, 2).flatten(2, 3)
    chunks = F.pad(levels, (0, 0, 0, 0, 0, -levels.shape[2] % lanes)).unflatten(2, (-1, lanes))
    return sum((chunks >> plane & 1).amax(3).int() for plane in range(planes))


def _sources(layer) -> tuple[Source, ...]:
    """Return the sources of a layer; a MaxPool's windows as a kernel, of which each channel reads its own."""
    if isinstance(layer, MaxPool):
        return (Source(layer.map, np.ones((layer.shape[0], 1, *layer.kernel), np.int8), stride=layer.stride,
                       padding=layer.padding),)
    return layer.sources
