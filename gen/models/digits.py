"""The network of `make sim`, for scikit-learn's handwritten digits."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from qblif.gen.layers import (
    AdaptiveAvgPool2d,
    BatchNorm2d,
    Flatten,
    InputScale,
    MeanOverTime,
    QConv2d,
    QLinear,
    Repeat,
)
from qblif.gen.models.blocks import ResidualBlock, Task
from qblif.gen.neuron import QBLIF


class DigitsNet(nn.Module):
    """The digits network: see `digits_net`."""

    def __init__(self, steps: int, channels: tuple[int, int], neuron: Callable[[], nn.Module],
                 scale: InputScale | None = None, inputs: int = 1, classes: int = 10):
        super().__init__()
        narrow, wide = channels
        self.scale = scale or InputScale(1 / 16, bits=5)
        self.conv = QConv2d(inputs, narrow, 3, padding=1, bias=False)
        self.norm = BatchNorm2d(narrow)
        self.repeat = Repeat(steps) if steps else nn.Identity()
        self.neuron = neuron()
        self.block1 = ResidualBlock(narrow, narrow, 1, neuron)
        self.block2 = ResidualBlock(narrow, wide, 2, neuron)
        self.pool = AdaptiveAvgPool2d(1)
        self.flatten = Flatten()
        self.readout = QLinear(wide, classes)
        self.mean = MeanOverTime()

    def forward(self, x):
        """Return logits (N, K) for images (N, 1, 8, 8) of integers 0..16."""
        x = self.neuron(self.repeat(self.norm(self.conv(self.scale(x)))))
        x = self.block2(self.block1(x))
        return self.mean(self.readout(self.flatten(self.pool(x))))


def digits_net(T: int = 2, levels: int = 20, channels: tuple[int, int] = (16, 32), **neuron) -> DigitsNet:
    """Return a small residual network for scikit-learn's digits: 8x8 pixels of 0 to 16, ten classes.

    conv3x3, a residual block at 8x8, one of stride 2 at 4x4, global average, linear, mean over T.

    T: time steps; levels: N; channels: at 8x8 and at 4x4; neuron: further arguments for QBLIF
    """
    return DigitsNet(T, channels, lambda: QBLIF(levels, **neuron))


def digits(task: Task, *, channels: tuple[int, int] = (16, 32)) -> DigitsNet:
    """Return the network of `make sim`: conv3x3, a residual block, one of stride 2, global average, linear.

    channels: at full and at half resolution. Height and width: even.
    """
    task.divides("digits", 2)
    return DigitsNet(task.T if task.static else 0, tuple(channels), task.neuron, task.scaling(), task.shape[0],
                     task.classes)
