"""CIFAR-10 and CIFAR-100 in all their forms, on small files in the real format."""

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qblif.gen import data
from qblif.gen.data import DataError, batches, packed

from . import formats

RANDOM = np.random.default_rng(2)
BATCHES = [RANDOM.integers(0, 256, (4, 3072), np.uint8) for _ in range(6)]
LABELS = [RANDOM.integers(0, 10, 4).tolist() for _ in range(6)]
NAMES = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]


def python_batches(folder, write=formats.python2_pickle):
    folder.mkdir()
    for i, (name, x, y) in enumerate(zip(NAMES, BATCHES, LABELS, strict=True)):
        write(folder / name, {b"batch_label": b"training batch %d of 5" % i, b"labels": y, b"data": x,
                              b"filenames": [b"image_%d.png" % k for k in range(4)]})


def python3_pickle(path, entries):
    path.write_bytes(pickle.dumps({key.decode(): value for key, value in entries.items()}, protocol=2))


def binary_batches(folder):
    folder.mkdir()
    for name, x, y in zip(NAMES, BATCHES, LABELS, strict=True):
        (folder / f"{name}.bin").write_bytes(np.column_stack([np.uint8(y), x]).tobytes())


@pytest.mark.parametrize(("folder", "write"), [
    ("cifar-10-batches-py", python_batches), ("cifar-10-batches-py", lambda f: python_batches(f, python3_pickle)),
    ("cifar-10-batches-bin", binary_batches)], ids=["python 2", "python 3", "binary"])
def test_cifar10_comes_back(tmp_path, folder, write):
    write(tmp_path / folder)
    ds = data.load("cifar10", root=tmp_path)
    assert torch.equal(ds.train.x.flatten(1), torch.tensor(np.concatenate(BATCHES[:5])))
    assert torch.equal(ds.test.x.flatten(1), torch.tensor(BATCHES[5])) and ds.shape == (3, 32, 32)
    assert ds.train.labels.tolist() == sum(LABELS[:5], []) and ds.test.labels.tolist() == LABELS[5]
    assert ds.classes[0] == "airplane" and len(ds.classes) == 10
    narrow = data.load("cifar10", root=tmp_path, bits=5)
    assert torch.equal(narrow.train.x, ds.train.x // 8) and torch.equal(narrow.test.x, ds.test.x // 8)
    assert (ds.bits, narrow.bits) == (8, 5)


@pytest.mark.parametrize("coarse", [False, True])
@pytest.mark.parametrize("form", ["python", "binary"])
def test_cifar100_comes_back(tmp_path, form, coarse):
    names = {"fine": [f"class{i}" for i in range(100)], "coarse": [f"super{i}" for i in range(20)]}
    labels = {"train": {"fine": [99, 3, 0, 7], "coarse": [19, 1, 0, 2]}, "test": {"fine": [1, 2, 3, 98],
                                                                                  "coarse": [0, 0, 5, 11]}}
    folder = tmp_path / f"cifar-100-{form}"
    folder.mkdir()
    for part, x in (("train", BATCHES[0]), ("test", BATCHES[1])):
        if form == "python":
            formats.python2_pickle(folder / part, {b"fine_labels": labels[part]["fine"], b"data": x,
                                                   b"coarse_labels": labels[part]["coarse"], b"batch_label": b"one"})
        else:
            both = np.uint8([labels[part]["coarse"], labels[part]["fine"]]).T
            (folder / f"{part}.bin").write_bytes(np.column_stack([both, x]).tobytes())
    if form == "python":
        formats.python2_pickle(folder / "meta", {f"{kind}_label_names".encode(): [name.encode() for name in names[kind]]
                                                 for kind in names})
    else:
        for kind, lines in names.items():
            (folder / f"{kind}_label_names.txt").write_text("\n".join(lines) + "\n")
    ds = data.load("cifar100", root=tmp_path, coarse=coarse)
    kind = "coarse" if coarse else "fine"
    assert ds.classes == tuple(names[kind])
    assert ds.train.labels.tolist() == labels["train"][kind] and ds.test.labels.tolist() == labels["test"][kind]
    narrow = data.load("cifar100", root=tmp_path, coarse=coarse, bits=1)
    assert torch.equal(narrow.train.x, ds.train.x // 128) and torch.equal(narrow.test.x, ds.test.x // 128)
    assert torch.equal(ds.test.x.flatten(1), torch.tensor(BATCHES[1]))


class Evil:
    def __init__(self, *called):
        self.called = called

    def __reduce__(self):
        return self.called


@pytest.mark.parametrize(("content", "message"), [
    (Evil(print, ("run",)), "asks for (__builtin__|builtins).print, which no CIFAR batch does: nothing of it was run"),
    ({"data": np.zeros(3, np.float32)}, "an array that is not of bytes"),
    ({"data": np.asfortranarray(np.zeros((2, 3), np.uint8))}, "an array that is not of bytes"),
    ({"data": np.array([None])}, "an array that is not of bytes"),
    ([1, 2], "holds a list, a CIFAR batch is a dictionary"),
    ({"data": np.float64(3)}, "asks for numpy.*scalar"),
])
def test_a_pickle_can_build_nothing_but_containers_and_bytes(tmp_path, capsys, content, message):
    path = tmp_path / "batch"
    path.write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(DataError, match=message):
        batches.read(path)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", NAMES[:1])
@pytest.mark.parametrize("size", [0, 1, 40, 5000])
def test_batches_that_were_cut_off_are_refused(tmp_path, name, size):
    python_batches(tmp_path / "cifar-10-batches-py")
    path = tmp_path / "cifar-10-batches-py" / name
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(DataError, match="is no CIFAR batch, or it was cut off"):
        data.load("cifar10", root=tmp_path)


@pytest.mark.parametrize(("change", "message"), [
    ({b"data": np.zeros((4, 5), np.uint8)}, "no array 'data' of rows of 3072 bytes"),
    ({b"data": [1]}, "no array 'data'"),
    ({b"labels": [1]}, "no list 'labels' of 4 labels"), ({b"labels": [b"cat"] * 4}, "no list 'labels'"),
    ({b"labels": [10] * 4}, "training labels in .* go from 0 to 10, allowed are 0 to 9")])
def test_batches_with_other_contents_are_refused(tmp_path, change, message):
    python_batches(tmp_path / "cifar-10-batches-py")
    good = {b"labels": [0, 1, 2, 3], b"data": BATCHES[0]}
    formats.python2_pickle(tmp_path / "cifar-10-batches-py" / "data_batch_1", good | change)
    with pytest.raises(DataError, match=message):
        data.load("cifar10", root=tmp_path)


def test_binary_batches_that_were_cut_off_are_refused(tmp_path):
    binary_batches(tmp_path / "cifar-10-batches-bin")
    path = tmp_path / "cifar-10-batches-bin" / "test_batch.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match="test_batch.bin has 12291 bytes, needed are records of 3073"):
        data.load("cifar10", root=tmp_path)


# --- packed parts ------------------------------------------------------------------------------------------------


@settings(max_examples=25)
@given(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5), st.integers(0, 2 ** 32 - 1))
def test_packed_parts_are_decoded_as_the_format_says(tmp_path_factory, n, height, width, seed):
    path = tmp_path_factory.mktemp("packed") / "part.xz"
    x = np.random.default_rng(seed).choice([0, 1, 7, 128, 254, 255], (n, 3, height, width)).astype(np.uint8)
    formats.packed(path, x)
    assert np.array_equal(packed.decode(path), x)


def test_packed_cifar10_comes_back_and_is_decoded_once(tmp_path, own_cache, monkeypatch):
    folder = tmp_path / "cifar10"
    folder.mkdir()
    x = RANDOM.integers(0, 256, (5, 3, 32, 32), np.uint8)
    for name, part in (("train_0", x[:2]), ("train_1", x[2:4]), ("test", x[4:])):
        formats.packed(folder / f"{name}.xz", part)
    np.savez(folder / "labels.npz", y_train=np.uint8([3, 1, 0, 9]), y_test=np.uint8([7]),
             exact_train=np.array([True, False, True, True]), exact_test=np.array([True]))
    ds = data.load("cifar10", root=tmp_path)
    assert torch.equal(ds.train.x, torch.tensor(x[:4])) and torch.equal(ds.test.x, torch.tensor(x[4:]))
    monkeypatch.setattr(packed, "decode", None)     # from here on the cache has to do
    ds = data.load("cifar10", root=tmp_path, exact=True)
    assert torch.equal(ds.train.x, torch.tensor(x[[0, 2, 3]])) and ds.train.labels.tolist() == [3, 0, 9]
    np.savez(folder / "labels.npz", y_train=np.uint8([3]))
    with pytest.raises(DataError, match="labels.npz is not read"):
        data.load("cifar10", root=tmp_path)


@pytest.mark.parametrize(("damage", "message"), [(lambda raw: raw[:-20], "cannot be decompressed"),
                                                 (lambda raw: b"hello", "cannot be decompressed"),
                                                 (lambda raw: __import__("lzma").compress(b"hello"), "no packed part")])
def test_damaged_packed_parts_are_refused(tmp_path, damage, message):
    path = tmp_path / "part.xz"
    formats.packed(path, RANDOM.integers(0, 256, (2, 3, 4, 4), np.uint8))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=message):
        packed.decode(path)
