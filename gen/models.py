"""Networks that come with the package."""

from __future__ import annotations

from torch import nn

from qblif.gen.layers import (
    AdaptiveAvgPool2d,
    AvgPool2d,
    BatchNorm2d,
    Flatten,
    InputScale,
    MeanOverTime,
    QConv2d,
    QLinear,
    Repeat,
)
from qblif.gen.neuron import QBLIF


class ResidualBlock(nn.Module):
    """conv3x3, BN, neuron, conv3x3, BN, + shortcut, neuron.

    The shortcut is the identity, or where the resolution or the channels change an average over `stride` positions and
    a 1x1 convolution with BN. The last BN of the branch starts at 0, so that the block starts as its shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int, neuron):
        super().__init__()
        self.conv1 = QConv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.norm1 = BatchNorm2d(outputs)
        self.neuron1 = neuron()
        self.conv2 = QConv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = BatchNorm2d(outputs)
        nn.init.zeros_(self.norm2.weight)
        if stride == 1 and inputs == outputs:
            self.shortcut = nn.Identity()
        else:
            self.shortcut = nn.Sequential(AvgPool2d(stride), QConv2d(inputs, outputs, 1, bias=False),
                                          BatchNorm2d(outputs))
        self.neuron2 = neuron()

    def forward(self, x):
        """Return levels times gamma, (T, N, C, H, W)."""
        y = self.norm2(self.conv2(self.neuron1(self.norm1(self.conv1(x)))))
        return self.neuron2(y + self.shortcut(x))


class DigitsNet(nn.Module):
    """The digits network: see `digits_net`."""

    def __init__(self, steps: int, levels: int, channels: tuple[int, int], classes: int = 10, **neuron):
        super().__init__()
        narrow, wide = channels

        def make():
            return QBLIF(levels, **neuron)

        self.scale = InputScale(1 / 16, bits=5)
        self.conv = QConv2d(1, narrow, 3, padding=1, bias=False)
        self.norm = BatchNorm2d(narrow)
        self.repeat = Repeat(steps)
        self.neuron = make()
        self.block1 = ResidualBlock(narrow, narrow, 1, make)
        self.block2 = ResidualBlock(narrow, wide, 2, make)
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
    return DigitsNet(T, levels, channels, **neuron)
