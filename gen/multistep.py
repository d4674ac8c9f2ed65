"""All time steps of a QB-LIF layer in one autograd function: fast on processors, without a compiler.

Large tensors are walked in chunks that stay in a core's cache through all steps, operations whose result is of type
bool are avoided (torch does not vectorise them), and kept for the backward pass are the membrane and the output alone.
Same numbers as QBLIF.step, one step after the other, and same gradients.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.autograd.function import once_differentiable

from qblif.gen import surrogate as sg
from qblif.gen.network import Reset

CHUNK = 1 << 17
"""Elements of a chunk, for each thread: a few of them fit a level 2 cache; smaller ones cost calls."""


class Constants(NamedTuple):
    """What does not change in training; the names are those of QBLIF. scale: factor on gamma's gradient."""

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


def multistep(x, gamma, constants: Constants):
    """Return S (T, N, ...) for currents x (T, N, ...), starting at U = 0; gamma is a positive scalar tensor."""
    saves = torch.is_grad_enabled() and (x.requires_grad or gamma.requires_grad)
    if constants.memoryless and len(x) > 1:
        merged = x.flatten(0, 1).unsqueeze(0)
        return _MultiStep.apply(merged, gamma, constants, saves).squeeze(0).unflatten(0, x.shape[:2])
    return _MultiStep.apply(x, gamma, constants, saves)


class _MultiStep(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, gamma, k: Constants, saves: bool):
        order = _order(x)
        current = _rows(x, order)
        steps, count = current.shape
        spikes = torch.empty(current.shape, dtype=x.dtype, device=x.device)
        given = steps == 1 and k.gain == 1  # then U is the current itself
        membrane = current if given else torch.empty_like(spikes) if saves else None
        scale = _scale(gamma)
        half = 0.5 if k.rounds else 0.0
        for part in _parts(current):
            u = level = None
            for t in range(steps):
                out = None if membrane is None else membrane[t, part]
                c = current[t, part] if k.gain == 1 else current[t, part] * k.gain
                if t:
                    u = _next(k, u, level, c, spikes[t - 1, part], out)
                elif given or not saves:
                    u = c
                else:
                    u = out.copy_(c)
                level = u / scale
                if half:
                    level += half
                level.floor_().clamp_(0, k.levels)
                torch.mul(level, scale, out=spikes[t, part])
        if saves:
            ctx.save_for_backward(membrane, spikes, gamma)
            ctx.constants, ctx.order = k, order
        return _unrows(spikes, x.shape, order)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        membrane, spikes, gamma = ctx.saved_tensors
        k, order, steps = ctx.constants, ctx.order, len(membrane)
        given = _rows(grad, order)
        result = torch.empty_like(membrane)
        scale, sums = _scale(gamma), []
        for part in _parts(membrane):
            carry = None  # dL/dU of the step after, through the membrane
            for t in reversed(range(steps)):
                u, s, g = membrane[t, part], spikes[t, part], given[t, part]
                if carry is not None and k.style is Reset.SUBTRACT and not k.detach_reset:
                    g = torch.add(g, carry, alpha=-k.alpha)
                h = sg.slope(k.surrogate, u, scale, k.levels, k.rounds)
                if ctx.needs_input_grad[1]:
                    inner = h if k.gamma_gradient == "surrogate" else sg.inside(u, k.levels * scale)
                    sums.append(torch.dot(g, torch.addcmul(s, inner, u, value=-1)))
                out = torch.mul(g, h, out=result[t, part])
                if carry is not None:
                    out += carry
                if t:
                    carry = _before(k, out, spikes[t - 1, part], scale)
                if k.gain != 1:
                    out *= k.gain
        grad_gamma = (torch.stack(sums).sum() * (k.scale / scale)).reshape(gamma.shape) if sums else None
        return _unrows(result, grad.shape, order), grad_gamma, None, None


def _next(k, u, level, c, s, out):
    """Return U of the next step, from U and S of this one; overwrites `level`."""
    if k.style is Reset.SUBTRACT:
        return torch.add(c, torch.add(u, s, alpha=-k.alpha), alpha=k.beta, out=out)
    fired = level.clamp_(max=1)
    if k.style is Reset.GATE_MEMBRANE:
        return torch.add(c, torch.addcmul(u, u, fired, value=-k.alpha), alpha=k.beta, out=out)
    u = torch.add(c, u, alpha=k.beta, out=out)
    return u.addcmul_(u, fired, value=-k.alpha)


def _before(k, out, s, scale):
    """Return dL/dU of the step before, through the membrane, from dL/dU of this one; gate_sum: makes `out` dL/dI."""
    if k.style is Reset.SUBTRACT:
        return out * k.beta
    fired = s / scale
    fired.clamp_(max=1)
    if k.style is Reset.GATE_MEMBRANE:
        return torch.addcmul(out, out, fired, value=-k.alpha).mul_(k.beta)
    out.addcmul_(out, fired, value=-k.alpha)
    return out * k.beta


def _scale(gamma):
    # reading a number from a GPU would wait for it
    return float(gamma) if gamma.device.type == "cpu" else gamma.detach()


def _parts(rows):
    """Yield the slices of the second axis; other devices than the processor take all at once."""
    count = rows.shape[1]
    size = CHUNK * torch.get_num_threads() if rows.device.type == "cpu" else count
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def _order(x) -> list[int]:
    """Return the axes behind the first one as they lie in memory, outermost first (channels may come last)."""
    return sorted(range(1, x.dim()), key=lambda axis: -x.stride(axis))


def _rows(x, order):
    """Return x (T, ...) as (T, M): a view, where the elements of a step lie together."""
    return x.permute(0, *order).flatten(1)


def _unrows(rows, shape, order):
    """Return rows (T, M) in the shape and the order of axes that they were made from."""
    back = [0] * len(shape)
    for place, axis in enumerate(order, 1):
        back[axis] = place
    return rows.view(shape[0], *(shape[axis] for axis in order)).permute(back)
