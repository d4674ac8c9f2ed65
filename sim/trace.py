"""Trace records: from the bits of a trace port to structured numpy arrays."""

from __future__ import annotations

import numpy as np

from qblif.hw import layouts
from qblif.hw.params import CoreParams

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
