"""Networks without shortcuts, for small boards: VGG-style and dense."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from qblif.gen.layers import AvgPool2d, BatchNorm1d, Flatten, MaxPool2d, QLinear
from qblif.gen.models.blocks import Classifier, Task, conv

POOLS = {"max": MaxPool2d, "average": AvgPool2d}


def vgg(task: Task, *, channels: Sequence[int] = (16, 32, 32, 64, 64), strides: Sequence[int] | None = None,
        pool: str = "stride", kernel: int = 3, dropout: float = 0.0) -> Classifier:
    """Return a stack of convolutions, each with BN and neurons, then global average and linear.

    channels: of each convolution; strides: of each, default 1, 2, 1, 2, 1, 2 ...
    pool: "stride": a convolution of stride s; "max" or "average": one of stride 1 whose levels are pooled s x s
    kernel: odd, of all convolutions; dropout: share of the features before the read-out that is dropped in training
    """
    strides = [1 + i % 2 for i in range(len(channels))] if strides is None else list(strides)
    if not channels or len(channels) != len(strides):
        raise ValueError(f"channels is {list(channels)} and strides is {strides}, allowed are lists of one length")
    if pool not in ("stride", *POOLS):
        raise ValueError(f"pool is {pool!r}, allowed are stride, {', '.join(POOLS)}")
    if kernel % 2 == 0:
        raise ValueError(f"kernel is {kernel}, allowed are odd numbers, so that the padding is even")
    body, first, inputs = OrderedDict(), None, task.shape[0]
    for number, (outputs, stride) in enumerate(zip(channels, strides, strict=True), 1):
        layer = conv(inputs, outputs, kernel, stride if pool == "stride" else 1)
        if first is None:
            first = layer
        else:
            body[f"conv{number}"] = layer
            body[f"neuron{number}"] = task.neuron()
        if stride > 1 and pool != "stride":
            body[f"pool{number}"] = POOLS[pool](stride)
        inputs = outputs
    return Classifier(task, first, nn.Sequential(body), inputs, dropout=dropout)


def mlp(task: Task, *, hidden: Sequence[int] = (256, 128), dropout: float = 0.0) -> Classifier:
    """Return dense layers, each with BN and neurons, then a linear read-out; hidden: neurons per layer."""
    if not hidden:
        raise ValueError("hidden is empty, allowed is one number of neurons per layer, one or more of them")
    c, h, w = task.shape
    first = nn.Sequential(Flatten(steps=not task.static), QLinear(c * h * w, hidden[0], bias=False),
                          BatchNorm1d(hidden[0]))
    body, inputs = OrderedDict(), hidden[0]
    for number, outputs in enumerate(hidden[1:], 2):
        body[f"dense{number}"] = nn.Sequential(QLinear(inputs, outputs, bias=False), BatchNorm1d(outputs))
        body[f"neuron{number}"] = task.neuron()
        inputs = outputs
    return Classifier(task, first, nn.Sequential(body), inputs, pool=False, dropout=dropout)
