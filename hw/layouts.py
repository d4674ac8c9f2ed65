"""Payloads and bus signatures that the hardware's components share."""

from __future__ import annotations

from amaranth.hdl import Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from qblif.host import abi

from . import counters
from .params import CoreParams

COUNTER_INDEX = range(1 << (len(abi.COUNTERS) - 1).bit_length())
"""Shape of the index of one of abi.COUNTERS."""

COUNTER_CYCLES = counters.settle(len(abi.COUNTERS))
"""From a change of that index until the counter is shown."""


def abi_row(fields) -> data.StructLayout:
    """Return the layout of an ABI row: its fields from bit 0 upwards, signed where the ABI says so."""
    return data.StructLayout({name: (signed if rest else unsigned)(bits) for name, bits, *rest in fields})


def map_write(params: CoreParams) -> data.StructLayout:
    """Return the layout of a write to a feature map, also what cores hand over to each other.

    commit: 1: no write; the image's map is complete. part: 1: with this write another part of it is (abi.LAYER_FIELDS
    says what parts are). address: word; for a hand-over, relative to the input buffer of the receiver. enable: one bit
    per chunk of `lanes` bits. data: the word (`word_bits`).
    """
    return data.StructLayout({"commit": 1, "part": 1, "address": 24,
                              "enable": params.banks, "data": params.word_bits})


def map_stream(params: CoreParams) -> stream.Signature:
    """Return the signature of a stream of map writes."""
    return stream.Signature(map_write(params))


logit = data.StructLayout({"value": 32, "last": 1})
"""One logit: two's complement, sign-extended; last: it is the image's last."""


class LoadBus(wiring.Signature):
    """Row writes of the program loader, one per cycle at most, never refused.

    valid: a row is written this cycle. memory: abi.MemoryId; cluster: index or abi.ALL_CLUSTERS; both have to be
    there a cycle before valid, so that they are decoded by then. address: row. data: the row, lowest bits first; as
    wide as the widest loadable memory. Chunk c of a weight row stays there for c more cycles (hw/weights.py).

    The same rows also come as they arrive, for a memory of narrow words. beat_valid: `beat` is word number `place`, of
    LINK_BITS, of the row for `address`; its last word comes with `valid`.
    """

    def __init__(self, params: CoreParams):
        self.width = max(params.memory_bits(memory) for memory in abi.MemoryId)
        super().__init__({"valid": Out(1), "memory": Out(8), "cluster": Out(8), "address": Out(24),
                          "data": Out(self.width), "beat_valid": Out(1), "beat": Out(abi.LINK_BITS),
                          "place": Out(range(abi.row_beats(self.width)))})


def row_for(m, load, memory: abi.MemoryId):
    """Return whether a row is written to `memory` in this cycle; adds a flip-flop to module m."""
    selected = Signal(name=f"selected_{memory.name.lower()}")
    m.d.sync += selected.eq(load.memory == memory)
    return load.valid & selected


def trace(params: CoreParams) -> data.StructLayout:
    """Return the layout of a trace record: one neuron-unit chunk at one time step.

    layer: row of the layer table. step: t. row, col: output row and column as counted by this cluster.
    chunk: index of the first channel / neuron_lanes, as counted by this cluster (group * chunks + chunk).
    current, membrane: c[t] and v[t] (MAX: the running maximum), acc_bits signed each.
    level: s[t] (0 for a READOUT).
    """
    lanes = params.neuron_lanes
    return data.StructLayout({
        "layer": 8, "step": 8, "row": 12, "col": 12, "chunk": 16,
        "current": data.ArrayLayout(signed(params.acc_bits), lanes),
        "membrane": data.ArrayLayout(signed(params.acc_bits), lanes),
        "level": data.ArrayLayout(params.level_bits, lanes)})


class CoreSignature(wiring.Signature):
    """Ports of a core.

    load: program rows (this core's only). i_map: the input map, as writes, parts in order, and one commit per image;
    refused while no input buffer is free. o_map: map writes and commits to the next core; silent in the last core.
    logits: results; only the last core sends any. enable: a program is in place; images are worked on.
    input_words, input_row_words: CONFIG's words per image and row, for whoever feeds i_map. busy: an image is in work
    or in a buffer. progress: something moved in the cycle before (for the watchdog). counter_index: one of
    abi.COUNTERS; counter: its value, COUNTER_CYCLES later and from then on.
    """

    def __init__(self, params: CoreParams):
        members = {
            "load": In(LoadBus(params)),
            "i_map": In(map_stream(params)),
            "o_map": Out(map_stream(params)),
            "logits": Out(stream.Signature(logit)),
            "enable": In(1),
            "input_words": Out(32),
            "input_row_words": Out(24),
            "busy": Out(1),
            "progress": Out(1),
            "counter_index": In(COUNTER_INDEX),
            "counter": Out(counters.BITS),
        }
        if params.trace:
            members["trace"] = Out(wiring.Signature({"valid": Out(1), "p": Out(trace(params))})).array(params.clusters)
        super().__init__(members)
