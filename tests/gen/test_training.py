"""Both phases of training, in small; `make sim` trains the digits network in full."""

import pytest
import torch
from torch import nn

from qblif.gen import (
    QBLIF,
    BatchNorm1d,
    Data,
    Flatten,
    ModelError,
    QConv1d,
    QLinear,
    Recipe,
    Repeat,
    digits_data,
    digits_net,
    evaluate,
    fold,
    quantise,
    train,
)
from qblif.gen.data.augment import affine
from qblif.host.errors import InputError

from . import zoo
from .integer_reference import run


def stripes():
    """Return 8x1 signals of 0 to 7 that rise (class 0) or fall (class 1), with noise."""
    g = torch.Generator().manual_seed(0)
    y = torch.randint(0, 2, (160,), generator=g)
    ramp = torch.arange(8)
    x = torch.where(y[:, None] == 0, ramp, 7 - ramp) + torch.randint(-2, 3, (160, 8), generator=g)
    x = x.clamp(0, 7).to(torch.uint8).reshape(160, 1, 8)
    return Data(x[:120], y[:120], x[120:], y[120:])


def small():
    torch.manual_seed(0)
    return nn.Sequential(QConv1d(1, 4, 3, padding=1, bias=False), BatchNorm1d(4, step_mode="s"), Repeat(2), QBLIF(7),
                         Flatten(), QLinear(32, 2))


class WithMean(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = small()

    def forward(self, x):
        return self.net(x).mean(0)


RECIPE = Recipe(epochs=4, quantised_epochs=2, batch=20, rate=1e-2)


def test_a_users_network_learns_in_both_phases_and_deploys_what_was_measured():
    data, seen = stripes(), []
    trained = train(WithMean(), data, RECIPE, progress=lambda *a: seen.append(a[:3]))
    assert trained.float_accuracy > 0.9 and trained.quantised_accuracy > 0.9
    assert seen == [("float", i, 4) for i in range(1, 5)] + [("quantised", i, 2) for i in (1, 2)]
    assert list(trained.gammas) == ["net.3"] and trained.gammas["net.3"] != 1.0
    network = fold(trained.quantised)
    assert network.input.bits == 3
    right = 0
    for x, y in zip(data.test_x, data.test_y, strict=True):
        logits = run(network, x.reshape(1, 1, 8).numpy())[0]
        right += int(logits.argmax()) == int(y)
    assert right / len(data.test_y) == pytest.approx(trained.quantised_accuracy)


def test_training_is_reproducible():
    first, second = (train(WithMean(), stripes(), RECIPE).quantised.state_dict() for _ in range(2))
    assert all(torch.equal(first[k], second[k]) for k in first)


def test_the_quantised_phase_trains_weights_biases_norms_and_gammas():
    module, x = zoo.make_random(zoo.digits()), zoo.pixels((8, 1, 8, 8), most=16)
    quantised = quantise(module, x).train()
    statistics = {k: v.clone() for k, v in module.named_buffers()}
    quantised(x).square().sum().backward()
    without = [k for k, p in module.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []
    assert all(torch.equal(v, statistics[k]) for k, v in module.named_buffers())


def test_training_and_evaluation_mode_compute_the_same_integers():
    module, x = zoo.make_random(zoo.digits()), zoo.pixels((8, 1, 8, 8), most=16)
    quantised = quantise(module, x)
    assert torch.equal(quantised.train()(x), quantised.eval()(x))


def test_gradients_of_the_quantised_phase_follow_those_of_the_float_phase():
    """Where nothing needs rounding both phases are the same function, and their gradients are close."""
    module, x = zoo.make_exact(zoo.deep_identity()), zoo.pixels((5, 2, 4, 4))
    target = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    grads = []
    for forward in (module, quantise(module, x, input_bits=3).train()):
        module.zero_grad()
        for m in module.modules():
            m.training = isinstance(m, QBLIF)
        (forward(x) * target).sum().backward()
        grads.append([p.grad.clone() for p in module.parameters()])
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_what_cannot_be_deployed_is_not_trained():
    with pytest.raises(ModelError, match="ReLU"):
        train(nn.Sequential(Flatten(False), nn.Linear(8, 4), nn.ReLU(), Repeat(1), nn.Linear(4, 2)), stripes(), RECIPE)


IMAGES = torch.zeros(4, 1, 8, dtype=torch.uint8)
LABELS = torch.tensor([0, 1, 0, 1])


@pytest.mark.parametrize(("change", "message"), [
    ({"train_y": LABELS[:3]}, "train_x has 4 samples and train_y 3"),
    ({"test_x": IMAGES[:2]}, "test_x has 2 samples and test_y 4"),
    ({"train_y": LABELS.float()}, "train_y has shape .4,. and type torch.float32, allowed are integers"),
    ({"train_y": LABELS.reshape(2, 2)}, "train_y has shape .2, 2."),
    ({"test_y": -LABELS}, "test_y goes down to -1, allowed are classes from 0"),
    ({"train_x": IMAGES + 0.5}, "train_x has values that are no unsigned integers"),
    ({"train_x": IMAGES.float() - 1}, "train_x has values that are no unsigned integers"),
    ({"train_x": IMAGES * float("nan")}, "train_x has values that are no unsigned integers"),
    ({"test_x": IMAGES[..., :4]}, r"train_x and test_x differ in shape: \[1, 8\] and \[1, 4\]"),
    ({"train_x": "images"}, "train_x is a str, allowed are tensors and numpy arrays"),
    ({"train_x": IMAGES[:0], "train_y": LABELS[:0]}, "1 or more"),
    ({"axis": 2}, "with axis=2, allowed are"),
    ({"train_x": LABELS}, "train_x has shape .4,. with axis=0"),
])
def test_data_say_what_is_wrong_with_them(change, message):
    given = {"train_x": IMAGES, "train_y": LABELS, "test_x": IMAGES, "test_y": LABELS}
    with pytest.raises(InputError, match=message):
        Data(**given | change)


def test_data_may_be_numpy_arrays_with_labels_of_any_integer_type():
    data = Data(IMAGES.numpy(), LABELS.int().numpy(), IMAGES.numpy(), LABELS.to(torch.uint8).numpy())
    assert torch.equal(data.train_x, IMAGES) and data.train_y.dtype == data.test_y.dtype == torch.int64


def test_labels_beyond_the_logits_are_refused():
    data = Data(IMAGES, LABELS * 2, IMAGES, LABELS)
    with pytest.raises(InputError, match="labels go up to 2, allowed with the module's 2 logits is 1"):
        train(WithMean(), data, RECIPE)


def test_modules_in_double_precision_train_and_print_shortly():
    trained = train(WithMean().double(), stripes(), Recipe(epochs=1, quantised_epochs=1))
    assert trained.module.net[0].weight.dtype == torch.float64
    assert str(trained).startswith("Trained(WithMean: float ")


def test_digits_are_split_as_announced():
    data = digits_data()
    assert data.train_x.shape == (1437, 1, 8, 8) and data.test_x.shape == (360, 1, 8, 8)
    assert int(data.train_x.max()) == 16 and data.train_x.dtype == torch.uint8
    assert torch.bincount(data.test_y).tolist() == [36, 36, 35, 37, 36, 37, 36, 36, 35, 36]


def test_digits_turned_and_moved_are_integers_in_range():
    x = affine(digits_data().train_x[:50], torch.Generator().manual_seed(0), rotate=11.5, zoom=0.1, shear=0.12,
               shift=(0.1, 0.075))
    assert torch.equal(x, x.floor()) and 0 <= int(x.min()) and int(x.max()) <= 16


@pytest.mark.parametrize(("steps", "levels"), [(1, 1), (2, 20), (4, 5)])
def test_the_digits_network_trains_for_any_number_of_steps_and_levels(steps, levels):
    data = digits_data()
    few = Data(data.train_x[:64], data.train_y[:64], data.test_x[:32], data.test_y[:32])
    trained = train(digits_net(steps, levels, (4, 4)), few, Recipe(epochs=2, quantised_epochs=1))
    network = fold(trained.quantised)
    assert network.steps == steps and network.layers[0].neuron.levels == levels
    image = few.test_x[:1]
    assert trained.quantised.integers(image)[0].tolist() == run(network, image[0].long().numpy())[0].tolist()


def test_ties_go_to_the_lowest_class():
    class Constant(nn.Module):
        def __init__(self):
            super().__init__()
            self.p = nn.Parameter(torch.zeros(3))

        def forward(self, x):
            return self.p.expand(len(x), 3)

    assert evaluate(Constant(), torch.zeros(4, 1), torch.tensor([0, 0, 1, 2])) == 0.5
