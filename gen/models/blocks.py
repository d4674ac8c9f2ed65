"""What the networks are made of: a frame around a body of layers, and the residual block."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Callable

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

SHORTCUTS = ("average", "strided")


@dataclasses.dataclass(frozen=True)
class Task:
    """What a network is for; see `models.build` for the fields. Raises ValueError."""

    shape: tuple[int, int, int]
    classes: int
    T: int
    neuron: Callable[[], nn.Module]
    input_scale: float | tuple[float, ...] | None = None
    mean: float | tuple[float, ...] = 0.0
    bits: int = 8
    static: bool = True

    def __post_init__(self):
        shape = tuple(self.shape)
        if len(shape) != 3 or not all(isinstance(n, int) and n >= 1 for n in shape):
            raise ValueError(f"shape is {self.shape!r}, allowed are three positive integers (C, H, W)")
        object.__setattr__(self, "shape", shape)
        for name in ("classes", "T"):
            value = getattr(self, name)
            if not (isinstance(value, int) and value >= 1):
                raise ValueError(f"{name} is {value!r}, allowed is an integer of 1 or more")
        if not callable(self.neuron):
            raise ValueError(f"neuron is {self.neuron!r}, allowed is a function that makes one layer of neurons, as "
                             "methods.neuron('qblif') returns it")

    def scaling(self) -> InputScale:
        """Return the first layer."""
        scale = 1 / (2**self.bits - 1) if self.input_scale is None else self.input_scale
        return InputScale(scale, self.mean, self.bits, steps=not self.static)

    def divides(self, name: str, factor: int):
        """Raise ValueError where height or width are not multiples of `factor`, by which `name` divides them."""
        _, h, w = self.shape
        if h % factor or w % factor:
            raise ValueError(f"{name} takes heights and widths that are multiples of {factor}, found is {h}x{w}: pad "
                             "or crop the input, or choose another network")


class Classifier(nn.Module):
    """InputScale, first layer, Repeat where the input is still, neurons, body, global average, linear, mean over T.

    first: without neurons, so that the current of a still image is computed once
    body: on (T, N, C, H, W), with its own neurons; features: of its output, channels, or with `pool=False` all of them
    """

    def __init__(self, task: Task, first: nn.Module, body: nn.Module, features: int, pool: bool = True,
                 dropout: float = 0.0):
        super().__init__()
        self.scale = task.scaling()
        self.first = first
        self.repeat = Repeat(task.T) if task.static else nn.Identity()
        self.neuron = task.neuron()
        self.body = body
        self.pool = AdaptiveAvgPool2d(1) if pool else nn.Identity()
        self.flatten = Flatten() if pool else nn.Identity()
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self.readout = QLinear(features, task.classes)
        self.mean = MeanOverTime()

    def forward(self, x):
        """Return logits (N, K) for integers (N, C, H, W), or (T, N, C, H, W) of event frames."""
        x = self.neuron(self.repeat(self.first(self.scale(x))))
        return self.mean(self.readout(self.dropout(self.flatten(self.pool(self.body(x))))))


def conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Return a convolution that keeps sizes (before its stride), without bias, and its BatchNorm."""
    return nn.Sequential(OrderedDict(
        conv=QConv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False),
        norm=BatchNorm2d(outputs)))


class ResidualBlock(nn.Module):
    """conv3x3, BN, neuron, conv3x3, BN, + shortcut, neuron.

    The shortcut is the identity, or where the resolution or the channels change a 1x1 convolution with BN: of the
    average over `stride` positions ("average"), or with that stride ("strided"). The last BN of the branch starts at
    0, so that the block starts as its shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int, neuron, shortcut: str = "average"):
        super().__init__()
        if shortcut not in SHORTCUTS:
            raise ValueError(f"shortcut is {shortcut!r}, allowed are {', '.join(SHORTCUTS)}")
        self.conv1 = QConv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.norm1 = BatchNorm2d(outputs)
        self.neuron1 = neuron()
        self.conv2 = QConv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = BatchNorm2d(outputs)
        nn.init.zeros_(self.norm2.weight)
        if stride == 1 and inputs == outputs:
            self.shortcut = nn.Identity()
        elif shortcut == "average":
            self.shortcut = nn.Sequential(AvgPool2d(stride), QConv2d(inputs, outputs, 1, bias=False),
                                          BatchNorm2d(outputs))
        else:
            self.shortcut = nn.Sequential(QConv2d(inputs, outputs, 1, stride=stride, bias=False), BatchNorm2d(outputs))
        self.neuron2 = neuron()

    def forward(self, x):
        """Return levels times gamma, (T, N, C, H, W)."""
        y = self.norm2(self.conv2(self.neuron1(self.norm1(self.conv1(x)))))
        return self.neuron2(y + self.shortcut(x))
