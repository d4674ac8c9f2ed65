"""A small finished training, for the tests that read one back."""

from __future__ import annotations

import shutil

import pytest

RECIPE = """
[about]
title = "digits, one hidden layer, to be tested with"
[data]
name = "digits"
[model]
name = "mlp"
hidden = [16]
[neuron]
method = "qblif"
levels = 5
[train]
T = 2
epochs = 1
quantised_epochs = 1
batch = 128
rate = 1e-2
"""


@pytest.fixture(scope="session")
def trained_once(tmp_path_factory):
    """Folder of a run, made once; not to be changed."""
    from qblif.gen import training
    from qblif.gen.training import one_thread, recipe
    from qblif.sim import trained

    folder = tmp_path_factory.mktemp("runs")
    (folder / "small.toml").write_text(RECIPE)
    with one_thread():
        run = training.Run(recipe.load(str(folder / "small.toml")), folder / "small")
        trained.finish(run, run.train(), "qblif train small.toml --out small")
    return folder / "small"


@pytest.fixture
def small_run(trained_once, tmp_path):
    """A copy of the run's folder, to be done with as one likes."""
    return shutil.copytree(trained_once, tmp_path / "small")
