"""Networks by name: the paper's, and small ones for boards.

    module = models.build("vgg", shape=(1, 28, 28), classes=10, T=1, neuron=methods.neuron("qblif", levels=15))

All of them scale the input, compute the first convolution and BatchNorm (once per still image), repeat its current T
times, and end in a linear read-out and the mean over time; all of them fold.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable

from torch import nn

from qblif.gen.models.blocks import ResidualBlock, Task
from qblif.gen.models.digits import DigitsNet, digits, digits_net
from qblif.gen.models.plain import mlp, vgg
from qblif.gen.models.resnet import resnet18, resnet19, resnet20, resnet20_classic, resnet34
from qblif.gen.neuron import QBLIF
from qblif.gen.suggest import check_names

__all__ = ["MODELS", "DigitsNet", "ResidualBlock", "build", "digits_net", "options_of"]

MODELS: dict[str, Callable[..., nn.Module]] = {
    "resnet20": resnet20,
    "resnet19": resnet19,
    "resnet18": resnet18,
    "resnet34": resnet34,
    "resnet20-classic": resnet20_classic,
    "vgg": vgg,
    "mlp": mlp,
    "digits": digits,
}
"""Functions (Task, options as keywords) -> module; their docstrings describe networks and options."""


def build(name: str, *, shape: tuple[int, int, int], classes: int = 10, T: int = 1,
          neuron: Callable[[], nn.Module] = QBLIF, input_scale: float | tuple[float, ...] | None = None,
          mean: float | tuple[float, ...] = 0.0, bits: int = 8, static: bool = True, **options) -> nn.Module:
    """Return the network `name` with new weights, from torch's random generator.

    Parameters
    ----------
    shape: of one input, (C, H, W)
    classes: number of logits K
    T: time steps; of event frames (`static=False`) the input's own, then this is not used
    neuron: makes one layer of neurons, as `methods.neuron` returns it
    input_scale, mean: the input's integers x become (x - mean) * input_scale, a number or one per channel; the default
        scale is 1 / (2**bits - 1). Whole means keep the padding exact (docs/numerics.md)
    bits: width of the input's unsigned integers, 1 to 8
    static: True: images (N, C, H, W); False: event frames (T, N, C, H, W)
    options: of the network: `models.options_of(name)`

    Raises ValueError for an unknown name or option, and for shapes that the network cannot take.
    """
    check_names("model", [name], MODELS)
    check_names(f"option of model {name!r}", options, options_of(name))
    return MODELS[name](Task(shape, classes, T, neuron, input_scale, mean, bits, static), **options)


def options_of(name: str) -> dict[str, object]:
    """Return the options of a network and their defaults."""
    check_names("model", [name], MODELS)
    return {p.name: p.default for p in inspect.signature(MODELS[name]).parameters.values()
            if p.kind is inspect.Parameter.KEYWORD_ONLY}



