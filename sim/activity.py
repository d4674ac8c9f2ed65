"""The weight rows that a network's layers really add on given images: what the search of layouts balances cores by."""

from __future__ import annotations

import numpy as np
import torch

from qblif.gen.network import Network, layer_inputs
from qblif.gen.packing import Packing
from qblif.gen.split import Share

from . import golden
from .counts import RowCounter


class Activity:
    """Counts weight rows on images, means over them. Called as gen.explore.RowCount.

    x: images as golden.run takes them. Maps are computed once; a layer is counted once for each packing of the maps
    that it reads and writes, and for each share."""

    def __init__(self, network: Network, x: np.ndarray):
        self._network, self._found = network, {}
        images = torch.from_numpy(golden.checked(network, x))
        maps = [golden.pad_input(network, images), *(step.levels for step in golden.walk(network, images))]
        self._counter = RowCounter(network, maps)

    def __call__(self, layer: int, packing: Packing, share: Share) -> float:
        near = (*layer_inputs(self._network.layers[layer]), layer + 1)
        key = (layer, share, packing.lanes, *(packing.positions[index] for index in near))
        if key not in self._found:
            self._found[key] = float(self._counter.count(layer, packing, share).double().mean())
        return self._found[key]
