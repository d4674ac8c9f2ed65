"""The quantised phase: a module whose forward pass computes the very integers of the deployed network.

Between layers there are integers, the burst levels; gamma acts through the integer weights and biases alone
(docs/numerics.md). In training mode the integers are made anew from the module's float parameters in every forward
pass, with straight-through gradients; in evaluation mode they are fixed, and `fold` copies them.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from qblif.gen import checks, exponents
from qblif.gen import surrogate as sg
from qblif.gen.absorb import absorb, contributions, per_channel
from qblif.gen.capture import raise_problems
from qblif.gen.errors import ModelError
from qblif.gen.graph import Graph, Group, MaxGroup, NeuronGroup, ReadoutGroup
from qblif.gen.integer_steps import Shifts, integer_steps
from qblif.gen.network import Reset
from qblif.gen.neuron import GAMMA_MIN, power_of_two
from qblif.gen.trace import trace

EXACT = {torch.float32: 1 << 24, torch.float64: 1 << 53}
"""Integers below are exact in the type."""


def quantise(module: nn.Module, example_input: torch.Tensor, *, weight_bits: int | None = None,
             input_bits: int | None = None, steps: int | None = None, bias_bits: int = 24,
             _problems: list[str] | None = None) -> QuantisedNetwork:
    """Return the module in quantised form, in evaluation mode; call `.train()` on it to fine-tune.

    The exponents are chosen here, from the present weights, and stay; BatchNorm's running statistics are frozen. The
    parameters stay those of `module`, so training the result trains `module`.

    Parameters
    ----------
    module: made of the layers of qblif.gen (or torch's own of the same names), trained
    example_input: unsigned integers; (N, C, H, W), (N, C, L) or (N, F) where the module contains a Repeat, else with T
        in front. Only its shape counts (and its largest value where `input_bits` is not known otherwise)
    weight_bits: 2 to 8 for all layers; default: what each layer says, 8 for torch's own
    input_bits: 1 to 8; default: that of the InputScale, or what the largest value of the example takes
    steps: T, where it is to differ from that of the module or the example

    Raises ModelError with everything that is not supported, and what to do instead.
    """
    problems = list(_problems or ())
    for what, value, low, high in (("weight_bits", weight_bits, 2, 8), ("input_bits", input_bits, 1, 8),
                                   ("steps", steps, 1, 255), ("bias_bits", bias_bits, 8, 24)):
        if value is not None and value not in range(low, high + 1):
            problems.append(f"{what} is {value!r}, allowed is {low} to {high}")
    graph = trace(module, example_input, problems, steps)
    bits = _input_bits(graph, example_input, input_bits)
    return QuantisedNetwork(module, graph, weight_bits, bits, bias_bits)


def _input_bits(graph: Graph, example: torch.Tensor, given: int | None) -> int:
    x = example.detach().double()
    if not (torch.isfinite(x).all() and (x == x.floor()).all() and (x >= 0).all()):
        raise ModelError(f"example_input has values from {float(x.min()):g} to {float(x.max()):g}, allowed are "
                         "unsigned integers (pixels, counts): feed those and put the scaling into the module, as "
                         "InputScale")
    bits = given or (graph.input_scale.bits if graph.input_scale else max(1, int(x.max()).bit_length()))
    if x.max() >= 2**bits or bits > 8:
        raise ModelError(f"example_input goes up to {int(x.max())}, allowed with {min(bits, 8)} bits is "
                         f"{2 ** min(bits, 8) - 1}")
    return bits


class QuantisedNetwork(nn.Module):
    """A module in quantised form; made by `quantise`. Input and output are those of the module.

    forward: logits in the units of training; `integers`: the logits as the hardware gives them
    """

    def __init__(self, module: nn.Module, graph: Graph, weight_bits: int | None, input_bits: int, bias_bits: int):
        super().__init__()
        self.module, self.graph = module, graph
        self.input_bits, self.bias_bits = input_bits, bias_bits
        self.watch = None
        """Called with number and levels (T, N, C, H, W) of each map when training, or None."""
        self.sources = [contributions(graph, group, weight_bits) for group in graph.groups]
        self.weight_bits = max(s.bits for group in self.sources for s in group)
        for index, group in enumerate(graph.groups):
            if not isinstance(group, MaxGroup):
                self._choose_exponents(index, group)
        self.eval()

    def extra_repr(self) -> str:
        """Show the constants."""
        return f"steps={self.graph.steps}, weight_bits={self.weight_bits}, input_bits={self.input_bits}"

    # --- from float parameters to integers ------------------------------------------------------------------------

    def _choose_exponents(self, index: int, group: Group):
        with torch.no_grad():
            weights, bias = absorb(self.graph, index, self.sources[index])
        sources, bias = self.sources[index], bias.cpu().numpy()
        limits = [s.limit for s in sources]
        magnitudes = [exponents.magnitudes(w.cpu().numpy(), n) for w, n in zip(weights, limits, strict=True)]
        shared = isinstance(group, ReadoutGroup)
        reset = None if shared else power_of_two(checks.reset_factor(group.neuron))
        least = reset if not shared and group.neuron.reset_style is Reset.SUBTRACT and reset else 0
        f, e = exponents.choose(magnitudes, bias, limits, self.bias_bits, least, shared)
        over = np.zeros(len(bias), bool)
        for m, limit, exponent in zip(magnitudes, limits, e, strict=True):
            over |= m * 2.0 ** (f - exponent) >= limit + 0.5
        if over.any():
            warnings.warn(f"{group.name}: the weights of {int(over.sum())} of {len(over)} channels are too large for "
                          f"gamma and get clipped", stacklevel=4)
        device = weights[0].device
        self.register_buffer(f"shift_{index}", torch.as_tensor(f, device=device))
        self.register_buffer(f"exponents_{index}", torch.tensor(e, device=device))
        for i, w in enumerate(weights):
            self.register_buffer(f"weight_{index}_{i}", torch.zeros(w.shape, dtype=torch.int8, device=device))
        self.register_buffer(f"bias_{index}", torch.zeros(len(bias), dtype=torch.int32, device=device))
        self._store(index, group)

    def _live(self, index: int, group: Group):
        """Return integer weights and bias from the present parameters, float64 with straight-through gradients."""
        weights, bias = absorb(self.graph, index, self.sources[index])
        f = getattr(self, f"shift_{index}").double()
        e = getattr(self, f"exponents_{index}")
        result = []
        for i, (w, source) in enumerate(zip(weights, self.sources[index], strict=True)):
            unit = torch.exp2(f - e[i]).reshape(-1, *[1] * (w.dim() - 1))
            result.append(sg.round_(w * unit).clamp(-source.limit, source.limit))
        most = (1 << self.bias_bits - 1) - 1
        return result, sg.round_(bias * torch.exp2(f)).clamp(-most, most)

    @torch.no_grad()
    def _store(self, index: int, group: Group):
        weights, bias = self._live(index, group)
        for i, w in enumerate(weights):
            getattr(self, f"weight_{index}_{i}").copy_(w)
        getattr(self, f"bias_{index}").copy_(bias)

    def stored(self, index: int):
        """Return the integer weights (int8) and bias (int32) of group `index`, as they are deployed."""
        weights = [getattr(self, f"weight_{index}_{i}") for i in range(len(self.sources[index]))]
        return weights, getattr(self, f"bias_{index}")

    def train(self, mode: bool = True):
        """Set training mode, or fix the integers and set evaluation mode."""
        if not mode and self.training:
            problems = [f"{name}: {p}" for name, m in self.module.named_modules() if isinstance(m, checks.KNOWN)
                        for p in checks.module_problems(m)]
            if problems:
                raise_problems(type(self.module).__name__, problems)
            for index, group in enumerate(self.graph.groups):
                if not isinstance(group, MaxGroup):
                    self._store(index, group)
        return super().train(mode)

    # --- the integer forward pass ---------------------------------------------------------------------------------

    def forward(self, x):
        """Return the logits (N, K) in the units of training: integers times one scale."""
        return self._run(x, None) * self.scale

    @torch.no_grad()
    def integers(self, x):
        """Return the logits (N, K) as the hardware gives them, int64."""
        return self._run(x, None).round().long()

    @torch.no_grad()
    def record(self, x) -> dict[str, dict[str, torch.Tensor]]:
        """Return, per layer name, every integer (T, N, C, H, W), int64: current `c`, membrane `v` and level `s`.

        Max pooling has `s` alone, the read-out `c` and `logits` (N, K)."""
        record = {}
        logits = self._run(x, record)
        record[self.graph.groups[-1].name]["logits"] = logits.round().long()
        return record

    @property
    def scale(self) -> float:
        """Logit in the units of training = integer * scale."""
        last = len(self.graph.groups) - 1
        divisor = self.graph.steps if self.graph.groups[last].mean else 1
        return 2.0 ** -int(getattr(self, f"shift_{last}")[0]) / divisor

    def _run(self, x, record):
        with torch.autocast(x.device.type, enabled=False):
            maps = [_channels_last(self._input(x))]
            if self.training:
                for group in self.graph.groups:
                    if isinstance(group, NeuronGroup):
                        group.neuron.gamma.data.clamp_(min=GAMMA_MIN)
            for index, group in enumerate(self.graph.groups):
                if isinstance(group, MaxGroup):
                    maps.append(_per_step(maps[group.map], F.max_pool2d, group.kernel, group.stride, group.padding))
                    if record is not None:
                        record[group.name] = {"s": maps[-1].long()}
                    if self.watch and self.training:
                        self.watch(index + 1, maps[-1])
                    continue
                current, f = self._current(index, group, maps)
                if isinstance(group, ReadoutGroup):
                    if record is not None:
                        record[group.name] = {"c": current.long()}
                    repeats = self.graph.steps if len(current) == 1 else 1
                    return current.sum(0).flatten(1) * repeats
                maps.append(self._neuron(group, current, f, record))
                if self.watch and self.training:
                    self.watch(index + 1, maps[-1])

    def _input(self, x):
        g = self.graph
        c, h, w = g.input_shape
        features = {3: (c, h, w), 2: (c, w), 1: (c,)}[g.features]
        lead = () if g.static else (g.steps,)
        if tuple(x.shape[:len(lead)]) != lead or tuple(x.shape[len(lead) + 1:]) != features:
            allowed = ", ".join(map(str, (*lead, "N", *features)))
            raise ModelError(f"the input has shape {tuple(x.shape)}, allowed is ({allowed})")
        x = x.to(torch.float32)
        if x.numel() and not ((x >= 0) & (x < 2**self.input_bits) & (x == x.floor())).all():
            raise ModelError(f"the input has values from {float(x.min()):g} to {float(x.max()):g}, allowed are "
                             f"integers from 0 to {2**self.input_bits - 1}")
        x = x.reshape(1 if g.static else g.steps, -1, c, h, w)
        if g.padding != (0, 0):
            v, h = g.padding
            zero = self.zero_point().to(x.dtype).reshape(-1, 1, 1)
            x = F.pad(x - zero, (h, h, v, v)) + zero
        return x

    def zero_point(self):
        """Return the input level per channel that means 0, int64."""
        return torch.round(per_channel(self.graph, "mean")).long()

    def _peak(self, index: int) -> int:
        group = self.graph.neurons_of(index)
        return group.neuron.levels if group else (1 << self.input_bits) - 1

    def _current(self, index: int, group: Group, maps):
        """Return c (T or 1, N, C, H, W) and f (float64, per channel); the type of c holds everything exactly."""
        if self.training:
            weights, bias = self._live(index, group)
        else:
            weights, bias = self.stored(index)
            weights, bias = [w.double() for w in weights], bias.double()
        f = getattr(self, f"shift_{index}").double()
        e = getattr(self, f"exponents_{index}").tolist()
        with torch.no_grad():
            bound = bias.abs()
            for w, exponent, source in zip(weights, e, self.sources[index], strict=True):
                reach = w.abs().reshape(len(w), -1).sum(1) * source.ref.area
                bound = bound + reach * self._peak(source.ref.map) * 2.0**exponent
            bound = float((bound * self._growth(group) + self._headroom(group, f)).max())
        dtype = torch.float32 if bound < EXACT[torch.float32] and _float32_is_exact() else torch.float64
        if bound >= EXACT[torch.float64]:
            raise ModelError(f"{group.name}: sums up to {bound:.3g} are not exact in any floating-point type")
        # the bias goes into the first convolution, which is one pass over the current less
        total, bias = None, bias.to(dtype)
        for w, exponent, source in zip(weights, e, self.sources[index], strict=True):
            x = maps[source.ref.map].to(dtype)
            if source.ref.pool != (1, 1) or source.ref.pool_stride != (1, 1):
                x = _per_step(x, _sum_pool, source.ref.pool, source.ref.pool_stride)
            w = w.to(dtype)
            if source.diagonal:
                part = x * w.reshape(-1, 1, 1)
            elif bias is not None and exponent == 0:
                part, bias = _per_step(x, _conv, w, source.branch.stride, source.padding, bias), None
            else:
                part = _per_step(x, _conv, w, source.branch.stride, source.padding)
            part = part * 2.0**exponent if exponent else part
            total = part if total is None else total + part
        return total if bias is None else total + bias.reshape(-1, 1, 1), f.to(dtype)

    def _growth(self, group) -> float:
        """Return how many currents, at most, a membrane or a logit sums up."""
        steps = self.graph.steps
        if isinstance(group, ReadoutGroup) or group.neuron.beta == 1:
            return steps
        return min(steps, 1 / (1 - group.neuron.beta))

    def _headroom(self, group, f):
        """Return what the reset and the rounding of the neuron add to the bound on sums."""
        if isinstance(group, ReadoutGroup):
            return 0.0
        return (group.neuron.levels * self._growth(group) + 1) * torch.exp2(f)

    def _neuron(self, group: NeuronGroup, current, f, record):
        """Return the levels (T, N, C, H, W) of a layer, from its currents (T or 1, ...)."""
        n = group.neuron
        shifts = Shifts(n.levels, _exact(n.beta), _exact(checks.reset_factor(n)), n.reset_style, n.rounds, n.surrogate,
                        n.detach_reset)
        steps = self.graph.steps
        s, v = integer_steps(current, torch.exp2(f).reshape(-1, 1, 1), n.gamma.detach(), shifts, steps,
                             keep=record is not None)
        if record is not None:
            c = current.expand(steps, *current.shape[1:])
            record[group.name] = {"c": c.long(), "v": v.long(), "s": s.long()}
        return s


def _exact(factor: float) -> float:
    """Return a factor, 0 or 2**-k, without the rounding of 1 - 1/tau."""
    k = power_of_two(factor)
    return 0.0 if k is None else 2.0**-k


def _float32_is_exact() -> bool:
    """True unless the user allows float32 products in fewer bits (TF32, bfloat16)."""
    return torch.get_float32_matmul_precision() == "highest"


def _per_step(x, function, *args):
    """Apply a function of (N, C, H, W) to (T, N, C, H, W)."""
    return function(x.flatten(0, 1), *args).unflatten(0, x.shape[:2])


def _channels_last(x):
    """Return x (T, N, C, H, W) with the channels innermost in memory: processors compute faster on that."""
    return _per_step(x, lambda frames: frames.contiguous(memory_format=torch.channels_last))


def _sum_pool(x, kernel, stride):
    return F.avg_pool2d(x, kernel, stride, divisor_override=1)


def _conv(x, w, stride, padding, bias=None):
    if x.device.type == "cpu":
        return F.conv2d(x, w, bias, stride=stride, padding=padding)
    # convolutions of other devices may use transforms (Winograd, FFT) that are not exact on integers
    size = [(n + 2 * p - k) // s + 1 for n, k, s, p in zip(x.shape[2:], w.shape[2:], stride, padding, strict=True)]
    columns = F.unfold(x, w.shape[2:], padding=padding, stride=stride)
    result = (w.flatten(1) @ columns).unflatten(2, size)
    return result if bias is None else result + bias.reshape(-1, 1, 1)
