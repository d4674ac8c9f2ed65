"""What a batch costs in synaptic operations, as a term of the loss: it draws accuracy against additions.

Counted is what neurons emit: level * fan-out ("sops", as in the paper's Table 6), or set bits of the level * fan-out
("additions", what hardware does that adds bit planes). Operations on the input are constant, and are left out.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F

from qblif.gen import surrogate as sg
from qblif.gen.graph import Graph, MaxGroup, NeuronGroup, branches_of
from qblif.gen.quantised import QuantisedNetwork

from .recipe import Recipe


class SetBits(torch.autograd.Function):
    """The number of set bits of levels 0 .. 31; the gradient is that of log2(1 + level), which bounds it from above
    and meets it at 0, 1, 3, 7 ..."""

    @staticmethod
    def forward(ctx, level):
        """Return the set bits, in the type of `level`."""
        ctx.save_for_backward(level)
        bits = level.round().to(torch.int32)
        return sum((bits >> plane & 1 for plane in range(5)), torch.zeros_like(bits)).to(level.dtype)

    @staticmethod
    def backward(ctx, grad):
        """Return the gradient of the levels."""
        level, = ctx.saved_tensors
        return grad / ((1 + level) * math.log(2))


def fan_out(graph: Graph, index: int) -> torch.Tensor:
    """Return float32 (H, W): the synapses that a spike at each position of map `index` reaches, all readers together.

    Only positions that exist are counted: at the edges there are fewer."""
    shape = graph.map_shape(index)
    total = torch.zeros(shape[1:])
    for group in graph.groups:
        for branch in branches_of(group):
            for ref in branch.inputs:
                if ref.map != index:
                    continue
                spikes = torch.zeros(1, 1, *shape[1:], requires_grad=True)
                x = spikes
                if ref.pool != (1, 1) or ref.pool_stride != (1, 1):
                    x = F.avg_pool2d(x, ref.pool, ref.pool_stride, divisor_override=1)
                reached = F.conv2d(x, torch.ones(1, 1, *branch.kernel), stride=branch.stride, padding=branch.padding)
                width = 1 if branch.op is None else group.shape[0]
                total += width * torch.autograd.grad(reached.sum(), spikes)[0][0, 0]
    return total


class Penalty:
    """Sums up what the neurons of a module emit when it trains, until `take`.

    graph: of the module; quantised: the QuantisedNetwork whose passes count, or None: those of the float module"""

    def __init__(self, graph: Graph, count: str, quantised: QuantisedNetwork | None = None):
        self.graph, self.bits = graph, count == "additions"
        self.quantised = quantised
        self.total = torch.zeros(())
        self.fans = {index + 1: fan_out(graph, index + 1) for index, group in enumerate(graph.groups[:-1])}
        self.hooks = []
        if quantised is not None:
            quantised.watch = self.add
            return
        for index, group in enumerate(graph.groups):
            if isinstance(group, NeuronGroup):
                self.hooks.append(group.neuron.register_forward_hook(self._hook(index + 1, group)))

    def _hook(self, index: int, group: NeuronGroup):
        def add(neuron: nn.Module, given, spikes):
            if not neuron.training:
                return
            # spikes = gamma * levels; the gradient that gamma gets is scaled inside the neuron, so here as well
            scale = neuron.gamma_scale(spikes[0].numel())
            self.add(index, (spikes / sg.scale_gradient(neuron.gamma, scale)).reshape(*spikes.shape[:2], *group.shape))

        return add

    def add(self, index: int, levels: torch.Tensor) -> None:
        """Count the levels (T, N, C, H, W) of map `index`, and those that max pooling makes of them."""
        fan = self.fans[index] = self.fans[index].to(levels.device)
        if fan.any():
            per_position = (SetBits.apply(levels) if self.bits else levels).sum((0, 1, 2), dtype=torch.float32)
            self.total = self.total.to(levels.device) + (per_position * fan).sum()
        if self.quantised is None:
            for number, group in enumerate(self.graph.groups):
                if isinstance(group, MaxGroup) and group.map == index:
                    pooled = F.max_pool2d(levels.flatten(0, 1), group.kernel, group.stride, group.padding)
                    self.add(number + 1, pooled.unflatten(0, levels.shape[:2]))

    def take(self) -> torch.Tensor:
        """Return the count since the last call, over all samples, with its gradient."""
        total, self.total = self.total, torch.zeros(())
        return total

    def close(self) -> None:
        """Stop counting."""
        for hook in self.hooks:
            hook.remove()
        if self.quantised is not None:
            self.quantised.watch = None


def of(module: nn.Module, recipe: Recipe, graph: Graph | None = None) -> Penalty | None:
    """Return the recipe's penalty for a module, float (with its graph) or quantised; None where there is none."""
    if not recipe.sop_penalty:
        return None
    if isinstance(module, QuantisedNetwork):
        return Penalty(module.graph, recipe.sop_count, module)
    return Penalty(graph, recipe.sop_count)
