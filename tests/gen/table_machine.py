"""Executes a program image by what host/abi.py says of its fields: hardware without hardware, to test plans with."""

from __future__ import annotations

import itertools

import numpy as np

from qblif.host import abi
from qblif.host.abi import LayerKind, MemoryId, ResetStyle

WORDS = 1 << 24
"""Addresses are modulo this."""


def _shifted(x, exponent):
    return np.zeros_like(x) if exponent == abi.ZERO_FACTOR else x >> exponent


class Cluster:
    """Tables of one cluster."""

    def __init__(self, image, params, core, cluster):
        self.params = params
        self.layers = image.table(core, cluster, MemoryId.LAYERS)
        self.sources = image.table(core, cluster, MemoryId.SOURCES)
        self.channels = np.array(image.channels(core, cluster, params), np.int64)
        self.weights = np.array(image.weights(params, core, cluster), np.int64)


class TableCore:
    """One core: its feature-map memory, which begins with arbitrary contents, and its clusters."""

    def __init__(self, image, params, number, rng):
        self.params = params
        (self.config,) = image.table(number, 0, MemoryId.CONFIG)
        self.clusters = [Cluster(image, params, number, cluster) for cluster in range(params.clusters)]
        self.memory = rng.integers(0, 2, (params.map_depth, params.word_bits), np.uint8)
        self.rows = 0               # weight rows added so far

    def take(self, words, parts, buffer):
        """Put the words of an input map, (words, word_bits) bits, into an input buffer.

        parts: (words,), how many parts of the map have come when each word is there; None: rows, as from the host."""
        self.first = self.config["input_base"] + buffer * self.config["buffer_step"]
        assert len(words) == self.config["input_words"]
        self.memory[self.first:self.first + len(words)] = words
        self.parts = np.arange(len(words)) // self.config["input_row_words"] + 1 if parts is None else parts

    def work(self, buffer):
        """Run all layers. Returns (logits, words of the map handed over, their parts), some of them None."""
        for index in range(self.config["layers"]):
            self.written, self.logits = {}, []
            self.turns = sum(cluster.layers[index]["rows"] > 0 for cluster in self.clusters)
            assert all(cluster.layers[index]["rows"] for cluster in self.clusters[:self.turns]), "others come last"
            for cluster in self.clusters:
                self._layer(cluster, cluster.layers[index], buffer)
        if self.logits:
            return np.array(self.logits), None, None
        out = np.zeros((1 + max(address for address, _ in self.written), self.params.word_bits), np.uint8)
        parts = np.zeros(len(out), int)
        for (address, bank), (bits, part) in self.written.items():
            out[address, bank * self.params.lanes:(bank + 1) * self.params.lanes] = bits
            parts[address] = max(parts[address], part)
        return None, out, parts

    def _layer(self, cluster, layer, buffer):
        sources = cluster.sources[layer["source_first"]:layer["source_first"] + layer["sources"]]
        assert not layer["rows"] or sources[-1]["exponent"] == 0, "a sum ends with a source that takes part last"
        places = itertools.product(*(range(layer[name]) for name in ("rows", "groups", "cols")))
        for row, group, col in places:
            first = layer["channel_first"] + group * layer["group_channels"]
            at = first * self.params.neuron_lanes
            bias, shift = cluster.channels[at:at + self.params.lanes].T
            v = s = np.zeros(self.params.lanes, np.int64)
            for step in range(layer["steps"]):
                if step == 0 or not layer["static"]:
                    sums = [self._sum(cluster, [source], layer, row, group, col, step, buffer) for source in sources]
                if layer["kind"] == LayerKind.MAX:
                    s = np.minimum(np.max(sums, axis=0), layer["levels"])
                else:
                    assert max(source["exponent"] + source["planes"] for source in sources) == layer["planes"]
                    v, s = self._neuron(layer, shift, v, s, sum(sums) + bias)
                if layer["kind"] != LayerKind.READOUT:
                    part = row * self.turns + self.clusters.index(cluster) + 1
                    self._write(layer, row, group, col, step, s, part)
            if layer["kind"] == LayerKind.READOUT:
                self.logits += v[:layer["classes"] - len(self.logits)].tolist()

    def _sum(self, cluster, sources, layer, row, group, col, step, buffer):
        total = np.zeros(self.params.lanes, np.int64)
        for source in sources:
            y = source["y_init"] + row * source["y_step"]
            x = source["x_init"] + col * source["x_step"] + (group * layer["group_bits"] if source["diagonal"] else 0)
            address = (source["row_init"] + row * source["row_step"] + step * source["step_step"]
                       + (buffer * self.config["buffer_step"] if source["input"] else 0))
            weight = source["weight_first"] + group * layer["group_weights"]
            there = layer["input_first"] + row * layer["input_step"]
            assert source["plane_top"] == (source["planes"] - 1) * source["plane_step"]
            for r, c in itertools.product(range(source["tap_rows"]), range(source["tap_cols"])):
                if not 0 <= y + r * source["tap_dy"] < source["y_limit"]:
                    continue
                start = x + c * source["tap_col_step"]
                low, high = max(0, start), min(source["x_limit"], start + source["run_bits"])
                if low >= high:
                    continue
                rows = weight + r * source["tap_row_weights"] + c * source["tap_col_weights"]
                rows = cluster.weights[rows] if source["diagonal"] else cluster.weights[rows + low - start:
                                                                                        rows + high - start]
                for plane in range(source["planes"]):
                    at = (address + r * source["tap_row_step"] + plane * source["plane_step"]) % WORDS
                    bits = self._bits(at, low, high, there if source["input"] else None)
                    if source["diagonal"]:      # a lane is a bit of the chunk; of those cut off none is set
                        assert start % self.params.lanes == 0
                        bits = np.pad(bits, (low - start, start + self.params.lanes - high))
                    part = bits * rows if source["diagonal"] else bits @ rows
                    self.rows += int(bits.any() if source["diagonal"] else bits.sum())
                    total += part << plane + source["exponent"]
        return total

    def _bits(self, address, low, high, there):
        first, last = low // self.params.word_bits, (high - 1) // self.params.word_bits
        if there is not None:
            needed = self.parts[address - self.first + first:address - self.first + last + 1]
            assert len(needed) == last - first + 1 and needed.max() <= there, "a row of the input is read too early"
        words = self.memory[address + first:address + last + 1].reshape(-1)
        return words[low - first * self.params.word_bits:high - first * self.params.word_bits].astype(np.int64)

    @staticmethod
    def _neuron(layer, f, v, s, c):
        if layer["kind"] == LayerKind.READOUT:
            return v + c, s
        if layer["style"] == ResetStyle.GATE_SUM:
            v = _shifted(v, layer["decay"]) + c
            v = np.where(s > 0, _shifted(v, layer["reset"]), v)
        elif layer["style"] == ResetStyle.GATE_MEMBRANE:
            v = _shifted(np.where(s > 0, _shifted(v, layer["reset"]), v), layer["decay"]) + c
        else:
            v = _shifted(v - _shifted(s << f, layer["reset"]), layer["decay"]) + c
        return v, np.clip(v + ((1 << f) >> 1 if layer["rounds"] else 0) >> f, 0, layer["levels"])

    def _write(self, layer, row, group, col, step, levels, part):
        chunk = layer["out_chunk"] + group * layer["out_group_step"] + col * layer["out_col_step"]
        word, bank = divmod(chunk, self.params.banks)
        for plane in range(layer["out_planes"]):
            address = (layer["out_base"] + row * layer["out_row_step"] + step * layer["out_step_step"]
                       + plane * layer["out_plane_step"] + word)
            bits = (levels >> plane & 1).astype(np.uint8)
            assert (address, bank) not in self.written, "two clusters or positions write the same place"
            self.written[address, bank] = bits, part
            if not layer["to_stream"]:
                self.memory[address, bank * self.params.lanes:(bank + 1) * self.params.lanes] = bits


class TableMachine:
    """A chain of cores with their programs."""

    def __init__(self, image, design, seed=0):
        rng = np.random.default_rng(seed)
        self.design = design
        self.cores = [TableCore(image, params, number, rng) for number, params in enumerate(design.cores)]
        self.images = 0

    def run(self, frame):
        """Return the logits of one input frame, uint32 (beats,). Buffers take turns from image to image."""
        bits = np.unpackbits(np.ascontiguousarray(frame, "<u4").view(np.uint8), bitorder="little")
        words, parts = bits.reshape(-1, self.design.cores[0].word_bits), None
        for core in self.cores:
            buffer = self.images % 2 if core.config["buffer_step"] else 0
            core.take(words, parts, buffer)
            logits, words, parts = core.work(buffer)
        self.images += 1
        return logits
