"""How feature maps lie in a core's memory."""

from __future__ import annotations

import dataclasses

from .network import Network, layer_inputs
from .packing import Packing, ceil


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
        return ceil(self.width * self.channels, self.word_bits)

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


def map_layout(network: Network, index: int, packing: Packing, word_bits: int) -> MapLayout:
    """Return the layout of map `index`."""
    _, height, width = network.map_shape(index)
    return MapLayout(channels=packing.channels(network, index),
                     steps=1 if network.map_static(index) else network.steps,
                     planes=network.map_bits(index), height=height, width=width, word_bits=word_bits)


def place(network: Network, first: int, last: int, layouts: dict[int, MapLayout], buffers: int):
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
