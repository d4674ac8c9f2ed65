"""From a torch module to a Graph: finds out what is summed before which neuron.

Each tensor of the module is a sum of branches, a branch a convolution of feature maps with its BatchNorms; a neuron
turns such a sum into a new map. Everything that is not understood is collected and raised as one ModelError.
"""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import fx, nn

from qblif.gen import checks, values
from qblif.gen.capture import capture, raise_problems
from qblif.gen.graph import Branch, Graph, MaxGroup, NeuronGroup, ReadoutGroup, Ref, branches_of, prune, window
from qblif.gen.layers import Add, InputScale, MeanOverTime, Repeat
from qblif.gen.network import Pair
from qblif.gen.neuron import QBLIF
from qblif.gen.trial import disagreement
from qblif.gen.values import AxesProblem, Problem, Value, pair

UNKNOWN = object()
"""Value of a node that was not understood; what uses it stays silent, the problem is reported already."""

NOT_A_TENSOR = object()
"""Value of an input that is not used."""

IN_PLACE = ("iadd", "add_")
"""Functions that change their first operand."""

POOLS_2D = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d)
AFTER_MEAN = (*checks.CONVOLUTIONS, nn.Linear, *checks.AVERAGE_POOLS, *checks.ADAPTIVE_POOLS, *checks.NORMS)


def trace(module: nn.Module, example_input: torch.Tensor, problems: list[str] | None = None,
          steps: int | None = None) -> Graph:
    """Return the graph of `module` for inputs shaped like `example_input`.

    example_input: (N, C, H, W), (N, C, L) or (N, F) where the module contains a Repeat, else with a leading T.
    problems: reasons found before, reported with the others
    steps: T to deploy with, where it is to differ from that of the module or the example
    Raises ModelError with everything that is not supported.
    """
    return _Builder(module, example_input, list(problems or ()), steps).build()


class _Builder:
    def __init__(self, module, example, problems, steps):
        self.module, self.problems = module, problems
        self.name = type(module).__name__
        self.example = example
        self.deployed_steps = steps
        self.input: Value | None = None
        self.groups: list = []
        self.values: dict[fx.Node, object] = {}
        self.scales: list[InputScale] = []

    def build(self) -> Graph:
        if not isinstance(self.example, torch.Tensor) or self.example.dim() < 2 or 0 in self.example.shape:
            if not isinstance(self.example, torch.Tensor):
                self._stop(f"example_input is a {type(self.example).__name__}, allowed is a torch.Tensor: give "
                           "torch.as_tensor(example_input)")
            self._stop(f"example_input is {tuple(self.example.shape)}, allowed is (N, C, H, W), (N, C, L) or (N, F), "
                       "with T in front where the module contains no Repeat, none of them 0")
        captured = capture(self.module, self.example, self.problems)
        self.shapes, self.others = captured.shapes, captured.others
        self._read_steps(captured.graph)
        lead = 1 if self.static else 2
        if not 1 <= self.example.dim() - lead <= 3:
            self._stop(f"example_input has shape {tuple(self.example.shape)}, allowed is "
                       f"{'(N, ' if self.static else '(T, N, '}C, H, W), ... C, L) or ... F)"
                       f"{'' if self.static else '; for still inputs, (N, ...), put Repeat(T) into the module'}")
        self.features = tuple(self.example.shape[lead:])
        known: dict = {}
        output = None
        for node in captured.graph.nodes:
            if node.op == "output":
                output = known.get(node.args[0]) if isinstance(node.args[0], fx.Node) else None
            else:
                known[node] = self.values[node] = self._visit(node, known)
                if _function_name(node) in IN_PLACE and isinstance(node.args[0], fx.Node):
                    known[node.args[0]] = known[node]
        if not self.problems:
            self.problems += disagreement(self.module, captured, self.values, self.groups, self.steps,
                                          0 if self.static else 1)
        return self._finish(output)

    def _stop(self, problem):
        self.problems.append(problem)
        raise_problems(self.name, self.problems)

    def _read_steps(self, graph):
        """Find T, and whether the module makes the time axis itself: with Repeat, or unsqueeze(0) and repeat."""
        repeats = [self.module.get_submodule(n.target) for n in graph.nodes if n.op == "call_module"]
        repeats = [m.steps for m in repeats if isinstance(m, Repeat)]
        made = [n for n in graph.nodes
                if _function_name(n) == "unsqueeze" and (*n.args[1:], *n.kwargs.values())[:1] == (0,)]
        self.static = bool(repeats or made)
        self.hint = "" if self.static else ("; there is no Repeat, so the first axis of the input is taken as time: "
                                            "for still inputs, (N, ...), put Repeat(T) into the module")
        if repeats:
            self.steps = repeats[0]
        elif made:
            spread = [n for n in graph.nodes if n.op == "call_method" and n.target in ("repeat", "expand")]
            self.steps = max([self.shapes[n][0] for n in spread if n in self.shapes], default=1)
        else:
            self.steps = self.example.shape[0]

    # --- one node ------------------------------------------------------------------------------------------------

    def _visit(self, node, known):
        if node.op == "placeholder":
            return self._placeholder(node)
        if node not in self.shapes:
            return self.others.get(node, NOT_A_TENSOR)
        args, kwargs = fx.node.map_arg((node.args, node.kwargs), lambda n: known[n])
        unknown = any(known.get(n) is UNKNOWN for n in node.all_input_nodes)
        name = node.target if node.op == "call_module" else _function_name(node)
        try:
            if node.op == "get_attr":
                raise Problem("a tensor of the module is used directly; put it into a layer")
            if node.op == "call_module":
                module = self.module.get_submodule(node.target)
                unknown = unknown or any(True for _ in checks.module_problems(module))  # reported by capture
                result = UNKNOWN if unknown else self._module(node, module, args)
            else:
                result = UNKNOWN if unknown else self._function(node, args, kwargs)
        except Problem as e:
            self.problems.append(f"{name}: {e}{self.hint if isinstance(e, AxesProblem) else ''}")
            return UNKNOWN
        if result is not UNKNOWN:
            expected = result.torch_shape(self.steps, self.example.shape[0 if self.static else 1])
            if self.shapes[node] != expected:
                self.problems.append(f"{name}: gives shape {self.shapes[node]} where {expected} was expected; the "
                                     f"input is read as {self.input.axes}{self.hint}")
                return UNKNOWN
        return result

    def _placeholder(self, node):
        if self.input:
            if not node.args:  # it has no default
                self.problems.append(f"forward has more than one input ({node.target}), allowed is one")
            return NOT_A_TENSOR
        f = self.features
        shape = {3: f, 2: (*f[:1], 1, *f[1:]), 1: (*f, 1, 1)}[len(f)]
        self.input = Value((Branch((Ref(0, shape[1:]),)),), shape, len(f), not self.static)
        return self.input

    def _module(self, node, m, args) -> Value:
        name, x = node.target, args[0]
        if isinstance(m, Add):
            return values.add(*args)
        if not isinstance(x, Value):
            raise Problem("its input is not a tensor that depends on the network's input")
        if isinstance(m, checks.IDENTITIES):
            return x
        if isinstance(m, InputScale):
            return self._input_scale(m, x)
        if isinstance(m, Repeat):
            if x.timed or x.reduced:
                raise Problem("Repeat is applied to something that has a time axis already")
            return x.replace(timed=True)
        if isinstance(m, MeanOverTime):
            return self._reduce(x, "mean")
        if isinstance(m, checks.FLATTENS):
            return self._flatten(node, x)
        if x.reduced and not isinstance(m, AFTER_MEAN):
            raise Problem("stands behind the mean over time; only the linear read-out may")
        if x.peak and not isinstance(m, QBLIF):
            raise Problem("max pooling of currents has to be followed by the neuron")
        if isinstance(m, QBLIF):
            return self._neuron(name, m, x)
        if isinstance(m, checks.NORMS):
            return values.norm(m, x)
        if isinstance(m, checks.CONVOLUTIONS):
            return values.convolution(name, m, x)
        if isinstance(m, nn.Linear):
            return values.dense(name, m, x)
        values.check_axes(m, x, 3 if isinstance(m, POOLS_2D) else 2)
        if isinstance(m, checks.MAX_POOLS):
            return self._max_pool(name, m, x)
        if isinstance(m, checks.AVERAGE_POOLS):
            return values.average(x, pair(m.kernel_size, x.features), pair(m.stride, x.features))
        return values.adaptive_average(m, x)

    def _input_scale(self, m, x):
        if x.branches != self.input.branches:
            raise Problem("InputScale has to come first, right on the input")
        if m.scale.numel() > 1 or m.mean.numel() > 1:
            if x.features != 3 and m.steps != x.timed:
                raise Problem(f"steps is {m.steps}, but its input is {'(T, N, C, ...)' if x.timed else '(N, C, ...)'}: "
                              f"give steps={x.timed}")
        self.scales.append(m)
        ref = x.branches[0].inputs[0]
        return x.replace(branches=(Branch((dataclasses.replace(ref, scale=m),)),))

    def _neuron(self, name, m, x):
        if not x.timed:
            raise Problem("the neuron's input has no time axis: put Repeat(T) before it")
        shape = x.peak[3] if x.peak else x.shape
        self.groups.append(NeuronGroup(name, x.branches, m, shape))
        if x.peak:
            self.groups.append(MaxGroup(x.peak[4], len(self.groups), *x.peak[:3], x.shape))
        return Value((Branch((Ref(len(self.groups), x.shape[1:]),)),), x.shape, x.features, True)

    def _max_pool(self, name, m, x):
        kernel, stride, padding = (pair(m.kernel_size, x.features), pair(m.stride, x.features),
                                   pair(m.padding, x.features, 0))
        shape = (x.shape[0], *window(x.shape[1:], kernel, stride, padding))
        if not x.pure or len(x.maps()) > 1:
            if (self.deployed_steps or self.steps) > 1:
                if x.pure:
                    raise Problem("max pooling of a sum of the levels of several neurons is not supported: add before "
                                  "the neuron, as in ResNet, or pool each of the terms before they are added")
                raise Problem("max pooling of currents, before the neuron, with T > 1: put it after the neuron (at "
                              "T = 1 both orders are the same, and this one is allowed)")
            return x.replace(peak=(kernel, stride, padding, x.shape, name), shape=shape)
        ref = x.maps()[0]
        if ref.pool != (1, 1) or ref.pool_stride != (1, 1):
            raise Problem("max pooling of an average: swap them or leave one out")
        if ref.scale is not None and float(ref.scale.scale.min()) <= 0:
            raise Problem("max pooling of an input with a scale that is not positive")
        taken = {g.name for g in self.groups}
        number = next(i for i in range(2, len(taken) + 3) if f"{name}#{i}" not in taken)
        name = f"{name}#{number}" if name in taken else name
        self.groups.append(MaxGroup(name, ref.map, kernel, stride, padding, shape))
        return x.replace(branches=(Branch((Ref(len(self.groups), shape[1:], scale=ref.scale),)),), shape=shape)

    def _flatten(self, node, x):
        before, after = self.shapes[node.args[0]], self.shapes[node]
        lead = len(before) - x.features
        if after == (*before[:lead], math.prod(before[lead:])):
            return x.replace(features=1)
        raise Problem(f"changes shape {before} to {after}; allowed is to merge all axes behind "
                      f"{'T and N' if x.timed else 'N'}, as Flatten() does")

    def _reduce(self, x, how):
        if not x.timed:
            raise Problem("the tensor has no time axis to average over; put Repeat(T) or a (T, N, ...) input before")
        return x.replace(timed=False, reduced=how)

    def _function(self, node, args, kwargs) -> Value:
        name, x = _function_name(node), args[0] if args else None
        if name in ("add", *IN_PLACE):
            if kwargs.get("alpha", 1) != 1:
                raise Problem("add with alpha is not supported")
            return values.add(*args[:2])
        if not isinstance(x, Value):
            raise Problem(f"this function is not understood: {checks.advice(name)}")
        before, after = self.shapes[node.args[0]], self.shapes[node]
        if name in ("flatten", "reshape", "view"):
            return self._flatten(node, x)
        if name in ("mean", "sum"):
            dims, keep = (*args[1:], *(kwargs.get(k) for k in ("dim", "keepdim")[len(args) - 1:]))[:2]
            return self._mean(name, x, len(before), dims, bool(keep))
        if name == "unsqueeze" and after == (1, *before) and not x.timed:
            return x.replace(timed=True, once=True)
        if name in ("repeat", "expand") and x.once and after == (self.steps, *before[1:]):
            return x.replace(once=False)
        if name in ("contiguous", "clone", "detach", "float", "to"):
            return x
        raise Problem(f"this function is not understood: {checks.advice(name)}")

    def _mean(self, name, x, axes, dims, keep):
        dims = range(axes) if dims is None else dims if isinstance(dims, tuple | list) else (dims,)
        dims = {d % axes for d in dims}
        space = set(range(axes - x.features + 1, axes))
        time = dims - space
        if time and (time != {0} or not x.timed or keep):
            raise Problem(f"{name} over axes {sorted(dims)} is not understood; allowed are time (axis 0) and the mean "
                          "over all positions")
        if dims & space:
            if name != "mean" or dims & space != space:
                raise Problem(f"{name} over axes {sorted(dims)} is not understood; allowed is the mean over all "
                              "positions")
            x = values.average(x, x.shape[1:], x.shape[1:])
            x = x if keep else x.replace(features=1)
        return self._reduce(x, name) if time else x

    # --- the end -------------------------------------------------------------------------------------------------

    def _finish(self, output) -> Graph:
        problems = self.problems
        if not isinstance(output, Value):
            if output is not UNKNOWN:
                problems.append("forward does not return one tensor that depends on its input")
        elif not any(b.op is not None for b in output.branches):
            problems.append("the last layer is not a linear read-out: end with a QLinear, without a neuron after it")
        elif not (output.timed or output.reduced):
            problems.append("there is no time axis: put Repeat(T) into the module, or give the input as (T, N, ...)")
        elif output.shape[1:] != (1, 1):
            problems.append(f"the read-out has shape {output.shape}, allowed is (classes, 1, 1): average over the "
                            "positions (AdaptiveAvgPool2d(1)) before the last layer")
        if problems:
            raise_problems(self.name, problems)
        name = next(b.name for b in output.branches if b.name)
        self.groups.append(ReadoutGroup(name, output.branches, output.shape, output.reduced != "sum"))
        groups = prune(self.groups)
        if len(set(map(id, self.scales))) > 1:
            problems.append("there is more than one InputScale, allowed is one")
        scale = self.scales[0] if self.scales else None
        padding = _host_padding(groups, scale, problems)
        if problems:
            raise_problems(self.name, problems)
        steps = self.deployed_steps or self.steps
        return Graph(self.input.shape, self.input.features, self.static, steps, groups, scale, padding)


def _host_padding(groups, scale: InputScale | None, problems: list[str]) -> Pair:
    """Return what the host pads the input with: where a mean is subtracted, a padded 0 is not the level 0."""
    if scale is None or not (torch.round(scale.mean) != 0).any():
        return (0, 0)
    advice = "; use InputScale with mean 0"
    pads = [b.padding for g in groups for b in branches_of(g) for r in b.inputs if r.map == 0]
    padding = tuple(max((p[axis] for p in pads), default=0) for axis in (0, 1))
    for g in groups:
        if isinstance(g, MaxGroup):
            if g.map == 0 and (padding != (0, 0) or any(g.padding)):
                problems.append(f"{g.name}: max pooling of an input that has a mean and is padded is not "
                                f"supported{advice}")
            continue
        for b in g.branches:
            for r in b.inputs:
                if r.map and r.scale is not None and any(b.padding):
                    problems.append(f"{b.name}: padding of a max-pooled input that has a mean is not "
                                    f"supported{advice}")
                if r.map == 0 and padding != (0, 0) and (r.scale is None or r.pool != (1, 1) or b.op is None):
                    problems.append(f"{b.name or g.name}: reads the input unscaled, pooled or as it is, while a layer "
                                    f"pads it and it has a mean: not supported{advice}")
    return padding


def _function_name(node) -> str:
    target = node.target
    return target if isinstance(target, str) else getattr(target, "__name__", str(target))
