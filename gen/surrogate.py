"""The burst quantiser and its surrogate gradients.

Ref: Bai et al., "QB-LIF: Learnable-Scale Quantized Burst Neurons for Efficient SNNs", arXiv:2604.25688,
equations (9) and (12). LSQ: Esser et al., "Learned Step Size Quantization", ICLR 2020.

A surrogate is h(U) = dS/dU, a function of the membrane U, of the first and the last of the N thresholds, and
of gamma. A flooring neuron has its thresholds at gamma, 2 gamma, ... N gamma; a rounding one (I-LIF) half a gamma
lower.
"""

from __future__ import annotations

import math

import torch
from torch.autograd.function import once_differentiable

GAMMA_GRADIENTS = ("surrogate", "lsq")


def relsg_et(u, first, last, gamma):
    """ReLSG-ET, equation (12): exp(U - first) below the first threshold, 1 up to the last, exp(last - U) above."""
    return _tails(u, first, last)


def box_et(u, first, last, gamma):
    """Box-ET: 1 on [0, N gamma], exp(U) below, exp(N gamma - U) above.

    The paper names it without a formula; this is our reading: I-LIF's box with exponential tails."""
    return _tails(u, 0 * gamma, last + (gamma - first))


def arctan(u, first, last, gamma):
    """Arctangent surrogate of binary neurons around the first threshold (slope 2, peak 1)."""
    return (u - first).mul_(math.pi).square_().add_(1).reciprocal_()


def sigmoid(u, first, last, gamma):
    """Derivative of a logistic function around the first threshold (slope 4, peak 1)."""
    s = torch.sigmoid(4 * (u - first))
    return 4 * s * (1 - s)


def rectangular(u, first, last, gamma):
    """1 from half a unit below the first threshold to half a unit above the last, else 0.

    For N = 1 this is STBP's window of width 1; for a rounding neuron with gamma = 1 it is I-LIF's, [0, N]."""
    return _within(u, first - 0.5, last + 0.5)


def clipped(u, first, last, gamma):
    """1 on [0, N gamma], else 0: the straight-through gradient of a clipped quantiser, as in LSQ."""
    return _within(u, 0, last + (gamma - first))


def _tails(u, low, high):
    """Return exp(-d), d the distance of u from the interval [low, high]."""
    # exp2, since torch's exp takes three times as long on processors
    return torch.clamp(u, low, high).sub_(u).abs_().mul_(-1 / math.log(2)).exp2_()


def _within(u, low, high):
    """Return 1 where low <= u <= high, else 0, in the type of u."""
    # results of type bool are not vectorised on processors
    above, below = torch.empty_like(u), torch.empty_like(u)
    return torch.ge(u, low, out=above).mul_(torch.le(u, high, out=below))


SURROGATES = {f.__name__: f for f in (relsg_et, box_et, arctan, sigmoid, rectangular, clipped)}


def slope(name: str, u, gamma, levels: int, rounds: bool = False):
    """Return h(U) of the named surrogate, elementwise, without a gradient of its own.

    gamma: positive, a number or a tensor that broadcasts."""
    half = 0.5 if rounds else 0.0
    return SURROGATES[name](u, gamma * (1 - half), gamma * (levels - half), gamma)


def inside(u, top):
    """Return 1 where 0 < u < top, else 0, in the type of u."""
    above, below = torch.empty_like(u), torch.empty_like(u)
    return torch.gt(u, 0, out=above).mul_(torch.lt(u, top, out=below))


def reaches(s, top):
    """Return 1 where s >= top, else 0, in the type of s."""
    return torch.ge(s, top, out=torch.empty_like(s))


class Burst(torch.autograd.Function):
    """S = gamma * clip(floor(U / gamma + h), 0, N), h = 1/2 for a rounding neuron, else 0: equation (9).

    Backward: dS/dU = h(U) of the surrogate. dS/dgamma = S~ - h(U) U / gamma, or LSQ's own with
    `gamma_gradient="lsq"` (S~ - U / gamma between 0 and N gamma; 0 below, N above), times `scale`.
    dS/dN = gamma where the neuron saturates (S~ = N): what one level less would take away, times `scale`.
    """

    @staticmethod
    def forward(ctx, u, gamma, learned, levels, rounds, surrogate, gamma_gradient, scale):
        """Return S, of the shape of `u`; `gamma` is a positive scalar tensor.

        levels: N; learned: the scalar tensor that gets N's gradient, None: N is fixed"""
        level = torch.floor(u / gamma + (0.5 if rounds else 0.0)).clamp(0, levels)
        ctx.save_for_backward(u, gamma, level)
        ctx.options = levels, rounds, surrogate, gamma_gradient, scale
        return gamma * level

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        """Return the gradients of U, of gamma and of N."""
        u, gamma, level = ctx.saved_tensors
        levels, rounds, surrogate, gamma_gradient, scale = ctx.options
        h = slope(surrogate, u, gamma, levels, rounds)
        grad_gamma = grad_levels = None
        if ctx.needs_input_grad[1]:
            inner = h if gamma_gradient == "surrogate" else inside(u, levels * gamma)
            grad_gamma = (grad * (level - inner * u / gamma)).sum().reshape(gamma.shape) * scale
        if ctx.needs_input_grad[2]:
            grad_levels = (grad * reaches(level, levels)).sum().reshape(gamma.shape) * (gamma * scale)
        return grad * h, grad_gamma, grad_levels, None, None, None, None, None


class _Fire(torch.autograd.Function):
    @staticmethod
    def forward(ctx, u, threshold, surrogate):
        ctx.save_for_backward(u, threshold)
        ctx.surrogate = surrogate
        return (u >= threshold).to(u.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        u, threshold = ctx.saved_tensors
        return grad * slope(ctx.surrogate, u, threshold, 1), None, None


def fire(u, threshold, surrogate: str):
    """Return 1 where u reaches its threshold (a tensor that broadcasts), else 0, with the surrogate's gradient."""
    return _Fire.apply(u, threshold, surrogate)


class _Round(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return torch.round(x)

    @staticmethod
    def backward(ctx, grad):
        return grad


class _ScaleGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, factor):
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx, grad):
        return grad * ctx.factor, None


def round_(x):
    """Round to nearest, ties to even, with a straight-through gradient."""
    return _Round.apply(x)


def scale_gradient(x, factor: float):
    """Return x unchanged; its gradient is multiplied by `factor`."""
    return _ScaleGradient.apply(x, factor)
