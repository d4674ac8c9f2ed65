"""A trial of the graph: does it compute what the module computes?

The module is run once in float64, with each neuron's output replaced by random levels, so that no layer stays silent.
Every tensor on the way is compared with what the graph makes of the same levels. This finds whatever a layer does
that its class and its parameters do not tell: hooks, tensors changed in place, axes that fit by chance.
"""

from __future__ import annotations

import torch
from torch import fx, nn
from torch.func import functional_call
from torch.nn import functional as F

from qblif.gen.absorb import linear
from qblif.gen.capture import Captured, Run, evaluation, first_line
from qblif.gen.graph import MaxGroup
from qblif.gen.neuron import QBLIF
from qblif.gen.values import Value

TOLERANCE = 1e-5
"""Largest difference allowed, relative to the largest value of a tensor: far above the rounding of float64."""

BATCH = 2
"""Samples that are tried out."""


class Disagreement(Exception):
    """A layer computes something else than the graph says; the text names it."""


def disagreement(module: nn.Module, captured: Captured, values: dict[fx.Node, object], groups: list, steps: int,
                 axis: int) -> list[str]:
    """Return the first place where the graph and the module differ, as a list of no or one text.

    values: per node, what the graph says it is; groups: what the maps are made of; steps: T; axis: of the samples
    """
    shape = list(next(s for n, s in captured.shapes.items() if n.op == "placeholder"))
    full, shape[axis] = shape[axis], BATCH
    try:
        with evaluation(module):
            try:
                _Trial(module, captured, values, groups, steps).run_on(shape)
            except Disagreement:
                raise
            except Exception:  # a number of samples may be written into forward
                shape[axis] = full
                _Trial(module, captured, values, groups, steps).run_on(shape)
    except Disagreement as e:
        return [first_line(e)]  # torch.fx adds more
    except Exception as e:  # user code runs here
        text = f"the module does not run in float64 on an input of shape {tuple(shape)}: "
        return [f"{text}{type(e).__name__}: {first_line(e)}"]
    return []


class _Trial(Run):
    def __init__(self, module, captured, values, groups, steps):
        super().__init__(fx.GraphModule(module, captured.graph), captured.batched)
        self.values, self.groups, self.steps = values, groups, steps
        self.maps: dict[int, torch.Tensor] = {}
        self.generator = torch.Generator().manual_seed(0)
        self.device = next((p.device for p in module.parameters()), torch.device("cpu"))

    def run_on(self, shape):
        """Run on a random input of `shape`."""
        self.run(self._draw(15, shape))

    def _draw(self, most, shape):
        return torch.randint(0, most + 1, shape, generator=self.generator).double().to(self.device)

    def run_node(self, n):
        """Run one node, and compare what it gives with what the graph makes of the same maps."""
        try:
            result, value = super().run_node(n), self.values.get(n)
        except Disagreement as e:
            raise Disagreement(f"{n.target}: {e}") from None
        if not isinstance(value, Value):
            return result
        lead = result.shape[:result.dim() - value.features]
        seen = result.reshape(*(lead if value.timed else (1, *lead)), *value.shape).double()
        if n.op == "placeholder" or isinstance(self._layer(n), QBLIF):
            self.maps[value.branches[0].inputs[0].map] = seen.clone()  # it may be changed in place later
            return result
        expected = self._evaluate(value).expand_as(seen)
        difference = (seen - expected).abs()
        if not difference.amax() <= TOLERANCE * max(seen.abs().amax(), expected.abs().amax()):
            layer, worst = self._layer(n), difference.argmax()
            name, what = (n.target, type(layer).__name__) if layer else (n.name, "operation")
            raise Disagreement(f"{name}: this {what} gives {seen.flatten()[worst]:.6g} where fold would compute "
                               f"{expected.flatten()[worst]:.6g}. There is a hook, a tensor changed in place (+=) and "
                               "used elsewhere, or a layer of torch that takes T for N: remove hooks, write a = a + b, "
                               "and use the layers of qblif.gen, which know the time axis")
        return result

    def _layer(self, node):
        return self.fetch_attr(node.target) if node.op == "call_module" else None

    def call_layer(self, module, args, kwargs):
        """Call a layer with float64 parameters; draw the output of a neuron."""
        if isinstance(module, QBLIF):
            return self._neuron(module, args[0])
        state = {name: value.double() for name, value in (*module.named_parameters(), *module.named_buffers())
                 if value.is_floating_point()}
        args = fx.node.map_aggregate(args, lambda a: a.double() if isinstance(a, torch.Tensor) else a)
        return functional_call(module, state, args, kwargs)

    def _neuron(self, module, current):
        given = current.to(module.gamma.dtype)
        if not torch.equal(module(given), QBLIF.forward(module, given)):
            raise Disagreement(f"this {type(module).__name__} gives other levels than its class computes: remove its "
                               "hooks")
        return self._draw(module.levels, current.shape) * module.gamma.double()

    # --- what the graph says, (T or 1, N, C, H, W) -----------------------------------------------------------------

    def _map(self, index):
        if index not in self.maps:
            group = self.groups[index - 1]
            assert isinstance(group, MaxGroup)
            self.maps[index] = _per_step(self._map(group.map), F.max_pool2d, group.kernel, group.stride, group.padding)
        return self.maps[index]

    def _read(self, ref):
        x = self._map(ref.map)
        if ref.scale is not None:
            x = (x - ref.scale.mean.double().reshape(-1, 1, 1)) * ref.scale.scale.double().reshape(-1, 1, 1)
        return x if ref.area == 1 else _per_step(x, F.avg_pool2d, ref.pool, ref.pool_stride)

    def _evaluate(self, value):
        total = 0
        for branch in value.branches:
            x = sum(self._read(ref) for ref in branch.inputs)
            w, b = linear(branch, x.shape[2], self.steps, self.device)
            if branch.op is None:
                x = x * w.reshape(-1, 1, 1)
            else:
                x = _per_step(x, F.conv2d, w, None, branch.stride, branch.padding)
            total = total + x + b.reshape(-1, 1, 1)
        if value.reduced:
            total = total.expand(self.steps, *total.shape[1:])
            total = (total.sum if value.reduced == "sum" else total.mean)(0, keepdim=True)
        return _per_step(total, F.max_pool2d, *value.peak[:3]) if value.peak else total


def _per_step(x, function, *args):
    return function(x.flatten(0, 1), *args).unflatten(0, x.shape[:2])
