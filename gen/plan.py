"""From a `Network` to a `Plan`: cores, memory maps, tables and the program image.

A plan cuts the network into segments, one per core, where exactly one feature map is alive; lays the feature
maps of each core out by lifetime; writes the rows of the layer, source, channel and weight memories of each
cluster (host/abi.py); and packs them into the image that the hardware loads.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib

import numpy as np

from qblif.host import abi
from qblif.host.codec import InputLayout
from qblif.hw.params import CoreParams, DesignParams

from .errors import PlanError
from .network import Layer, MaxPool, Network, NeuronLayer, Readout, Reset, Source, layer_inputs
from .verify import bounds, verify

_STYLE = {Reset.GATE_SUM: abi.ResetStyle.GATE_SUM, Reset.GATE_MEMBRANE: abi.ResetStyle.GATE_MEMBRANE,
          Reset.SUBTRACT: abi.ResetStyle.SUBTRACT}
_TABLES = (abi.MemoryId.LAYERS, abi.MemoryId.SOURCES, abi.MemoryId.CHANNELS, abi.MemoryId.WEIGHTS)
_ADDRESS = (1 << 24) - 1


def _ceil(a: int, b: int) -> int:
    return -(-a // b)


def _power(n: int) -> int:
    return max(2, 1 << (n - 1).bit_length())


@dataclasses.dataclass(frozen=True)
class MapLayout:
    """How a feature map lies in memory: rows > time steps > bit planes > words.

    channels: stored channels per position (Cp); steps: time steps stored (1 for a static map); planes: bit planes;
    height, width: positions; word_bits: W. A plane row holds bit x*Cp + c and begins at a word.
    """

    channels: int
    steps: int
    planes: int
    height: int
    width: int
    word_bits: int

    @property
    def plane_words(self) -> int:
        """Words of a plane row."""
        return _ceil(self.width * self.channels, self.word_bits)

    @property
    def step_words(self) -> int:
        """Words of one map row at one time step."""
        return self.planes * self.plane_words

    @property
    def row_words(self) -> int:
        """Words of one map row, all steps."""
        return self.steps * self.step_words

    @property
    def words(self) -> int:
        """Words of the map."""
        return self.height * self.row_words


@dataclasses.dataclass(frozen=True)
class Share:
    """What a cluster computes of a layer: every `step`-th row, column and lane group from `first` on."""

    row: tuple[int, int] = (0, 1)
    col: tuple[int, int] = (0, 1)
    group: tuple[int, int] = (0, 1)

    @staticmethod
    def count(part: tuple[int, int], total: int) -> int:
        """Return how many of `total` the part (first, step) holds."""
        first, step = part
        return max(0, _ceil(total - first, step))


@dataclasses.dataclass(frozen=True)
class Segment:
    """The part of the network that one core runs: layers first .. last, both included."""

    first: int
    last: int
    bases: dict[int, int]
    """Word address of each map in the core's memory (of the buffer 0 for the input map)."""
    map_words: int
    """Words of feature-map memory used."""
    buffer_step: int
    """Distance of the second input buffer; 0 without one."""
    shares: tuple[tuple[Share, ...], ...]
    """[layer - first][cluster]."""


@dataclasses.dataclass(frozen=True, eq=False)
class Plan:
    """How a network is laid on hardware. Made by `make_plan`.

    network, design: what and on what. segments: one per core. program: the image, uint32 beats.
    program_hash: 64 bits, of the image. input_layout: how the host packs images.
    """

    network: Network
    design: DesignParams
    segments: tuple[Segment, ...]
    program: np.ndarray
    program_hash: int
    input_layout: InputLayout

    def describe(self) -> str:
        """Return a table of cores, layers and memory use."""
        lines = [f"plan of {self.network.name!r}: {len(self.segments)} core(s), "
                 f"program {4 * len(self.program):,} bytes, hash {self.program_hash:016x}, "
                 f"build {self.design.build_hash:016x}"]
        for index, (segment, core) in enumerate(zip(self.segments, self.design.cores, strict=True)):
            lines.append(f"  core {index}: {core.lanes} lanes x {core.clusters} cluster(s), words of {core.word_bits} "
                         f"bits, fan-out {core.fanout}; maps {segment.map_words} of {core.map_depth} words")
            for layer, shares in zip(range(segment.first, segment.last + 1), segment.shares, strict=True):
                split = next((name for name in ("row", "col", "group") if getattr(shares[0], name)[1] > 1), "whole")
                lines.append(f"    layer {layer} {self.network.layers[layer].name}: "
                             f"{self.network.map_shape(layer + 1)}, split by {split}")
        return "\n".join(lines)


def allowed_cuts(network: Network) -> list[int]:
    """Return the layers after which the network may be cut: those whose output is the only map still needed."""
    cuts = []
    for layer in range(len(network.layers) - 1):
        later = {index for other in network.layers[layer + 1:] for index in layer_inputs(other)}
        if all(index > layer for index in later):
            cuts.append(layer)
    return cuts


def _work(network: Network, layer: int, lanes: int) -> int:
    """Return an upper bound of the weight rows that a layer accumulates, to balance segments by."""
    item = network.layers[layer]
    channels, height, width = item.shape
    positions = height * width * _ceil(channels, lanes) * network.steps
    if isinstance(item, MaxPool):
        return positions * item.kernel[0] * item.kernel[1] * network.map_bits(item.map)
    field = sum(s.pool[0] * s.pool[1] * network.map_bits(s.map)
                * (1 if s.diagonal else int(np.prod(s.weight.shape[1:]))) for s in item.sources)
    return positions * field


def _cut(network: Network, cores: int | str, lanes: int) -> list[tuple[int, int]]:
    """Return the first and last layer of each core, the largest segment made as small as the cuts allow."""
    cuts = allowed_cuts(network)
    most = len(cuts) + 1
    if cores == "max":
        cores = most
    if not isinstance(cores, int) or not 1 <= cores <= most:
        raise PlanError(f"network {network.name!r} cannot be cut into {cores!r} cores; allowed is 1 to {most} "
                        f"(or 'max'): a cut needs a place where exactly one feature map is alive, and those are "
                        f"after layers {cuts}")
    ends = [*cuts, len(network.layers) - 1]
    load = [sum(_work(network, i, lanes) for i in range(first, last + 1))
            for first, last in zip([0, *(c + 1 for c in cuts)], ends, strict=True)]

    @functools.cache
    def best(count: int, start: int) -> tuple[int, tuple[int, ...]]:
        if count == 1:
            return sum(load[start:]), (most - 1,)
        options = []
        for end in range(start, most - count + 1):
            rest, tail = best(count - 1, end + 1)
            options.append((max(sum(load[start:end + 1]), rest), (end, *tail)))
        return min(options)

    firsts, segments = 0, []
    for end in best(cores, 0)[1]:
        segments.append((firsts, ends[end]))
        firsts = ends[end] + 1
    return segments


def map_layout(network: Network, index: int, lanes: int, word_bits: int) -> MapLayout:
    """Return the layout of map `index`.

    Maps that cores write, and input maps that a diagonal source or a max pooling reads, have their channels
    padded to whole chunks of `lanes`; other input maps are stored densely."""
    channels, height, width = network.map_shape(index)
    chunked = index > 0 or any(isinstance(layer, MaxPool) and layer.map == 0
                               or any(s.map == 0 and s.diagonal for s in getattr(layer, "sources", ()))
                               for layer in network.layers)
    stored = _ceil(channels, lanes) * lanes if chunked else channels
    return MapLayout(channels=stored, steps=1 if network.map_static(index) else network.steps,
                     planes=network.map_bits(index), height=height, width=width, word_bits=word_bits)


def _place(network: Network, first: int, last: int, layouts: dict[int, MapLayout], buffers: int):
    """Place the maps of a segment by lifetime, first fit. Returns (bases, words, buffer step)."""
    def last_use(index):
        return max((i for i in range(first, last + 1) if index in layer_inputs(network.layers[i])), default=first)

    size = layouts[first].words
    bases = {first: 0}
    taken = [(0, size * buffers, first - 1, last)]          # from, to, born after, lives until; buffers never move
    for layer in range(first, last):                        # the last layer's output leaves the core
        index = layer + 1
        end = last_use(index)
        at = 0
        for low, high, born, dies in sorted(taken):
            if born <= end and dies >= layer and at < high and low < at + layouts[index].words:
                at = high
        bases[index] = at
        taken.append((at, at + layouts[index].words, layer, end))
    return bases, max(high for _, high, _, _ in taken), size if buffers == 2 else 0


def _shares(layer: Layer, lanes: int, clusters: int) -> tuple[Share, ...]:
    """Split a layer among clusters by columns, rows or lane groups, whichever leaves the least to the busiest."""
    channels, height, width = layer.shape
    groups = _ceil(channels, lanes)
    if clusters == 1:
        return (Share(),)
    if isinstance(layer, Readout):      # its logits leave in order, from one cluster
        return tuple(Share(row=(index, clusters)) for index in range(clusters))
    costs = {"col": _ceil(width, clusters) * height * groups, "row": _ceil(height, clusters) * width * groups,
             "group": _ceil(groups, clusters) * height * width}
    axis = min(costs, key=costs.get)
    return tuple(Share(**{axis: (index, clusters)}) for index in range(clusters))


class _Tables:
    """The rows of one cluster's memories, growing layer by layer."""

    def __init__(self, network: Network, core: CoreParams, segment: Segment, layouts: dict[int, MapLayout],
                 cluster: int, streams: bool):
        self.network, self.core, self.segment, self.layouts = network, core, segment, layouts
        self.streams = streams
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
        groups = list(range(share.group[0], _ceil(channels, lanes), share.group[1]))
        rows, cols = Share.count(share.row, height), Share.count(share.col, width)
        if not rows or not cols or not groups:
            rows = 0
        source_first, channel_first = len(self.sources), len(self.channels) // self.core.neuron_lanes
        row = dict(source_first=source_first, steps=network.steps, rows=rows, groups=max(1, len(groups)),
                   cols=max(1, cols), group_bits=share.group[1] * lanes, channel_first=channel_first,
                   group_channels=self.core.chunks, static=0, rounds=0, classes=0, decay=0, reset=0,
                   style=abi.ResetStyle.GATE_MEMBRANE, levels=0, group_weights=0)
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
        self.layers.append(row)

    def _output(self, index: int, share: Share) -> dict:
        stream = index == self.segment.last and self.streams
        if isinstance(self.network.layers[index], Readout):
            return dict(to_stream=0, out_base=0, out_row_step=0, out_step_step=0, out_plane_step=0, out_planes=1,
                        out_chunk=0, out_group_step=0, out_col_step=0)
        out = self.layouts[index + 1]
        base = 0 if stream else self.segment.bases[index + 1]
        per_col = out.channels // self.core.lanes
        return dict(to_stream=int(stream), out_base=base + share.row[0] * out.row_words,
                    out_row_step=share.row[1] * out.row_words, out_step_step=out.step_words,
                    out_plane_step=out.plane_words, out_planes=out.planes,
                    out_chunk=share.col[0] * per_col + share.group[0], out_group_step=share.group[1],
                    out_col_step=share.col[1] * per_col)

    def _source(self, index: int, share: Share, *, diagonal: bool, exponent: int, step, offset, size, taps,
                tap_step, tap_weights, run: int, weight_first: int) -> None:
        """Append a source row. Pairs are (vertical, horizontal), in map positions; `size` limits the map."""
        here = self.layouts[index]
        y_init = offset[0] + share.row[0] * step[0]
        y_step = share.row[1] * step[0]
        x_init = (offset[1] + share.col[0] * step[1]) * here.channels
        if diagonal:
            x_init += share.group[0] * self.core.lanes
        self.sources.append(dict(
            diagonal=int(diagonal), input=int(index == self.segment.first), exponent=exponent, planes=here.planes,
            row_init=self.segment.bases[index] + y_init * here.row_words & _ADDRESS,
            row_step=y_step * here.row_words & _ADDRESS, y_init=y_init, y_step=y_step,
            x_init=x_init, x_step=share.col[1] * step[1] * here.channels,
            step_step=0 if here.steps == 1 else here.step_words, plane_step=here.plane_words,
            plane_top=(here.planes - 1) * here.plane_words,
            tap_rows=taps[0], tap_dy=tap_step[0], tap_row_step=tap_step[0] * here.row_words,
            tap_row_weights=tap_weights[0], tap_cols=taps[1], tap_col_step=tap_step[1] * here.channels,
            tap_col_weights=tap_weights[1], run_bits=run, y_limit=size[0], x_limit=size[1] * here.channels,
            weight_first=weight_first))

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
            padded = _ceil(weight.shape[0], lanes) * lanes
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
            flat = np.zeros((len(weights), count * 32), np.uint8)
            flat[:, :self.core.lanes * self.core.weight_bits] = bits.reshape(len(weights), self.core.lanes * self.core.weight_bits)
            return np.packbits(flat, axis=1, bitorder="little").view("<u4")
        if memory == abi.MemoryId.CHANNELS:
            pairs = np.array(self.channels, np.int64).reshape(self.rows(memory), self.core.neuron_lanes, 2)
            return ((pairs[..., 0] & (1 << 24) - 1) | pairs[..., 1] << 24).astype(np.uint32)
        fields, rows = ((abi.LAYER_FIELDS, self.layers) if memory == abi.MemoryId.LAYERS
                        else (abi.SOURCE_FIELDS, self.sources))
        return np.array([abi.beats(abi.pack(fields, row), count) for row in rows], np.uint32).reshape(len(rows), count)


def _section(memory, cluster: int, core: int, rows: np.ndarray) -> np.ndarray:
    target = abi.pack(abi.TARGET_FIELDS, dict(memory=memory, cluster=cluster, core=core))
    return np.concatenate([np.array([target, 0, len(rows)], np.uint32), rows.reshape(-1)])


def _image(design: DesignParams, sections: list[np.ndarray]) -> tuple[np.ndarray, int]:
    """Return (image, program hash): preamble, sections, checksum."""
    body = np.concatenate(sections).astype("<u4")
    digest = hashlib.sha256(design.build_hash.to_bytes(8, "little") + body.tobytes()).digest()
    program_hash = int.from_bytes(digest[:8], "little") or 1
    preamble = [abi.MAGIC, abi.ABI_VERSION, *abi.beats(design.build_hash, 2), *abi.beats(program_hash, 2),
                len(sections)]
    image = np.concatenate([np.array(preamble, "<u4"), body])
    return np.append(image, np.uint32(abi.crc(image.tobytes()))).astype("<u4"), program_hash


def make_plan(network: Network, cores: int | str = 1, *, design: DesignParams | None = None, lanes: int = 16,
              buffers: int = 2, **core_params) -> Plan:
    """Plan a network onto hardware.

    Parameters
    ----------
    cores: cores in the chain, or "max": as many as there are allowed segments
    design: an existing build to plan onto; without it, the smallest one that fits is chosen
    lanes, core_params: parameters of the cores (hw/params.py CoreParams) when there is no `design`;
        depths left out are chosen to fit
    buffers: input buffers per core, 1 or 2 (2: the next image arrives while one is in work)

    Raises VerifyError for a network that breaks a rule, PlanError naming everything that does not fit and by how
    much, ValueError for bad core parameters.
    """
    verify(network)
    if buffers not in (1, 2):
        raise PlanError(f"buffers is {buffers!r}, allowed is 1 or 2")
    cores = len(design.cores) if design else cores
    if design is None:
        core_params = {"weight_bits": network.weight_bits, **core_params, "lanes": lanes}
        core_params.setdefault("word_bits", max(64, lanes))
        core_params.setdefault("neuron_lanes", min(4, lanes))
        core_params.setdefault("level_bits", max((network.map_bits(i + 1) for i in range(len(network.layers) - 1)),
                                                 default=5))
        core_params.setdefault("level_bits", 5)
    shape = design.cores[0] if design else CoreParams(**core_params)
    layouts = {i: map_layout(network, i, shape.lanes, shape.word_bits) for i in range(len(network.layers))}
    troubles: list[str] = []
    chosen, segments, tables = [], [], []
    for number, (first, last) in enumerate(_cut(network, cores, shape.lanes)):
        core = design.cores[number] if design else shape
        bases, words, step = _place(network, first, last, layouts, buffers)
        if design and words > core.map_depth and buffers == 2:
            bases, words, step = _place(network, first, last, layouts, 1)
        shares = tuple(_shares(network.layers[i], core.lanes, core.clusters) for i in range(first, last + 1))
        segment = Segment(first, last, bases, words, step, shares)
        streams = last < len(network.layers) - 1
        per_cluster = [_Tables(network, core, segment, layouts, c, streams) for c in range(core.clusters)]
        needs = {"map_depth": words, "contexts": max(row["sources"] for t in per_cluster for row in t.layers)}
        for memory, name in zip(_TABLES, ("layer_depth", "source_depth", "channel_depth", "weight_depth"),
                                strict=True):
            needs[name] = max(t.rows(memory) for t in per_cluster)
        if design is None:
            core = dataclasses.replace(core, **{name: _power(need) for name, need in needs.items()
                                                if name not in core_params})
            for table in per_cluster:
                table.core = core
        troubles += [f"core {number} needs {name} >= {need:,}, the build has {getattr(core, name):,} "
                     f"({need - getattr(core, name):,} too few)"
                     for name, need in needs.items() if need > getattr(core, name)]
        troubles += _widths(network, core, number, first, last)
        chosen.append(core)
        segments.append(segment)
        tables.append(per_cluster)
    if troubles:
        raise PlanError("network {!r} does not fit:\n  {}".format(network.name, "\n  ".join(troubles)))

    design = design or DesignParams(tuple(chosen))
    sections = []
    try:
        for number, (segment, core, per_cluster) in enumerate(zip(segments, design.cores, tables, strict=True)):
            config = abi.pack(abi.CONFIG_FIELDS, dict(
                layers=segment.last - segment.first + 1, input_words=layouts[segment.first].words,
                input_base=segment.bases[segment.first], buffer_step=segment.buffer_step))
            beats = abi.beats(config, abi.row_beats(core.memory_bits(abi.MemoryId.CONFIG)))
            sections.append(_section(abi.MemoryId.CONFIG, abi.ALL_CLUSTERS, number, np.array([beats], np.uint32)))
            for memory in _TABLES:
                contents = [table.beats(memory) for table in per_cluster]
                if all(np.array_equal(contents[0], other) for other in contents[1:]):
                    sections.append(_section(memory, abi.ALL_CLUSTERS, number, contents[0]))
                else:
                    sections += [_section(memory, index, number, rows) for index, rows in enumerate(contents)
                                 if len(rows)]
    except ValueError as error:
        raise PlanError(f"network {network.name!r} exceeds what the program format can say: {error}") from error
    image, program_hash = _image(design, sections)
    image.flags.writeable = False
    spec = network.input
    layout = InputLayout(shape=spec.shape, steps=network.steps, static=spec.static, bits=spec.bits,
                         padding=spec.padding, zero_point=spec.zero_point, stored_channels=layouts[0].channels,
                         word_bits=shape.word_bits)
    return Plan(network, design, tuple(segments), image, program_hash, layout)


def _widths(network: Network, core: CoreParams, number: int, first: int, last: int) -> list[str]:
    """Return what is too wide for a core: weights, levels, sums and membranes."""
    troubles = []
    if network.weight_bits > core.weight_bits:
        troubles.append(f"core {number} has weights of {core.weight_bits} bits, the network's have "
                        f"{network.weight_bits}")
    limits = bounds(network)
    for index in range(first, last + 1):
        layer = network.layers[index]
        if not isinstance(layer, Readout) and network.map_bits(index + 1) > core.level_bits:
            troubles.append(f"core {number} emits levels of {core.level_bits} bits, layer {layer.name!r} has "
                            f"{network.map_bits(index + 1)}")
        if isinstance(layer, MaxPool):
            continue
        if limits[index].bits > core.acc_bits:
            troubles.append(f"core {number} has accumulators of {core.acc_bits} bits, layer {layer.name!r} needs "
                            f"{limits[index].bits}")
        steps = max(s.exponent + network.map_bits(s.map) for s in layer.sources)
        if core.fanout == "unary" and steps > 16:
            troubles.append(f"core {number} has unary fan-out, which is limited to 16 scan steps; layer "
                            f"{layer.name!r} has {steps} (exponents up to "
                            f"{max(s.exponent for s in layer.sources)})")
    return troubles
