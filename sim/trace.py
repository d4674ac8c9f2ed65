"""Trace records: from the bits of a trace port to structured numpy arrays."""

from __future__ import annotations

import numpy as np

from qblif.hw import layouts
from qblif.hw.params import CoreParams

ARRAYS = ("current", "membrane", "level")


def record_dtype(params: CoreParams) -> np.dtype:
    """Return the dtype of a record of a core's trace: the fields of hw.layouts.trace.

    layer, step, row, col, chunk: int32; current, membrane: int32 (neuron_lanes,); level: uint8 (neuron_lanes,).
    The dtype's metadata holds each field's first bit, bits per element and sign."""
    fields, metadata = [], {}
    for name, field in layouts.trace(params):
        if name in ARRAYS:
            bits = field.width // params.neuron_lanes
            fields.append((name, np.uint8 if name == "level" else np.int32, (params.neuron_lanes,)))
        else:
            bits = field.width
            fields.append((name, np.int32))
        metadata[name] = (field.offset, bits, name in ("current", "membrane"))
    return np.dtype(fields, metadata=metadata)


def _bits(words: np.ndarray, offset: int, bits: int, signed: bool) -> np.ndarray:
    """Return `bits` (at most 32) bits from `offset` of each row of words (uint32 [records, words]) as int64."""
    first, shift = divmod(offset, 32)
    value = words[:, first].astype(np.uint64)
    if shift + bits > 32:
        value |= words[:, first + 1].astype(np.uint64) << np.uint64(32)
    value = (value >> np.uint64(shift) & np.uint64((1 << bits) - 1)).astype(np.int64)
    return value - ((value >> bits - 1) << bits) if signed else value


def unpack_records(words: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return captured records (uint32 [records, words]) as a structured array of `dtype` (see `record_dtype`)."""
    records = np.empty(len(words), dtype)
    for name, (offset, bits, signed) in dtype.metadata.items():
        if name in ARRAYS:
            for lane in range(dtype[name].shape[0]):
                records[name][:, lane] = _bits(words, offset + lane * bits, bits, signed)
        else:
            records[name] = _bits(words, offset, bits, signed)
    return records
