"""All time steps of a layer of integer neurons in one autograd function, for the quantised phase of training.

The integers are held in a floating-point tensor that represents them exactly. As in gen/multistep.py, chunks of samples
go through all steps while they are in the cache, and the membrane is computed again in the backward pass.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.autograd.function import once_differentiable

from qblif.gen import multistep
from qblif.gen import surrogate as sg
from qblif.gen.network import Reset


class Shifts(NamedTuple):
    """Constants of integer neurons: docs/numerics.md, "In integers".

    decay, reset: factors 0, 1 or 2**-k; reset is what stays after firing, for `subtract` what is subtracted
    """

    levels: int
    decay: float
    reset: float
    style: Reset
    rounds: bool
    surrogate: str
    detach_reset: bool


def integer_steps(current, unit, gamma, shifts: Shifts, steps: int, keep: bool = False):
    """Return levels s~ (T, N, C, H, W), float32, and membranes v, of the type of `current`, which carry no gradient.

    current: c, (T, N, C, H, W), or (1, ...) where it is the same in all `steps`; unit: 2**f, (C, 1, 1)
    Every shift is floored in the forward pass, and straight through backward; ds~/dv = h(gamma v / 2**f) / 2**f. gamma
    gets no gradient here: it acts through weights and biases. Membranes are empty without `keep`.
    """
    return _IntegerSteps.apply(current, unit, float(gamma), shifts, steps, keep,
                               torch.is_grad_enabled() and current.requires_grad)


class _IntegerSteps(torch.autograd.Function):
    @staticmethod
    def forward(ctx, current, unit, gamma, k: Shifts, steps, keep, learns):
        levels = _empty(current, steps, torch.float32)
        membranes = _empty(current, steps if keep else 0, current.dtype)
        small, half = 1 / unit, torch.floor(unit / 2) / unit  # half is 0 where f is 0
        for part in _parts(current, steps):
            v = s = None
            for t in range(steps):
                v = _membrane(k, v, s, unit, current[min(t, len(current) - 1), part])
                s = v * small
                if k.rounds:
                    s += half
                s.floor_().clamp_(0, k.levels)
                levels[t, part] = s
                if keep:
                    membranes[t, part] = v
        ctx.mark_non_differentiable(membranes)
        if learns:
            ctx.save_for_backward(current, levels, unit)
            ctx.constants = gamma, k
        return levels, membranes

    @staticmethod
    @once_differentiable
    def backward(ctx, grad, _):
        current, levels, unit = ctx.saved_tensors
        gamma, k = ctx.constants
        steps = len(levels)
        result = _empty(current, len(current), current.dtype)
        small = 1 / unit
        scale = gamma * small
        for part in _parts(current, steps):
            membranes, v = [], None
            for t in range(steps):
                s = levels[t - 1, part].to(current.dtype)
                v = _membrane(k, v, s, unit, current[min(t, len(current) - 1), part])
                membranes.append(v)
            carry = total = None  # carry: dL/dv of the step after, through the membrane
            for t in reversed(range(steps)):
                g = grad[t, part].to(current.dtype)
                if carry is not None and k.style is Reset.SUBTRACT and not k.detach_reset:
                    g = g - carry * (unit * k.reset)
                out = sg.slope(k.surrogate, membranes[t] * scale, gamma, k.levels, k.rounds).mul_(g).mul_(small)
                if carry is not None:
                    out += carry
                carry = _before(k, out, levels[t - 1, part]) if t else None
                if len(current) == steps:
                    result[t, part] = out
                else:
                    total = out if total is None else total.add_(out)
            if total is not None:
                result[0, part] = total
        return result, None, None, None, None, None, None


def _membrane(k, v, s, unit, c):
    """Return v of a step, from v and s~ of the one before (v = None: there is none)."""
    if v is None:
        return c
    if k.style is Reset.SUBTRACT:
        return (v - (s * (unit * k.reset)).floor_()).mul_(k.decay).floor_().add_(c)
    fired = multistep.positive(s)
    if k.style is Reset.GATE_MEMBRANE:
        return _reset(k, v, fired).mul_(k.decay).floor_().add_(c)
    return _reset(k, (v * k.decay).floor_().add_(c), fired)


def _reset(k, v, fired):
    return torch.addcmul(v, (v * k.reset).floor_().sub_(v), fired)


def _before(k, out, s):
    """Return dL/dv of the step before, through the membrane, from dL/dv of this one; gate_sum: makes `out` dL/dc."""
    if k.style is Reset.SUBTRACT:
        return out * k.decay
    fired = multistep.positive(s.to(out.dtype))
    if k.style is Reset.GATE_MEMBRANE:
        return torch.addcmul(out, out, fired, value=k.reset - 1).mul_(k.decay)
    out.addcmul_(out, fired, value=k.reset - 1)
    return out * k.decay


def _parts(current, steps):
    """Return slices of the samples; other devices than the processor take all at once."""
    count = current.shape[1]
    share = multistep.CHUNK * torch.get_num_threads() // max(1, steps * current[0, :1].numel())
    size = max(1, share) if current.device.type == "cpu" else count
    return [slice(start, start + size) for start in range(0, count, size)]


def _empty(like, steps, dtype):
    """Return a new tensor (steps, N, C, H, W) whose axes lie in memory as those of `like`."""
    order = multistep.order_of(like)
    rows = torch.empty(steps, like[0].numel(), dtype=dtype, device=like.device)
    return multistep.unrows(rows, (steps, *like.shape[1:]), order)
