"""The energy model of the paper's table 6. A model: arithmetic alone, no memory, no wires, nothing measured.

    energy = FLOPs * 12.5 pJ + SOPs * 77 fJ + sign operations * 3.7 pJ

Our reading (docs/evaluation.md): where pixels are shown directly, the first layer multiplies. Its dense
multiply-accumulates, one FLOP each and in every time step, are the FLOPs, and the SOPs are those of all other layers.
Where the input is event counts nothing multiplies: all layers are SOPs. It reproduces the paper's FLOPs of ResNet-20
(2 steps of 1.769 M). qblif's hardware adds and shifts in the first layer too, so it does not do these FLOPs.

Ref: arXiv 2604.25688, table 6 and section 5.5, after Hu, Tang and Pan, "Spiking deep residual networks"
"""

from __future__ import annotations

import dataclasses

from qblif.gen.network import Network, layer_sources
from qblif.gen.sizes import macs

FLOP, SOP, SIGN = 12.5e-12, 77e-15, 3.7e-12
"""Joules of a 32-bit FLOP, a 32-bit synaptic operation and a sign operation, as the paper assumes them."""


@dataclasses.dataclass(frozen=True)
class Energy:
    """Operations of one image; flops, sops, signs: counts, sops may be a mean."""

    flops: float
    sops: float
    signs: float = 0

    @property
    def joules(self) -> float:
        """Energy of one image by the model."""
        return self.flops * FLOP + self.sops * SOP + self.signs * SIGN

    @property
    def microjoules(self) -> float:
        """The same in µJ, the unit of table 6."""
        return 1e6 * self.joules


def flops(network: Network) -> int:
    """Return what the model counts as FLOPs: dense MACs on directly shown pixels, in all T steps; 0 for events."""
    if not network.input.static:
        return 0
    direct = 0
    for layer in network.layers:
        whole = sum(source.weight.size for source in layer_sources(layer))
        of_input = sum(source.weight.size for source in layer_sources(layer) if source.map == 0)
        direct += macs(network, layer) * of_input // whole if whole else 0
    return direct


def of_counts(network: Network, sops: float, input_sops: float) -> Energy:
    """Return the model's operations, from SOPs of one image and the part of them that reads the network's input."""
    return Energy(flops(network), sops - input_sops if network.input.static else sops)
