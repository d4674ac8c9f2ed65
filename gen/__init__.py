"""From a PyTorch module to a program for the hardware.

The way: build a module of these layers, `train` it (or `load_weights`), `fold` it to a `Network` of integers,
`make_plan` for a design, then `qblif.gen.build.build` for a bundle. Each name has a docstring: help(qblif.gen.fold).

neurons: QBLIF, LIF, ILIF; reset_net, set_step_mode, neurons, gammas
layers, on (N, ...) and (T, N, ...): QConv2d, QConv1d, QLinear, BatchNorm2d, BatchNorm1d, MaxPool2d, MaxPool1d,
    AvgPool2d, AvgPool1d, AdaptiveAvgPool2d, AdaptiveAvgPool1d, Flatten, Add
the input and time: InputScale, Repeat, MeanOverTime; SeqToBatch (for torch's own layers)
training: train, Recipe, Data, Trained, evaluate; quantise, QuantisedNetwork; digits_net, digits_data
weights from elsewhere: load_weights
to integers and to a design: fold, Network, save and load (network files), make_plan, Plan
errors: ModelError, VerifyError, PlanError
modules: data (data sets, augmentation), models (networks by name), methods (neurons by name), table (prints a
    network), verify, build

What needs torch is imported when it is first used, so that reading and planning networks works without it.
"""

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
    "training": ("train", "evaluate", "Recipe", "Data", "Trained"),
    "data": ("digits_data",),
    "network": ("Network",),
    "network_file": ("save", "load"),
    "plan": ("make_plan", "Plan"),
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
