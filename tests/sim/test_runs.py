"""A finished training is read back as it was: its modules give the accuracies of its card."""

import json

import pytest
import torch

from qblif.sim import golden, runs
from qblif.sim.evaluation import evaluate_network


def test_the_modules_and_the_network_of_a_run_are_those_of_its_card(small_run):
    run = runs.load(small_run)
    dataset = run.dataset()
    quantised = run.quantised(dataset)
    found = evaluate_network(run.network, dataset.test, quantised=quantised, module=run.module(dataset))
    assert found.different == ()
    assert found.golden_accuracy == found.quantised_accuracy == run.card["golden_accuracy"]
    assert found.float_accuracy == pytest.approx(run.card["float_accuracy"])
    x = dataset.test.batch(torch.arange(20))[0]
    assert (quantised.integers(x).numpy() == golden.run(run.network, x).logits).all()


def test_the_log_gives_scales_by_layer(small_run):
    run = runs.load(small_run)
    assert [entry["phase"] for entry in run.history] == ["float", "quantised"]
    assert set(run.gammas) == {layer.name for layer in run.network.layers[:-1]}


def test_a_folder_that_is_no_run_and_one_that_lacks_a_file_are_refused(small_run, tmp_path):
    with pytest.raises(runs.RunError, match="it has no weights.safetensors, which `qblif train` writes at the end"):
        runs.load(tmp_path)
    (small_run / "log.jsonl").unlink()
    with pytest.raises(runs.RunError, match="log.jsonl cannot be read, `qblif train` leaves it in the folder"):
        runs.load(small_run)


def test_reading_a_run_writes_nothing(small_run):
    before = sorted(path.name for path in small_run.rglob("*"))
    run = runs.load(small_run)
    run.module(run.dataset())
    assert sorted(path.name for path in small_run.rglob("*")) == before
    assert json.loads((small_run / "card.json").read_text()) == run.card
