"""Parameters and multiply-accumulates of a module, counted as papers do."""

from __future__ import annotations

import copy

import torch
from torch import nn

COUNTED = (nn.Conv1d, nn.Conv2d, nn.Linear)


def parameters(module: nn.Module) -> int:
    """Return the number of parameters: weights, biases, BatchNorm's gains and biases, one gamma per neuron layer."""
    return sum(p.numel() for p in module.parameters())


def macs(module: nn.Module, example_input: torch.Tensor) -> int:
    """Return the multiply-accumulates of one step on dense data, those of convolutions and linear layers.

    One per weight and output position, taps in the padding included; shortcuts included, pooling and BatchNorm not.
    Only the shape of `example_input` counts: nothing is computed.
    """
    total = 0

    def count(layer, inputs, output):
        nonlocal total
        axes = 0 if isinstance(layer, nn.Linear) else layer.weight.dim() - 2
        total += layer.weight.numel() * output.shape[output.dim() - axes:].numel()

    shadow = copy.deepcopy(module).eval().to("meta")  # shapes without numbers
    for layer in shadow.modules():
        if isinstance(layer, COUNTED):
            layer.register_forward_hook(count)
    with torch.no_grad():
        shadow(torch.empty(example_input.shape, device="meta"))
    return total
