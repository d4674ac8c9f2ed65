"""All time steps of a QB-LIF layer in one autograd function: fast on processors, without a compiler.

Large tensors are walked in chunks that stay in a core's cache through all steps, operations whose result is of type
bool are avoided (torch does not vectorise them), and kept for the backward pass are the current and the output alone.
Same numbers as QBLIF.step, one step after the other, and same gradients.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.autograd.function import once_differentiable

from qblif.gen import surrogate as sg
from qblif.gen.network import Reset

CHUNK = 1 << 19
"""Elements of a chunk, over all time steps, for each thread: a few of them fit its cache; smaller ones cost calls."""


class Constants(NamedTuple):
    """What does not change in training; the names are those of QBLIF. scale: factor on the gradients of gamma and N."""

    levels: int
    beta: float
    alpha: float
    gain: float
    style: Reset
    rounds: bool
    surrogate: str
    gamma_gradient: str
    detach_reset: bool
    scale: float

    @property
    def memoryless(self) -> bool:
        """True where no step depends on the one before."""
        return self.beta == 0 and (self.alpha == 0 or self.style is not Reset.GATE_SUM)


def multistep(x, gamma, constants: Constants, steps: int | None = None, learned=None):
    """Return S (T, N, ...) for currents x (T, N, ...), starting at U = 0; gamma is a positive scalar tensor.

    steps: T where x is one current for all of them, (N, ...)
    learned: the scalar tensor that gets N's gradient, None: N is fixed
    """
    x, steps = (x, len(x)) if steps is None else (x.unsqueeze(0), steps)
    saves = torch.is_grad_enabled() and any(y is not None and y.requires_grad for y in (x, gamma, learned))
    if constants.memoryless and len(x) == steps > 1:
        merged = x.flatten(0, 1).unsqueeze(0)
        return _MultiStep.apply(merged, gamma, learned, constants, 1, saves).squeeze(0).unflatten(0, x.shape[:2])
    return _MultiStep.apply(x, gamma, learned, constants, steps, saves)


class _MultiStep(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, gamma, learned, k: Constants, steps: int, saves: bool):
        order = order_of(x)
        currents = _rows(x, order)
        spikes = torch.empty(steps, currents.shape[1], dtype=x.dtype, device=x.device)
        scale = _scale(gamma)
        for part in _parts(spikes):
            u = level = None
            for t in range(steps):
                fired = level.clamp_(max=1) if t and k.style is not Reset.SUBTRACT else None
                u = _membrane(k, u, spikes[t - 1, part], fired, currents[min(t, len(currents) - 1), part])
                level = u / scale
                if k.rounds:
                    level += 0.5
                level.floor_().clamp_(0, k.levels)
                torch.mul(level, scale, out=spikes[t, part])
        if saves:
            ctx.save_for_backward(currents, spikes, gamma)
            ctx.constants, ctx.order = k, order
        return unrows(spikes, (steps, *x.shape[1:]), order)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        currents, spikes, gamma = ctx.saved_tensors
        k, order, (steps, _) = ctx.constants, ctx.order, spikes.shape
        given = _rows(grad, order)
        result = torch.empty_like(currents)
        scale, sums, reached = _scale(gamma), [], []
        for part in _parts(spikes):
            # U once more: cheaper than to write it down and to read it again
            membranes, fired, u = [], [None], None
            for t in range(steps):
                if t:
                    fired.append(positive(spikes[t - 1, part]) if k.style is not Reset.SUBTRACT else None)
                u = _membrane(k, u, spikes[t - 1, part], fired[t], currents[min(t, len(currents) - 1), part])
                membranes.append(u)
            carry = total = None  # carry: dL/dU of the step after, through the membrane
            for t in reversed(range(steps)):
                u, s, g = membranes[t], spikes[t, part], given[t, part]
                if carry is not None and k.style is Reset.SUBTRACT and not k.detach_reset:
                    g = torch.add(g, carry, alpha=-k.alpha)
                h = sg.slope(k.surrogate, u, scale, k.levels, k.rounds)
                if ctx.needs_input_grad[1]:
                    inner = h if k.gamma_gradient == "surrogate" else sg.inside(u, k.levels * scale)
                    sums.append(torch.dot(g, torch.addcmul(s, inner, u, value=-1)))
                if ctx.needs_input_grad[2]:
                    reached.append(torch.dot(g, sg.reaches(s, (k.levels - 0.5) * scale)))
                out = torch.mul(g, h, out=result[t, part] if len(result) == steps else None)
                if carry is not None:
                    out += carry
                carry = _before(k, out, fired[t]) if t else None
                if k.gain != 1:
                    out *= k.gain
                if len(result) < steps:
                    total = out if total is None else total.add_(out)
            if len(result) < steps:
                result[0, part] = total
        grad_gamma = (torch.stack(sums).sum() * (k.scale / scale)).reshape(gamma.shape) if sums else None
        grad_levels = (torch.stack(reached).sum() * (k.scale * scale)).reshape(gamma.shape) if reached else None
        return unrows(result, (len(result), *grad.shape[1:]), order), grad_gamma, grad_levels, None, None, None


def _membrane(k, u, s, fired, current):
    """Return U of a step, from U, S and [S > 0] of the one before (u = None: there is none)."""
    current = current if k.gain == 1 else current * k.gain
    if u is None:
        return current
    if k.style is Reset.SUBTRACT:
        return torch.add(current, torch.add(u, s, alpha=-k.alpha), alpha=k.beta)
    if k.style is Reset.GATE_MEMBRANE:
        return torch.add(current, torch.addcmul(u, u, fired, value=-k.alpha), alpha=k.beta)
    u = torch.add(current, u, alpha=k.beta)
    return u.addcmul_(u, fired, value=-k.alpha)


def _before(k, out, fired):
    """Return dL/dU of the step before, through the membrane, from dL/dU of this one; gate_sum: makes `out` dL/dI."""
    if k.style is Reset.SUBTRACT:
        return out * k.beta
    if k.style is Reset.GATE_MEMBRANE:
        return torch.addcmul(out, out, fired, value=-k.alpha).mul_(k.beta)
    out.addcmul_(out, fired, value=-k.alpha)
    return out * k.beta


def positive(s):
    """Return 1 where s > 0, else 0, in the type of s."""
    return torch.gt(s, 0, out=torch.empty_like(s))


def _scale(gamma):
    # reading a number from a GPU would wait for it
    return float(gamma) if gamma.device.type == "cpu" else gamma.detach()


def _parts(rows):
    """Return slices of the second axis of (T, M); other devices than the processor take all at once."""
    steps, count = rows.shape
    size = max(1, CHUNK // steps) * torch.get_num_threads() if rows.device.type == "cpu" else count
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def order_of(x) -> list[int]:
    """Return the axes behind the first one as they lie in memory, outermost first (channels may come last)."""
    return sorted(range(1, x.dim()), key=lambda axis: -x.stride(axis))


def _rows(x, order):
    """Return x (T, ...) as (T, M): a view, where the elements of a step lie together."""
    return x.permute(0, *order).flatten(1)


def unrows(rows, shape, order):
    """Return rows (T, M) in the shape and the order of axes that they were made from."""
    back = [0] * len(shape)
    for place, axis in enumerate(order, 1):
        back[axis] = place
    return rows.view(shape[0], *(shape[axis] for axis in order)).permute(back)
