"""From a `Network` to a `Plan`: cores, memory maps, tables and the program image.

A plan cuts the network into segments, one per core, where exactly one feature map is alive; lays the feature
maps of each core out by lifetime; writes the rows of the layer, source, channel and weight memories of each
cluster and the weights of each pair of clusters (host/abi.py); and packs them into the image that the hardware loads.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Sequence

import numpy as np

from qblif.host import abi
from qblif.host.codec import InputLayout
from qblif.hw.params import LARGEST, CoreParams, DesignParams, weight_banks

from .banks import Bank
from .errors import PlanError
from .fill import choose
from .maps import MapLayout, map_layout, place
from .needs import join, layer_needs
from .network import MaxPool, Network, Readout
from .occupancy import columns
from .packing import Packing, checked
from .split import Fits, Segment, Spans, allowed_cuts, choose_lanes, cut, cut_as, row_parts, split_layer
from .tables import Tables
from .verify import bounds, verify

__all__ = ["Plan", "allowed_cuts", "make_plan"]

_TABLES = (abi.MemoryId.LAYERS, abi.MemoryId.SOURCES, abi.MemoryId.CHANNELS)


def depth(name: str, need: int) -> int:
    """Return how deep a new core's memory is made for `need` rows, as far as a core goes. name: of its parameter."""
    return min(max(2, 1 << (need - 1).bit_length()), LARGEST[name])


@dataclasses.dataclass(frozen=True, eq=False)
class Plan:
    """How a network is laid on hardware. Made by `make_plan`.

    network, design: what and on what. segments: one per core. packing: positions side by side in the lanes.
    layouts: map index -> how it lies in memory, the logits' left out. asking: layers that ask where their input is
    empty (gen/occupancy.py). program: the image, uint32 beats.
    program_hash: 64 bits, of the image. input_layout: how the host packs images.
    """

    network: Network
    design: DesignParams
    segments: tuple[Segment, ...]
    packing: Packing
    layouts: dict[int, MapLayout]
    asking: tuple[int, ...]
    program: np.ndarray
    program_hash: int
    input_layout: InputLayout

    def describe(self) -> str:
        """Return a table of cores, layers and memory use."""
        head = (f"plan of {self.network.name!r}: {len(self.segments)} core(s), "
                f"program {4 * len(self.program):,} bytes, hash {self.program_hash:016x}, "
                f"build {self.design.build_hash:016x}")
        lines = [head]
        for index, (segment, core) in enumerate(zip(self.segments, self.design.cores, strict=True)):
            lines.append(f"  core {index}: {core.lanes} lanes x {core.clusters} cluster(s), words of {core.word_bits} "
                         f"bits, fan-out {core.fanout}; maps {segment.map_words} of {core.map_depth} words")
            lines.append(f"    memories: {core.weight_depth:,} weight rows of {core.lanes} x {core.weight_bits} bits, "
                         f"{core.layer_depth} layer, {core.source_depth} source and {core.channel_depth} channel rows")
            for layer, shares in zip(range(segment.first, segment.last + 1), segment.shares, strict=True):
                split = next((f", clusters split {name}s" for name in ("row", "col", "group")
                              if getattr(shares[0], name)[1] > 1), "")
                packed = self.packing.positions[layer + 1]
                beside = f", {packed} positions at once" if packed > 1 else ""
                beside += ", asks where its input is empty" if layer in self.asking else ""
                lines.append(f"    layer {layer} {self.network.layers[layer].name}: "
                             f"{self.network.map_shape(layer + 1)}{beside}{split}")
        return "\n".join(lines)


def _section(memory, cluster: int, core: int, rows: np.ndarray) -> np.ndarray:
    target = abi.pack(abi.TARGET_FIELDS, {"memory": memory, "cluster": cluster, "core": core})
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


def make_plan(network: Network, cores: int | str = 1, *, design: DesignParams | None = None, lanes: int | None = None,
              buffers: int = 2, packing: Packing | None = None, work: Sequence[float] | None = None,
              spans: Spans | None = None, asks: bool | None = None, **core_params) -> Plan:
    """Plan a network onto hardware.

    Parameters
    ----------
    cores: cores in the chain, or "max": as many as there are allowed segments
    design: an existing build to plan onto; without it, the smallest one that fits is chosen
    lanes: accumulators of a cluster; default: as many as the network keeps busy (split.choose_lanes)
    core_params: further parameters of the cores (hw/params.py CoreParams) when there is no `design`;
        depths left out are chosen to fit
    buffers: input buffers per core, 1 or 2 (2: the next image arrives while one is in work)
    packing: positions that the lanes work on at once; default: the fastest that fits (gen/fill.py)
    work: of each layer, in any unit, measured: chains are cut so that their cores have as equal a share of it as the
        cuts allow; default: an upper bound of the weight rows that layers add
    spans: first and last layer of each core; default: the cut that `work` says. gen/explore.py finds both at once
    asks: whether a layer that can asks where its input is empty, on a core with `occupancy` (gen/occupancy.py);
        default: where it pays

    Raises VerifyError for a network that breaks a rule, PlanError naming everything that does not fit and by how
    much, ValueError for bad core parameters.
    """
    verify(network)
    if buffers not in (1, 2):
        raise PlanError(f"buffers is {buffers!r}, allowed is 1 or 2")
    if design is None:
        shape = core_shape(network, lanes or choose_lanes(network), core_params)
        given = _Given(cores, shape, None, frozenset(core_params), buffers, work, spans, asks)
    else:
        given = _Given(len(design.cores), design.cores[0], design, frozenset(LARGEST), buffers, work, spans, asks)
    if packing is not None:
        return _plan(network, given, checked(packing, network, given.shape.lanes))
    # The room of all cores is known before the layers have cores: what does not fit one may with less packing.
    most, refused, tried = given.shape.lanes, None, None
    while most:
        packing = choose(network, given.shape.lanes, given.room(network), neuron_lanes=given.shape.neuron_lanes,
                         clusters=given.shape.clusters, most=most)
        try:
            if packing != tried:
                return _plan(network, given, packing)
        except PlanError as error:
            refused = refused or error
        most, tried = most // 2, packing
    raise refused


@dataclasses.dataclass(frozen=True)
class _Given:
    """What hardware to plan for. shape: of its first core, depths still open where `design` is None.

    fixed: names of depths that may not be changed. work, spans, asks: as for make_plan"""

    cores: int | str
    shape: CoreParams
    design: DesignParams | None
    fixed: frozenset[str]
    buffers: int
    work: Sequence[float] | None
    spans: Spans | None
    asks: bool | None

    def room(self, network: Network) -> int:
        """Return the weight rows of all cores, the only memory of which packing may take more."""
        count = self.cores if isinstance(self.cores, int) else len(network.layers)
        cores = self.design.cores if self.design else (self.shape,) * count
        return sum(core.weight_depth if "weight_depth" in self.fixed else LARGEST["weight_depth"] for core in cores)


def _plan(network: Network, given: _Given, packing: Packing) -> Plan:
    """Return the plan with this packing; raises PlanError."""
    shape, design = given.shape, given.design
    layouts = {i: map_layout(network, i, packing, shape.word_bits) for i in range(len(network.layers))}
    parts, troubles = [], []
    if given.spans is not None:
        spans = cut_as(network, given.spans)
    elif design is None:
        spans = cut(network, given.cores, packing, given.work)
    else:
        spans = cut(network, given.cores, packing, given.work, [core.clusters for core in design.cores],
                    _fits(network, design, packing, layouts))
    if design and len(spans) != len(design.cores):
        raise PlanError(f"the layers are given to {len(spans)} cores, the build has {len(design.cores)}")
    for number, span in enumerate(spans):
        core = design.cores[number] if design else shape if number == 0 else dataclasses.replace(shape, occupancy=0)
        sender = row_parts(network, span[0] - 1, packing, parts[-1].segment.shares[-1]) if parts else 1
        parts.append(_lay_out(network, core, span, packing, layouts, given, sender))
        troubles += [f"core {number} {trouble}" for trouble in _misfits(network, parts[-1])]
    if troubles:
        raise PlanError("network {!r} does not fit:\n  {}".format(network.name, "\n  ".join(troubles)),
                        hint="`qblif plan NETWORK --board BOARD --out FILE` finds hardware that it fits; a build holds "
                        "networks of about the size of the one it was made for")

    design = design or DesignParams(tuple(part.core for part in parts))
    try:
        sections = [section for number, part in enumerate(parts)
                    for section in _sections(number, part, layouts[part.segment.first])]
    except ValueError as error:
        raise PlanError(f"network {network.name!r} exceeds what the program format can say: {error}") from error
    image, program_hash = _image(design, sections)
    image.flags.writeable = False
    spec = network.input
    layout = InputLayout(shape=spec.shape, steps=network.steps, static=spec.static, bits=spec.bits,
                         padding=spec.padding, zero_point=spec.zero_point, stored_channels=layouts[0].channels,
                         word_bits=shape.word_bits)
    segments = tuple(part.segment for part in parts)
    asking = tuple(index for index in range(parts[0].segment.last + 1)
                   if any(table.layers[index].get("window_bits") for table in parts[0].tables))
    return Plan(network, design, segments, packing, layouts, asking, image, program_hash, layout)


def core_shape(network: Network, lanes: int, given: dict) -> CoreParams:
    """Return parameters of a new core, with depths still open, from those given and what the network needs."""
    levels = [network.map_bits(i + 1) for i in range(len(network.layers) - 1)]
    needed = {
        "weight_bits": network.weight_bits, "word_bits": max(64, lanes), "neuron_lanes": min(4, lanes),
        "level_bits": max(levels, default=CoreParams.level_bits),
        # The default serves most networks with one build; what needs more gets more, as far as the core goes.
        "acc_bits": min(32, max(CoreParams.acc_bits, *(b.bits for b in bounds(network)))),
    }
    needed |= given
    return CoreParams(**{"occupancy": columns(network, needed["word_bits"]), **needed, "lanes": lanes})


@dataclasses.dataclass(frozen=True)
class _Part:
    """What one core runs. tables: of each cluster; banks: of each weight memory."""

    core: CoreParams
    segment: Segment
    tables: list[Tables]
    banks: list[Bank]

    def needs(self) -> dict[str, int]:
        """Return the depth that each memory of the core needs, by the name of its parameter."""
        rows = {f"{memory.name.lower().removesuffix('s')}_depth": max(table.rows(memory) for table in self.tables)
                for memory in _TABLES}
        return {"map_depth": self.segment.map_words, **rows, "weight_depth": max(bank.height for bank in self.banks),
                "contexts": max(row["sources"] for table in self.tables for row in table.layers)}


def _lay_out(network: Network, core: CoreParams, span: tuple[int, int], packing: Packing, layouts: dict, given: _Given,
             row_parts: int) -> _Part:
    """Return what a core needs for layers `span`; depths not fixed are made to fit.

    row_parts: parts in which a row of the input map comes."""
    (first, last), buffers, fixed = span, given.buffers, given.fixed
    bases, words, step = place(network, first, last, layouts, buffers)
    if "map_depth" in fixed and words > core.map_depth and buffers == 2:
        bases, words, step = place(network, first, last, layouts, 1)
    shares = tuple(split_layer(network, i, packing, core.clusters) for i in range(first, last + 1))
    segment = Segment(first, last, bases, words, step, shares)
    streams = last < len(network.layers) - 1
    banks = [Bank(network, core, segment, packing, number) for number in range(len(weight_banks(core.clusters)))]
    tables = [Tables(network, core, segment, packing, layouts, cluster, banks[cluster // abi.WEIGHT_READERS], streams,
                     row_parts, given.asks) for cluster in range(core.clusters)]
    part = _Part(core, segment, tables, banks)
    open_depths = {name: depth(name, need) for name, need in part.needs().items() if name not in fixed}
    return dataclasses.replace(part, core=dataclasses.replace(core, **open_depths))


def _fits(network: Network, design: DesignParams, packing: Packing, layouts: dict) -> Fits:
    """Return what tells, without laying it out, whether a core is deep and wide enough for some layers."""
    @functools.cache
    def needs(layer: int, clusters: int, chunks: int):
        return layer_needs(network, layer, packing, clusters, chunks)

    def fits(number: int, first: int, last: int) -> bool:
        core = design.cores[number]
        rows = join([needs(layer, core.clusters, core.chunks) for layer in range(first, last + 1)])
        words = place(network, first, last, layouts, 1)[1]
        return (words <= core.map_depth and all(count <= getattr(core, name) for name, count in rows.items())
                and not _widths(network, core, first, last))

    return fits


def _misfits(network: Network, part: _Part) -> list[str]:
    """Return everything that does not fit the core, and by how much."""
    core = part.core
    depths = [f"needs {name} >= {need:,}, the build has {getattr(core, name):,} "
              f"({need - getattr(core, name):,} too few)"
              for name, need in part.needs().items() if need > getattr(core, name)]
    return depths + _widths(network, core, part.segment.first, part.segment.last)


def _sections(number: int, part: _Part, received: MapLayout) -> list[np.ndarray]:
    """Return the program sections of core `number`; what is the same in all clusters is sent once."""
    segment = part.segment
    config = abi.pack(abi.CONFIG_FIELDS, {
        "layers": segment.last - segment.first + 1, "input_words": received.words,
        "input_base": segment.bases[segment.first], "buffer_step": segment.buffer_step,
        "input_row_words": received.row_words})
    beats = abi.beats(config, abi.row_beats(abi.field_bits(abi.CONFIG_FIELDS)))
    sections = [_section(abi.MemoryId.CONFIG, abi.ALL_CLUSTERS, number, np.array([beats], np.uint32))]
    memories = [(memory, [table.beats(memory) for table in part.tables], range(part.core.clusters))
                for memory in _TABLES]
    memories.append((abi.MemoryId.WEIGHTS, [bank.beats() for bank in part.banks],
                     [clusters.start for clusters in weight_banks(part.core.clusters)]))
    for memory, contents, clusters in memories:
        if all(np.array_equal(contents[0], other) for other in contents[1:]):
            sections.append(_section(memory, abi.ALL_CLUSTERS, number, contents[0]))
        else:
            sections += [_section(memory, cluster, number, rows)
                         for cluster, rows in zip(clusters, contents, strict=True) if len(rows)]
    return sections


def _widths(network: Network, core: CoreParams, first: int, last: int) -> list[str]:
    """Return what is too wide for a core: weights, levels, sums and membranes."""
    troubles = []
    if network.weight_bits > core.weight_bits:
        troubles.append(f"has weights of {core.weight_bits} bits, the network's have "
                        f"{network.weight_bits}")
    limits = bounds(network)
    for index in range(first, last + 1):
        layer = network.layers[index]
        if not isinstance(layer, Readout) and network.map_bits(index + 1) > core.level_bits:
            troubles.append(f"emits levels of {core.level_bits} bits, layer {layer.name!r} has "
                            f"{network.map_bits(index + 1)}")
        if isinstance(layer, MaxPool):
            continue
        if limits[index].bits > core.acc_bits:
            troubles.append(f"has accumulators of {core.acc_bits} bits, layer {layer.name!r} needs "
                            f"{limits[index].bits}")
        steps = max(s.exponent + network.map_bits(s.map) for s in layer.sources)
        if core.fanout == "unary" and steps > 16:
            troubles.append(f"has unary fan-out, which is limited to 16 scan steps; layer "
                            f"{layer.name!r} has {steps} (exponents up to "
                            f"{max(s.exponent for s in layer.sources)})")
    return troubles
