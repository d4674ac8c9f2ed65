"""Trace records: from the bits of a trace port to the maps of every layer, in the golden model's own form."""

from __future__ import annotations

import numpy as np

from qblif.gen.network import MaxPool, Readout
from qblif.gen.plan import Plan
from qblif.hw import layouts
from qblif.hw.params import CoreParams

from .golden import Record
from .model import SimulationError

PLACE = ("layer", "step", "row", "col", "chunk")
"""Fields that say where a record belongs; the same for every image."""

ARRAYS = {"current": np.int32, "membrane": np.int32, "level": np.uint8}
"""Fields that hold one signed (level: unsigned) value per neuron lane; the others are one unsigned value."""


def record_dtype(params: CoreParams) -> np.dtype:
    """Return the dtype of an unpacked record of a core's trace: the fields of hw.layouts.trace.

    layer, step, row, col, chunk: int32; current, membrane: int32 (neuron_lanes,); level: uint8 (neuron_lanes,)."""
    return np.dtype([(name, ARRAYS[name], (params.neuron_lanes,)) if name in ARRAYS else (name, np.int32)
                     for name, _ in layouts.trace(params)])


def _bits(words: np.ndarray, offset: int, bits: int, signed: bool) -> np.ndarray:
    """Return `bits` (at most 32) bits from `offset` of each row of words (uint32 [records, words]) as int64."""
    first, shift = divmod(offset, 32)
    value = words[:, first].astype(np.uint64)
    if shift + bits > 32:
        value |= words[:, first + 1].astype(np.uint64) << np.uint64(32)
    value = (value >> np.uint64(shift) & np.uint64((1 << bits) - 1)).astype(np.int64)
    return value - ((value >> bits - 1) << bits) if signed else value


def unpack_records(words: np.ndarray, params: CoreParams) -> np.ndarray:
    """Return captured records of a core (uint32 [records, words]) as a structured array (see `record_dtype`)."""
    records = np.empty(len(words), record_dtype(params))
    for name, field in layouts.trace(params):
        if name in ARRAYS:
            bits = field.width // params.neuron_lanes
            for lane in range(params.neuron_lanes):
                records[name][:, lane] = _bits(words, field.offset + lane * bits, bits, name != "level")
        else:
            records[name] = _bits(words, field.offset, field.width, False)
    return records


def decode(plan: Plan, traces: dict[tuple[int, int], np.ndarray]) -> tuple[Record, ...]:
    """Return what the hardware computed, one `golden.Record` per layer, from `Simulation.traces`.

    plan: what was simulated. Padding channels, and columns beyond the map's edge, are dropped. Raises SimulationError
    where a value is missing, comes twice or has a place that the plan does not know."""
    network, images = plan.network, len(next(iter(traces.values())))
    shapes = [(network.steps, images, *layer.shape) for layer in network.layers]
    maps = [{name: np.zeros(shape, np.int32) for name in ARRAYS} for shape in shapes]
    counts = [np.zeros((shape[0], *shape[2:]), np.int32) for shape in shapes]
    for (core, cluster), records in traces.items():
        if any(np.any(records[name] != records[:1][name]) for name in PLACE):
            raise SimulationError(f"core {core}, cluster {cluster} traced its images in different orders")
        segment, params = plan.segments[core], plan.design.cores[core]
        for index in range(segment.first, segment.last + 1):
            share = segment.shares[index - segment.first][cluster]
            part = records[:, records["layer"][0] == index - segment.first]
            step = part["step"][0]
            row = share.row[0] + part["row"][0] * share.row[1]
            col = share.col[0] + part["col"][0] * share.col[1]
            group, chunk = np.divmod(part["chunk"][0], params.chunks)
            first = (share.group[0] + group * share.group[1]) * params.lanes + chunk * params.neuron_lanes
            packed, stored = plan.packing.positions[index + 1], plan.packing.channels(network, index + 1)
            channels, _, width = network.layers[index].shape
            for lane in range(params.neuron_lanes):
                position, channel = np.divmod(first + lane, stored)
                x = col * packed + position
                # Beyond the last column only where that column is packed with it
                real = (channel < channels) & ((x < width) | (col >= plan.packing.columns(network, index)))
                place = step[real], channel[real], row[real], x[real]
                try:
                    np.add.at(counts[index], place, 1)
                except IndexError:
                    raise SimulationError(f"core {core}, cluster {cluster} traced a place outside of layer "
                                          f"{network.layers[index].name}") from None
                for name in ARRAYS:
                    maps[index][name][(place[0], slice(None), *place[1:])] = part[name][:, real, lane].T
    for layer, count in zip(network.layers, counts, strict=True):
        if np.any(count != 1):
            step, channel, row, col = np.argwhere(count != 1)[0]
            raise SimulationError(f"layer {layer.name}, step {step}, channel {channel}, position ({row}, {col}) was "
                                  f"traced {count[step, channel, row, col]} times, not once")
    return tuple(_record(layer, values) for layer, values in zip(network.layers, maps, strict=True))


def _record(layer, values: dict[str, np.ndarray]) -> Record:
    if isinstance(layer, MaxPool):
        return Record(layer.name, None, None, values["level"])
    return Record(layer.name, values["current"], values["membrane"],
                  None if isinstance(layer, Readout) else values["level"])
