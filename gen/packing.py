"""How many neighbouring output positions the lanes of a cluster work on at once, and where their levels lie.

A convolution with few output channels would leave most lanes idle. Since a plane row is the flattened (x, channel)
axis, P neighbouring columns of a map with C channels are one column of a map with P * C channels: the layer is planned
as a convolution of that many channels, of a wider window and of P times the stride (gen/gather.py), and nothing but
the planner knows of it. Columns beyond the map's edge may be computed too; no layer reads them.
"""

from __future__ import annotations

import dataclasses

from .errors import PlanError
from .network import MaxPool, Network


def ceil(a: int, b: int) -> int:
    """Return a / b rounded up."""
    return -(-a // b)


@dataclasses.dataclass(frozen=True)
class Packing:
    """Which positions of a map lie side by side in a chunk of `lanes` bits.

    lanes: of a cluster
    positions: one per map, the input map first: P columns of the map fill whole chunks, a power of two, 1 or more;
        0 for an input map that is stored densely, with exactly its C channels
    """

    lanes: int
    positions: tuple[int, ...]

    def channels(self, network: Network, index: int) -> int:
        """Return the channels that map `index` has in memory: its own, and what fills P of them up to whole chunks."""
        channels, packed = network.map_shape(index)[0], self.positions[index]
        return ceil(channels * packed, self.lanes) * self.lanes // packed if packed else channels

    def columns(self, network: Network, layer: int) -> int:
        """Return how often the columns of a layer's output are computed, P of them at a time."""
        return ceil(network.layers[layer].shape[2], self.positions[layer + 1])

    def groups(self, network: Network, layer: int) -> int:
        """Return the lane groups of a layer."""
        return ceil(network.layers[layer].shape[0] * self.positions[layer + 1], self.lanes)


def unpacked(network: Network, lanes: int) -> Packing:
    """Return the packing of one position each. An input map is in chunks if a layer uses its chunks as lane masks."""
    chunks = any(isinstance(layer, MaxPool) and layer.map == 0
                 or any(s.map == 0 and s.diagonal for s in getattr(layer, "sources", ())) for layer in network.layers)
    return Packing(lanes, (int(chunks), *(1 for _ in network.layers)))


def allowed(network: Network, index: int, lanes: int) -> list[int]:
    """Return the numbers of positions that map `index` may pack: as many as its channels leave room for in the lanes.

    More than the map is wide would be of no use. Logits are not packed."""
    channels, _, width = network.map_shape(index)
    if index == len(network.layers):
        return [1]
    return [1 << k for k in range(lanes.bit_length()) if k == 0 or channels << k <= lanes and 1 << k < 2 * width]


def checked(packing: Packing, network: Network, lanes: int) -> Packing:
    """Return a packing that was given, if a network may have it on so many lanes; raises PlanError."""
    if packing.lanes != lanes or len(packing.positions) != len(network.layers) + 1:
        raise PlanError(f"the packing is one of {len(packing.positions)} maps on {packing.lanes} lanes, needed is one "
                        f"of {len(network.layers) + 1} maps on {lanes} lanes: the input and the output of each layer")
    for index, packed in enumerate(packing.positions):
        options = [*([0] if index == 0 else []), *allowed(network, index, lanes)]
        if packed not in options:
            raise PlanError(f"the packing puts {packed!r} positions of map {index} side by side, allowed is one of "
                            f"{options} for {network.map_shape(index)} on {lanes} lanes")
    return packing
