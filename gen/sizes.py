"""How large layers are: parameters and dense multiply-accumulates, counted as is usual in papers."""

from __future__ import annotations

from .network import Layer, MaxPool, Network, layer_sources


def parameters(layer: Layer) -> int:
    """Return the number of weights and biases of a layer."""
    return 0 if isinstance(layer, MaxPool) else len(layer.bias) + sum(s.weight.size for s in layer.sources)


def macs(network: Network, layer: Layer) -> int:
    """Return the multiply-accumulates of a layer on dense data, for one image and all T steps.

    One per weight and output position, taps in the padding included, as papers count them; the additions of
    pooling are not counted.
    """
    return sum(s.weight.size for s in layer_sources(layer)) * layer.shape[1] * layer.shape[2] * network.steps
