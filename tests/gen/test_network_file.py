"""Network files come back as they were saved, and anything else is refused with a clear error."""

import dataclasses
import json
import pickle
import re
import struct
import zipfile

import numpy as np
import pytest
import safetensors.numpy

from qblif.gen.errors import NetworkFileError, VerifyError
from qblif.gen.network_file import KEY, _digest, dumps, load, loads, network_hash, save
from qblif.sim.random_networks import random_network

NETWORK = random_network(11)


def same(a, b):
    """Equality through dataclasses, tuples and arrays."""
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b)
    if dataclasses.is_dataclass(a):
        return type(a) is type(b) and all(same(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a))
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


def rebuilt(change, digest=True):
    """The file of NETWORK after change(tree, arrays), with a fitting checksum unless told otherwise."""
    data = dumps(NETWORK)
    arrays = safetensors.numpy.load(data)
    header = json.loads(data[8:8 + int.from_bytes(data[:8], "little")])
    tree = json.loads(header["__metadata__"][KEY])
    change(tree, arrays)
    if digest:
        tree["sha256"] = _digest(tree["network"], arrays)
    return safetensors.numpy.save(arrays, metadata={KEY: json.dumps(tree)})


@pytest.mark.parametrize("seed", range(20))
def test_a_network_comes_back_as_it_was_saved(seed, tmp_path):
    network = random_network(seed)
    save(network, tmp_path / "net.safetensors")
    again = load(tmp_path / "net.safetensors")
    assert same(network, again)
    assert network_hash(again) == network_hash(network)
    assert not again.layers[0].bias.flags.writeable


def test_the_same_network_gives_the_same_bytes_and_no_rubbish_stays_behind(tmp_path):
    save(NETWORK, tmp_path / "a")
    save(NETWORK, tmp_path / "b")
    save(load(tmp_path / "a"), tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_the_hash_tells_networks_apart_but_not_their_notes():
    assert network_hash(dataclasses.replace(NETWORK, meta={"accuracy": "98 %"})) == network_hash(NETWORK)
    assert network_hash(dataclasses.replace(NETWORK, steps=NETWORK.steps + 1)) != network_hash(NETWORK)
    assert network_hash(random_network(12)) != network_hash(NETWORK)


def test_a_network_that_is_not_valid_is_not_saved(tmp_path):
    with pytest.raises(VerifyError):
        save(dataclasses.replace(NETWORK, steps=0), tmp_path / "net")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(NetworkFileError, match="cannot write .*nowhere"):
        save(NETWORK, tmp_path / "nowhere" / "net")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(NetworkFileError, match="cannot read .*nowhere"):
        load(tmp_path / "nowhere")


def test_errors_name_the_file(tmp_path):
    (tmp_path / "short").write_bytes(dumps(NETWORK)[:-1])
    with pytest.raises(NetworkFileError, match="short' is truncated"):
        load(tmp_path / "short")


@pytest.mark.parametrize("part", [0, 1, 7, 8, 9, 100, -1])
def test_a_truncated_file_is_refused(part):
    with pytest.raises(NetworkFileError, match="truncated"):
        loads(dumps(NETWORK)[:part])


def test_every_flipped_bit_is_noticed():
    data = dumps(NETWORK)
    rng = np.random.default_rng(0)
    for at in sorted({0, 5, 8, 9, len(data) - 1, *rng.integers(0, len(data), 150).tolist()}):
        altered = bytearray(data)
        altered[at] ^= 1 << int(rng.integers(8))
        try:
            same_meaning = same(loads(bytes(altered)), NETWORK)  # white space in the header carries no meaning
        except NetworkFileError:
            continue
        assert same_meaning, f"bit of byte {at} went unnoticed"


@pytest.mark.parametrize(("name", "data"), [("pickle", pickle.dumps({"a": 1})), ("empty", b""), ("text", b"hello" * 10),
                                            ("zeros", bytes(64)), ("huge header", struct.pack("<Q", 1 << 60) + b"{}")])
def test_other_files_are_refused(name, data):
    with pytest.raises(NetworkFileError):
        loads(data)


def test_a_safetensors_file_of_something_else_is_refused():
    with pytest.raises(NetworkFileError, match="holds no network"):
        loads(safetensors.numpy.save({"weight": np.zeros(3, np.float32)}))


REFUSED = {
    "a newer schema": (lambda t, a: t.update(schema=2), r"schema 2, this version reads up to 1: install a newer qblif"),
    "no schema": (lambda t, a: t.pop("schema"), "schema None"),
    "NaN": (lambda t, a: t["network"]["layers"][-1].update(scale=float("nan")), "NaN is not a number"),
    "infinity": (lambda t, a: t["network"]["layers"][-1].update(scale=float("inf")), "Infinity is not a number"),
    "an absurd size": (lambda t, a: t["network"]["input"].update(shape=[1, 10**9, 10**9]), "input shape is .1, 10000"),
    "a large size": (lambda t, a: t["network"]["input"].update(shape=[9, 4095, 4095]), "allowed are"),
    "a wrong shape": (lambda t, a: t["network"]["layers"][0].update(shape=[1, 2, 3]), "the layer's shape is"),
    "text for a number": (lambda t, a: t["network"].update(steps="3"), "steps .T. is '3'"),
    "a list for a network": (lambda t, a: t.update(network=[1]), "something else than a network"),
    "an unknown kind": (lambda t, a: t["network"]["layers"][0].update(kind="softmax"), "softmax"),
    "an unknown field": (lambda t, a: t["network"].update(extra=1), "with the fields"),
    "a missing field": (lambda t, a: t["network"].pop("steps"), "with the fields"),
    "an array too many": (lambda t, a: a.update(extra=np.zeros(3, np.int8)), "belong to no layer: .'extra'"),
    "an array too few": (lambda t, a: a.pop("layers.0.bias"), "layers.0.bias"),
    "float arrays": (lambda t, a: a.update({"layers.0.bias": a["layers.0.bias"].astype(np.float32)}),
                     "bias has dtype float32"),
    "deep nesting": (lambda t, a: t["network"].update(name=json.loads("[" * 400 + "]" * 400)), "name is"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_contents_that_are_not_allowed_are_refused(case):
    change, text = REFUSED[case]
    with pytest.raises(NetworkFileError, match=text):
        loads(rebuilt(change))


def test_an_altered_weight_is_refused():
    def change(tree, arrays):
        name = next(name for name in arrays if name.endswith("weight"))
        arrays[name] = arrays[name] ^ 1

    with pytest.raises(NetworkFileError, match="is altered: its checksum does not match"):
        loads(rebuilt(change, digest=False))


def test_an_altered_number_is_refused():
    with pytest.raises(NetworkFileError, match="is altered"):
        loads(rebuilt(lambda tree, arrays: tree["network"]["layers"][0]["neuron"].update(levels=1), digest=False))


@pytest.mark.parametrize(("name", "members", "what", "hint"), [
    ("net.py", "class Net:\n    pass\n", "is a module, needed is a network", "`qblif fold .*net.py:NAME -o FILE."),
    ("my net.py", "class Net:\n    pass\n", "is a module", "`qblif fold '.*my net.py':NAME"),
    ("design.json", '{"format": "qblif-design"}', "perhaps a design", "it goes with --design"),
    ("net.qblif", ["manifest.json", "program.bin"], "is a bundle, needed is a network", "give that network"),
    ("weights.pt", ["weights/data.pkl", "weights/data/0"], "is weights", "`qblif fold FILE.py:NAME --weights FILE -o"),
    ("images.npz", ["images.npy"], "is an archive", None),
    ("notes.md", "# Notes\n", "is truncated, altered or not a safetensors file", None)])
def test_of_other_files_it_is_said_what_they_are_for(tmp_path, name, members, what, hint):
    path = tmp_path / name
    if isinstance(members, str):
        path.write_text(members)
    else:
        with zipfile.ZipFile(path, "w") as archive:
            for member in members:
                archive.writestr(member, "x")
    with pytest.raises(NetworkFileError, match=what) as error:
        load(path)
    assert error.value.hint is None if hint is None else re.search(hint, error.value.hint)
