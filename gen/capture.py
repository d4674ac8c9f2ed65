"""Following a module's forward function with torch.fx, and the shapes of all tensors on an example."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import operator

import torch
from torch import fx, nn

from qblif.gen import checks
from qblif.gen.errors import ModelError
from qblif.gen.layers import SeqToBatch
from qblif.gen.neuron import QBLIF


@dataclasses.dataclass(frozen=True)
class Captured:
    """What forward does.

    graph: layers kept whole, called with positional arguments; batched: those that stand in a SeqToBatch
    shapes: of every node that is a tensor; others: the values of those that are none, such as numbers
    """

    graph: fx.Graph
    batched: set[str]
    shapes: dict[fx.Node, tuple[int, ...]]
    others: dict[fx.Node, object]


def raise_problems(name: str, problems: list[str]):
    """Raise a ModelError that lists `problems`; the same one is listed once."""
    problems = list(dict.fromkeys(problems))
    count = "1 reason" if len(problems) == 1 else f"{len(problems)} reasons"
    raise ModelError("\n".join([f"{name} cannot be folded, for {count}:", *(f"  - {p}" for p in problems)]))


def capture(module: nn.Module, example: torch.Tensor, problems: list[str]) -> Captured:
    """Follow `module` on an example input; appends to `problems`, raises ModelError where it cannot be followed."""
    name = type(module).__name__
    tracer = _Tracer()
    try:
        with evaluation(module):
            graph = tracer.trace(module)
    except Exception as e:  # user code runs here
        leaves = {path: m for path, m in module.named_modules() if not list(m.children())}
        problems += [f"{path}: {p}" for path, m in leaves.items() for p in checks.module_problems(m)]
        problems.append(f"torch.fx cannot follow forward ({type(e).__name__}: {first_line(e)}): it must not branch or "
                        "loop on values or shapes of tensors. A loop over time is not needed: the layers of qblif.gen "
                        "take all steps at once, (T, N, ...); put other such code into the data loading")
        raise_problems(name, problems)
    _make_positional(module, graph)
    _check_modules(module, graph, tracer.batched, problems)
    run = Run(fx.GraphModule(module, graph), tracer.batched)
    parameter = next((p for p in module.parameters() if p.is_floating_point()), torch.zeros(0))
    try:
        with evaluation(module):
            run.run(example.detach().to(parameter.device, parameter.dtype))
    except Exception as e:  # user code runs here
        problems.append(f"the module does not run on the example input of shape {tuple(example.shape)}: "
                        f"{type(e).__name__}: {first_line(e)}")
        raise_problems(name, problems)
    return Captured(graph, tracer.batched, run.shapes, run.others)


@contextlib.contextmanager
def evaluation(module: nn.Module):
    """Run `module` in evaluation mode (which keeps BatchNorm's statistics as they are) and without gradients."""
    modes = [(m, m.training) for m in module.modules()]
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for m, mode in modes:
            m.training = mode


def first_line(error: Exception) -> str:
    """Return the first line of an error's text."""
    return str(error).partition("\n")[0]


def _make_positional(module, graph):
    """Turn the tensors that are given by keyword into positional arguments, and numpy's keywords into torch's."""
    for node in graph.nodes:
        if node.op == "call_module":
            with contextlib.suppress(TypeError):  # a wrong call fails when it is run
                bound = inspect.signature(module.get_submodule(node.target).forward).bind(*node.args, **node.kwargs)
                node.args, node.kwargs = bound.args, bound.kwargs
        elif node.op in ("call_function", "call_method"):
            kwargs = {{"axis": "dim", "keepdims": "keepdim"}.get(k, k): v for k, v in node.kwargs.items()}
            tensors = [kwargs.pop(k) for k in ("input", "other") if k in kwargs]
            node.args, node.kwargs = (*node.args, *tensors), kwargs


def _check_modules(module, graph, batched, problems):
    if module._forward_hooks or module._forward_pre_hooks:
        problems.append("the module itself has a forward hook, which would be left out: remove it")
    seen: set[int] = set()
    for node in graph.nodes:
        if node.op != "call_module":
            continue
        m = module.get_submodule(node.target)
        problems += [f"{node.target}: {p}" for p in checks.module_problems(m)]
        if isinstance(m, QBLIF) and node.target in batched:
            problems.append(f"{node.target}: a neuron inside SeqToBatch sees no time axis; put it outside")
        if list(m.parameters()) or isinstance(m, QBLIF):
            if id(m) in seen:
                problems.append(f"{node.target}: used twice; give each place a module of its own")
            seen.add(id(m))


class _Proxy(fx.Proxy):
    """A proxy that keeps `a += b` apart from `a = a + b`: other names of a change with it."""

    def __iadd__(self, other):
        return self.tracer.create_proxy("call_function", operator.iadd, (self, other), {})


class _Tracer(fx.Tracer):
    """Keeps layers whole, and looks into SeqToBatch; `batched` are the layers in there."""

    def __init__(self):
        super().__init__()
        self.batched: set[str] = set()
        self.inside = 0

    def proxy(self, node):
        """Return the proxy of a node."""
        return _Proxy(node, self)

    def is_leaf_module(self, module, name):
        """Keep what we know, what torch has, and SpikingJelly's layers, so that problems name them."""
        if isinstance(module, checks.KNOWN):
            return True
        if type(module).__module__.startswith("spikingjelly"):
            return hasattr(module, "surrogate_function") or not list(module.children())
        return super().is_leaf_module(module, name)

    def call_module(self, module, forward, args, kwargs):
        """Call the layers of a SeqToBatch one by one, leaving out how it merges the axes."""
        path = self.path_of_module(module)
        if isinstance(module, SeqToBatch) or type(module).__name__ == "SeqToANNContainer":
            value = next(iter((*args, *kwargs.values())))
            self.inside += 1
            for child in module:
                value = child(value)
            self.inside -= 1
            return value
        if self.inside and self.is_leaf_module(module, path):
            self.batched.add(path)
        return super().call_module(module, forward, args, kwargs)


class Run(fx.Interpreter):
    """Runs a captured graph and notes the shapes."""

    def __init__(self, graph_module, batched):
        super().__init__(graph_module)
        self.batched, self.shapes, self.others = batched, {}, {}

    def call_module(self, target, args, kwargs):
        """Call a layer; one of a SeqToBatch with its axes merged."""
        module = self.fetch_attr(target)
        if target in self.batched:
            x = args[0]
            return self.call_layer(module, (x.flatten(0, 1), *args[1:]), kwargs).unflatten(0, x.shape[:2])
        return self.call_layer(module, args, kwargs)

    def call_layer(self, module, args, kwargs):
        """Call one layer."""
        return module(*args, **kwargs)

    def run_node(self, n):
        """Run one node and note its shape, or its value where it is no tensor."""
        result = super().run_node(n)
        if isinstance(result, torch.Tensor):
            self.shapes[n] = tuple(result.shape)
        else:
            self.others[n] = result
        return result
