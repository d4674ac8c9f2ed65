"""The rows of a cluster's memories: layer, source and channel tables (host/abi.py says what they mean)."""

from __future__ import annotations

import numpy as np

from qblif.host import abi
from qblif.hw.params import CoreParams

from .banks import Bank, lane_groups
from .gather import Field, gathers
from .maps import MapLayout
from .network import Layer, MaxPool, Network, Readout, Reset
from .occupancy import NONE, window
from .packing import Packing
from .split import Segment, Share

_STYLE = {Reset.GATE_SUM: abi.ResetStyle.GATE_SUM, Reset.GATE_MEMBRANE: abi.ResetStyle.GATE_MEMBRANE,
          Reset.SUBTRACT: abi.ResetStyle.SUBTRACT}
_ADDRESS = (1 << 24) - 1


class Tables:
    """The rows of one cluster's memories, growing layer by layer."""

    def __init__(self, network: Network, core: CoreParams, segment: Segment, packing: Packing,
                 layouts: dict[int, MapLayout], cluster: int, bank: Bank, streams: bool, row_parts: int,
                 asks: bool | None = None):
        self.network, self.core, self.segment, self.packing, self.layouts = network, core, segment, packing, layouts
        self.bank, self.streams, self.asks = bank, streams, asks
        self.row_parts = row_parts                          # parts of a row of the input map
        self.layers: list[dict] = []
        self.sources: list[dict] = []
        self.channels: list[tuple[int, int]] = []           # (bias, shift) of one channel
        for layer, shares in zip(range(segment.first, segment.last + 1), segment.shares, strict=True):
            self._layer(layer, shares[cluster])

    def _layer(self, index: int, share: Share) -> None:
        network, lanes = self.network, self.core.lanes
        layer, packed = network.layers[index], self.packing.positions[index + 1]
        groups = lane_groups(network, index, self.packing, share)
        cols = Share.count(share.col, self.packing.columns(network, index))
        rows = Share.count(share.row, layer.shape[1]) if cols and groups else 0
        source_first, channel_first = len(self.sources), len(self.channels) // self.core.neuron_lanes
        row = {"source_first": source_first, "steps": network.steps, "rows": rows, "groups": max(1, len(groups)),
                   "cols": max(1, cols), "group_bits": share.group[1] * lanes, "channel_first": channel_first,
                   "group_channels": self.core.chunks, "static": 0, "rounds": 0, "classes": 0, "decay": 0, "reset": 0,
                   "style": abi.ResetStyle.GATE_MEMBRANE, "levels": 0, "group_weights": 0}
        if rows:
            row["group_weights"] = self._gather(index, share, groups)
            row.update(self._neuron(layer))
            self._constants(layer, packed, groups)
        else:
            row["kind"] = abi.LayerKind.NEURON
        own = self.sources[source_first:]
        row["sources"] = len(own) if rows else 1
        row["planes"] = max((s["exponent"] + s["planes"] for s in own), default=1)
        row.update(self._output(index, share))
        row.update(self._input(own))
        if self.core.occupancy:
            able = self.segment.first == 0 and row["kind"] != abi.LayerKind.MAX
            row.update(window(own, row, self.layouts[0], self.core, self.asks) if able else NONE)
        self.layers.append(row)

    def _neuron(self, layer: Layer) -> dict:
        """Return what the neuron unit does with the sums of a layer."""
        network = self.network
        if isinstance(layer, MaxPool):
            return {"kind": abi.LayerKind.MAX, "levels": (1 << network.map_bits(layer.map)) - 1}
        static = int(all(network.map_static(s.map) for s in layer.sources))
        if isinstance(layer, Readout):
            return {"kind": abi.LayerKind.READOUT, "classes": layer.shape[0], "static": static}
        neuron = layer.neuron
        return {"kind": abi.LayerKind.NEURON, "levels": neuron.levels, "style": _STYLE[neuron.style], "static": static,
                "decay": abi.ZERO_FACTOR if neuron.decay is None else neuron.decay,
                "reset": abi.ZERO_FACTOR if neuron.reset is None else neuron.reset, "rounds": int(neuron.rounds)}

    def _constants(self, layer: Layer, packed: int, groups: range) -> None:
        """Append (bias, shift) of the channels of lane groups, once for each position packed."""
        channels, lanes = layer.shape[0], self.core.lanes
        each = [(int(bias), int(shift)) for bias, shift in zip(getattr(layer, "bias", np.zeros(channels, int)),
                                                               getattr(layer, "shift", np.zeros(channels, int)),
                                                               strict=True)]
        # A padding channel has current 0, and any shift > 0 keeps its level 0 under rounding.
        every = (each + [(0, 1)] * (-channels % (lanes // packed))) * packed
        for group in groups:
            self.channels += every[group * lanes:(group + 1) * lanes]

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
        per_col = out.channels * self.packing.positions[index + 1] // self.core.lanes
        return {"to_stream": int(stream), "out_base": base + share.row[0] * out.row_words,
                    "out_row_step": share.row[1] * out.row_words, "out_step_step": out.step_words,
                    "out_plane_step": out.plane_words, "out_planes": out.planes,
                    "out_chunk": share.col[0] * per_col + share.group[0], "out_group_step": share.group[1],
                    "out_col_step": share.col[1] * per_col}

    def _gather(self, index: int, share: Share, groups: range) -> int:
        """Append sources of a layer; returns the weight rows from one of the cluster's lane groups to the next."""
        block = self.bank.blocks[index]
        at = block.at(groups[0])
        for gather in gathers(self.network, index, self.packing):
            for field in gather.fields:
                self._source(field, share, at)
            at += gather.rows(self.layouts[gather.fields[0].map].channels)
        return block.step(groups)

    def _source(self, field: Field, share: Share, weight_first: int) -> None:
        """Append the row of a field to the source table."""
        here, first = self.layouts[field.map], field.map == self.segment.first
        y_init = field.offset[0] + share.row[0] * field.step[0]
        y_step = share.row[1] * field.step[0]
        x_init = (field.offset[1] + share.col[0] * field.step[1]) * here.channels
        if field.mask:
            x_init += share.group[0] * self.core.lanes
        self.sources.append({
            "diagonal": int(field.mask), "input": int(first),
            "exponent": field.exponent, "planes": here.planes,
            "row_init": self.segment.bases[field.map] + y_init * here.row_words & _ADDRESS,
            "row_step": y_step * here.row_words & _ADDRESS, "y_init": y_init, "y_step": y_step,
            "x_init": x_init, "x_step": share.col[1] * field.step[1] * here.channels,
            "step_step": 0 if here.steps == 1 else here.step_words, "plane_step": here.plane_words,
            "plane_top": (here.planes - 1) * here.plane_words,
            "tap_rows": field.taps[0], "tap_dy": field.tap_step[0],
            "tap_row_step": field.tap_step[0] * here.row_words,
            "tap_row_weights": field.tap_weights[0] * here.channels,
            "tap_cols": field.taps[1], "tap_col_step": field.tap_step[1] * here.channels,
            "tap_col_weights": field.tap_weights[1] * here.channels,
            "run_bits": self.core.lanes if field.mask else field.run * here.channels,
            "y_limit": field.size[0], "x_limit": field.size[1] * here.channels, "weight_first": weight_first})

    def rows(self, memory: abi.MemoryId) -> int:
        """Return the rows of a memory in use."""
        return {abi.MemoryId.LAYERS: len(self.layers), abi.MemoryId.SOURCES: len(self.sources),
                abi.MemoryId.CHANNELS: len(self.channels) // self.core.neuron_lanes}[memory]

    def beats(self, memory: abi.MemoryId) -> np.ndarray:
        """Return the contents of a memory, (rows, beats) uint32."""
        count = abi.row_beats(self.core.memory_bits(memory))
        if memory == abi.MemoryId.CHANNELS:
            pairs = np.array(self.channels, np.int64).reshape(self.rows(memory), self.core.neuron_lanes, 2)
            return ((pairs[..., 0] & (1 << 24) - 1) | pairs[..., 1] << 24).astype(np.uint32)
        fields, rows = ((self.core.layer_fields, self.layers) if memory == abi.MemoryId.LAYERS
                        else (abi.SOURCE_FIELDS, self.sources))
        return np.array([abi.beats(abi.pack(fields, row), count) for row in rows], np.uint32).reshape(len(rows), count)
