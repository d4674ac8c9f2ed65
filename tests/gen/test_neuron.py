"""QB-LIF, LIF and I-LIF against the equations, written out in plain Python."""

from fractions import Fraction
from math import floor, inf

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qblif.gen import ILIF, LIF, QBLIF, gammas, neurons, reset_net, set_step_mode
from qblif.gen.neuron import GAMMA_MIN, fix_levels, levels, power_of_two


def simulate(currents, *, levels, beta, alpha, gamma, reset, rounds=False, gain=1):
    """Return S~ and U of one neuron per step; any numbers, exact where they are."""
    u = s = 0
    levels_seen, membranes = [], []
    for current in currents:
        current = gain * current
        if reset == "gate_sum":
            u = (beta * u + current) * (1 - alpha if s > 0 else 1)
        elif reset == "gate_membrane":
            u = beta * u * (1 - alpha if s > 0 else 1) + current
        else:
            u = beta * (u - alpha * gamma * s) + current
        s = min(max(floor(u / gamma + (Fraction(1, 2) if rounds else 0)), 0), levels)
        levels_seen.append(s)
        membranes.append(u)
    return levels_seen, membranes


STYLES = ["gate_sum", "gate_membrane", "subtract"]
DYADIC = [0.0, 0.25, 0.5, 1.0]


@pytest.mark.parametrize("reset", STYLES)
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_levels_follow_the_equations(reset, data):
    beta, alpha = data.draw(st.sampled_from([*DYADIC, 0.75])), data.draw(st.sampled_from([*DYADIC, 0.75]))
    levels, gamma = data.draw(st.integers(1, 31)), data.draw(st.sampled_from([0.5, 1.0, 2.0]))
    rounds = data.draw(st.booleans())
    currents = data.draw(st.lists(st.integers(-64, 64).map(lambda n: n / 16), min_size=1, max_size=6))
    neuron = QBLIF(levels, beta=beta, alpha=alpha, gamma=gamma, reset=reset, rounds=rounds)
    out = neuron(torch.tensor(currents, dtype=torch.float64).reshape(-1, 1, 1))
    expected, _ = simulate(currents, levels=levels, beta=beta, alpha=alpha, gamma=gamma, reset=reset, rounds=rounds)
    assert (out.flatten() / gamma).tolist() == expected


@pytest.mark.parametrize("reset", STYLES)
@settings(max_examples=150, deadline=None)
@given(st.data())
def test_floored_shifts_give_the_levels_of_exact_arithmetic(reset, data):
    """For beta and reset factor of the form 2**-k floors lose nothing: for any T, for negative membranes."""
    k, r = (data.draw(st.sampled_from([None, 0, 1, 2, 5])) for _ in range(2))
    f, levels = data.draw(st.integers(5, 12)), data.draw(st.integers(1, 31))
    currents = data.draw(st.lists(st.integers(-(8 << f), 8 << f), min_size=1, max_size=12))
    beta, factor = (Fraction(0) if e is None else Fraction(1, 1 << e) for e in (k, r))
    alpha = factor if reset == "subtract" else 1 - factor
    expected, _ = simulate([Fraction(c) for c in currents], levels=levels, beta=beta, alpha=alpha, gamma=1 << f,
                           reset=reset)

    def shift(x, e):
        return 0 if e is None else x >> e

    v = s = 0
    seen = []
    for c in currents:
        if reset == "gate_sum":
            v = shift(v, k) + c
            v = shift(v, r) if s else v
        elif reset == "gate_membrane":
            v = shift(shift(v, r) if s else v, k) + c
        else:
            v = shift(v - shift(s << f, r), k) + c
        s = min(max(v >> f, 0), levels)
        seen.append(s)
    assert seen == expected


@pytest.mark.parametrize("reset", STYLES)
def test_single_steps_equal_multi_step_and_so_do_their_gradients(reset):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(5, 2, 3, 4, 4, generator=generator) * 2
    results = []
    for mode in "ms":
        neuron = QBLIF(5, reset=reset, gamma=0.7, step_mode=mode)
        y = x.clone().requires_grad_()
        out = neuron(y) if mode == "m" else torch.stack([neuron(step) for step in y])
        (out * torch.linspace(-1, 1, out.numel()).reshape(out.shape)).sum().backward()
        results.append((out.detach(), y.grad, neuron.gamma.grad))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b)


def test_multi_step_calls_start_at_rest_and_single_steps_after_a_reset():
    x = torch.full((3, 1, 1), 0.7)
    neuron = QBLIF(5)
    assert torch.equal(neuron(x), neuron(x))
    set_step_mode(neuron, "s")
    first = [neuron(step).item() for step in x]
    assert [neuron(step).item() for step in x] != first
    reset_net(neuron)
    assert [neuron(step).item() for step in x] == first


def test_spikingjellys_reset_net_finds_the_state():
    """`functional.reset_net` calls reset() on every module that has it."""
    net = torch.nn.Sequential(QBLIF(3, step_mode="s"))
    net(torch.ones(1, 1))
    for m in net.modules():
        if hasattr(m, "reset"):
            m.reset()
    assert net[0].v is None


def test_the_reset_indicator_carries_no_gradient():
    x = torch.tensor([[[1.5]], [[0.7]]], requires_grad=True)
    out = QBLIF(5, beta=0.0, alpha=0.5)(x)
    out[1].sum().backward()
    assert x.grad[0].item() == 0.0


def test_subtract_detaches_its_levels_on_request():
    grads = []
    for detach in (False, True):
        x = torch.tensor([[[1.5]], [[0.7]]], requires_grad=True)
        QBLIF(5, beta=0.5, reset="subtract", detach_reset=detach)(x)[1].sum().backward()
        grads.append(x.grad[0].item())
    assert grads[0] == 0.0 and grads[1] != 0.0


def test_gamma_learns_scaled_as_in_lsq_and_stays_positive():
    x = torch.full((1, 2, 8, 8), 1.7)
    neuron = QBLIF(4)
    neuron(x).sum().backward()
    assert neuron.gamma.grad.item() == pytest.approx(128 * (1 - 1.7) / (64 * 4) ** 0.5)
    neuron.gamma.data.fill_(-1.0)
    neuron(x)
    assert neuron.gamma.item() == pytest.approx(GAMMA_MIN)


def test_a_learned_n_is_rounded_and_stays_within_its_bounds():
    x = torch.full((1, 2, 8, 8), 30.0)
    neuron = QBLIF(20, learn_levels=True, start_levels=8)
    assert neuron.levels == 8 and neuron(x).max() == 8
    neuron(x).sum().backward()
    assert neuron.learned_levels.grad.item() == pytest.approx(128 / (64 * 8) ** 0.5)
    for value, n, kept in ((7.4, 7, 7.4), (7.6, 8, 7.6), (-3.0, 1, 1.0), (25.0, 20, 20.0)):
        neuron.learned_levels.data.fill_(value)
        assert neuron.levels == n and neuron(x).max() == n
        assert neuron.learned_levels.item() == pytest.approx(kept)  # clamped in training: it is not lost out there


def test_a_learned_n_can_be_fixed_and_one_that_is_not_learned_is_no_parameter():
    net = torch.nn.Sequential(QBLIF(20, learn_levels=True), QBLIF(9))
    assert [name for name, _ in net.named_parameters()] == ["0.gamma", "0.learned_levels", "1.gamma"]
    net[0].learned_levels.data.fill_(6.6)
    fix_levels(net)
    assert levels(net) == {"0": 7, "1": 9} and net[0].learned_levels == 7 and not net[0].learned_levels.requires_grad
    assert "levels=7 (learned, at most 20)" in repr(net) and "levels=9, beta" in repr(net)


def test_lif_is_spikingjellys():
    x = [0.9, 1.4, 0.3, 2.5, 2.0]
    t = torch.tensor(x, dtype=torch.float64).reshape(-1, 1, 1)
    for v_reset in (0.0, None):
        for decay_input in (True, False):
            v, expected = 0.0, []
            for i in x:
                v = v + (i - v) / 2 if decay_input else v - v / 2 + i
                spike = v >= 1
                v = v - spike if v_reset is None else v * (not spike)
                expected.append(float(spike))
            assert LIF(2.0, decay_input, v_reset=v_reset)(t).flatten().tolist() == expected


def test_ilif_rounds_half_up_and_subtracts_its_level():
    t = torch.tensor([0.5, 1.5, 2.5, 9.0], dtype=torch.float64).reshape(1, -1)
    assert ILIF(4)(t).flatten().tolist() == [1, 2, 3, 4]
    expected, _ = simulate([2.75, 0.5], levels=4, beta=0.25, alpha=1, gamma=1, reset="subtract", rounds=True)
    out = ILIF(4)(torch.tensor([2.75, 0.5], dtype=torch.float64).reshape(-1, 1, 1))
    assert out.flatten().tolist() == expected
    assert not ILIF(4).gamma.requires_grad


def test_tau_sets_beta_and_alpha():
    assert (QBLIF(tau=2.0).beta, QBLIF(tau=2.0).alpha) == (0.5, 0.5)
    assert (QBLIF(tau=inf).beta, QBLIF(tau=1.0).beta) == (1.0, 0.0)
    assert QBLIF(tau=4.0, decay_input=True).input_gain == 0.25
    assert QBLIF(reset="subtract").alpha == 1.0


def test_powers_of_two_are_recognised_and_others_refused_with_the_nearest():
    values = (0.0, 1.0, 0.5, 1 - 1 / (8 / 7), 1 - 1 / (4 / 3), 2.0**-14)
    assert [power_of_two(x) for x in values] == [None, 0, 1, 3, 2, 14]
    with pytest.raises(ValueError, match=r"0\.7 is not 0, 1 or .* 2\*\*-k; the nearest allowed are 0\.5 and 1"):
        power_of_two(0.7)


@pytest.mark.parametrize(("arguments", "message"), [
    ({"levels": 0}, "levels is 0, allowed is an integer from 1 to 31"),
    ({"levels": 32}, "levels is 32"),
    ({"levels": 2.0}, r"levels is 2\.0"),
    ({"learn_levels": 8}, "learn_levels is 8, allowed is true or false"),
    ({"levels": 8, "start_levels": 4}, "start_levels is 4, but N is not learned: give learn_levels as well"),
    ({"levels": 8, "learn_levels": True, "start_levels": 9}, "start_levels is 9, allowed is an integer from 1 to lev"),
    ({"tau": 0.5}, r"tau is 0\.5, allowed is 1 to infinity"),
    ({"tau": 2.0, "beta": 0.5}, "not both"),
    ({"beta": 1.5}, r"beta is 1\.5, allowed is 0 to 1"),
    ({"alpha": -0.1}, r"alpha is -0\.1"),
    ({"reset": "hard"}, "reset is 'hard', allowed are"),
    ({"surrogate": "atan"}, "surrogate is 'atan', allowed are"),
    ({"gamma": 0.0}, r"gamma is 0\.0, it has to be positive"),
    ({"gamma_gradient": "x"}, "gamma_gradient is 'x'"),
    ({"step_mode": "x"}, "step_mode is 'x'"),
])
def test_wrong_arguments_are_refused_with_what_is_allowed(arguments, message):
    with pytest.raises(ValueError, match=message):
        QBLIF(**arguments)
    if "tau" not in arguments:
        with pytest.raises(ValueError, match="v_reset is 0.5"):
            LIF(v_reset=0.5)


def test_neurons_and_gammas_are_listed_by_name():
    net = torch.nn.Sequential(QBLIF(gamma=0.5), torch.nn.Identity(), LIF())
    assert list(neurons(net)) == ["0", "2"] and gammas(net) == {"0": 0.5, "2": 1.0}
