"""The fused time steps of integer neurons against one step after the other, in double precision."""

import itertools

import pytest
import torch

from qblif.gen import multistep
from qblif.gen import surrogate as sg
from qblif.gen.integer_steps import Shifts, integer_steps
from qblif.gen.network import Reset

SHAPE = (3, 4, 3, 2)
"""N, C, H, W"""
GAMMA = 0.7


class IntegerBurst(torch.autograd.Function):
    """S~ = clip((v + h) >> f, 0, N) on integers held in a floating-point tensor.

    `unit` is 2**f, broadcast over `v`. Backward: dS~/dv = h(gamma v / 2**f) / 2**f; the gradient of gamma comes
    through the folded weights."""

    @staticmethod
    def forward(ctx, v, unit, gamma, levels, rounds, surrogate):
        ctx.save_for_backward(v, unit, gamma)
        ctx.options = levels, rounds, surrogate
        # h = 2**(f-1), and 0 where f = 0: an integer either way
        return torch.floor((v + torch.floor(unit / 2) if rounds else v) / unit).clamp(0, levels)

    @staticmethod
    def backward(ctx, grad):
        v, unit, gamma = ctx.saved_tensors
        levels, rounds, surrogate = ctx.options
        return grad * sg.slope(surrogate, gamma * v / unit, gamma, levels, rounds) / unit, None, None, None, None, None


class _Floor(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return torch.floor(x)

    @staticmethod
    def backward(ctx, grad):
        return grad


def shift(x, factor):
    return _Floor.apply(x * factor)


def stepped(current, unit, k, steps):
    """Return levels and membranes, one step after the other, by docs/numerics.md."""
    v = s = None
    levels, membranes = [], []
    for t in range(steps):
        c = current[t if len(current) > 1 else 0]
        if v is None:
            v = c
        elif k.style is Reset.SUBTRACT:
            drop = (s.detach() if k.detach_reset else s) * unit
            v = shift(v - shift(drop, k.reset), k.decay) + c
        elif k.style is Reset.GATE_MEMBRANE:
            v = shift(torch.where(s > 0, shift(v, k.reset), v), k.decay) + c
        else:
            a = shift(v, k.decay) + c
            v = torch.where(s > 0, shift(a, k.reset), a)
        s = IntegerBurst.apply(v, unit, torch.tensor(GAMMA, dtype=v.dtype), k.levels, k.rounds, k.surrogate)
        levels.append(s)
        membranes.append(v)
    return torch.stack(levels), torch.stack(membranes)


def currents(steps, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(-300, 700, (steps, *SHAPE), generator=generator).to(dtype)


UNIT = torch.tensor([1.0, 8.0, 64.0, 128.0], dtype=torch.float64).reshape(-1, 1, 1)
"""f = 0 too, where rounding adds nothing."""


def compare(x, k, steps):
    weight = torch.randn(steps, *SHAPE, generator=torch.Generator().manual_seed(1)).double()  # levels are float32
    results = []
    for fused in (True, False):
        c = x.clone(memory_format=torch.preserve_format).requires_grad_()
        unit = UNIT.to(x.dtype)
        s, v = integer_steps(c, unit, GAMMA, k, steps, keep=True) if fused else stepped(c, unit, k, steps)
        (s * weight).sum().backward()
        results.append((s.detach().double(), v.detach(), c.grad))
    assert torch.equal(results[0][0], results[1][0]) and torch.equal(results[0][1], results[1][1])
    torch.testing.assert_close(results[0][2], results[1][2], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("style", Reset)
@pytest.mark.parametrize(("given", "steps"), [(1, 1), (4, 4), (1, 3)])
def test_integers_and_gradients_equal_those_of_single_steps(style, given, steps):
    for decay, reset, rounds, detach in itertools.product((0.0, 0.5, 1.0), (0.0, 0.25, 1.0), (False, True),
                                                          (False, True) if style is Reset.SUBTRACT else (False,)):
        compare(currents(given), Shifts(5, decay, reset, style, rounds, "relsg_et", detach), steps)


@pytest.mark.parametrize("surrogate", sorted(sg.SURROGATES))
def test_every_surrogate(surrogate):
    compare(currents(2), Shifts(20, 0.5, 0.5, Reset.GATE_SUM, False, surrogate, False), 2)


def test_chunks_and_the_order_in_memory_make_no_difference(monkeypatch):
    k = Shifts(5, 0.5, 0.5, Reset.GATE_SUM, True, "box_et", False)
    x = currents(3).flatten(0, 1).to(memory_format=torch.channels_last).unflatten(0, (3, SHAPE[0]))
    compare(x, k, 3)
    s, _ = integer_steps(x, UNIT, GAMMA, k, 3)
    assert s.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)
    monkeypatch.setattr(multistep, "CHUNK", 1)
    compare(x, k, 3)


def test_levels_are_float32_and_membranes_of_the_type_that_is_exact():
    k = Shifts(5, 0.5, 0.5, Reset.GATE_SUM, False, "relsg_et", False)
    for dtype in (torch.float32, torch.float64):
        s, v = integer_steps(currents(2, dtype), UNIT.to(dtype), GAMMA, k, 2, keep=True)
        assert (s.dtype, v.dtype) == (torch.float32, dtype)
    assert len(integer_steps(currents(2), UNIT, GAMMA, k, 2)[1]) == 0
