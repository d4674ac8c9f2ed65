"""The rows of a cluster's memories: layer, source and channel tables and weights (host/abi.py says what they mean)."""

from __future__ import annotations

import numpy as np

from qblif.host import abi
from qblif.hw.params import CoreParams

from .maps import MapLayout, ceil
from .network import MaxPool, Network, NeuronLayer, Readout, Reset, Source
from .split import Segment, Share

_STYLE = {Reset.GATE_SUM: abi.ResetStyle.GATE_SUM, Reset.GATE_MEMBRANE: abi.ResetStyle.GATE_MEMBRANE,
          Reset.SUBTRACT: abi.ResetStyle.SUBTRACT}
_ADDRESS = (1 << 24) - 1


class Tables:
    """The rows of one cluster's memories, growing layer by layer."""

    def __init__(self, network: Network, core: CoreParams, segment: Segment, layouts: dict[int, MapLayout],
                 cluster: int, streams: bool, row_parts: int):
        self.network, self.core, self.segment, self.layouts = network, core, segment, layouts
        self.streams, self.row_parts = streams, row_parts   # row_parts: parts of a row of the input map
        self.layers: list[dict] = []
        self.sources: list[dict] = []
        self.channels: list[tuple[int, int]] = []           # (bias, shift) of one channel
        self.weights: list[np.ndarray] = []                 # [rows, lanes]
        self.weight_rows = 0
        for layer, shares in zip(range(segment.first, segment.last + 1), segment.shares, strict=True):
            self._layer(layer, shares[cluster])

    def _add_weights(self, rows: np.ndarray) -> int:
        first = self.weight_rows
        self.weights.append(rows.astype(np.int8))
        self.weight_rows += len(rows)
        return first

    def _layer(self, index: int, share: Share) -> None:
        network, lanes = self.network, self.core.lanes
        layer = network.layers[index]
        channels, height, width = layer.shape
        groups = list(range(share.group[0], ceil(channels, lanes), share.group[1]))
        rows, cols = Share.count(share.row, height), Share.count(share.col, width)
        if not rows or not cols or not groups:
            rows = 0
        source_first, channel_first = len(self.sources), len(self.channels) // self.core.neuron_lanes
        row = {"source_first": source_first, "steps": network.steps, "rows": rows, "groups": max(1, len(groups)),
                   "cols": max(1, cols), "group_bits": share.group[1] * lanes, "channel_first": channel_first,
                   "group_channels": self.core.chunks, "static": 0, "rounds": 0, "classes": 0, "decay": 0, "reset": 0,
                   "style": abi.ResetStyle.GATE_MEMBRANE, "levels": 0, "group_weights": 0}
        if rows:
            if isinstance(layer, MaxPool):
                self._max(layer, share)
                row.update(kind=abi.LayerKind.MAX, levels=(1 << network.map_bits(layer.map)) - 1)
                bias, shift = np.zeros(channels, int), np.zeros(channels, int)
            else:
                row["group_weights"] = self._sum(layer, share, groups)
                row["static"] = int(all(network.map_static(s.map) for s in layer.sources))
                bias = layer.bias
                if isinstance(layer, Readout):
                    row.update(kind=abi.LayerKind.READOUT, classes=channels)
                    shift = np.zeros(channels, int)
                else:
                    neuron = layer.neuron
                    row.update(kind=abi.LayerKind.NEURON, levels=neuron.levels, style=_STYLE[neuron.style],
                               decay=abi.ZERO_FACTOR if neuron.decay is None else neuron.decay,
                               reset=abi.ZERO_FACTOR if neuron.reset is None else neuron.reset,
                               rounds=int(neuron.rounds))
                    shift = layer.shift
            for group in groups:
                for channel in range(group * lanes, (group + 1) * lanes):
                    inside = channel < channels
                    # A padding channel has current 0, and any shift > 0 keeps its level 0 under rounding.
                    self.channels.append((int(bias[channel]), int(shift[channel])) if inside else (0, 1))
        else:
            row["kind"] = abi.LayerKind.NEURON
        own = self.sources[source_first:]
        row["sources"] = len(own) if rows else 1
        row["planes"] = max((s["exponent"] + s["planes"] for s in own), default=1)
        row.update(self._output(index, share))
        row.update(self._input(own))
        self.layers.append(row)

    def _input(self, sources: list[dict]) -> dict:
        """Return how many parts of the input map the output rows read: the most that any source does."""
        read = [(min(s["y_init"] + (s["tap_rows"] - 1) * s["tap_dy"] + 1, s["y_limit"]), s["y_step"])
                for s in sources if s["input"]]
        first, step = (max((0, *numbers)) for numbers in zip(*read, strict=True)) if read else (0, 0)
        return {"input_first": first * self.row_parts, "input_step": step * self.row_parts}

    def _output(self, index: int, share: Share) -> dict:
        stream = index == self.segment.last and self.streams
        if isinstance(self.network.layers[index], Readout):
            return {"to_stream": 0, "out_base": 0, "out_row_step": 0, "out_step_step": 0, "out_plane_step": 0,
                    "out_planes": 1, "out_chunk": 0, "out_group_step": 0, "out_col_step": 0}
        out = self.layouts[index + 1]
        base = 0 if stream else self.segment.bases[index + 1]
        per_col = out.channels // self.core.lanes
        return {"to_stream": int(stream), "out_base": base + share.row[0] * out.row_words,
                    "out_row_step": share.row[1] * out.row_words, "out_step_step": out.step_words,
                    "out_plane_step": out.plane_words, "out_planes": out.planes,
                    "out_chunk": share.col[0] * per_col + share.group[0], "out_group_step": share.group[1],
                    "out_col_step": share.col[1] * per_col}

    def _source(self, index: int, share: Share, *, diagonal: bool, exponent: int, step, offset, size, taps,
                tap_step, tap_weights, run: int, weight_first: int) -> None:
        """Append a source row. Pairs are (vertical, horizontal), in map positions; `size` limits the map."""
        here = self.layouts[index]
        y_init = offset[0] + share.row[0] * step[0]
        y_step = share.row[1] * step[0]
        x_init = (offset[1] + share.col[0] * step[1]) * here.channels
        if diagonal:
            x_init += share.group[0] * self.core.lanes
        self.sources.append({
            "diagonal": int(diagonal), "input": int(index == self.segment.first),
            "exponent": exponent, "planes": here.planes,
            "row_init": self.segment.bases[index] + y_init * here.row_words & _ADDRESS,
            "row_step": y_step * here.row_words & _ADDRESS, "y_init": y_init, "y_step": y_step,
            "x_init": x_init, "x_step": share.col[1] * step[1] * here.channels,
            "step_step": 0 if here.steps == 1 else here.step_words, "plane_step": here.plane_words,
            "plane_top": (here.planes - 1) * here.plane_words,
            "tap_rows": taps[0], "tap_dy": tap_step[0], "tap_row_step": tap_step[0] * here.row_words,
            "tap_row_weights": tap_weights[0], "tap_cols": taps[1], "tap_col_step": tap_step[1] * here.channels,
            "tap_col_weights": tap_weights[1], "run_bits": run, "y_limit": size[0], "x_limit": size[1] * here.channels,
            "weight_first": weight_first})

    def _max(self, layer: MaxPool, share: Share) -> None:
        """A window is one masked source per tap; a row of ones under the mask spells the level out."""
        here = self.layouts[layer.map]
        ones = self._add_weights(np.ones((1, self.core.lanes)))
        for dy in range(layer.kernel[0]):
            for dx in range(layer.kernel[1]):
                self._source(layer.map, share, diagonal=True, exponent=0, step=layer.stride,
                             offset=(dy - layer.padding[0], dx - layer.padding[1]), size=(here.height, here.width),
                             taps=(1, 1), tap_step=(1, 1), tap_weights=(0, 0), run=self.core.lanes, weight_first=ones)

    def _sum(self, layer: NeuronLayer | Readout, share: Share, groups: list[int]) -> int:
        """Append sources and weights; returns the weight rows per lane group."""
        lanes = self.core.lanes
        blocks: list[list[np.ndarray]] = [[] for _ in groups]
        at = self.weight_rows
        # The finest source stands last: it takes part in scan step 0, where a sum ends (host/abi.py).
        for source in sorted(layer.sources, key=lambda s: -s.exponent):
            stored = self.layouts[source.map].channels
            weight = source.weight
            padded = ceil(weight.shape[0], lanes) * lanes
            if source.diagonal:
                flat = np.zeros((1, padded), np.int8)
                flat[0, :len(weight)] = weight
            else:
                out, inputs, kh, kw = weight.shape
                flat = np.zeros((kh, kw, stored, padded), np.int8)
                flat[:, :, :inputs, :out] = weight.transpose(2, 3, 1, 0)
                flat = flat.reshape(kh * kw * stored, padded)
            for block, group in zip(blocks, groups, strict=True):
                block.append(flat[:, group * lanes:(group + 1) * lanes])
            self._dense(source, share, at)
            at += len(flat)
        rows = [np.concatenate(block) for block in blocks]
        self._add_weights(np.concatenate(rows))
        return len(rows[0])

    def _dense(self, source: Source, share: Share, weight_first: int) -> None:
        """Append the rows of one source.

        A kernel axis longer than 1 takes the tap loop of that axis. A pooling axis takes it where the kernel does
        not; where both are longer than 1, each position of the pooling window becomes a source row of its own that
        shares the weights. An unpooled horizontal axis needs no loop: its taps are one run of bits.
        """
        here = self.layouts[source.map]
        kernel, pool, apart = source.kernel, source.pool, source.pool_stride
        stored, run = here.channels, here.channels
        if source.diagonal:
            run = self.core.lanes
        size = tuple((n - 1) * s + k for n, k, s in
                     zip(source.pooled(self.network.map_shape(source.map)), pool, apart, strict=True))
        taps, tap_step, tap_weights, spread = [1, 1], [1, 1], [0, 0], [range(1), range(1)]
        for axis, weights in ((0, kernel[1] * stored), (1, stored)):
            if kernel[axis] == 1:
                taps[axis] = pool[axis]
            elif axis == 1 and pool[1] == apart[1] == 1:
                run = kernel[1] * stored
            else:
                taps[axis], tap_step[axis], tap_weights[axis] = kernel[axis], apart[axis], weights
                spread[axis] = range(pool[axis])
        step = tuple(s * a for s, a in zip(source.stride, apart, strict=True))
        for jy in spread[0]:
            for jx in spread[1]:
                self._source(source.map, share, diagonal=source.diagonal, exponent=source.exponent, step=step,
                             offset=(jy - source.padding[0] * apart[0], jx - source.padding[1] * apart[1]), size=size,
                             taps=taps, tap_step=tap_step, tap_weights=tap_weights, run=run,
                             weight_first=weight_first)

    def rows(self, memory: abi.MemoryId) -> int:
        """Return the rows of a memory in use."""
        return {abi.MemoryId.LAYERS: len(self.layers), abi.MemoryId.SOURCES: len(self.sources),
                abi.MemoryId.CHANNELS: len(self.channels) // self.core.neuron_lanes,
                abi.MemoryId.WEIGHTS: self.weight_rows}[memory]

    def beats(self, memory: abi.MemoryId) -> np.ndarray:
        """Return the contents of a memory, (rows, beats) uint32."""
        count = abi.row_beats(self.core.memory_bits(memory))
        if memory == abi.MemoryId.WEIGHTS:
            weights = np.concatenate(self.weights) if self.weights else np.zeros((0, self.core.lanes), np.int8)
            bits = (weights[:, :, None] >> np.arange(self.core.weight_bits)) & 1
            used = self.core.lanes * self.core.weight_bits
            flat = np.zeros((len(weights), count * 32), np.uint8)
            flat[:, :used] = bits.reshape(len(weights), used)
            return np.packbits(flat, axis=1, bitorder="little").view("<u4")
        if memory == abi.MemoryId.CHANNELS:
            pairs = np.array(self.channels, np.int64).reshape(self.rows(memory), self.core.neuron_lanes, 2)
            return ((pairs[..., 0] & (1 << 24) - 1) | pairs[..., 1] << 24).astype(np.uint32)
        fields, rows = ((abi.LAYER_FIELDS, self.layers) if memory == abi.MemoryId.LAYERS
                        else (abi.SOURCE_FIELDS, self.sources))
        return np.array([abi.beats(abi.pack(fields, row), count) for row in rows], np.uint32).reshape(len(rows), count)
