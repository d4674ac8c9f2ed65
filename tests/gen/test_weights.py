"""Weights come from safetensors or from state dicts, never by running code."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from qblif.gen import ModelError, load_weights
from qblif.gen.models import digits_net


@pytest.fixture
def net():
    return digits_net(channels=(2, 3))


@pytest.mark.parametrize("kind", ["safetensors", "pt", "nested.pth"])
def test_weights_come_back_as_they_were(net, tmp_path, kind):
    path, state = tmp_path / f"weights.{kind}", net.state_dict()
    if kind == "safetensors":
        save_file(state, path)
    else:
        torch.save({"state_dict": state} if kind == "nested.pth" else state, path)
    other = load_weights(digits_net(channels=(2, 3)), path)
    assert all(torch.equal(a, b) for a, b in zip(other.state_dict().values(), state.values(), strict=True))


def test_a_pickled_module_is_not_run(net, tmp_path):
    torch.save(nn.Linear(2, 2), tmp_path / "module.pt")
    with pytest.raises(ModelError, match=r"holds more than tensors, and is not run; save module.state_dict\(\)"):
        load_weights(net, tmp_path / "module.pt")


def test_other_names_and_shapes_are_listed(net, tmp_path):
    state = net.state_dict()
    state["extra"] = state.pop("conv.weight")
    state["readout.bias"] = torch.zeros(3)
    torch.save(state, tmp_path / "weights.pt")
    with pytest.raises(ModelError) as error:
        load_weights(net, tmp_path / "weights.pt")
    for text in ("conv.weight is missing; the module has (2, 1, 3, 3)", "extra is not in the module",
                 "readout.bias has shape (3,), the module has (10,)"):
        assert text in str(error.value)


@pytest.mark.parametrize(("name", "content", "message"), [
    ("missing.pt", None, "does not exist"),
    ("broken.pt", b"PK\x03\x04 truncated", "is not a readable torch file"),
    ("empty.pt", b"", "is not a readable torch file"),
    ("broken.safetensors", b"\xff" * 32, "is not a readable safetensors file"),
    ("weights.npz", b"x", r"ends in '\.npz', allowed are \.safetensors, \.pt and \.pth"),
])
def test_files_that_cannot_be_read_are_named(net, tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=message) as error:
        load_weights(net, tmp_path / name)
    assert name in str(error.value)


def test_a_list_of_tensors_is_no_state_dict(net, tmp_path):
    torch.save([torch.zeros(1)], tmp_path / "list.pt")
    with pytest.raises(ModelError, match="does not hold a state dict"):
        load_weights(net, tmp_path / "list.pt")
