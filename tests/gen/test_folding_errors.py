"""Every module that cannot be folded is refused with what was found, what is allowed and what to do instead."""

import re

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from qblif.gen import (
    QBLIF,
    AdaptiveAvgPool2d,
    AvgPool2d,
    BatchNorm1d,
    BatchNorm2d,
    Flatten,
    InputScale,
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

from . import zoo
from .zoo import Of

X = zoo.pixels((1, 2, 8, 8))


def seq(*layers, head=True):
    tail = (AdaptiveAvgPool2d(1), Flatten(), QLinear(2, 3), MeanOverTime()) if head else ()
    return nn.Sequential(Repeat(2), *layers, *tail).eval()


def spoiled(layer, name, value):
    with torch.no_grad():
        getattr(layer, name).view(-1)[0] = value
    return layer


def twice():
    shared = QConv2d(2, 2, 3, padding=1)
    return seq(shared, QBLIF(3), shared, QBLIF(3))


def neuron_twice():
    n = QBLIF(3)
    return seq(QConv2d(2, 2, 3), n, QConv2d(2, 2, 3), n)


C = lambda *a, **k: QConv2d(2, 2, 3, *a, **k)  # noqa: E731
N = lambda *a, **k: QBLIF(3, *a, **k)  # noqa: E731

CASES = {
    "grouped convolution": (lambda: seq(C(groups=2), N()), "1: groups is 2, allowed is 1: use a dense convolution"),
    "dilation": (lambda: seq(C(dilation=2), N()), r"dilation is \(2, 2\), allowed is 1"),
    "reflected padding": (lambda: seq(C(padding=1, padding_mode="reflect"), N()),
                          "padding_mode is 'reflect', allowed is 'zeros'"),
    "lopsided padding": (lambda: seq(QConv2d(2, 2, 2, padding="same"), N()), "even kernel"),
    "wide padding": (lambda: seq(C(padding=3), N()), r"padding is \(3, 3\), allowed is less than the kernel"),
    "transposed": (lambda: seq(SeqToBatch(nn.ConvTranspose2d(2, 2, 2)), N()),
                   r"1\.0: ConvTranspose2d is not supported: use a QConv2d"),
    "3-D convolution": (lambda: nn.Sequential(nn.Conv3d(2, 2, 1)).eval(), "Conv3d is not supported: use QConv2d"),
    "ReLU": (lambda: seq(C(), nn.ReLU()), "ReLU is not supported: use QBLIF"),
    "functional ReLU": (lambda: seq(C(), Of(lambda m, x: F.relu(x))),
                        "relu: this function is not understood: use QBLIF"),
    "GroupNorm": (lambda: seq(C(), SeqToBatch(nn.GroupNorm(1, 2)), N()), "GroupNorm is not supported: use BatchNorm2d"),
    "max pooling, ceil": (lambda: seq(C(), N(), MaxPool2d(2, ceil_mode=True)), "ceil_mode is True, allowed is False"),
    "max pooling, dilated": (lambda: seq(C(), N(), MaxPool2d(2, dilation=2)), "dilation is 2, allowed is 1"),
    "average, ceil": (lambda: seq(C(), N(), AvgPool2d(4, ceil_mode=True)), "ceil_mode is True, allowed is False"),
    "average, padded": (lambda: seq(C(), N(), AvgPool2d(2, padding=1)),
                        "padding is 1, allowed for average pooling is 0"),
    "average, divisor": (lambda: seq(C(), N(), AvgPool2d(2, divisor_override=3)), "divisor_override is 3"),
    "overlapping average and padding": (lambda: seq(C(), N(), AvgPool2d(3, 1), C(padding=1), N()),
                                        r"padding \(1, 1\) on average pooling with window \(3, 3\)"),
    "average of an odd map and padding": (lambda: seq(QConv2d(2, 2, 2), N(), AvgPool2d(2), C(padding=1), N()),
                                          "a size that the window divides"),
    "average of a current": (lambda: seq(C(), AvgPool2d(2), N()), "its input is a current, not levels"),
    "overlapping averages": (lambda: seq(N(), AvgPool2d(3, 1), AvgPool2d(2)),
                             "average pooling of overlapping averages"),
    "adaptive size that does not divide": (lambda: seq(C(), N(), AdaptiveAvgPool2d(4)),
                                           r"output_size \(4, 4\) does not divide"),
    "max pooling before the neuron": (lambda: seq(C(), MaxPool2d(2), N()),
                                      "before the neuron, with T > 1: put it after"),
    "max pooling of an average": (lambda: seq(N(), AvgPool2d(2), MaxPool2d(2)), "max pooling of an average"),
    "two convolutions in a row": (lambda: seq(C(), C(), N()), "put a neuron between two layers with weights"),
    "beta that is not exact": (lambda: seq(C(), N(tau=4.0)),
                               r"beta = 0\.75 is not 0, 1 or .* nearest allowed are 0\.5 and 1"),
    "alpha that is not exact": (lambda: seq(C(), N(alpha=0.3)), r"1 - alpha = 0\.7 is not"),
    "subtracted alpha": (lambda: seq(C(), N(alpha=0.3, reset="subtract")), r"alpha = 0\.3 is not"),
    "single-step mode": (lambda: seq(C(), N(step_mode="s")), "step_mode is 's', allowed is 'm'"),
    "gamma below 0": (lambda: seq(C(), spoiled(N(), "gamma", -0.5)), r"gamma is -0\.5, it has to be positive"),
    "lazy layer": (lambda: seq(C(), N(), Flatten(), nn.LazyLinear(3), head=False), "weight has no values yet"),
    "NaN weight": (lambda: seq(spoiled(C(), "weight", float("nan")), N()), "weight has 1 NaN or infinite"),
    "infinite bias": (lambda: seq(spoiled(C(), "bias", float("inf")), N()), "bias has 1 NaN or infinite"),
    "NaN statistics": (lambda: seq(C(), spoiled(BatchNorm2d(2), "running_mean", float("nan")), N()),
                       "running_mean has 1 NaN"),
    "NaN gamma": (lambda: seq(C(), spoiled(N(), "gamma", float("nan"))), "gamma has 1 NaN"),
    "negative variance": (lambda: seq(C(), spoiled(BatchNorm2d(2), "running_var", -1.0), N()),
                          "running_var has negative"),
    "no running statistics": (lambda: seq(C(), BatchNorm2d(2, track_running_stats=False), N()),
                              "no running statistics"),
    "convolution used twice": (twice, "1: used twice; give each place a module of its own"),
    "neuron used twice": (neuron_twice, "2: used twice"),
    "no read-out": (lambda: seq(C(), N(), head=False), "the last layer is not a linear read-out"),
    "neuron at the end": (lambda: seq(N(), Flatten(), QLinear(128, 3), N(), head=False),
                          "the last layer is not a linear read-out"),
    "map as logits": (lambda: seq(N(), C(), head=False),
                      r"the read-out has shape \(2, 6, 6\), allowed is \(classes, 1, 1\)"),
    "Linear on a map": (lambda: seq(N(), QLinear(8, 3), head=False), "put Flatten.. before it"),
    "BatchNorm behind Flatten": (lambda: seq(C(), Flatten(), BatchNorm1d(72), N(), QLinear(72, 3), head=False),
                                 "put BatchNorm2d before Flatten"),
    "neuron behind the mean": (lambda: seq(Flatten(), QLinear(128, 4), MeanOverTime(), Of(lambda m, x: m.n(x), n=N()),
                                           head=False), "stands behind the mean over time"),
    "repeated twice": (lambda: seq(Repeat(2), C(), N(), head=False), "has a time axis already|does not run"),
    "mean without time": (lambda: nn.Sequential(Flatten(False), MeanOverTime(), Repeat(2)).eval(),
                          "has no time axis to average"),
    "neuron before Repeat": (lambda: nn.Sequential(C(), N(), Repeat(2), C(), N(), Flatten(), QLinear(32, 3)).eval(),
                             "the neuron's input has no time axis"),
    "multiplication": (lambda: seq(Of(lambda m, x: x * 0.5), C(), N()), "mul: this function is not understood"),
    "adding a constant": (lambda: seq(Of(lambda m, x: x + 1), C(), N()), "for constants use the bias"),
    "adding unlike shapes": (lambda: seq(Of(lambda m, x: x + m.p(x), p=AvgPool2d(8)), C(), N()), "adds maps of shapes"),
    "reshape": (lambda: seq(Of(lambda m, x: x.reshape(2, 1, 2, 4, 16)), C(), N()), "changes shape"),
    "mean over channels": (lambda: seq(Of(lambda m, x: x.mean(2, keepdim=True)), C(), N()),
                           "mean over axes|does not run"),
    "neuron in SeqToBatch": (lambda: seq(SeqToBatch(C(), N())), "a neuron inside SeqToBatch sees no time axis"),
    "channels and time of InputScale": (lambda: nn.Sequential(InputScale([1.0, 2.0], steps=True), Repeat(2)).eval(),
                                        "does not run|give steps=False"),
    "late InputScale": (lambda: seq(C(), N(), InputScale(2.0)), "InputScale has to come first"),
    "two InputScales": (lambda: seq(Of(lambda m, x: m.a(x) + m.b(x), a=InputScale(2.0), b=InputScale(3.0)), C(), N()),
                        "more than one InputScale"),
    "channels of InputScale": (lambda: nn.Sequential(InputScale([1.0, 2.0, 3.0])).eval(), "does not run"),
    "a mean and padding twice": (lambda: seq(Of(lambda m, x: m.a(m.s(x)) + m.b(x), s=InputScale(1.0, 3.0),
                                                a=C(padding=1),
                                                b=C(padding=1)), N()), "use InputScale with mean 0"),
    "loop on values": (lambda: seq(Of(lambda m, x: x if x.sum() > 0 else -x), C(), N()),
                       "torch.fx cannot follow forward"),
    "parameter used directly": (lambda: seq(Of(lambda m, x: x + m.p, p=nn.Parameter(torch.ones(1))), C(), N()),
                                "a tensor of the module is used directly"),
    "two inputs": (lambda: Of2().eval(), "does not run|more than one input"),
    "constant output": (lambda: Of(lambda m, x: m.p, p=nn.Parameter(torch.ones(1))).eval(),
                        "used directly|does not return"),
}


class Of2(nn.Module):
    def forward(self, x, y):
        return x + y


@pytest.mark.parametrize("name", CASES)
def test_unsupported_modules_are_refused(name):
    make, message = CASES[name]
    module = make()
    with pytest.raises(ModelError, match=message):
        with torch.random.fork_rng():
            fold(module, X)


def test_all_problems_are_listed_at_once():
    module = nn.Sequential(Repeat(2), C(groups=2), nn.ReLU(), C(dilation=2), BatchNorm2d(2, track_running_stats=False),
                           N(tau=4.0), MaxPool2d(2, ceil_mode=True), Flatten(), QLinear(2, 2), MeanOverTime()).eval()
    with pytest.raises(ModelError) as error:
        fold(module, X)
    text = str(error.value)
    for part in ("groups is 2", "ReLU is not supported", "dilation is", "no running statistics", "beta = 0.75",
                 "ceil_mode"):
        assert part in text
    assert "cannot be folded, for 7 reasons" in text


def test_a_module_in_training_mode_is_refused_by_name():
    module = seq(C(), N())
    fold(module, X)
    module[1].train()
    with pytest.raises(ModelError, match=r"1: in training mode; call \.eval\(\) first"):
        fold(module, X)
    quantised = quantise(module, X)
    with pytest.raises(ModelError, match="in training mode"):
        fold(quantised.train())


def test_a_still_input_without_repeat_says_what_to_add():
    module = nn.Sequential(C(), N(), Flatten(False), QLinear(72, 3)).eval()
    with pytest.raises(ModelError, match=r"put Repeat\(T\) into the module"):
        fold(module, X)


@pytest.mark.parametrize(("x", "message"), [
    (X / 16, "allowed are unsigned integers .* as InputScale"),
    (X - 1, "allowed are unsigned integers"),
    (X * float("nan"), "allowed are unsigned integers"),
    (X * 100, "goes up to 700, allowed with 8 bits is 255"),
    (X[0, 0, 0], "example_input is .8,., allowed is"),
    (X[:, :1], "does not run on the example input of shape"),
    (None, "example_input is missing"),
    ("x", "example_input is a str, allowed is a torch.Tensor"),
    (X.numpy(), r"example_input is a ndarray, allowed is a torch.Tensor: give torch.as_tensor\(example_input\)"),
    (X[:0], "none of them 0|does not run"),
])
def test_example_inputs_are_checked(x, message):
    with pytest.raises(ModelError, match=message):
        fold(seq(C(), N()), x)


@pytest.mark.parametrize(("options", "message"), [
    ({"weight_bits": 9}, "weight_bits is 9, allowed is 2 to 8"),
    ({"input_bits": 0}, "input_bits is 0, allowed is 1 to 8"),
    ({"input_bits": 2}, "example_input goes up to 7, allowed with 2 bits is 3"),
    ({"steps": 0}, "steps is 0, allowed is 1 to 255"),
    ({"bias_bits": 32}, "bias_bits is 32, allowed is 8 to 24"),
])
def test_options_are_checked(options, message):
    with pytest.raises(ModelError, match=message):
        fold(seq(C(), N()), X, **options)


def test_a_quantised_network_has_its_widths_fixed():
    quantised = quantise(seq(C(), N()), X)
    with pytest.raises(ModelError, match="weight_bits given for a QuantisedNetwork"):
        fold(quantised, weight_bits=4)


@pytest.mark.parametrize(("x", "message"), [
    (X + 0.5, "allowed are integers from 0 to 7"),
    (X * 2, "allowed are integers from 0 to 7"),
    (-X, "allowed are integers from 0 to 7"),
    (X * float("nan"), "allowed are integers from 0 to 7"),
    (X[0], r"shape \(2, 8, 8\), allowed is \(N, 2, 8, 8\)"),
    (X[:, :, :7], r"allowed is \(N, 2, 8, 8\)"),
])
def test_inputs_of_a_quantised_network_are_checked(x, message):
    with pytest.raises(ModelError, match=message):
        quantise(seq(C(), N()), X)(x)


def test_events_of_another_number_of_steps_are_refused():
    module = nn.Sequential(C(), N(), Flatten(), QLinear(72, 3)).eval()
    quantised = quantise(module, X.expand(4, 1, 2, 8, 8))
    with pytest.raises(ModelError, match=r"allowed is \(4, N, 2, 8, 8\)"):
        quantised(X.expand(3, 1, 2, 8, 8))


def test_divergence_in_the_quantised_phase_is_noticed():
    module = seq(C(), N())
    quantised = quantise(module, X).train()
    with torch.no_grad():
        module[1].weight[0] = float("nan")
    with pytest.raises(ModelError, match="weight has 18 NaN"):
        quantised.eval()


def test_weights_that_no_exponent_can_hold_are_clipped_with_a_warning():
    module = seq(C(), N())
    with torch.no_grad():
        module[1].weight[0] = 500.0
    with pytest.warns(UserWarning, match="1: the weights of 1 of 2 channels|2: the weights of 1 of 2 channels"):
        quantised = quantise(module, X)
    assert quantised.stored(0)[0][0][0].max() == 127


def test_layers_say_which_shapes_they_take():
    message = "QConv2d got shape (1, 2), allowed are (N, C, H, W) and (T, N, C, H, W)"
    with pytest.raises(ValueError, match=re.escape(message)):
        C()(torch.zeros(1, 2))
    with pytest.raises(ValueError, match="QConv1d got shape"):
        QConv1d(1, 1, 1)(torch.zeros(1, 2))
    with pytest.raises(ValueError, match="weight_bits is 1, allowed is 2 to 8"):
        QConv2d(1, 1, 1, weight_bits=1)
    with pytest.raises(ValueError, match="steps is 0"):
        Repeat(0)
    with pytest.raises(ValueError, match="bits is 9"):
        InputScale(bits=9)
    with pytest.raises(ValueError, match="scale is"):
        InputScale(float("nan"))
    with pytest.raises(ValueError, match="mean is .*allowed is 0 to 255"):
        InputScale(1.0, [-1.0, 3.0])
