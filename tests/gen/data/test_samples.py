"""Of some sets the first test images come with qblif: the very ones, read as the sets are."""

import numpy as np
import pytest

from qblif.gen import data
from qblif.gen.errors import DataMissing

OF = {"mnist": ({}, {"bits": 2}), "fashion-mnist": ({}, {"bits": 4}),
      "n-mnist": ({"steps": 2}, {"steps": 5, "bits": 3})}
SETS = [pytest.param(name, options, marks=pytest.mark.datasets(name)) for name, several in OF.items()
        for options in several]


@pytest.mark.parametrize("name", OF)
def test_sixteen_test_images_of_a_set_come_along(name):
    found = data.load(name, data.SAMPLES)
    assert len(found.test) == 16 and data.is_sample(found) and set(found.test.labels.tolist()) <= set(range(10))
    assert not data.is_sample(data.load("digits"))


@pytest.mark.parametrize(("name", "options"), SETS)
def test_they_are_the_first_of_the_set(name, options):
    few, whole = data.load(name, data.SAMPLES, **options), data.load(name, **options)
    assert not data.is_sample(whole) and len(whole.test) > 16
    for one, other in zip(few.test.batch(np.arange(16)), whole.test.batch(np.arange(16)), strict=True):
        assert one.shape == other.shape and bool((one == other).all())


def test_nothing_stands_in_for_a_set_that_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.delenv("QBLIF_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataMissing, match="'mnist' was not found"):
        data.load("mnist")
    with pytest.raises(DataMissing, match="'cifar10' was not found"):
        data.load("cifar10", data.SAMPLES)
