"""What models.build makes and refuses."""

import pytest
import torch

from qblif.gen import QBLIF, methods, models, neurons
from qblif.gen.models import options_of


@pytest.mark.parametrize("name", sorted(models.MODELS))
def test_every_network_says_what_it_is_and_gives_one_logit_per_class(name):
    assert models.MODELS[name].__doc__
    with torch.no_grad():
        module = models.build(name, shape=(2, 16, 16), classes=7, T=2, neuron=methods.neuron("qblif", levels=3))
        assert module(torch.zeros(3, 2, 16, 16)).shape == (3, 7)
    assert all(n.levels == 3 for n in neurons(module).values()) and neurons(module)


def test_the_first_current_of_still_images_is_computed_once():
    module = models.build("vgg", shape=(1, 8, 8), T=3)
    shapes = []
    module.first.register_forward_hook(lambda m, x, y: shapes.append(tuple(y.shape)))
    module(torch.zeros(2, 1, 8, 8))
    assert shapes == [(2, 16, 8, 8)]


def test_blocks_start_as_their_shortcuts():
    block = models.ResidualBlock(4, 4, 1, QBLIF)
    x = torch.rand(1, 2, 4, 6, 6) * 5
    assert torch.equal(block(x), block.neuron2(x))


def test_options_are_listed_with_their_defaults():
    assert options_of("mlp") == {"hidden": (256, 128), "dropout": 0.0}


@pytest.mark.parametrize(("name", "arguments", "message"), [
    ("resnet21", {}, "'resnet21' is not a known model; allowed are resnet20, .*; did you mean 'resnet20'"),
    ("vgg", {"chanels": (3,)}, "'chanels' is not a known option of model 'vgg'; .*; did you mean 'channels'"),
    ("vgg", {"shape": (8, 8)}, r"shape is \(8, 8\), allowed are three positive integers"),
    ("vgg", {"classes": 0}, "classes is 0, allowed is an integer of 1"),
    ("vgg", {"T": 1.5}, r"T is 1\.5"),
    ("vgg", {"neuron": "qblif"}, "neuron is 'qblif', allowed is a function"),
    ("vgg", {"channels": (3, 4), "strides": (1,)}, "allowed are lists of one length"),
    ("vgg", {"pool": "mean"}, "pool is 'mean', allowed are stride, max, average"),
    ("vgg", {"kernel": 4}, "kernel is 4, allowed are odd numbers"),
    ("mlp", {"hidden": ()}, "hidden is empty"),
    ("resnet20", {"shape": (3, 28, 28)}, "resnet20 takes heights and widths that are multiples of 16, found is 28x28"),
    ("resnet20-classic", {"shape": (2, 34, 34)}, "multiples of 4, found is 34x34"),
    ("resnet20-classic", {"shortcut": "zero"}, "shortcut is 'zero', allowed are average, strided"),
    ("resnet20-classic", {"widths": (16, 32)}, "allowed are lists of one length"),
    ("vgg", {"bits": 9}, "bits is 9, allowed is 1 to 8"),
])
def test_what_cannot_be_built_is_refused_with_what_is_allowed(name, arguments, message):
    with pytest.raises(ValueError, match=message):
        models.build(name, **{"shape": (1, 8, 8)} | arguments)


def test_strided_shortcuts_take_any_size():
    module = models.build("resnet20-classic", shape=(2, 34, 34), shortcut="strided", widths=(2, 3, 4))
    assert module(torch.zeros(1, 2, 34, 34)).shape == (1, 10)
