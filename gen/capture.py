"""Following a module's forward function with torch.fx, and the shapes of all tensors on an example."""

from __future__ import annotations

import dataclasses

import torch
from torch import fx, nn

from qblif.gen import checks
from qblif.gen.errors import ModelError
from qblif.gen.layers import SeqToBatch
from qblif.gen.neuron import QBLIF


@dataclasses.dataclass(frozen=True)
class Captured:
    """graph: what forward does, layers kept whole; shapes: of every node that is a tensor."""

    graph: fx.Graph
    shapes: dict[fx.Node, tuple[int, ...]]


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
        graph = tracer.trace(module)
    except Exception as e:  # user code runs here
        leaves = {path: m for path, m in module.named_modules() if not list(m.children())}
        problems += [f"{path}: {p}" for path, m in leaves.items() for p in checks.module_problems(m)]
        problems.append(f"torch.fx cannot follow forward ({type(e).__name__}: {_first_line(e)}): it must not branch or "
                        "loop on values or shapes of tensors; put such code into the data loading")
        raise_problems(name, problems)
    _check_modules(module, graph, tracer.batched, problems)
    run = _Run(fx.GraphModule(module, graph), tracer.batched)
    modes = [(m, m.training) for m in module.modules()]
    module.eval()  # keeps BatchNorm's statistics as they are
    try:
        with torch.no_grad():
            run.run(example)
    except Exception as e:  # user code runs here
        problems.append(f"the module does not run on the example input of shape {tuple(example.shape)}: "
                        f"{type(e).__name__}: {_first_line(e)}")
        raise_problems(name, problems)
    finally:
        for m, mode in modes:
            m.training = mode
    return Captured(graph, run.shapes)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _check_modules(module, graph, batched, problems):
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


class _Tracer(fx.Tracer):
    """Keeps layers whole, and looks into SeqToBatch; `batched` are the layers in there."""

    def __init__(self):
        super().__init__()
        self.batched: set[str] = set()
        self.inside = 0

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
            value = args[0]
            self.inside += 1
            for child in module:
                value = child(value)
            self.inside -= 1
            return value
        if self.inside and self.is_leaf_module(module, path):
            self.batched.add(path)
        return super().call_module(module, forward, args, kwargs)


class _Run(fx.Interpreter):
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
