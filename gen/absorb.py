"""Absorbing the scales: from a module's parameters to real weights per burst level, equation (10).

W^ = W gamma_in / gamma_out, with BatchNorm's gain, the divisor of average pooling and the input's scale in it as
well; offsets go into the bias. float64 throughout, with gradients to the module's parameters.
"""

from __future__ import annotations

import dataclasses
import math

import torch
from torch.nn import functional as F

from qblif.gen import surrogate as sg
from qblif.gen.exponents import largest_weight
from qblif.gen.graph import Branch, Graph, Group, NeuronGroup, Ref, branches_of
from qblif.gen.network import Pair


@dataclasses.dataclass(frozen=True)
class Contribution:
    """One linear contribution to a group's current, resolved: which branch reads which map, and how.

    bits: width of the weights; padding: of the kernel
    rim: zeros around the kernel (vertical, horizontal), where the host pads the input by more than this one needs
    """

    branch: Branch
    ref: Ref
    bits: int
    padding: Pair
    rim: Pair

    @property
    def diagonal(self) -> bool:
        """True where each output channel reads only the input channel of its own index."""
        return self.branch.op is None

    @property
    def limit(self) -> int:
        """Largest absolute value of an integer weight."""
        return largest_weight(self.bits)


def contributions(graph: Graph, group: Group, weight_bits: int | None) -> tuple[Contribution, ...]:
    """Return the contributions to a group in the order of its branches and their inputs; a MaxGroup has none."""
    found = []
    for branch in branches_of(group):
        bits = weight_bits or getattr(branch.op, "weight_bits", 8)
        for ref in branch.inputs:
            padding, rim = branch.padding, (0, 0)
            if ref.map == 0 and graph.padding != (0, 0):
                padding, rim = rim, tuple(p - q for p, q in zip(graph.padding, padding, strict=True))
            found.append(Contribution(branch, ref, bits, padding, rim))
    return tuple(found)


def absorb(graph: Graph, index: int, parts: tuple[Contribution, ...]):
    """Return the real weights of each part of group `index`, and the bias: both in units of the group's gamma.

    Weights are (C_out, C_in, kh, kw), or (C,) where diagonal; they count per level of the map that is read. The
    read-out, which has no gamma, is in the units of training."""
    group = graph.groups[index]
    weights, total = [], 0
    rims = iter([part.rim for part in parts])
    device = group.neuron.gamma.device if isinstance(group, NeuronGroup) else None
    for branch in group.branches:
        w, b = linear(branch, group.shape[0], graph.steps, device)
        for ref in branch.inputs:
            part = w
            if ref.scale is not None:
                scale, mean = (per_channel(graph, what) for what in ("scale", "mean"))
                shape = (-1,) if branch.op is None else (1, -1, 1, 1)
                part = part * scale.reshape(shape)
                drop = part * mean.reshape(shape)
                b = b - (drop if branch.op is None else drop.sum((1, 2, 3)))
            elif ref.map:
                part = part * _gamma(graph, ref.map)
            v, h = next(rims)
            part = F.pad(part, (h, h, v, v)) if (v, h) != (0, 0) else part
            weights.append(part / ref.area)
        total = total + b
    if isinstance(group, NeuronGroup):
        unit = group.neuron.input_gain / _gamma(graph, index + 1)
        weights, total = [w * unit for w in weights], total * unit
    return weights, total


def per_channel(graph: Graph, what: str):
    """Return `scale` or `mean` of the input, one float64 per channel."""
    return getattr(graph.input_scale, what).double().expand(graph.input_shape[0])


def _gamma(graph: Graph, index: int):
    """Return gamma of the levels in map `index`, its gradient scaled as in LSQ; 1 for the input."""
    group = graph.neurons_of(index)
    if group is None:
        return 1.0
    return sg.scale_gradient(group.neuron.gamma.double(), group.neuron.gamma_scale(math.prod(group.shape)))


def linear(branch: Branch, channels: int, steps: int, device=None):
    """Return weight and bias per step of a branch, float64, its BatchNorms folded in from their running statistics.

    Weights are (C_out, C_in, kh, kw), or (C,) where the branch has no convolution; channels: C_out; steps: T."""
    op = branch.op
    if op is None:
        w = torch.ones(channels, dtype=torch.float64, device=device)
    else:
        w = op.weight.double()
        w = w.reshape(w.shape[0], -1, *branch.kernel)
    b = w.new_zeros(w.shape[0])
    if getattr(op, "bias", None) is not None:
        b = op.bias.double() * branch.offset.share(steps)
    for norm, offset in branch.norms:
        gain = torch.rsqrt(norm.running_var.double() + norm.eps)
        if norm.affine:
            gain = gain * norm.weight.double()
        w, b = w * gain.reshape(-1, *[1] * (w.dim() - 1)), b * gain
        shift = (norm.bias.double() if norm.affine else 0) - norm.running_mean.double() * gain
        b = b + shift * offset.share(steps)
    return w, b
