"""A second, slow interpreter of docs/numerics.md in plain Python loops, to hold the golden model against.

It shares no code with sim/golden.py and takes no shortcut: one neuron, one step, one tap at a time, on Python's
unbounded integers.
"""

from __future__ import annotations

import itertools

import numpy as np

from qblif.gen.network import MaxPool, Network, Readout, Reset, Source


def run(network: Network, image) -> tuple[list[int], list[dict[str, np.ndarray]]]:
    """Return the logits and, per layer, a dict of current, membrane and levels, each int64 (T, C, H, W).

    image: one image, integers (C, H, W) if the input is static, else (T, C, H, W).
    """
    maps = [[pad_input(network, image if network.input.static else image[t]) for t in range(network.steps)]]
    records = []
    for layer in network.layers:
        if isinstance(layer, MaxPool):
            record = {"levels": np.stack([max_pool(layer, step) for step in maps[layer.map]])}
        else:
            record = run_layer(network, layer, maps)
        records.append(record)
        maps.append(record.get("levels"))
    return [int(logit) for logit in records[-1]["membrane"][-1].ravel()], records


def pad_input(network: Network, frame) -> np.ndarray:
    """Return one step of the input in a border of zero points."""
    top, bottom, left, right = network.input.padding
    channels, height, width = np.shape(frame)
    padded = np.zeros((channels, height + top + bottom, width + left + right), np.int64)
    for channel in range(channels):
        padded[channel] = network.input.zero_point[channel] if network.input.zero_point else 0
        for y, x in itertools.product(range(height), range(width)):
            padded[channel, y + top, x + left] = frame[channel][y][x]
    return padded


def run_layer(network: Network, layer, maps) -> dict[str, np.ndarray]:
    """Return the integers of a layer with sources: each neuron by itself, through all time steps."""
    shape = (network.steps, *layer.shape)
    record = {name: np.zeros(shape, np.int64) for name in ("current", "membrane", "levels")}
    for channel, y, x in itertools.product(*map(range, layer.shape)):
        v = s = 0
        for t in range(network.steps):
            c = int(layer.bias[channel])
            for source in layer.sources:
                c += 2 ** source.exponent * sum(tap(source, maps[source.map][t], channel, y, x))
            if isinstance(layer, Readout):
                v += c
            else:
                v, s = step(layer.neuron, int(layer.shift[channel]), v, s, c)
            record["current"][t, channel, y, x] = c
            record["membrane"][t, channel, y, x] = v
            record["levels"][t, channel, y, x] = s
    if isinstance(layer, Readout):
        del record["levels"]
    return record


def tap(source: Source, levels: np.ndarray, channel: int, y: int, x: int):
    """Yield weight * level for every input of one output of a source."""
    height, width = source.pooled(levels.shape)
    for ky, kx in itertools.product(*map(range, source.kernel)):
        row, col = y * source.stride[0] + ky - source.padding[0], x * source.stride[1] + kx - source.padding[1]
        if not (0 <= row < height and 0 <= col < width):
            continue
        for py, px in itertools.product(*map(range, source.pool)):
            position = (row * source.pool_stride[0] + py, col * source.pool_stride[1] + px)
            if source.diagonal:
                yield int(source.weight[channel]) * int(levels[(channel, *position)])
            else:
                column = levels[:, position[0], position[1]]
                yield sum(int(w) * int(a) for w, a in zip(source.weight[channel, :, ky, kx], column, strict=True))


def step(neuron, f: int, v: int, s: int, c: int) -> tuple[int, int]:
    """Return membrane and level one step later; docs/numerics.md, line by line."""
    fired = s > 0
    if neuron.style is Reset.GATE_SUM:
        a = floor_shift(v, neuron.decay) + c
        v = floor_shift(a, neuron.reset) if fired else a
    elif neuron.style is Reset.GATE_MEMBRANE:
        m = floor_shift(v, neuron.reset) if fired else v
        v = floor_shift(m, neuron.decay) + c
    else:
        v = floor_shift(v - floor_shift(s * 2 ** f, neuron.reset), neuron.decay) + c
    h = 2 ** (f - 1) if neuron.rounds and f > 0 else 0
    return v, min(max((v + h) // 2 ** f, 0), neuron.levels)


def floor_shift(x: int, exponent: int | None) -> int:
    """Return x * 2**-exponent, rounded down; None stands for a factor of 0."""
    return 0 if exponent is None else x // 2 ** exponent


def max_pool(layer: MaxPool, levels: np.ndarray) -> np.ndarray:
    """Return the maxima over windows; positions in the padding are skipped."""
    pooled = np.zeros(layer.shape, np.int64)
    for channel, y, x, ky, kx in itertools.product(*map(range, (*layer.shape, *layer.kernel))):
        row, col = y * layer.stride[0] + ky - layer.padding[0], x * layer.stride[1] + kx - layer.padding[1]
        if 0 <= row < levels.shape[1] and 0 <= col < levels.shape[2]:
            pooled[channel, y, x] = max(pooled[channel, y, x], int(levels[channel, row, col]))
    return pooled
