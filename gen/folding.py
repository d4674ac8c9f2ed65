"""From a trained torch module to the integer `Network`."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from qblif.gen import checks
from qblif.gen.capture import raise_problems
from qblif.gen.graph import MaxGroup, NeuronGroup
from qblif.gen.network import Input, MaxPool, Network, Neuron, NeuronLayer, Readout, Source
from qblif.gen.neuron import power_of_two
from qblif.gen.quantised import QuantisedNetwork, quantise
from qblif.gen.verify import verify


def fold(module: nn.Module, example_input: torch.Tensor | None = None, *, name: str | None = None,
         weight_bits: int | None = None, input_bits: int | None = None, steps: int | None = None, bias_bits: int = 24,
         meta: dict[str, str] | None = None) -> Network:
    """Return the integer network that `module` is, scales and BatchNorm folded away.

    module: in evaluation mode; a QuantisedNetwork (its integers are copied, as they are), or any module made of the
        layers of qblif.gen, or torch's own of the same names (its weights are rounded here)
    example_input: as for `quantise`; not needed for a QuantisedNetwork
    name: of the network; default: the class of the module
    weight_bits, input_bits, steps, bias_bits: as for `quantise`; not for a QuantisedNetwork
    meta: free text to keep with the network

    The logits of the network times its read-out's scale are those of the module in quantised form.
    Raises ModelError with everything that is not supported, and what to do instead; VerifyError where the network
    breaks a rule of the integers, such as the width of the membranes.
    """
    problems = list(checks.structure_problems(module))
    if isinstance(module, QuantisedNetwork):
        given = [k for k, v in {"weight_bits": weight_bits, "input_bits": input_bits, "steps": steps}.items()
                 if v is not None]
        if given:
            problems.append(f"{', '.join(given)} given for a QuantisedNetwork, which has them fixed: give them to "
                            "quantise")
        if problems:
            raise_problems(type(module.module).__name__, problems)
        quantised = module
    else:
        if example_input is None:
            problems.append("example_input is missing: one input, or a batch, as the module is fed")
        if problems and example_input is None:
            raise_problems(type(module).__name__, problems)
        quantised = quantise(module, example_input, weight_bits=weight_bits, input_bits=input_bits, steps=steps,
                             bias_bits=bias_bits, _problems=problems)
    return verify(_network(quantised, name or type(quantised.module).__name__, dict(meta or {})))


def _network(q: QuantisedNetwork, name: str, meta: dict[str, str]) -> Network:
    graph, layers = q.graph, []
    for index, group in enumerate(graph.groups):
        if isinstance(group, MaxGroup):
            layers.append(MaxPool(group.name, group.map, group.kernel, group.stride, group.padding, group.shape))
            continue
        weights, bias = q.stored(index)
        sources = tuple(
            Source(s.ref.map, _frozen(w, np.int8), e, s.branch.stride, s.padding, s.ref.pool, s.ref.pool_stride)
            for s, w, e in zip(q.sources[index], weights, getattr(q, f"exponents_{index}").tolist(), strict=True))
        bias = _frozen(bias, np.int32)
        if isinstance(group, NeuronGroup):
            n = group.neuron
            reset = power_of_two(checks.reset_factor(n))
            neuron = Neuron(n.levels, power_of_two(n.beta), reset, n.reset_style, n.rounds)
            shift = _frozen(getattr(q, f"shift_{index}"), np.uint8)
            layers.append(NeuronLayer(group.name, sources, bias, shift, neuron, group.shape))
        else:
            layers.append(Readout(group.name, sources, bias, q.scale))
    v, h = graph.padding
    zero = tuple(q.zero_point().tolist()) if graph.padding != (0, 0) else ()
    given = Input(graph.input_shape, q.input_bits, graph.static, (v, v, h, h), zero)
    return Network(name, graph.steps, given, tuple(layers), q.weight_bits, q.bias_bits, meta)


def _frozen(tensor: torch.Tensor, dtype) -> np.ndarray:
    array = tensor.detach().cpu().numpy().astype(dtype)
    array.setflags(write=False)
    return array
