"""QB-LIF neurons, and binary LIF and I-LIF in the same family, for training.

Ref: Bai et al., "QB-LIF", arXiv:2604.25688, equations (2), (8), (9); docs/numerics.md says how the ambiguities of the
paper are read.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from qblif.gen import surrogate as sg
from qblif.gen.multistep import Constants, multistep
from qblif.gen.network import Reset

GAMMA_MIN = 1e-3
"""gamma never gets smaller than this in training."""

EXPONENT_MAX = 14
"""Largest k of a foldable factor 2**-k."""


def power_of_two(value: float) -> int | None | float:
    """Return k where `value` is 2**-k (k = 0 to 14), None where it is 0; raises ValueError for anything else."""
    if value == 0:
        return None
    if value > 0:
        k = round(-math.log2(value))
        if 0 <= k <= EXPONENT_MAX and abs(value * 2.0**k - 1) < 1e-9:  # 1 - 1/tau may be off by an ulp
            return k
    allowed = [0.0] + [2.0**-k for k in range(EXPONENT_MAX, -1, -1)]
    nearest = [max((a for a in allowed if a < value), default=0.0), min((a for a in allowed if a > value), default=1.0)]
    raise ValueError(f"{value:.6g} is not 0, 1 or a power of two 2**-k; the nearest allowed are {nearest[0]:.6g} and "
                     f"{nearest[1]:.6g}")


class SpikingNeuron(nn.Module):
    """One layer of neurons with a membrane; `step` of a subclass computes one time step.

    step_mode: "m": input is (T, N, ...) and every call starts at rest; "s": input is (N, ...), one step a call, and
        the membrane stays until `reset()`
    unfoldable: why `fold` cannot take this kind, and what to use instead; None: it can
    """

    unfoldable: str | None = None

    def __init__(self, step_mode: str = "m"):
        super().__init__()
        self.step_mode = step_mode
        self.reset()

    @property
    def step_mode(self) -> str:
        """"m" or "s"; SpikingJelly's `functional.set_step_mode` sets it too."""
        return self._step_mode

    @step_mode.setter
    def step_mode(self, mode: str):
        if mode not in ("m", "s"):
            raise ValueError(f"step_mode is {mode!r}, allowed are 'm' (multi-step) and 's' (single-step)")
        self._step_mode = mode

    def reset(self):
        """Forget the membrane and the last spikes (called by `reset_net`, ours and SpikingJelly's)."""
        self.v = None
        """U of the last step, or None before the first."""
        self.s = None
        """S of the last step, or None before the first."""

    def forward(self, x):
        """Return S of the shape of x: currents (T, N, ...), or (N, ...) in single-step mode."""
        if self.step_mode == "s":
            return self.step(x)
        self.reset()
        s = torch.stack([self.step(current) for current in x])
        self.reset()  # keeps no graph alive
        return s


class QBLIF(SpikingNeuron):
    """Quantised-burst leaky integrate-and-fire neurons with a learnable scale.

    Per step, S~[t] = clip(floor(U[t] / gamma), 0, N), output S[t] = gamma S~[t], and

    ====================  ====================================================
    reset                 membrane
    ====================  ====================================================
    "gate_sum"            U[t] = (beta U[t-1] + I[t]) (1 - alpha [S[t-1] > 0])
    "gate_membrane"       U[t] = beta U[t-1] (1 - alpha [S[t-1] > 0]) + I[t]
    "subtract"            U[t] = beta (U[t-1] - alpha S[t-1]) + I[t]
    ====================  ====================================================

    The indicator [S > 0] carries no gradient. U starts at 0.

    Parameters
    ----------
    levels: N, 1 to 31; the paper uses 20. With `learn_levels` the largest N that may be learned
    tau: time constant in steps, 1 to infinity; beta = 1 - 1/tau
    beta: leak factor, instead of `tau`
    alpha: reset factor; default: 1/tau for the gate styles (the paper ties it to tau), 1 for "subtract"
    decay_input: True: the current is multiplied by 1/tau, as SpikingJelly does by default
    reset: see above; gate_sum is the paper's equation (2)
    surrogate: "relsg_et" (12), "box_et", "clipped", "arctan", "sigmoid" or "rectangular" (gen/surrogate.py)
    gamma: initial value of gamma, one positive scalar per layer
    learn_gamma: False: gamma stays as it is
    gamma_gradient: "surrogate": S~ - h(U) U / gamma; "lsq": that of LSQ; both scaled by 1 / sqrt(numel N)
    learn_levels: True: N is learned as well, one for the layer, until `fix_levels`: a parameter that is clamped to
        1 .. `levels` and rounded, straight through. Its gradient is gamma wherever S~ = N, scaled as that of gamma
    start_levels: N at the start, where it is learned; default: `levels`
    rounds: True: levels round half up (I-LIF) instead of being floored
    detach_reset: True: no gradient through the S of "subtract"
    step_mode: "m": input is (T, N, ...) and every call starts at U = 0; "s": input is (N, ...), one step a call,
        and U stays until `reset()`

    To be folded into integers, beta and 1 - alpha ("subtract": alpha) have to be 0, 1 or 2**-k; others train only.
    """

    def __init__(self, levels: int = 20, tau: float | None = None, *, beta: float | None = None,
                 alpha: float | None = None, decay_input: bool = False, reset: str = "gate_sum",
                 surrogate: str = "relsg_et", gamma: float = 1.0, learn_gamma: bool = True,
                 gamma_gradient: str = "surrogate", learn_levels: bool = False, start_levels: int | None = None,
                 rounds: bool = False, detach_reset: bool = False, step_mode: str = "m"):
        super().__init__(step_mode)
        _check_levels(levels, learn_levels, start_levels)
        if tau is not None and beta is not None:
            raise ValueError(f"give tau (= {tau!r}) or beta (= {beta!r}), not both: beta is 1 - 1/tau")
        if beta is None:
            tau = 2.0 if tau is None else float(tau)
            if not tau >= 1:
                raise ValueError(f"tau is {tau!r}, allowed is 1 to infinity")
            beta = 1 - 1 / tau
        if not 0 <= beta <= 1:
            raise ValueError(f"beta is {beta!r}, allowed is 0 to 1")
        if reset not in {r.value for r in Reset}:
            raise ValueError(f"reset is {reset!r}, allowed are {[r.value for r in Reset]}")
        if alpha is None:
            alpha = 1.0 if reset == "subtract" else 1 - beta
        if not 0 <= alpha <= 1:
            raise ValueError(f"alpha is {alpha!r}, allowed is 0 to 1")
        if surrogate not in sg.SURROGATES:
            raise ValueError(f"surrogate is {surrogate!r}, allowed are {sorted(sg.SURROGATES)}")
        if gamma_gradient not in sg.GAMMA_GRADIENTS:
            raise ValueError(f"gamma_gradient is {gamma_gradient!r}, allowed are {sg.GAMMA_GRADIENTS}")
        if not gamma > 0:
            raise ValueError(f"gamma is {gamma!r}, it has to be positive")
        self.most_levels, self.beta, self.alpha = levels, float(beta), float(alpha)
        self.input_gain = 1 - self.beta if decay_input else 1.0
        self.reset_style = Reset(reset)
        self.surrogate, self.gamma_gradient = surrogate, gamma_gradient
        self.rounds, self.detach_reset = bool(rounds), bool(detach_reset)
        self.gamma = nn.Parameter(torch.tensor(float(gamma)), requires_grad=learn_gamma)
        start = torch.tensor(float(start_levels or levels))
        self.register_parameter("learned_levels", nn.Parameter(start) if learn_levels else None)

    @property
    def levels(self) -> int:
        """N: that of now, where it is learned."""
        if self.learned_levels is None:
            return self.most_levels
        return round(min(max(float(self.learned_levels.detach()), 1), self.most_levels))

    def fix_levels(self):
        """Make a learned N the integer that it is rounded to, and learn it no more."""
        if self.learned_levels is not None:
            self.learned_levels.requires_grad_(False).fill_(self.levels)

    def gamma_scale(self, numel: int) -> float:
        """Return the factor on the gradients of gamma and N for `numel` neurons, as in LSQ."""
        return 1 / math.sqrt(numel * self.levels)

    def _membrane(self, current):
        current = current if self.input_gain == 1 else current * self.input_gain
        if self.v is None:
            return current
        if self.reset_style is Reset.SUBTRACT:
            s = self.s.detach() if self.detach_reset else self.s
            return self.beta * (self.v - self.alpha * s) + current
        keep = 1 - self.alpha * (self.s.detach() > 0).to(current.dtype)
        if self.reset_style is Reset.GATE_MEMBRANE:
            return self.beta * self.v * keep + current
        return (self.beta * self.v + current) * keep

    def step(self, current):
        """Return S of one step, (N, ...)."""
        self.v = self._membrane(current)
        scale = self.gamma_scale(current[0].numel())
        self.s = sg.Burst.apply(self.v, self.gamma, self.learned_levels, self.levels, self.rounds, self.surrogate,
                                self.gamma_gradient, scale)
        return self.s

    def forward(self, x):
        """Return S of the shape of x: currents (T, N, ...), or (N, ...) in single-step mode.

        Currents of 16 bits are computed in float32."""
        if self.training:  # .data: the steps before may still need them for their backward pass
            self.gamma.data.clamp_(min=GAMMA_MIN)
            if self.learned_levels is not None:
                self.learned_levels.data.clamp_(1, self.most_levels)
        narrow = x.dtype in (torch.float16, torch.bfloat16)
        if self.step_mode == "s":
            return self.step(x.float()).to(x.dtype) if narrow else self.step(x)
        self.reset()
        given, steps = (x.repeated, len(x)) if hasattr(x, "repeated") else (x, None)
        constants = Constants(self.levels, self.beta, self.alpha, self.input_gain, self.reset_style, self.rounds,
                              self.surrogate, self.gamma_gradient, self.detach_reset,
                              self.gamma_scale(x[0, 0].numel()))
        s = multistep(given.float() if narrow else given, self.gamma, constants, steps, self.learned_levels)
        return s.to(x.dtype) if narrow else s

    def extra_repr(self) -> str:
        """Show the constants."""
        learned = "" if self.learned_levels is None else f" (learned, at most {self.most_levels})"
        return (f"levels={self.levels}{learned}, beta={self.beta:g}, alpha={self.alpha:g}, "
                f"reset={self.reset_style.value}, surrogate={self.surrogate}, step_mode={self.step_mode}")


def _check_levels(levels, learn_levels, start_levels):
    if not (isinstance(levels, int) and 1 <= levels <= 31):
        raise ValueError(f"levels is {levels!r}, allowed is an integer from 1 to 31")
    if not isinstance(learn_levels, bool):
        raise ValueError(f"learn_levels is {learn_levels!r}, allowed is true or false")
    if start_levels is None:
        return
    if not learn_levels:
        raise ValueError(f"start_levels is {start_levels!r}, but N is not learned: give learn_levels as well, or "
                         "levels alone")
    if not (isinstance(start_levels, int) and 1 <= start_levels <= levels):
        raise ValueError(f"start_levels is {start_levels!r}, allowed is an integer from 1 to levels = {levels}")


class LIF(QBLIF):
    """Binary leaky integrate-and-fire neurons: N = 1, the threshold is not learned. Arguments as in SpikingJelly.

    v_reset: 0.0: a spike sets the membrane to zero (hard reset); None: it subtracts the threshold.
    """

    def __init__(self, tau: float = 2.0, decay_input: bool = True, v_threshold: float = 1.0,
                 v_reset: float | None = 0.0, surrogate: str = "arctan", detach_reset: bool = False,
                 step_mode: str = "m"):
        if v_reset not in (0, None):
            raise ValueError(f"v_reset is {v_reset!r}, allowed are 0.0 (hard reset) and None (subtract the threshold)")
        super().__init__(1, tau, alpha=1.0, decay_input=decay_input, gamma=v_threshold, learn_gamma=False,
                         reset="subtract" if v_reset is None else "gate_membrane", surrogate=surrogate,
                         detach_reset=detach_reset, step_mode=step_mode)


class ILIF(QBLIF):
    """Integer LIF (Luo et al., ECCV 2024): levels 0..N round half up, gamma is 1, a spike subtracts its level.

    floor(u + 1/2) is used, not torch.round, which goes to even."""

    def __init__(self, levels: int = 4, beta: float = 0.25, surrogate: str = "rectangular",
                 detach_reset: bool = False, step_mode: str = "m"):
        super().__init__(levels, beta=beta, alpha=1.0, reset="subtract", surrogate=surrogate, learn_gamma=False,
                         rounds=True, detach_reset=detach_reset, step_mode=step_mode)


def reset_net(module: nn.Module):
    """Reset the state of every neuron in `module`."""
    for m in module.modules():
        if isinstance(m, SpikingNeuron):
            m.reset()


def set_step_mode(module: nn.Module, step_mode: str):
    """Set single-step ("s") or multi-step ("m") mode of everything in `module` that has one."""
    for m in module.modules():
        if hasattr(m, "step_mode"):
            m.step_mode = step_mode


def neurons(module: nn.Module) -> dict[str, QBLIF]:
    """Return the neurons of `module` by name, in order."""
    return {name: m for name, m in module.named_modules() if isinstance(m, QBLIF)}


def gammas(module: nn.Module) -> dict[str, float]:
    """Return gamma of every neuron layer."""
    return {name: float(m.gamma.detach()) for name, m in neurons(module).items()}


def levels(module: nn.Module) -> dict[str, int]:
    """Return N of every neuron layer."""
    return {name: m.levels for name, m in neurons(module).items()}


def fix_levels(module: nn.Module):
    """Make every learned N an integer that stays: what the quantised phase begins with."""
    for m in neurons(module).values():
        m.fix_levels()
