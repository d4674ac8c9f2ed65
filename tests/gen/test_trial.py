"""What a module does besides what its layers say is deployed as it is, or refused; never left out in silence."""

import pytest
import torch
from torch import nn

from qblif.gen import (
    QBLIF,
    AdaptiveAvgPool2d,
    BatchNorm1d,
    BatchNorm2d,
    Flatten,
    MaxPool2d,
    MeanOverTime,
    ModelError,
    QConv1d,
    QConv2d,
    QLinear,
    Repeat,
    SeqToBatch,
    fold,
    quantise,
)
from qblif.gen.trace import trace

from . import zoo
from .zoo import Of

X = zoo.pixels((2, 2, 4, 4))
EVENTS = zoo.pixels((4, 3, 2, 4, 4))


class Halved(QConv2d):
    def forward(self, x):
        return super().forward(x) * 0.5


class Quiet(QBLIF):
    def forward(self, x):
        return super().forward(x) * 0


def net(conv=None, neuron=None):
    return nn.Sequential(Repeat(2), conv or QConv2d(2, 3, 3), neuron or QBLIF(3), Flatten(), QLinear(12, 3),
                         MeanOverTime()).eval()


def hooked(name, hook, before=False):
    module = net()
    layer = module.get_submodule(name)
    (layer.register_forward_pre_hook if before else layer.register_forward_hook)(hook)
    return module


def assert_exact(make, x):
    """Compare the quantised network with the module, for parameters that need no rounding."""
    for seed in range(3):
        module = zoo.make_exact(make(), seed)
        with torch.no_grad():
            expected = module.double()(x.double())
        module.float()
        assert torch.equal(quantise(module, x, input_bits=3)(x).double(), expected)


# --- deployed as they are ----------------------------------------------------------------------------------------

@pytest.mark.parametrize("how", ["sum", "mean"])
@pytest.mark.parametrize("norm", [False, True])
def test_what_stands_behind_the_sum_over_time_adds_its_offset_once(how, norm):
    """4 steps: a quarter of each offset per step is exact."""
    def forward(m, x):
        y = getattr(m.f(m.n(m.c(x))), how)(0)
        return m.b(m.l(y)) if norm else m.l(y)
    assert_exact(lambda: Of(forward, c=QConv2d(2, 3, 3), n=QBLIF(5), f=Flatten(), l=QLinear(12, 3), b=BatchNorm1d(3)),
                 EVENTS)


def test_a_norm_behind_the_sum_over_time_of_a_layer_with_a_bias():
    assert_exact(lambda: Of(lambda m, x: m.b(m.l(m.f(m.n(m.c(x)))).sum(0)), c=QConv2d(2, 3, 3), n=QBLIF(5), f=Flatten(),
                            l=QLinear(12, 3), b=nn.BatchNorm1d(3)), EVENTS)


def test_a_sum_counts_offsets_once_for_other_numbers_of_steps_too():
    module = zoo.make_exact(Of(lambda m, x: m.l(m.f(m.n(m.c(m.r(x)))).sum(0)), r=Repeat(2), c=QConv2d(2, 3, 3),
                               n=QBLIF(5), f=Flatten(), l=QLinear(12, 3)))
    with torch.no_grad():
        module.l.weight.zero_()
    assert torch.equal(quantise(module, X, steps=8, input_bits=3)(X), module.l.bias.expand(2, 3))


def changed_in_place(m, x):
    y = m.n(m.c(x))
    z = y
    y += m.n1(m.c1(x))
    return m.h(m.n2(m.c2(y) + z))


def changed_by_a_method(m, x):
    y = m.n(m.c(x))
    y.add_(m.n1(m.c1(x)))
    return m.h(m.n2(m.c2(y) + y))


@pytest.mark.parametrize("forward", [changed_in_place, changed_by_a_method])
def test_all_names_of_a_tensor_see_what_is_added_in_place(forward):
    assert_exact(lambda: Of(forward, c=zoo.conv(2, 2), c1=zoo.conv(2, 2), n=QBLIF(5), n1=QBLIF(5), c2=zoo.conv(2, 2),
                            n2=QBLIF(5), h=zoo.head(2, size=16)), EVENTS)


def test_layers_and_functions_take_tensors_by_keyword():
    def forward(m, x):
        x = torch.add(input=m.c(x=x), other=m.d(x=x), alpha=1)
        x = torch.flatten(input=m.n(x=x), start_dim=2)
        return torch.mean(input=m.l(input=x), axis=0)
    assert_exact(lambda: Of(forward, c=QConv2d(2, 3, 3), d=SeqToBatch(nn.Conv2d(2, 3, 3)), n=QBLIF(5),
                            l=QLinear(12, 3)), EVENTS)


def test_axes_may_be_computed():
    assert_exact(lambda: Of(lambda m, x: m.l(m.n(m.c(x)).flatten(x.dim() - 3)).mean(x.dim() - 5), c=QConv2d(2, 3, 3),
                            n=QBLIF(5), l=QLinear(12, 3)), EVENTS)


def test_modules_of_any_float_type_fold_alike():
    module = zoo.make_exact(net())
    expected = quantise(module, X).integers(X)
    for dtype in (torch.float64, torch.bfloat16):
        assert torch.equal(quantise(module.to(dtype), X).integers(X), expected)


def test_hooks_that_only_look_are_allowed():
    seen = []
    fold(hooked("1", lambda m, i, o: seen.append(o.mean())), X)
    fold(hooked("2", lambda m, i, o: seen.append(o.mean())), X)
    assert len(seen) >= 2


def test_weight_norm_folds_as_the_weights_that_it_makes():
    module = zoo.make_exact(net())
    nn.utils.parametrizations.weight_norm(module[1])
    with torch.no_grad():
        expected = module(X)
    torch.testing.assert_close(quantise(module.eval(), X)(X), expected, rtol=0.05, atol=0.05)


def test_the_trial_leaves_the_module_as_it_was():
    module = zoo.make_random(nn.Sequential(Repeat(2), *zoo.conv(2, 3), QBLIF(3), zoo.head(3, size=16))).train()
    before = {k: v.clone() for k, v in module.state_dict().items()}
    trace(module, X)
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())
    assert all(m.training for m in module.modules())


def test_a_number_of_samples_may_be_written_into_forward():
    fold(Of(lambda m, x: m.l(m.n(m.c(m.r(x))).reshape(2, 5, 12)), r=Repeat(2), c=QConv2d(2, 3, 3), n=QBLIF(3),
            l=QLinear(12, 3)).eval(), zoo.pixels((5, 2, 4, 4)))


# --- refused -----------------------------------------------------------------------------------------------------

def looped(m, x):
    return m.l(torch.stack([m.n(m.c(step)) for step in x]).mean(0))


def viewed_and_changed(m, x):
    y = m.n(m.c(x))
    flat = y.flatten(2)
    y += m.n1(m.c1(x))
    return m.l(flat)


REFUSED = {
    "a forward of its own": (lambda: net(Halved(2, 3, 3)),
                             "1: Halved has a forward of its own, while fold would take it for a plain QConv2d"),
    "a neuron with a forward of its own": (lambda: net(neuron=Quiet(3)), "2: Quiet has a forward of its own"),
    "a hook": (lambda: hooked("1", lambda m, i, o: o * 0.25), "1: this QConv2d gives .* remove hooks"),
    "a hook before": (lambda: hooked("1", lambda m, i: (i[0] + 1,), True), "1: this QConv2d gives .* remove hooks"),
    "a hook on a neuron": (lambda: hooked("2", lambda m, i, o: o * 0.5), "2: this QBLIF gives other levels"),
    "a hook on everything": (lambda: hooked("", lambda m, i, o: -o), "the module itself has a forward hook"),
    "a view of what is changed": (
        lambda: Of(lambda m, x: viewed_and_changed(m, m.r(x)), r=Repeat(2), c=QConv2d(2, 3, 3), c1=QConv2d(2, 3, 3),
                   n=QBLIF(3), n1=QBLIF(3), l=QLinear(12, 3)).eval(), r"changed in place \(\+=\) and used elsewhere"),
    "concatenation": (lambda: net(Of(lambda m, x: m.c(torch.cat([m.n(x), x], 2)), n=QBLIF(3), c=QConv2d(4, 3, 3))),
                      r"cat: .*conv\(cat\(a, b\)\) is the same as conv_a\(a\) \+ conv_b\(b\)"),
    "a loop over time": (lambda: Of(looped, c=QConv2d(2, 3, 3), n=QBLIF(3), l=QLinear(12, 3)).eval(),
                         r"loop over time is not needed: the layers of qblif.gen take all steps at once, \(T, N"),
    "levels added after the neuron, then pooled": (
        lambda: net(Of(lambda m, x: m.d(m.p(m.n(m.c(x)) + x)), c=QConv2d(2, 2, 3, padding=1), n=QBLIF(3),
                       p=MaxPool2d(2), d=QConv2d(2, 3, 1))),
        "max pooling of a sum of the levels .* add before the neuron, as in ResNet"),
    "no Repeat": (lambda: nn.Sequential(nn.Conv2d(2, 3, 3), QBLIF(3), AdaptiveAvgPool2d(1)).eval(),
                  r"0: Conv2d takes .*but its input is read as \(T, N, C, L\); there is no Repeat.* put Repeat\(T\)"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_seen_from_the_layers_is_refused(name):
    make, message = REFUSED[name]
    with pytest.raises(ModelError, match=message):
        fold(make(), X)


@pytest.mark.parametrize("length", [4, 6])
def test_a_norm_that_may_mistake_length_for_channels_is_refused(length):
    module = nn.Sequential(QConv1d(2, 6, 3, padding=1), BatchNorm1d(6), Repeat(2), QBLIF(3), Flatten(),
                           QLinear(6 * length, 3)).eval()
    with pytest.raises(ModelError, match="step_mode is 'm', but its input is .N, C, L.: give .* step_mode='s'|not run"):
        fold(module, zoo.pixels((3, 2, length)))
    module[1].step_mode = "s"
    fold(module, zoo.pixels((3, 2, length)))


def test_torchs_norm_that_mistakes_samples_for_channels_is_refused():
    module = nn.Sequential(Repeat(2), QLinear(6, 4), nn.BatchNorm1d(4), QBLIF(3), QLinear(4, 3)).eval()
    with torch.no_grad():
        module[2].running_mean.copy_(torch.arange(4))
    with pytest.raises(ModelError, match="2: this BatchNorm1d gives .* a layer of torch that takes T for N"):
        fold(module, zoo.pixels((4, 6)))


def test_what_fold_returns_is_verified():
    from qblif.gen import VerifyError

    module = nn.Sequential(Repeat(255), Flatten(), QLinear(4095, 2), MeanOverTime()).eval()
    with torch.no_grad():
        module[2].weight.fill_(1.0)
    with pytest.raises(VerifyError, match="network 'Sequential' is not valid"):
        fold(module, zoo.pixels((1, 4095, 1, 1)), input_bits=8)


def test_norms_behind_flattened_steps_agree():
    fold(nn.Sequential(Repeat(2), QConv2d(2, 3, 3), BatchNorm2d(3), QBLIF(3), Flatten(), QLinear(12, 4), BatchNorm1d(4),
                       QBLIF(3), QLinear(4, 3)).eval(), X)
