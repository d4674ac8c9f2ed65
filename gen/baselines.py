"""Neurons of other papers, to compare QB-LIF with. Binary LIF and I-LIF are in gen/neuron.py.

Ternary and MLF train only: `fold` says why.
"""

from __future__ import annotations

import torch

from qblif.gen import surrogate as sg
from qblif.gen.neuron import QBLIF, SpikingNeuron
from qblif.gen.suggest import check_names


def ann(levels: int = 15, surrogate: str = "clipped", gamma: float = 1.0, rounds: bool = True) -> QBLIF:
    """Return the activation of a quantised ANN: gamma * clip(round(x / gamma), 0, N), each step by itself.

    It is LSQ (Esser et al., ICLR 2020) for unsigned activations: the honest baseline for T = 1, with the same number
    of levels. It is QBLIF without a membrane (beta = alpha = 0) and with LSQ's gradients, so it folds.
    """
    return QBLIF(levels, beta=0.0, alpha=0.0, surrogate=surrogate, gamma=gamma, gamma_gradient="lsq", rounds=rounds)


class Ternary(SpikingNeuron):
    """Ternary spikes (Guo et al., "Ternary Spike", AAAI 2024).

    U[t] = beta U[t-1] (1 - |S[t-1]|) + I[t];  S = 1 where U >= v_threshold, -1 where U <= -v_threshold, else 0.

    tau: beta = 1 - 1/tau, 1 to infinity; surrogate: of one threshold, mirrored for negative U. S is detached in the
    reset. It does not fold: its events are signed.
    """

    unfoldable = ("ternary spikes are signed events, and the maps of the hardware are unsigned levels: use QBLIF with "
                  "levels=2 or more, whose events carry more, or LIF")

    def __init__(self, tau: float = 4 / 3, surrogate: str = "relsg_et", v_threshold: float = 1.0,
                 step_mode: str = "m"):
        super().__init__(step_mode)
        check_names("surrogate", [surrogate], sg.SURROGATES)
        _check(tau, v_threshold)
        self.beta, self.surrogate = 1 - 1 / tau, surrogate
        self.register_buffer("threshold", torch.tensor(float(v_threshold)))

    def step(self, current):
        """Return S of one step, (N, ...)."""
        self.v = current if self.v is None else self.beta * self.v * (1 - self.s.detach().abs()) + current
        self.s = self.v.sign() * sg.fire(self.v.abs(), self.threshold, self.surrogate)
        return self.s


class MLF(SpikingNeuron):
    """Multi-level firing (Feng et al., IJCAI 2022): N binary neurons that share their current; their spikes are added.

    Neuron k has the threshold (k - 1) * spacing + v_threshold and a membrane of its own:
    U_k[t] = beta U_k[t-1] (1 - S_k[t-1]) + I[t];  S_k = 1 where U_k >= its threshold;  S = sum of S_k, 0..N.

    tau: beta = 1 - 1/tau, 1 to infinity; surrogate: around each threshold. S is detached in the reset. It does not
    fold: the hardware keeps one membrane per neuron.
    """

    unfoldable = ("multi-level firing keeps one membrane per threshold, and the hardware one per neuron: use QBLIF or "
                  "ILIF with as many levels")

    def __init__(self, levels: int = 3, tau: float = 4 / 3, surrogate: str = "relsg_et", v_threshold: float = 1.0,
                 spacing: float = 1.0, step_mode: str = "m"):
        super().__init__(step_mode)
        if not (isinstance(levels, int) and 1 <= levels <= 31):
            raise ValueError(f"levels is {levels!r}, allowed is an integer from 1 to 31")
        check_names("surrogate", [surrogate], sg.SURROGATES)
        _check(tau, v_threshold)
        if not spacing > 0:
            raise ValueError(f"spacing is {spacing!r}, it has to be positive")
        self.levels, self.beta, self.surrogate = levels, 1 - 1 / tau, surrogate
        self.register_buffer("thresholds", v_threshold + spacing * torch.arange(levels, dtype=torch.float32))

    def step(self, current):
        """Return S of one step, (N, ...)."""
        thresholds = self.thresholds.to(current.dtype).reshape(-1, *[1] * current.dim())
        current = current.unsqueeze(0)
        self.v = current if self.v is None else self.beta * self.v * (1 - self.s.detach()) + current
        self.s = sg.fire(self.v.expand(self.levels, *self.v.shape[1:]), thresholds, self.surrogate)
        return self.s.sum(0)


def _check(tau, v_threshold):
    if not tau >= 1:
        raise ValueError(f"tau is {tau!r}, allowed is 1 to infinity")
    if not v_threshold > 0:
        raise ValueError(f"v_threshold is {v_threshold!r}, it has to be positive")
