"""The rows of a weight memory: what the clusters that share it need of each layer, no lane group twice."""

from __future__ import annotations

import dataclasses

import numpy as np

from qblif.host import abi
from qblif.hw.params import CoreParams, weight_banks

from .gather import Gather, gathers
from .network import Network
from .packing import Packing
from .split import Segment, Share


@dataclasses.dataclass(frozen=True)
class Block:
    """A layer in a weight memory. first: its first row; groups: of which lane groups; rows: of each of them."""

    first: int
    groups: tuple[int, ...]
    rows: int

    def at(self, group: int) -> int:
        """Return the first row of a lane group."""
        return self.first + self.groups.index(group) * self.rows

    def step(self, groups: range) -> int:
        """Return the rows from one lane group to the next of a cluster's, which stand at equal distances."""
        return self.at(groups[1]) - self.at(groups[0]) if len(groups) > 1 else 0


def lane_groups(network: Network, layer: int, packing: Packing, share: Share) -> range:
    """Return the lane groups of a layer that a cluster works on, if it has rows and columns to work on."""
    return range(share.group[0], packing.groups(network, layer), share.group[1])


def held(network: Network, layer: int, packing: Packing, shares: tuple[Share, ...]) -> list[tuple[int, ...]]:
    """Return the lane groups of a layer that each weight memory of a core holds. shares: of its clusters.

    Where lane groups are not split that is all of them, needed or not: memories that are the same are sent once."""
    return [tuple(sorted({group for cluster in clusters
                          for group in lane_groups(network, layer, packing, shares[cluster])}))
            for clusters in weight_banks(len(shares))]


class Bank:
    """Weight memory `number` of a core. blocks: layer -> Block; height: rows in use."""

    def __init__(self, network: Network, core: CoreParams, segment: Segment, packing: Packing, number: int):
        self.network, self.core, self.packing = network, core, packing
        self.blocks: dict[int, Block] = {}
        self.height = 0
        for layer, shares in zip(range(segment.first, segment.last + 1), segment.shares, strict=True):
            groups = held(network, layer, packing, shares)[number]
            rows = sum(gather.rows(self._inputs(gather)) for gather in gathers(network, layer, packing))
            self.blocks[layer] = Block(self.height, groups, rows)
            self.height += len(groups) * rows

    def _inputs(self, gather: Gather) -> int:
        """Return the channels in memory of the map that a gather reads."""
        return self.packing.channels(self.network, gather.fields[0].map)

    def weights(self) -> np.ndarray:
        """Return the rows, (height, lanes) int8."""
        lanes = self.core.lanes
        rows = [np.zeros((0, self.core.lanes), np.int8)]
        for layer, block in self.blocks.items():
            own = self.packing.channels(self.network, layer + 1)
            flat = [gather.weights(self._inputs(gather), own) for gather in gathers(self.network, layer, self.packing)]
            rows += [each[:, group * lanes:(group + 1) * lanes] for group in block.groups for each in flat]
        return np.concatenate(rows)

    def beats(self) -> np.ndarray:
        """Return the rows as a program section has them, (height, beats) uint32."""
        bits = (self.weights()[:, :, None] >> np.arange(self.core.weight_bits)) & 1
        used = self.core.lanes * self.core.weight_bits
        flat = np.zeros((self.height, abi.row_beats(used) * abi.LINK_BITS), np.uint8)
        flat[:, :used] = bits.reshape(self.height, used)
        return np.packbits(flat, axis=1, bitorder="little").view("<u4")
