"""How a layer gathers its sources: the fields that it reads around an output position, and their weight rows.

P packed output positions (gen/packing.py) are one position of a layer with P times the channels. Its window holds the
windows of all P: of a source with kernel width k and stride s, side by side where s >= k, else overlapping, k + (P-1)s
columns. The weight row of a column holds, for each of the P positions, the weights of the tap that this column is to
it, and 0 where it is none.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from .network import MaxPool, Network, Pair, Source
from .packing import Packing


@dataclasses.dataclass(frozen=True)
class Field:
    """What is read of a map for one packed output position. Pairs are (vertical, horizontal), in map positions.

    map: index; mask: the chunk of the plane row is the lane mask of one weight row; exponent: weights count 2**e
    step: to the field of the next (packed) output position; offset: first position of the first field
    size: positions of the map that count; taps: runs of a column and of a row, and tap_step: how far they are apart
    tap_weights: columns of weights between them; run: positions of a run
    """

    map: int
    mask: bool
    exponent: int
    step: Pair
    offset: Pair
    size: Pair
    taps: Pair
    tap_step: Pair
    tap_weights: Pair
    run: int

    def reads(self, axis: int, outputs: int) -> np.ndarray:
        """Return int64 (size of the axis,): how often each position of the map is read for all output positions."""
        run = self.run if axis else 1
        at = (self.offset[axis] + self.step[axis] * np.arange(outputs)[:, None, None]
              + self.tap_step[axis] * np.arange(self.taps[axis])[:, None] + np.arange(run)).reshape(-1)
        return np.bincount(at[(at >= 0) & (at < self.size[axis])], minlength=self.size[axis])


@dataclasses.dataclass(frozen=True, eq=False)
class Gather:
    """One source of a layer, as its tables say it.

    fields: rows of the source table, which share the weights (of a max pooling: one per tap)
    weight: int8, (C_out, C_in, kh, kw), or under a mask (C,)
    packed: P; apart: columns of weights from one packed position's kernel to the next
    """

    fields: tuple[Field, ...]
    weight: np.ndarray
    packed: int
    apart: int

    @property
    def mask(self) -> bool:
        """True where a chunk is a lane mask: one row adds to all lanes."""
        return self.weight.ndim == 1

    @property
    def columns(self) -> int:
        """Columns of weights: those of the window of P positions."""
        return self.weight.shape[3] + (self.packed - 1) * self.apart

    def rows(self, stored: int) -> int:
        """Return the weight rows of a lane group; stored: channels of the source's map in memory."""
        return 1 if self.mask else self.weight.shape[2] * self.columns * stored

    def weights(self, stored: int, channels: int) -> np.ndarray:
        """Return int8 [rows, P * channels]; stored, channels: of the source's map and of the output map in memory."""
        if self.mask:
            flat = np.zeros((1, self.packed, channels), np.int8)
            flat[..., :len(self.weight)] = self.weight
            return flat.reshape(1, -1)
        out, inputs, height, width = self.weight.shape
        flat = np.zeros((height, self.columns, stored, self.packed, channels), np.int8)
        for position in range(self.packed):
            first = position * self.apart
            flat[:, first:first + width, :inputs, position, :out] = self.weight.transpose(2, 3, 1, 0)
        return flat.reshape(height * self.columns * stored, -1)


def gathers(network: Network, index: int, packing: Packing) -> list[Gather]:
    """Return how layer `index` gathers its sources. The finest stands last: it ends the sums (host/abi.py)."""
    layer, packed = network.layers[index], packing.positions[index + 1]

    def gather(sources: list[Source]) -> Gather:
        shape, alike = network.map_shape(sources[0].map), packing.positions[sources[0].map] == packed
        masks = alike and all(_masks(source, packed) for source in sources)
        parts = [_masked(source, shape, packed) if masks else _dense(source, shape, packed) for source in sources]
        return dataclasses.replace(parts[0], fields=tuple(field for part in parts for field in part.fields))

    if isinstance(layer, MaxPool):
        return [gather(_taps(layer))]
    return [gather([source]) for source in sorted(layer.sources, key=lambda s: -s.exponent)]


def _taps(layer: MaxPool) -> list[Source]:
    """Return a source per tap of a window, which spells the level out."""
    return [Source(layer.map, np.ones(layer.shape[0], np.int8), stride=layer.stride,
                   padding=(layer.padding[0] - dy, layer.padding[1] - dx))
            for dy in range(layer.kernel[0]) for dx in range(layer.kernel[1])]


def _masks(source: Source, packed: int) -> bool:
    """Return whether chunks of a map that is packed like the output are lane masks: their bits lie as the lanes do."""
    return source.diagonal and (packed == 1 or (source.stride[1] == source.pool[1] == source.pool_stride[1] == 1
                                                and source.padding[1] % packed == 0))


def _field(source: Source, shape, packed: int, mask: bool, **more) -> Field:
    """Return a field at the corner of the windows; more: its taps."""
    between = source.pool_stride
    size = tuple((n - 1) * s + k for n, k, s in zip(source.pooled(shape), source.pool, between, strict=True))
    return Field(source.map, mask, source.exponent,
                 step=(source.stride[0] * between[0], packed * source.stride[1] * between[1]),
                 offset=tuple(-p * s for p, s in zip(source.padding, between, strict=True)), size=size, **more)


def _masked(source: Source, shape, packed: int) -> Gather:
    field = _field(source, shape, packed, True, taps=source.pool, tap_step=(1, 1), tap_weights=(0, 0), run=packed)
    return Gather((field,), source.weight, packed, 0)


def _dense(source: Source, shape, packed: int) -> Gather:
    """Return the gather of a source bit by bit.

    A kernel axis longer than 1 takes the tap loop of that axis. A pooling axis takes it where the kernel does not;
    where both are longer than 1, each position of the pooling window becomes a field of its own that shares the
    weights. An unpooled horizontal axis needs no loop: its taps are one run, or one for each position packed where
    their windows do not touch.
    """
    weight = source.weight
    if source.diagonal:
        weight = np.diag(weight)[:, :, None, None]
    (height, width), stride, pool, between = weight.shape[2:], source.stride[1], source.pool, source.pool_stride
    plain = pool[1] == between[1] == 1
    beside = stride >= width and (plain or width == 1)
    gather = Gather((), weight, packed, width if beside else stride)
    columns, spread = gather.columns, [range(1), range(1)]
    taps, tap_step, tap_weights, run = [pool[0], 1], [1, 1], [0, 0], 1
    if height > 1:
        taps[0], tap_step[0], tap_weights[0], spread[0] = height, between[0], columns, range(pool[0])
    if plain and (packed == 1 or stride <= width):
        run = columns
    elif plain:
        taps[1], tap_step[1], tap_weights[1], run = packed, stride, width, width
    elif columns == 1:
        taps[1] = pool[1]
    else:
        taps[1], tap_step[1], tap_weights[1] = columns, between[1] * (stride if beside else 1), 1
        spread[1] = range(pool[1])
    corner = _field(source, shape, packed, False, taps=tuple(taps), tap_step=tuple(tap_step),
                    tap_weights=tuple(tap_weights), run=run)
    fields = tuple(dataclasses.replace(corner, offset=(corner.offset[0] + jy, corner.offset[1] + jx))
                   for jy in spread[0] for jx in spread[1])
    return dataclasses.replace(gather, fields=fields)
