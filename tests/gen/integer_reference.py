"""The integer program by its docstring, in plain loops over Python integers: slow, and nothing to argue about."""

import numpy as np

from qblif.gen.network import MaxPool, Network, Readout, Reset


def shift(x: int, k: int | None) -> int:
    return 0 if k is None else x >> k


def contribution(source, levels, c, y, x):
    """Return 2**e * (weight conv levels) at one output position; levels (C, H, W) of Python ints."""
    channels, height, width = levels.shape
    rows, cols = source.pooled(levels.shape)

    def pooled(ci, py, px):
        if not (0 <= py < rows and 0 <= px < cols):
            return 0
        y0, x0 = py * source.pool_stride[0], px * source.pool_stride[1]
        return int(levels[ci, y0:y0 + source.pool[0], x0:x0 + source.pool[1]].sum())

    if source.diagonal:
        return (int(source.weight[c]) * pooled(c, y, x)) << source.exponent
    total = 0
    kh, kw = source.kernel
    for ci in range(channels):
        for dy in range(kh):
            for dx in range(kw):
                w = int(source.weight[c, ci, dy, dx])
                if w:
                    total += w * pooled(ci, y * source.stride[0] - source.padding[0] + dy,
                                        x * source.stride[1] - source.padding[1] + dx)
    return total << source.exponent


def run(network: Network, image):
    """Return (logits, levels per map, membranes per map) of one image of integers, (C, H, W) or (T, C, H, W)."""
    image = np.asarray(image).astype(object)
    steps = [image] * network.steps if network.input.static else list(image)
    top, bottom, left, right = network.input.padding
    zero = network.input.zero_point or (0,) * network.input.shape[0]
    padded = []
    for step in steps:
        c, h, w = step.shape
        out = np.empty((c, h + top + bottom, w + left + right), object)
        for ci in range(c):
            out[ci] = zero[ci]
        out[:, top:top + h, left:left + w] = step
        padded.append(out)
    maps, membranes = [padded], [None]
    for layer in network.layers:
        if isinstance(layer, MaxPool):
            maps.append([max_pool(layer, m) for m in maps[layer.map]])
            membranes.append(None)
            continue
        currents = []
        for t in range(network.steps):
            c = np.empty(layer.shape, object)
            for index in np.ndindex(*layer.shape):
                c[index] = int(layer.bias[index[0]])
                c[index] += sum(contribution(s, maps[s.map][t], *index) for s in layer.sources)
            currents.append(c)
        if isinstance(layer, Readout):
            return sum(currents)[:, 0, 0].astype(np.int64), maps, membranes
        levels, vs = neurons(layer, currents)
        maps.append(levels)
        membranes.append(vs)
    raise AssertionError("no read-out")


def neurons(layer, currents):
    n = layer.neuron
    v, s = np.zeros(layer.shape, object), np.zeros(layer.shape, object)
    levels, membranes = [], []
    for c in currents:
        v, s = v.copy(), s.copy()
        for index in np.ndindex(*layer.shape):
            f = int(layer.shift[index[0]])
            h = 1 << f - 1 if n.rounds and f else 0
            old, fired = int(v[index]), s[index] > 0
            if n.style is Reset.GATE_SUM:
                a = shift(old, n.decay) + c[index]
                new = shift(a, n.reset) if fired else a
            elif n.style is Reset.GATE_MEMBRANE:
                new = shift(shift(old, n.reset) if fired else old, n.decay) + c[index]
            else:
                new = shift(old - shift(int(s[index]) << f, n.reset), n.decay) + c[index]
            v[index], s[index] = new, min(max(new + h >> f, 0), n.levels)
        levels.append(s)
        membranes.append(v)
    return levels, membranes


def max_pool(layer, levels):
    out = np.zeros(layer.shape, object)
    for c, y, x in np.ndindex(*layer.shape):
        y0, x0 = y * layer.stride[0] - layer.padding[0], x * layer.stride[1] - layer.padding[1]
        out[c, y, x] = levels[c, max(0, y0):y0 + layer.kernel[0], max(0, x0):x0 + layer.kernel[1]].max()
    return out
