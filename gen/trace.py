"""From a torch module to a Graph, with torch.fx: finds out what is summed before which neuron.

The module's forward is followed symbolically; each value is a sum of branches, each a convolution of feature maps
with its BatchNorms. A neuron turns such a sum into a new map. Everything that is not understood is collected
and raised as one ModelError.
"""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import fx, nn

from qblif.gen import checks
from qblif.gen.errors import ModelError
from qblif.gen.graph import Branch, Graph, MaxGroup, NeuronGroup, ReadoutGroup, Ref, Shape, branches_of, reads, window
from qblif.gen.layers import Add, InputScale, MeanOverTime, Repeat, SeqToBatch
from qblif.gen.network import Pair
from qblif.gen.neuron import QBLIF

UNKNOWN = object()
"""Value of a node that was not understood; what uses it stays silent, the problem is reported already."""


class Problem(Exception):
    """Something about one node that cannot be folded."""


@dataclasses.dataclass(frozen=True)
class Value:
    """A sum of branches, on its way to a neuron.

    features: axes it has in torch behind N: 3 (C, H, W), 2 (C, L), 1 (F)
    timed: True: (T, N, ...), False: (N, ...)
    reduced: "mean" or "sum" where the time axis has been reduced, else ""
    once: True: the time axis has length 1 and waits for repeat or expand
    peak: (kernel, stride, padding, shape before, name) of a max pooling that waits for the neuron (T = 1 only)
    """

    branches: tuple[Branch, ...]
    shape: Shape
    features: int
    timed: bool
    reduced: str = ""
    once: bool = False
    peak: tuple | None = None

    @property
    def pure(self) -> bool:
        """True where this is a sum of maps, at most pooled."""
        return all(b.pure for b in self.branches)

    def replace(self, **changes) -> Value:
        """Return a copy with changes."""
        return dataclasses.replace(self, **changes)

    def torch_shape(self, steps: int, batch: int) -> tuple[int, ...]:
        """Return the shape that the tensor should have."""
        c, h, w = self.shape
        features = {3: (c, h, w), 2: (c, w), 1: (c * h * w,)}[self.features]
        return ((1 if self.once else steps,) if self.timed else ()) + (batch, *features)


class _Tracer(fx.Tracer):
    """Keeps our layers whole, and looks into SeqToBatch."""

    def __init__(self):
        super().__init__()
        self.batched: set[str] = set()

    def is_leaf_module(self, module, name):
        if isinstance(module, checks.KNOWN):
            return True
        if type(module).__module__.startswith("spikingjelly") and not list(module.children()):
            return True
        return super().is_leaf_module(module, name)

    def call_module(self, module, forward, args, kwargs):
        if isinstance(module, SeqToBatch) or type(module).__name__ == "SeqToANNContainer":
            value = args[0]
            for child in module:
                self.batched.add(self.path_of_module(child))
                value = child(value)
            return value
        return super().call_module(module, forward, args, kwargs)


class _Run(fx.Interpreter):
    """Runs the graph on the example and keeps the shape of every tensor."""

    def __init__(self, graph_module, batched):
        super().__init__(graph_module)
        self.batched, self.shapes = batched, {}

    def call_module(self, target, args, kwargs):
        if target in self.batched:
            x = args[0]
            return self.fetch_attr(target)(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        return super().call_module(target, args, kwargs)

    def run_node(self, n):
        result = super().run_node(n)
        if isinstance(result, torch.Tensor):
            self.shapes[n] = tuple(result.shape)
        return result


def trace(module: nn.Module, example_input: torch.Tensor, problems: list[str] | None = None,
          steps: int | None = None) -> Graph:
    """Return the graph of `module` for inputs shaped like `example_input`.

    example_input: (N, C, H, W), (N, C, L) or (N, F) where the module contains a Repeat, else with a leading T.
    problems: reasons found before, reported with the others
    steps: T to deploy with, where it is to differ from that of the module or the example
    Raises ModelError with everything that is not supported.
    """
    return _Builder(module, example_input, list(problems or ()), steps).build()


def raise_problems(name: str, problems: list[str]):
    """Raise a ModelError that lists `problems`; the same one is listed once."""
    problems = list(dict.fromkeys(problems))
    count = "1 reason" if len(problems) == 1 else f"{len(problems)} reasons"
    raise ModelError("\n".join([f"{name} cannot be folded, for {count}:", *(f"  - {p}" for p in problems)]))


class _Builder:
    def __init__(self, module, example, problems, steps):
        self.module, self.problems = module, problems
        self.name = type(module).__name__
        self.example = example
        self.deployed_steps = steps
        self.inputs: list[Value] = []
        self.groups: list = []
        self.scales: list[InputScale] = []

    # --- following the graph ---------------------------------------------------------------------------------

    def build(self) -> Graph:
        tracer = _Tracer()
        try:
            graph = tracer.trace(self.module)
        except Exception as e:  # user code runs here
            leaves = {name: m for name, m in self.module.named_modules() if not list(m.children())}
            self.problems += [f"{name}: {p}" for name, m in leaves.items() for p in checks.module_problems(m)]
            self.problems.append(f"torch.fx cannot follow forward ({type(e).__name__}: {e}): it must not branch or loop "
                                 "on values or shapes of tensors; put such code into the data loading")
            raise_problems(self.name, self.problems)
        self._check_modules(graph)
        repeats = [self.module.get_submodule(n.target) for n in graph.nodes if n.op == "call_module"]
        repeats = [m for m in repeats if isinstance(m, Repeat)]
        unsqueezed = any(n.op == "call_method" and n.target == "unsqueeze" and _argument(n, 1, "dim") == 0
                         for n in graph.nodes)
        self.static = bool(repeats) or unsqueezed
        if not isinstance(self.example, torch.Tensor) or self.example.dim() < (2 if self.static else 3):
            found = tuple(self.example.shape) if isinstance(self.example, torch.Tensor) else type(self.example).__name__
            self.problems.append(f"example_input is {found}, allowed is " + (
                "(N, C, H, W), (N, C, L) or (N, F)" if self.static else "(T, N, C, H, W), (T, N, C, L) or (T, N, F); "
                "for still inputs put Repeat(T) into the module"))
            raise_problems(self.name, self.problems)
        self.steps = repeats[0].steps if repeats else (1 if self.static else self.example.shape[0])
        shapes = self._run(graph, tracer.batched)
        if not repeats and unsqueezed:  # x.unsqueeze(0).repeat(T, ...): T is what the shapes say
            self.steps = max(shapes[n][0] for n in graph.nodes
                             if n.op == "call_method" and n.target in ("repeat", "expand") and n in shapes)
        self.shapes = shapes
        values: dict = {}
        output = None
        for node in graph.nodes:
            if node.op == "output":
                output = self._lookup(node.args[0], values)
                continue
            values[node] = self._visit(node, values)
        return self._finish(output)

    def _run(self, graph, batched):
        run = _Run(fx.GraphModule(self.module, graph), batched)
        was = [(m, m.training) for m in self.module.modules()]
        self.module.eval()
        try:
            with torch.no_grad():
                run.run(self.example.detach().float())
        except Exception as e:  # user code runs here
            self.problems.append(f"the module does not run on the example input of shape {tuple(self.example.shape)}: "
                                 f"{type(e).__name__}: {str(e).splitlines()[0] if str(e) else ''}")
            raise_problems(self.name, self.problems)
        finally:
            for m, mode in was:
                m.training = mode
        return run.shapes

    def _check_modules(self, graph):
        seen: set[int] = set()
        for node in graph.nodes:
            if node.op != "call_module":
                continue
            m = self.module.get_submodule(node.target)
            self.problems += [f"{node.target}: {p}" for p in checks.module_problems(m)]
            if not (list(m.parameters()) or isinstance(m, QBLIF)):
                continue
            if id(m) in seen:
                self.problems.append(f"{node.target}: used twice; give each place a module of its own")
            seen.add(id(m))

    def _lookup(self, arg, values):
        return values.get(arg, arg) if isinstance(arg, fx.Node) else arg

    def _visit(self, node, values):
        if node.op == "placeholder":
            return self._placeholder(node)
        if node not in self.shapes:  # a shape, a number
            return None
        args = [self._lookup(a, values) for a in node.args]
        kwargs = {k: self._lookup(v, values) for k, v in node.kwargs.items()}
        everything = fx.node.map_arg((node.args, node.kwargs), lambda n: values.get(n))
        unknown = _contains(everything, UNKNOWN)
        where = node.target if node.op == "call_module" else _function_name(node)
        try:
            if node.op == "call_module":
                result = self._module(node, self.module.get_submodule(node.target), args, unknown)
            elif node.op == "get_attr":
                raise Problem("a tensor of the module is used directly; put it into a layer")
            else:
                result = UNKNOWN if unknown else self._function(node, args, kwargs)
        except Problem as e:
            self.problems.append(f"{where}: {e}")
            return UNKNOWN
        if isinstance(result, Value):
            batch = self.example.shape[0 if self.static else 1]
            expected = result.torch_shape(self.steps, batch)
            if self.shapes[node] != expected:
                self.problems.append(f"{where}: gives shape {self.shapes[node]} where {expected} was expected; the input "
                                     f"is read as {'(N, ...)' if self.static else '(T, N, ...)'}{self._hint()}")
                return UNKNOWN
        return result

    def _hint(self) -> str:
        return "" if self.static else "; for still inputs, (N, ...), put Repeat(T) into the module"

    def _placeholder(self, node):
        if self.inputs:
            if not node.args:  # no default
                self.problems.append(f"forward has more than one input ({node.target}), allowed is one")
            return None
        lead = 1 if self.static else 2
        features = tuple(self.example.shape[lead:])
        if not 1 <= len(features) <= 3 or 0 in self.example.shape:
            self.problems.append(f"example_input has shape {tuple(self.example.shape)}, allowed is "
                                 f"{'(N, ' if self.static else '(T, N, '}C, H, W), ... C, L) or ... F), none of them 0")
            raise_problems(self.name, self.problems)
        self.input_shape = {3: features, 2: (*features[:1], 1, *features[1:]), 1: (*features, 1, 1)}[len(features)]
        self.features = len(features)
        value = Value((Branch((Ref(0),)),), self.input_shape, len(features), not self.static)
        self.inputs.append(value)
        return value

    # --- modules -------------------------------------------------------------------------------------------------

    def _module(self, node, m, args, unknown):
        name = node.target
        if unknown or any(True for _ in checks.module_problems(m)):
            return UNKNOWN  # reported already
        if isinstance(m, Add):
            return self._add(args)
        x = args[0]
        if not isinstance(x, Value):
            raise Problem("its input is not a tensor that depends on the network's input")
        if isinstance(m, checks.IDENTITIES):
            return x
        if isinstance(m, InputScale):
            return self._input_scale(m, x)
        if isinstance(m, Repeat):
            return self._repeat(x)
        if isinstance(m, MeanOverTime):
            return self._reduce(x, "mean")
        if isinstance(m, checks.FLATTENS):
            return self._flatten(node, x)
        if x.reduced and not isinstance(m, (*checks.CONVOLUTIONS, nn.Linear, *checks.AVERAGE_POOLS,
                                            *checks.ADAPTIVE_POOLS, *checks.NORMS)):
            raise Problem("stands behind the mean over time; only the linear read-out may")
        if x.peak and not isinstance(m, QBLIF):
            raise Problem("max pooling of currents has to be followed by the neuron")
        if isinstance(m, QBLIF):
            return self._neuron(name, m, x)
        if isinstance(m, checks.NORMS):
            return self._norm(m, x)
        if isinstance(m, checks.CONVOLUTIONS):
            return self._convolution(name, m, x)
        if isinstance(m, nn.Linear):
            return self._linear(name, m, x)
        if x.features != (3 if isinstance(m, (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d)) else 2):
            raise Problem(f"{type(m).__name__} on a tensor of {x.features} feature axes{self._hint()}")
        if isinstance(m, checks.MAX_POOLS):
            return self._max_pool(name, m, x)
        if isinstance(m, checks.AVERAGE_POOLS):
            return self._average(x, _pair(m.kernel_size, x), _pair(m.stride, x))
        return self._adaptive(m, x)

    def _input_scale(self, m, x):
        if not (x.pure and all(r == Ref(0) for b in x.branches for r in b.inputs) and len(x.branches) == 1):
            raise Problem("InputScale has to come first, right on the input")
        for what in ("scale", "mean"):
            count = getattr(m, what).numel()
            if count not in (1, self.input_shape[0]):
                raise Problem(f"{what} has {count} values, allowed is 1 or one per channel, {self.input_shape[0]}")
        self.scales.append(m)
        return x.replace(branches=(Branch((Ref(0, scale=m),)),))

    def _repeat(self, x):
        if x.timed or x.reduced:
            raise Problem("Repeat is applied to something that has a time axis already")
        return x.replace(timed=True)

    def _reduce(self, x, how):
        if not x.timed:
            raise Problem("the tensor has no time axis to average over; put Repeat(T) or a (T, N, ...) input before")
        return x.replace(timed=False, reduced=how)

    def _neuron(self, name, m, x):
        if not x.timed:
            raise Problem("the neuron's input has no time axis: put Repeat(T) before it")
        if any(isinstance(g, NeuronGroup) and g.neuron is m for g in self.groups):
            return UNKNOWN  # used twice, reported already
        shape = x.peak[3] if x.peak else x.shape
        self.groups.append(NeuronGroup(name, x.branches, m, shape))
        if x.peak:
            self.groups.append(MaxGroup(x.peak[4], len(self.groups), *x.peak[:3], x.shape))
        return Value((Branch((Ref(len(self.groups)),)),), x.shape, x.features, True)

    def _norm(self, m, x):
        c, h, w = x.shape
        if x.features == 1 and h * w > 1:
            raise Problem("BatchNorm1d on a flattened map is not supported: put BatchNorm2d before Flatten")
        if m.num_features != c:
            raise Problem(f"has {m.num_features} features, its input has {c} channels")
        return x.replace(branches=tuple(dataclasses.replace(b, norms=(*b.norms, (m, i == 0)))
                                        for i, b in enumerate(x.branches)))

    def _maps(self, x) -> tuple[Ref, ...]:
        if not x.pure:
            raise Problem("its input is a current, not levels: put a neuron between two layers with weights "
                          "(BatchNorm comes after its convolution, and before the neuron)")
        return tuple(r for b in x.branches for r in b.inputs)

    def _linear_op(self, name, m, x, kernel: Pair, stride: Pair, padding: Pair, features: int):
        refs = self._maps(x)
        for ref in refs:
            self._padded_pool(ref, padding)
        size = window(x.shape[1:], kernel, stride, padding)
        if min(size) < 1:
            raise Problem(f"the kernel {kernel} does not fit the map {x.shape[1:]}")
        branch = Branch(refs, m, name, kernel, stride, padding)
        return x.replace(branches=(branch,), shape=(m.weight.shape[0], *size), features=features)

    def _padded_pool(self, ref, padding):
        for axis, p in enumerate(padding):
            if not p or ref.pool[axis] == ref.pool_stride[axis] == 1:
                continue
            size = self._map_shape(ref.map)[1 + axis]
            if ref.pool[axis] != ref.pool_stride[axis]:
                raise Problem(f"padding {padding} on average pooling with window {ref.pool} and stride "
                              f"{ref.pool_stride}: allowed is padding 0, or a stride equal to the window")
            if size % ref.pool[axis]:
                raise Problem(f"padding {padding} on average pooling by {ref.pool} of a map of size {size}: allowed is "
                              "padding 0, or a size that the window divides")

    def _map_shape(self, index):
        return self.groups[index - 1].shape if index else self.input_shape

    def _convolution(self, name, m, x):
        two = isinstance(m, nn.Conv2d)
        if x.features != (3 if two else 2):
            raise Problem(f"{'QConv2d' if two else 'QConv1d'} on a tensor of {x.features} feature axes{self._hint()}")
        pads = checks.conv_padding(m)
        if two:
            return self._linear_op(name, m, x, tuple(m.kernel_size), tuple(m.stride), pads, 3)
        return self._linear_op(name, m, x, (1, *m.kernel_size), (1, *m.stride), (0, *pads), 2)

    def _linear(self, name, m, x):
        c, h, w = x.shape
        if x.features != 1:
            raise Problem(f"Linear on a tensor with {x.features} feature axes: put Flatten() before it")
        if m.in_features != c * h * w:
            raise Problem(f"has {m.in_features} inputs, its input has {c * h * w}")
        return self._linear_op(name, m, x, (h, w), (1, 1), (0, 0), 1)

    def _max_pool(self, name, m, x):
        kernel, stride, padding = _pair(m.kernel_size, x), _pair(m.stride, x), _pair(m.padding, x, 0)
        size = window(x.shape[1:], kernel, stride, padding)
        shape = (x.shape[0], *size)
        if not x.pure or len(x.branches) > 1 or len(x.branches[0].inputs) > 1:
            if (self.deployed_steps or self.steps) > 1:
                raise Problem(f"max pooling of currents, before the neuron, with T > 1: put it after the "
                              "neuron (at T = 1 both orders are the same, and this one is allowed)")
            return x.replace(peak=(kernel, stride, padding, x.shape, name), shape=shape)
        ref = x.branches[0].inputs[0]
        if ref.pool != (1, 1) or ref.pool_stride != (1, 1):
            raise Problem("max pooling of an average: swap them or leave one out")
        if ref.scale is not None and (float(ref.scale.scale.min()) <= 0):
            raise Problem("max pooling of an input with a scale that is not positive")
        taken = {g.name for g in self.groups}
        unique = name if name not in taken else next(f"{name}#{i}" for i in range(2, 9999) if f"{name}#{i}" not in taken)
        self.groups.append(MaxGroup(unique, ref.map, kernel, stride, padding, shape))
        return x.replace(branches=(Branch((Ref(len(self.groups), scale=ref.scale),)),), shape=shape)

    def _average(self, x, kernel, stride):
        refs = []
        for ref in self._maps(x):
            if ref.pool != ref.pool_stride:
                raise Problem("average pooling of overlapping averages: use one pooling layer")
            pool = tuple(k * p for k, p in zip(kernel, ref.pool, strict=True))
            step = tuple(s * p for s, p in zip(stride, ref.pool, strict=True))
            refs.append(dataclasses.replace(ref, pool=pool, pool_stride=step))
        size = window(x.shape[1:], kernel, stride)
        if min(size) < 1:
            raise Problem(f"the window {kernel} does not fit the map {x.shape[1:]}")
        return x.replace(branches=(Branch(tuple(refs)),), shape=(x.shape[0], *size))

    def _adaptive(self, m, x):
        target = m.output_size if isinstance(m.output_size, tuple) else (m.output_size,) * (x.features - 1)
        target = (1,) * (3 - x.features) + tuple(target)
        target = tuple(n if t is None else t for t, n in zip(target, x.shape[1:], strict=True))
        if any(n % t for n, t in zip(x.shape[1:], target, strict=True)):
            raise Problem(f"output_size {target} does not divide the map {x.shape[1:]}: choose a size that does, such as 1")
        kernel = tuple(n // t for n, t in zip(x.shape[1:], target, strict=True))
        return self._average(x, kernel, kernel)

    def _flatten(self, node, x):
        before, after = self.shapes[node.args[0]], self.shapes[node]
        lead = len(before) - x.features
        if after == (*before[:lead], math.prod(before[lead:])):
            return x.replace(features=1)
        raise Problem(f"changes shape {before} to {after}; allowed is to merge all axes behind "
                      f"{'T and N' if x.timed else 'N'}, as Flatten() does")

    # --- functions -----------------------------------------------------------------------------------------------

    def _function(self, node, args, kwargs):
        name, x = _function_name(node), args[0] if args else None
        if name in ("add", "iadd", "add_"):
            if kwargs.get("alpha", 1) != 1:
                raise Problem("add with alpha is not supported")
            return self._add(args)
        if not isinstance(x, Value):
            raise Problem(f"this function is not understood: {checks.advice(name)}")
        before, after = self.shapes[node.args[0]], self.shapes[node]
        if name in ("flatten", "reshape", "view"):
            return self._flatten(node, x)
        if name in ("mean", "sum"):
            return self._mean(name, x, before, _argument(node, 1, "dim"), kwargs.get("keepdim", False) or args[2:3] == [True])
        if name == "unsqueeze" and after == (1, *before) and not x.timed:
            return x.replace(timed=True, once=True)
        if name in ("repeat", "expand") and x.once and after == (self.steps, *before[1:]):
            return x.replace(once=False)
        if name in ("contiguous", "clone", "detach", "float", "to", "type", "requires_grad_"):
            return x
        raise Problem(f"this function is not understood: {checks.advice(name)}")

    def _mean(self, name, x, before, dims, keepdim):
        dims = range(len(before)) if dims is None else dims if isinstance(dims, (tuple, list)) else (dims,)
        dims = {d % len(before) for d in dims}
        space = set(range(len(before) - x.features + 1, len(before)))
        if dims == {0} and x.timed and not keepdim:
            return self._reduce(x, name)
        time = dims - space
        if name == "mean" and dims - time == space and space and (not time or (time == {0} and x.timed and not keepdim)):
            x = self._average(x, x.shape[1:], x.shape[1:])
            x = x if keepdim else x.replace(features=1)
            return self._reduce(x, name) if time else x
        raise Problem(f"{name} over axes {sorted(dims)} is not understood; allowed are the mean over time (axis 0) and "
                      "the mean over all positions")

    def _add(self, args):
        if len(args) != 2 or not all(isinstance(a, Value) for a in args):
            raise Problem("adding something else than two tensors of the network is not supported; for constants use "
                          "the bias of a layer")
        a, b = args
        if a.peak or b.peak:
            raise Problem("max pooling of currents has to be followed by the neuron")
        if a.shape != b.shape or a.features != b.features or a.reduced != b.reduced:
            raise Problem(f"adds maps of shapes {a.shape} and {b.shape}; allowed are equal shapes")
        return a.replace(branches=a.branches + b.branches, timed=a.timed or b.timed)

    # --- the end -------------------------------------------------------------------------------------------------

    def _finish(self, output) -> Graph:
        problems = self.problems
        if output is not UNKNOWN:
            if not isinstance(output, Value):
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
        self.groups.append(ReadoutGroup(name or "readout", output.branches, output.shape, output.reduced != "sum"))
        groups = _prune(self.groups)
        if len(set(map(id, self.scales))) > 1:
            problems.append("there is more than one InputScale, allowed is one")
        scale = self.scales[0] if self.scales else None
        padding = self._host_padding(groups, scale)
        if problems:
            raise_problems(self.name, problems)
        return Graph(tuple(self.input_shape), self.features, self.static, self.deployed_steps or self.steps, groups, scale,
                     padding)

    def _host_padding(self, groups, scale) -> Pair:
        """With a subtracted mean, a padded 0 is not the level 0: the host pads the input instead."""
        if scale is None or not (torch.round(scale.mean) != 0).any():
            return (0, 0)
        pads = [b.padding for g in groups for b in branches_of(g) for r in b.inputs if r.map == 0]
        padding = tuple(max((p[axis] for p in pads), default=0) for axis in (0, 1))
        if padding == (0, 0):
            pooled = [g for g in groups if isinstance(g, MaxGroup) and g.map == 0 and any(g.padding)]
            if pooled:
                self.problems.append(f"{pooled[0].name}: padded max pooling of an input with a mean is not supported")
        for g in groups:
            after_max = [r.map for b in branches_of(g) for r in b.inputs if r.map and r.scale is not None]
            if after_max and any(any(b.padding) for b in branches_of(g)):
                self.problems.append(f"{g.name}: a padded convolution of a max-pooled input with a mean is not supported: "
                                     "use InputScale with mean 0")
            if padding == (0, 0) or 0 not in reads(g):
                continue
            if isinstance(g, MaxGroup):
                self.problems.append(f"{g.name}: max pooling of an input that has a mean and is padded elsewhere is not "
                                     "supported")
            for b in branches_of(g):
                for r in b.inputs:
                    if r.map == 0 and (r.scale is None or r.pool != (1, 1) or b.op is None):
                        self.problems.append(f"{b.name or g.name}: reads the input unscaled, pooled or as it is, while "
                                             "another layer pads it and it has a mean: use InputScale with mean 0")
        return padding


def _prune(groups):
    """Drop groups that the read-out does not depend on, and renumber the maps."""
    needed, wanted = [], {len(groups)}
    for index in range(len(groups), 0, -1):
        if index in wanted:
            needed.append(index)
            wanted |= reads(groups[index - 1])
    number = {0: 0} | {old: new for new, old in enumerate(reversed(needed), 1)}

    def renumber(group):
        if isinstance(group, MaxGroup):
            return dataclasses.replace(group, map=number[group.map])
        branches = tuple(dataclasses.replace(b, inputs=tuple(dataclasses.replace(r, map=number[r.map])
                                                             for r in b.inputs)) for b in group.branches)
        return dataclasses.replace(group, branches=branches)

    return tuple(renumber(groups[old - 1]) for old in reversed(needed))


def _pair(value, x, default=None) -> Pair:
    """Return a pooling parameter as (vertical, horizontal)."""
    value = tuple(value) if isinstance(value, (tuple, list)) else (value,) * (x.features - 1)
    fill = 0 if default == 0 else 1
    return (fill,) * (3 - x.features) + value if x.features < 3 else value


def _function_name(node) -> str:
    target = node.target
    return target if isinstance(target, str) else getattr(target, "__name__", str(target))


def _argument(node, position, keyword):
    return node.args[position] if len(node.args) > position else node.kwargs.get(keyword)


def _contains(tree, item) -> bool:
    if isinstance(tree, (tuple, list)):
        return any(_contains(t, item) for t in tree)
    if isinstance(tree, dict):
        return any(_contains(t, item) for t in tree.values())
    return tree is item
