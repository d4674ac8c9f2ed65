"""Layers that take (N, ...) and (T, N, ...) alike, and know the width of their weights.

Each is torch's own layer of the same name; with one more axis in front, the first one is time and the layer works
on every step alike. The Q in a name marks the layers whose weights get quantised.
"""

from __future__ import annotations

import torch
from torch import nn


class _Steps:
    """Makes a torch layer on (N, features...) accept (T, N, features...)."""

    _features: int
    """Number of feature axes: 3 for (C, H, W)."""

    def forward(self, x):
        if x.dim() == self._features + 2:
            return super().forward(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        if x.dim() != self._features + 1:
            axes = "C, H, W" if self._features == 3 else "C, L"
            raise ValueError(f"{type(self).__name__} got shape {tuple(x.shape)}, allowed are (N, {axes}) and "
                             f"(T, N, {axes})")
        return super().forward(x)


def _check_bits(bits):
    if bits not in range(2, 9):
        raise ValueError(f"weight_bits is {bits!r}, allowed is 2 to 8")
    return bits


class QConv2d(_Steps, nn.Conv2d):
    """torch's Conv2d on (N, C, H, W) or (T, N, C, H, W); `weight_bits` (2 to 8) is the width it is deployed with."""

    _features = 3

    def __init__(self, *args, weight_bits: int = 8, **kwargs):
        super().__init__(*args, **kwargs)
        self.weight_bits = _check_bits(weight_bits)


class QConv1d(_Steps, nn.Conv1d):
    """torch's Conv1d on (N, C, L) or (T, N, C, L); `weight_bits` (2 to 8) is the width it is deployed with."""

    _features = 2

    def __init__(self, *args, weight_bits: int = 8, **kwargs):
        super().__init__(*args, **kwargs)
        self.weight_bits = _check_bits(weight_bits)


class QLinear(nn.Linear):
    """torch's Linear on (N, F) or (T, N, F); `weight_bits` (2 to 8) is the width it is deployed with."""

    def __init__(self, *args, weight_bits: int = 8, **kwargs):
        super().__init__(*args, **kwargs)
        self.weight_bits = _check_bits(weight_bits)


class BatchNorm2d(_Steps, nn.BatchNorm2d):
    """torch's BatchNorm2d; statistics run over N, H, W and T."""

    _features = 3


class BatchNorm1d(nn.BatchNorm1d):
    """torch's BatchNorm1d on (T, N, C), (T, N, C, L) or (N, C); with step_mode="s" also on (N, C, L)."""

    def __init__(self, *args, step_mode: str = "m", **kwargs):
        super().__init__(*args, **kwargs)
        self.step_mode = step_mode

    def forward(self, x):
        """Return x normalised; three axes mean (T, N, C) in multi-step mode, (N, C, L) in single-step mode."""
        if x.dim() == 4 or (x.dim() == 3 and self.step_mode == "m"):
            return super().forward(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        return super().forward(x)


class MaxPool2d(_Steps, nn.MaxPool2d):
    """torch's MaxPool2d on (N, C, H, W) or (T, N, C, H, W); put it after the neurons."""

    _features = 3


class MaxPool1d(_Steps, nn.MaxPool1d):
    """torch's MaxPool1d on (N, C, L) or (T, N, C, L); put it after the neurons."""

    _features = 2


class AvgPool2d(_Steps, nn.AvgPool2d):
    """torch's AvgPool2d on (N, C, H, W) or (T, N, C, H, W); folds into the next convolution."""

    _features = 3


class AvgPool1d(_Steps, nn.AvgPool1d):
    """torch's AvgPool1d on (N, C, L) or (T, N, C, L); folds into the next convolution."""

    _features = 2


class AdaptiveAvgPool2d(_Steps, nn.AdaptiveAvgPool2d):
    """torch's AdaptiveAvgPool2d on (N, C, H, W) or (T, N, C, H, W); sizes have to divide."""

    _features = 3


class AdaptiveAvgPool1d(_Steps, nn.AdaptiveAvgPool1d):
    """torch's AdaptiveAvgPool1d on (N, C, L) or (T, N, C, L); sizes have to divide."""

    _features = 2


class Flatten(nn.Module):
    """(T, N, C, H, W) to (T, N, C H W). With `steps=False`: (N, C, ...) to (N, ...)."""

    def __init__(self, steps: bool = True):
        super().__init__()
        self.steps = steps

    def forward(self, x):
        """Return x with its feature axes merged, channel outermost."""
        return x.flatten(2 if self.steps else 1)


class Repeat(nn.Module):
    """(N, ...) to (T, N, ...): shows the same input, or the current computed from it, at each of `steps` steps.

    After the first convolution and BatchNorm it costs least: they are then computed once."""

    def __init__(self, steps: int):
        super().__init__()
        if not (isinstance(steps, int) and steps >= 1):
            raise ValueError(f"steps is {steps!r}, allowed is an integer of 1 or more")
        self.steps = steps

    def forward(self, x):
        """Return a view of x, repeated along a new first axis."""
        y = x.unsqueeze(0).expand(self.steps, *x.shape)
        y.repeated = x  # what reads all steps at once need not read the same thing T times, nor add up T gradients
        return y


class MeanOverTime(nn.Module):
    """(T, N, K) to (N, K): the read-out averages over the steps."""

    def forward(self, x):
        """Return the mean over the first axis."""
        return x.mean(0)


class Add(nn.Module):
    """The sum of its two inputs; the same as writing `a + b`."""

    def forward(self, a, b):
        """Return a + b."""
        return a + b


class SeqToBatch(nn.Sequential):
    """Runs torch's own layers, which know no time axis, on (T, N, ...) (SpikingJelly: SeqToANNContainer)."""

    def forward(self, x):
        """Return the layers' output on the merged (T N, ...) batch, with the axes separated again."""
        return super().forward(x.flatten(0, 1)).unflatten(0, x.shape[:2])


class InputScale(nn.Module):
    """(x - mean) * scale, the way from unsigned integers (pixels, event counts) to what the network is trained on.

    Folds into the first weights and biases. `scale` and `mean` are numbers or one number per channel, `mean` in
    integer units (0 to 255); `bits` is the width of the integers, 1 to 8. Where a padded convolution follows, the
    deployed network pads with round(mean): give whole means to make that exact. `steps`: True where the input is
    (T, N, C, ...), which matters for per-channel values (five axes are always taken as that).
    """

    def __init__(self, scale=1.0, mean=0.0, bits: int = 8, steps: bool = False):
        super().__init__()
        if bits not in range(1, 9):
            raise ValueError(f"bits is {bits!r}, allowed is 1 to 8")
        scale, mean = torch.as_tensor(scale, dtype=torch.float32), torch.as_tensor(mean, dtype=torch.float32)
        for name, value in (("scale", scale), ("mean", mean)):
            if value.dim() > 1 or not torch.isfinite(value).all():
                raise ValueError(f"{name} is {value.tolist()!r}, allowed is a finite number, or one per channel")
        if (mean < 0).any() or (mean > 2**bits - 1).any():
            raise ValueError(f"mean is {mean.tolist()!r}, allowed is 0 to {2**bits - 1} (integer units of the input)")
        self.bits, self.steps = bits, steps
        self.register_buffer("scale", scale)
        self.register_buffer("mean", mean)

    def forward(self, x):
        """Return the scaled input; x is (N, C, ...) or (T, N, C, ...), of integers or floats."""
        shape = [1] * x.dim()
        shape[2 if self.steps or x.dim() == 5 else 1] = -1
        return (x - self.mean.view(shape)) * self.scale.view(shape)
