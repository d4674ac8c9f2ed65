"""What is found out before hours are spent."""

import dataclasses

import pytest
import torch
from torch import nn

from qblif.gen import data, models
from qblif.gen.training import Samples, phase, sanity
from qblif.host.errors import InputError

from .helpers import make, tiny


@dataclasses.dataclass
class Fake:
    train: Samples
    test: Samples
    name: str = "fake"
    classes: tuple = ("a", "b")
    shape: tuple = (1, 4, 4)
    bits: int = 4


def fake(y=(0, 1, 0, 1), most=15, shape=(4, 1, 4, 4)):
    x = torch.randint(0, most + 1, shape, generator=torch.Generator().manual_seed(0))
    x.view(-1)[0] = most
    split = Samples(x, torch.tensor(y))
    return Fake(split, split)


def test_good_data_pass():
    assert sanity.data(fake(), 0) == []


@pytest.mark.parametrize(("changes", "message"), [
    ({"y": (0, 1, 2, 1)}, "labels of fake go from 0 to 2, allowed with 2 classes is 0 to 1"),
    ({"y": (0, 1, -1, 1)}, "labels of fake go from -1 to 1"),
    ({"most": 16}, "inputs of fake go from 0 to 16, allowed with 4 bits is 0 to 15"),
    ({"most": 0}, "hold nothing but 0: damaged files"),
    ({"shape": (4, 1, 4, 5)}, r"has shape \(4, 1, 4, 5\), needed is \(B, C, H, W\) with \(C, H, W\) = \(1, 4, 4\)"),
])
def test_wrong_data_are_told(changes, message):
    with pytest.raises(InputError, match=message):
        sanity.data(fake(**changes), 0)


def test_missing_classes_are_a_warning():
    assert "no sample of class 1" in sanity.data(fake(y=(0, 0, 0, 0)), 0)[0]


def test_a_gamma_that_fell_to_its_floor_is_a_warning(tmp_path, capsys):
    make(tmp_path / "usual").train()
    assert "floor" not in capsys.readouterr().out
    make(tmp_path / "fallen", tiny(neuron={"gamma": 1e-3}, train={"gamma_rate": 1e-6})).train()
    shown = [line for line in capsys.readouterr().out.splitlines() if "floor" in line]
    assert len(shown) == 4 and shown[0] == (       # two layers, in each of the two phases once
        "warning: gamma of neuron has fallen to its floor, 0.001: its neurons emit 0 or N = 7, additions for "
        'each synapse: 3, and little between. neuron.surrogate = "clipped" with neuron.gamma = 0.25 may keep it up')


def test_labels_that_do_not_belong_to_their_samples_are_told():
    class Wrong(Samples):
        def batch(self, index, generator=None):
            x, y = super().batch(index)
            return x, 1 - y

    good = fake().train
    with pytest.raises(InputError, match="gives other labels than it lists"):
        sanity.data(Fake(Wrong(good.x, good.y), good), 0)


def test_a_module_that_learns_passes_and_one_that_cannot_is_told():
    split = data.load("digits").train
    torch.manual_seed(0)
    module = models.build("vgg", shape=(1, 8, 8), bits=5, input_scale=1 / 16, channels=[8, 16], strides=[1, 2])
    before = {k: v.clone() for k, v in module.state_dict().items()}
    state = torch.get_rng_state()
    assert sanity.learns(module, split) is None
    # the copy has learned, nothing else has changed
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)

    class Deaf(nn.Module):
        def __init__(self):
            super().__init__()
            self.bias = nn.Parameter(torch.zeros(10))

        def forward(self, x):
            return self.bias * 1e-9 + torch.zeros(len(x), 10)

    assert "hardly learns" in sanity.learns(Deaf(), split)


def test_a_loss_that_is_no_number_ends_the_run(tmp_path):
    with pytest.raises(phase.Diverged, match="the loss is nan in step"):
        make(tmp_path, tiny(train={"rate": 1e30, "clip": 0.0, "optimiser": "sgd"})).train()
