"""The residual networks of the paper, as the public code that it cites builds them, and the classic narrow one.

Ref: docs/numerics.md, "The paper's networks". Convolutions have no bias; currents are added before the neuron.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from qblif.gen.layers import AvgPool2d, MaxPool2d
from qblif.gen.models.blocks import Classifier, ResidualBlock, Task, conv


def resnet20(task: Task, *, width: int = 64) -> Classifier:
    """Return the paper's ResNet-20 (that of DIET-SNN): 3 x [conv3x3 64] at full resolution, average pool 2, four
    stages of two blocks of 64, 128, 256, 512 channels (strides 1, 2, 2, 2), global average, linear.

    11.25 M parameters and 215.7 M multiply-accumulates per step at 32x32 with 10 classes. Height and width: multiples
    of 16. width: channels of the stem; the others follow it.
    """
    task.divides("resnet20", 16)
    body = OrderedDict()
    for index in (2, 3):
        body[f"stem{index}"] = conv(width, width)
        body[f"neuron{index}"] = task.neuron()
    body["pool"] = AvgPool2d(2)
    widths = (width, 2 * width, 4 * width, 8 * width)
    outputs = _stages(body, task, width, widths, (2, 2, 2, 2), (1, 2, 2, 2), "average")
    return Classifier(task, conv(task.shape[0], width), nn.Sequential(body), outputs)


def resnet19(task: Task, *, width: int = 128) -> Classifier:
    """Return ResNet-19 (that of tdBN): conv3x3 128, stages of 3, 3 and 2 blocks of 128, 256, 512 channels (strides 1,
    2, 2), 1x1 shortcuts of stride 2, global average, linear.

    12.57 M parameters with 10 classes. width: channels of the first stage; the others follow it.
    """
    body = OrderedDict()
    outputs = _stages(body, task, width, (width, 2 * width, 4 * width), (3, 3, 2), (1, 2, 2), "strided")
    return Classifier(task, conv(task.shape[0], width), nn.Sequential(body), outputs)


def resnet18(task: Task, *, width: int = 64) -> Classifier:
    """Return ResNet-18 for ImageNet: conv7x7 of stride 2, neuron, max pool 3 of stride 2, four stages of two blocks of
    64, 128, 256, 512 channels, 1x1 shortcuts of stride 2, global average, linear.

    11.69 M parameters with 1000 classes. The pool stands behind the neuron: there it is exact on levels, for any T.
    width: channels of the first stage; the others follow it.
    """
    return _imagenet(task, width, (2, 2, 2, 2))


def resnet34(task: Task, *, width: int = 64) -> Classifier:
    """Return ResNet-34 for ImageNet: as `resnet18`, with stages of 3, 4, 6 and 3 blocks.

    21.80 M parameters with 1000 classes."""
    return _imagenet(task, width, (3, 4, 6, 3))


def resnet20_classic(task: Task, *, widths: Sequence[int] = (16, 32, 64), blocks: Sequence[int] = (3, 3, 3),
                     shortcut: str = "average") -> Classifier:
    """Return the narrow ResNet-20 of He et al. for CIFAR: conv3x3, three stages of three blocks of 16, 32, 64 channels
    (stride 2 from the second on), global average, linear; 0.27 M parameters, for small boards.

    widths, blocks: per stage, any number of stages
    shortcut: where the resolution changes, "average" (average pool 2, conv1x1, BN; height and width have to be
        multiples of 4, or what the number of stages asks for) or "strided" (conv1x1 of stride 2, BN; any size)
    """
    if len(widths) != len(blocks) or not widths:
        raise ValueError(f"widths is {list(widths)} and blocks is {list(blocks)}, allowed are lists of one length, of "
                         "one number per stage")
    if shortcut == "average":
        task.divides("resnet20-classic with shortcut 'average'", 2 ** (len(widths) - 1))
    body = OrderedDict()
    outputs = _stages(body, task, widths[0], widths, blocks, (1, *[2] * (len(widths) - 1)), shortcut)
    return Classifier(task, conv(task.shape[0], widths[0]), nn.Sequential(body), outputs)


def _imagenet(task, width, blocks):
    body = OrderedDict(pool=MaxPool2d(3, stride=2, padding=1))
    outputs = _stages(body, task, width, (width, 2 * width, 4 * width, 8 * width), blocks, (1, 2, 2, 2), "strided")
    return Classifier(task, conv(task.shape[0], width, 7, stride=2), nn.Sequential(body), outputs)


def _stages(body, task, inputs, widths, blocks, strides, shortcut) -> int:
    """Append stages of residual blocks to `body`; return the channels of the last one."""
    number = 0
    for width, count, stride in zip(widths, blocks, strides, strict=True):
        for index in range(count):
            number += 1
            body[f"block{number}"] = ResidualBlock(inputs, width, stride if index == 0 else 1, task.neuron, shortcut)
            inputs = width
    return inputs
