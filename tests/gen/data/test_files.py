"""Sets are looked for where it is announced, and a missing one is explained."""

import pytest
import torch

from qblif.gen import data
from qblif.gen.data import DataError, files
from qblif.gen.training import Data


@pytest.fixture
def nothing(monkeypatch, tmp_path):
    """An empty working folder, and no QBLIF_DATA."""
    monkeypatch.delenv("QBLIF_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


FORMS = (files.Form("spoken form", ("a.txt|a.text", "b.txt"), lambda folder: "spoken"),
         files.Form("written form", ("c.txt",), lambda folder: "written"))
ABOUT = data.DATASETS["mnist"]


def put(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


def test_the_variable_comes_first_and_then_the_working_folder(nothing, monkeypatch):
    here, there = put(nothing / "data" / "MNIST", "c.txt"), put(nothing / "sets" / "MNIST" / "raw", "a.text", "b.txt")
    assert files.find(ABOUT, None, FORMS)[1].absolute() == here
    monkeypatch.setenv("QBLIF_DATA", str(nothing / "sets"))
    form, folder = files.find(ABOUT, None, FORMS)
    assert folder == there and form.read(folder) == "spoken"


def test_a_root_holds_the_folder_or_is_it_and_nothing_else_is_tried(nothing, monkeypatch):
    there = put(nothing / "sets" / "mnist", "c.txt")
    monkeypatch.setenv("QBLIF_DATA", str(nothing / "sets"))
    assert files.find(ABOUT, there, FORMS)[1] == files.find(ABOUT, there.parent, FORMS)[1] == there
    with pytest.raises(DataError, match="was not found"):
        files.find(ABOUT, nothing / "elsewhere", FORMS)


def test_a_missing_set_is_explained_with_every_path_and_its_source(nothing, monkeypatch):
    put(nothing / "sets" / "mnist", "b.txt")
    monkeypatch.setenv("QBLIF_DATA", str(nothing / "sets"))
    with pytest.raises(DataError) as caught:
        files.find(ABOUT, None, FORMS)
    text = str(caught.value)
    for base in ("sets", "data"):
        for name in ABOUT.folders:
            assert str(nothing / base / name) in text
    assert "mnist: as spoken form it lacks a.txt\n" in text and "mnist: as written form it lacks c.txt\n" in text
    assert "MNIST/raw: no such folder" in text and "http://yann.lecun.com" in text and "$QBLIF_DATA" in text


@pytest.mark.parametrize("name", [name for name, about in data.DATASETS.items() if about.folders])
def test_every_set_says_where_it_was_looked_for_and_where_people_get_it(nothing, name):
    with pytest.raises(DataError, match=r"(?s)\$QBLIF_DATA is not set.*no such folder.*hint: .*https?://"):
        data.load(name)


def test_unknown_names_and_options_are_answered_with_those_there_are():
    with pytest.raises(DataError, match=r"no data set 'minst' \(did you mean 'mnist'\?\). There are digits, mnist"):
        data.load("minst")
    with pytest.raises(DataError, match=r"no data set 'x'. There are"):
        data.load("x")
    with pytest.raises(DataError, match=r"no option 'step' \(did you mean 'steps'\?\). It has steps, bits, by, window"):
        data.load("n-mnist", step=3)
    with pytest.raises(DataError, match="no option 'steps'. It has bits"):
        data.load("mnist", steps=3)


def test_digits_need_no_folder_and_become_data_to_train_on():
    ds = data.load("digits")
    x, y = ds.train.batch(torch.tensor([5, 2]))
    assert x.shape == (2, *ds.shape) and x.dtype == torch.uint8 and torch.equal(y, ds.train.labels[[5, 2]])
    assert isinstance(ds.to_data(), Data) and int(ds.train.x.max()) < 2 ** ds.bits
    assert str(ds) == "DataSet(digits: 1437 to train, 360 to test, 10 classes, (1, 8, 8) of 5 bits)"


@pytest.mark.parametrize(("x", "y", "message"), [
    (torch.zeros(3, 1, 2, 2), torch.zeros(3, dtype=torch.int64), "samples are torch.float32"),
    (torch.zeros(3, 2, 2, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64), r"torch.uint8 \(3, 2, 2\)"),
    (torch.zeros(3, 1, 2, 2, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64), r"needed are int64 \(3,\)"),
    (torch.zeros(3, 1, 2, 2, dtype=torch.uint8), torch.zeros(3), "labels are torch.float32"),
])
def test_splits_are_checked(x, y, message):
    with pytest.raises(DataError, match=message):
        data.TensorSplit(x, y)


@pytest.mark.parametrize(("train", "test", "message"), [
    ([0, 2], [1], "training labels go from 0 to 2, allowed are 0 to 1"), ([0, 1], [-1], "test labels go from -1 to -1"),
    ([0, 1], [], "there are no test samples")])
def test_labels_are_checked(train, test, message):
    splits = [data.TensorSplit(torch.zeros(len(y), 1, 2, 2, dtype=torch.uint8), torch.tensor(y, dtype=torch.int64))
              for y in (train, test)]
    with pytest.raises(DataError, match=message):
        data.DataSet("mine", *splits, ("a", "b"), (1, 2, 2))
