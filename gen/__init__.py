"""From a PyTorch module to a program for the hardware.

What needs torch is imported when it is first used, so that reading and planning networks works without it."""

import importlib

_EXPORTS = {
    "neuron": ("QBLIF", "LIF", "ILIF", "reset_net", "set_step_mode", "neurons", "gammas"),
    "layers": ("QConv2d", "QConv1d", "QLinear", "BatchNorm2d", "BatchNorm1d", "MaxPool2d", "MaxPool1d", "AvgPool2d",
               "AvgPool1d", "AdaptiveAvgPool2d", "AdaptiveAvgPool1d", "Flatten", "Repeat", "MeanOverTime", "Add",
               "SeqToBatch", "InputScale"),
    "quantised": ("quantise", "QuantisedNetwork"),
    "folding": ("fold",),
    "weights": ("load_weights",),
    "models": ("digits_net",),
    "training": ("train", "train_digits", "evaluate", "Recipe"),
    "errors": ("ModelError", "VerifyError", "PlanError"),
}
_WHERE = {name: module for module, names in _EXPORTS.items() for name in names}
__all__ = list(_WHERE)

def __getattr__(name):
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *_WHERE})
