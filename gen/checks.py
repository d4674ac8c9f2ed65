"""What a module must be like to be folded, layer by layer: each problem says what was found and what to do instead."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from qblif.gen.layers import Add, Flatten, InputScale, MeanOverTime, Repeat
from qblif.gen.network import Reset
from qblif.gen.neuron import QBLIF, SpikingNeuron, power_of_two

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d)
MAX_POOLS = (nn.MaxPool1d, nn.MaxPool2d)
AVERAGE_POOLS = (nn.AvgPool1d, nn.AvgPool2d)
ADAPTIVE_POOLS = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
FLATTENS = (Flatten, nn.Flatten)
IDENTITIES = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d)

KNOWN = (*CONVOLUTIONS, *MAX_POOLS, *AVERAGE_POOLS, *ADAPTIVE_POOLS, *NORMS, *FLATTENS, *IDENTITIES, nn.Linear,
         SpikingNeuron, Add, InputScale, MeanOverTime, Repeat)
"""Module classes (and their subclasses) that are understood."""

_SUPPORTED = ("supported are QConv1d/2d, QLinear, BatchNorm1d/2d, QBLIF, LIF, ILIF, MaxPool, AvgPool, AdaptiveAvgPool, "
              "Flatten, Repeat, MeanOverTime, Add and InputScale")

ADVICE = {
    "ConvTranspose": "use a QConv2d at the lower resolution; there is no upsampling",
    "Conv3d": "use QConv2d; time is the axis T, not part of the kernel",
    "GroupNorm": "use BatchNorm2d, which folds into the weights",
    "LayerNorm": "use BatchNorm2d, which folds into the weights",
    "InstanceNorm": "use BatchNorm2d, which folds into the weights",
    "BatchNorm3d": "use BatchNorm2d on (T, N, C, H, W)",
    "SyncBatchNorm": "use BatchNorm2d (or convert before folding)",
    "LIFNode": "use qblif.gen.LIF, which takes the same arguments",
    "IFNode": "use qblif.gen.QBLIF(levels=1, beta=1, alpha=1)",
    "LPPool": "use AvgPool2d or MaxPool2d",
    "AdaptiveMaxPool": "use MaxPool2d with a fixed kernel",
    "FractionalMaxPool": "use MaxPool2d with a fixed kernel",
    "Upsample": "there is no upsampling: keep the lower resolution",
    "Pad": "use the `padding` of the convolution",
    "Embedding": "feed levels, not indices",
    "MultiheadAttention": "attention is not supported",
    "Softmax": "leave it out: the logits' order is all that counts on the board",
    "Sigmoid": "use QBLIF",
}
_ACTIVATIONS = ("ReLU", "ReLU6", "LeakyReLU", "GELU", "SiLU", "ELU", "SELU", "Tanh", "Hardtanh", "Hardswish", "PReLU",
                "Mish", "Softplus", "CELU", "GLU", "relu", "gelu", "silu", "tanh", "sigmoid", "relu_", "leaky_relu")
_FUNCTIONS = {
    **dict.fromkeys(("cat", "concat", "concatenate", "hstack"), "give each part a convolution of its own and add: "
                    "conv(cat(a, b)) is the same as conv_a(a) + conv_b(b)"),
    "stack": "the layers of qblif.gen take all steps at once, (T, N, ...): no loop over time is needed",
    **dict.fromkeys(("mul", "truediv", "div"), "put the factor into the weights, into BatchNorm or, for the input, "
                    "into InputScale"),
    "sub": "add, and let the weights of one term be negative",
    **{name: f"use the layer {layer}" for name, layer in {
        "conv1d": "QConv1d", "conv2d": "QConv2d", "linear": "QLinear", "batch_norm": "BatchNorm2d",
        "max_pool1d": "MaxPool1d", "max_pool2d": "MaxPool2d", "avg_pool1d": "AvgPool1d", "avg_pool2d": "AvgPool2d",
        "adaptive_avg_pool1d": "AdaptiveAvgPool1d", "adaptive_avg_pool2d": "AdaptiveAvgPool2d",
        "dropout": "nn.Dropout"}.items()},
}
"""Advice on functions, by their full names; parts of the names in ADVICE do."""

ADVICE |= dict.fromkeys(_ACTIVATIONS, "use QBLIF: at T = 1 it is an unsigned quantised activation with learned step")


def advice(kind: str) -> str:
    """Return what to do instead of a layer or function named `kind`."""
    if kind in _FUNCTIONS or kind in ADVICE:
        return _FUNCTIONS.get(kind) or ADVICE[kind]
    return next((text for part, text in ADVICE.items() if part in kind and part not in _ACTIVATIONS), _SUPPORTED)


def module_problems(module: nn.Module) -> Iterator[str]:
    """Yield what is wrong with one layer by itself."""
    if not isinstance(module, KNOWN):
        kind = type(module).__name__
        yield f"{kind} is not supported: {advice(kind)}"
        return
    if getattr(module, "unfoldable", None):
        yield f"{type(module).__name__} cannot be folded: {module.unfoldable}"
        return
    yield from _numbers(module)
    yield from _overridden(module)
    if isinstance(module, CONVOLUTIONS):
        yield from _convolution(module)
    elif isinstance(module, MAX_POOLS + AVERAGE_POOLS):
        yield from _pool(module)
    elif isinstance(module, _BatchNorm) and module.running_mean is None:
        yield ("BatchNorm has no running statistics (track_running_stats=False), so it cannot be folded: train with "
               "track_running_stats=True")
    elif isinstance(module, QBLIF):
        yield from _neuron(module)


def _numbers(module) -> Iterator[str]:
    for name, value in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
        if nn.parameter.is_lazy(value):
            yield f"{name} has no values yet: run the module once, or give the sizes"
        elif value.is_floating_point() and not torch.isfinite(value).all():
            count = int((~torch.isfinite(value)).sum())
            yield f"{name} has {count} NaN or infinite value(s) of {value.numel()}: the training has diverged"
    if isinstance(module, _BatchNorm) and module.running_var is not None and (module.running_var < 0).any():
        yield "running_var has negative values: the file or the training is broken"


def _overridden(module) -> Iterator[str]:
    owner = next(c for c in type(module).__mro__ if "forward" in vars(c))
    if "forward" in vars(module) or owner.__module__.partition(".")[0] not in ("torch", "qblif", "spikingjelly"):
        known = next(c for c in type(module).__mro__ if c.__module__.startswith(("torch.nn", "qblif")))
        yield (f"{type(module).__name__} has a forward of its own, while fold would take it for a plain "
               f"{known.__name__}: put what it does into the weights or into layers beside a plain {known.__name__}")


def _convolution(conv) -> Iterator[str]:
    if conv.groups != 1:
        yield f"groups is {conv.groups}, allowed is 1: use a dense convolution"
    if any(d != 1 for d in conv.dilation):
        yield f"dilation is {conv.dilation}, allowed is 1: use a larger kernel or a stride"
    if conv.padding_mode != "zeros":
        yield f"padding_mode is {conv.padding_mode!r}, allowed is 'zeros'"
    if conv.padding == "same" and any(k % 2 == 0 for k in conv.kernel_size):
        yield f"padding 'same' with the even kernel {conv.kernel_size} is lopsided: use an odd kernel or give numbers"
    elif any(p >= k for p, k in zip(conv_padding(conv), conv.kernel_size, strict=True)):
        yield f"padding is {conv.padding}, allowed is less than the kernel, {conv.kernel_size}"


def conv_padding(conv) -> tuple[int, ...]:
    """Return the padding of a convolution per axis, words made numbers."""
    if conv.padding == "same":
        return tuple((k - 1) // 2 for k in conv.kernel_size)
    return tuple(0 for _ in conv.kernel_size) if conv.padding == "valid" else tuple(conv.padding)


def _pool(pool) -> Iterator[str]:
    if pool.ceil_mode:
        yield "ceil_mode is True, allowed is False: pad or crop the input so that the window fits"
    if isinstance(pool, MAX_POOLS):
        if pool.dilation not in (1, (1, 1), (1,)):
            yield f"dilation is {pool.dilation}, allowed is 1"
        if pool.return_indices:
            yield "return_indices is True, allowed is False"
    else:
        if pool.padding not in (0, (0,), (0, 0)):
            yield f"padding is {pool.padding}, allowed for average pooling is 0: use an unpadded window"
        if getattr(pool, "divisor_override", None):
            yield f"divisor_override is {pool.divisor_override}, allowed is None"


def _neuron(neuron) -> Iterator[str]:
    gamma = float(neuron.gamma.detach())
    if not gamma > 0:
        yield f"gamma is {gamma:g}, it has to be positive"
    if neuron.step_mode != "m":
        yield "step_mode is 's', allowed is 'm': call set_step_mode(module, 'm') and give the input as (T, N, ...)"
    try:
        power_of_two(neuron.beta)
    except ValueError as e:
        yield f"beta = {e}: tau = 1, 4/3, 8/7, 2 and infinity are exact"
    what = "alpha" if neuron.reset_style is Reset.SUBTRACT else "1 - alpha"
    try:
        power_of_two(reset_factor(neuron))
    except ValueError as e:
        yield f"{what} = {e}"


def reset_factor(neuron: QBLIF) -> float:
    """Return what the reset multiplies by: 1 - alpha for the gate styles, alpha for subtract."""
    return neuron.alpha if neuron.reset_style is Reset.SUBTRACT else 1 - neuron.alpha


def structure_problems(module: nn.Module) -> Iterator[str]:
    """Yield what is wrong with the module as a whole."""
    training = [name or "the module" for name, m in module.named_modules() if m.training]
    if training:
        more = f" and {len(training) - 3} more" if len(training) > 3 else ""
        yield f"{', '.join(training[:3])}{more}: in training mode; call .eval() first"
