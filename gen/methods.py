"""Neurons by the names of their methods: QB-LIF and the baselines it is compared with.

    models.build("vgg", shape=(1, 28, 28), neuron=methods.neuron("ilif", levels=4, surrogate="box_et"))
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from math import inf

from torch import nn

from qblif.gen import surrogate as sg
from qblif.gen.baselines import MLF, Ternary, ann
from qblif.gen.neuron import ILIF, LIF, QBLIF
from qblif.gen.suggest import check_names


@dataclasses.dataclass(frozen=True)
class Method:
    """A kind of neuron.

    make: class or function; levels: highest level if not given (1: binary, cannot be changed)
    tau: its time constant if not given; folds: whether `fold` takes it; description: one line
    """

    make: Callable[..., nn.Module]
    levels: int
    tau: float
    folds: bool
    description: str


METHODS = {
    "qblif": Method(QBLIF, 15, 2.0, True, "QB-LIF: bursts of 0..N with a learned scale (the paper's)"),
    "lif": Method(LIF, 1, 2.0, True, "binary leaky integrate-and-fire, hard reset"),
    "ilif": Method(ILIF, 4, 4 / 3, True, "I-LIF: integer levels 0..N, rounded, subtracted from the membrane"),
    "ternary": Method(Ternary, 1, 4 / 3, False, "ternary spikes -1, 0, 1"),
    "mlf": Method(MLF, 3, 4 / 3, False, "multi-level firing: N thresholds, one membrane for each"),
    "ann": Method(ann, 15, 1.0, True, "quantised ANN: activations of 0..N with a learned step (LSQ), no membrane"),
}


def neuron(name: str, levels: int | None = None, surrogate: str | None = None, tau: float | None = None,
           **options) -> Callable[[], nn.Module]:
    """Return a function that makes one layer of neurons, for `models.build`.

    name: of METHODS
    levels: N, the highest level; default: the method's own. Binary and ternary neurons have no choice
    surrogate: "relsg_et" (the default), "box_et" or another of gen/surrogate.py; for "ann" the default is that of LSQ
    tau: time constant, beta = 1 - 1/tau; default: the method's own. "ann" has no membrane
    options: further arguments of the neuron

    Raises ValueError for what the method does not know.
    """
    check_names("method", [name], METHODS)
    method = METHODS[name]
    if method.levels == 1:
        if levels not in (None, 1):
            raise ValueError(f"method {name!r} has no levels to choose: levels is {levels!r}, allowed is 1")
        given = {}
    else:
        given = {"levels": method.levels if levels is None else levels}
    if name == "ann":
        if tau not in (None, 1):
            raise ValueError(f"method 'ann' has no membrane: tau is {tau!r}, allowed is 1")
    elif name == "ilif":
        tau = method.tau if tau is None else tau
        given["beta"] = 1 - (0 if tau == inf else 1 / tau)
    else:
        given["tau"] = method.tau if tau is None else tau
    if surrogate is not None or name != "ann":
        surrogate = surrogate or "relsg_et"
        check_names("surrogate", [surrogate], sg.SURROGATES)
        given["surrogate"] = surrogate
    if name == "lif":
        given["decay_input"] = False
    known = inspect.signature(method.make).parameters
    check_names(f"option of method {name!r}", options, [p for p in known if p not in ("levels", "tau", "beta")])
    arguments = {**given, **options}
    method.make(**arguments)  # a wrong value is told here, not where the network is built
    return lambda: method.make(**arguments)
