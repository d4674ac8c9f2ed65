"""What `make sim` runs: a network of the zoo or a file on its test images, or on random ones, and then it says so."""

import dataclasses

import numpy as np
import pytest

from qblif.gen import network_file, zoo
from qblif.gen.errors import DataError, ZooError
from qblif.host.errors import InputError
from qblif.sim import subjects
from qblif.sim.named import find


def test_a_network_of_the_zoo_runs_on_its_own_test_images():
    subject = subjects.subject(subjects.Options(network="digits", first=7, images=3))
    test = find("digits").test_set().test
    assert (subject.images == test.x[7:10].numpy()).all() and (subject.labels == test.y[7:10].numpy()).all()
    assert subject.about == "images 7 to 9 of the test set 'digits'"
    assert subject.accuracies["golden, by its card"] == zoo.card("digits").golden_accuracy
    assert subject.by_torch is None and subject.again == "NETWORK=digits"
    assert subjects.subject(subjects.Options(network="digits")).count == subjects.TRACED


def test_where_the_data_is_missing_images_are_random_and_that_is_said(tmp_path, monkeypatch, capsys):
    network = zoo.load("digits")
    narrow = tmp_path / "a.network"
    network_file.save(dataclasses.replace(network, meta={"data": "cifar10"}), narrow)
    monkeypatch.delenv("QBLIF_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    subject = subjects.subject(subjects.Options(network=str(narrow), images=2))
    assert subject.labels is None and subject.images.shape == (2, 1, 8, 8)
    assert subject.about == "2 images of random integers: integers are compared, accuracy cannot be told"
    assert "the data set 'cifar10' was not found" in capsys.readouterr().err
    again = subjects.subject(subjects.Options(network=str(narrow), images=2))
    assert (again.images == subject.images).all()
    second = subjects.subject(subjects.Options(network=str(narrow), first=1, images=1))
    assert (second.images == subject.images[1:]).all() and (subject.images[0] != subject.images[1]).any()


def test_of_some_sets_the_first_test_images_come_with_qblif(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("QBLIF_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    subject = subjects.subject(subjects.Options(network="mnist-small", first=2, images=3))
    assert subject.labels.tolist() == [1, 0, 4] and subject.images.shape == (3, 1, 28, 28)      # 7 2 1 0 4 ...
    assert subject.about == ("images 2 to 4 of the test set 'mnist' (16 of them come with qblif, the set is not here)")
    assert not capsys.readouterr().err
    assert subjects.subject(subjects.Options(network="mnist-small", first=6)).count <= 10
    with pytest.raises(InputError, match="images 0 to 16 of 'mnist': the data set is not here, and of its test images "
                                         "the first 16 come with qblif") as told:
        subjects.subject(subjects.Options(network="mnist-small", images=17))
    assert told.value.hint.startswith("IMAGES=16 or fewer, or") and "People get MNIST's four files" in told.value.hint


def test_data_that_is_named_has_to_be_there(tmp_path, monkeypatch):
    monkeypatch.delenv("QBLIF_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="'mnist' was not found"):
        subjects.subject(subjects.Options(network="digits", data="mnist"))


def test_images_behind_the_last_one_and_unknown_networks_are_refused():
    with pytest.raises(InputError, match="images 359 to 361 are asked for, the test set of 'digits' has 360"):
        subjects.subject(subjects.Options(network="digits", first=359, images=3))
    with pytest.raises(ZooError, match="'digit' is neither a file nor a network of the zoo"):
        subjects.subject(subjects.Options(network="digit"))


def test_images_of_events_are_cut_along_their_own_axis():
    subject = subjects.subject(subjects.Options(network="digits", images=4))
    static = dataclasses.replace(subject.network.input, static=False)
    events = dataclasses.replace(subject, network=dataclasses.replace(subject.network, input=static),
                                 images=np.arange(2 * 5 * 64, dtype=np.uint8).reshape(2, 5, 1, 8, 8))
    assert events.count == 5
    assert (events.some(1, 2) == events.images[:, 1:3]).all()
    assert events.key != subject.key
