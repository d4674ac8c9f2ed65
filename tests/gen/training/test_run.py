"""Runs: they can be stopped after any epoch, and what they leave is what an uninterrupted run leaves."""

import json

import pytest
import torch
from safetensors.torch import load_file

from qblif.gen import ModelError, fold
from qblif.gen.data import DataError
from qblif.gen.errors import DataMissing
from qblif.gen.neuron import levels
from qblif.gen.training import RecipeError, finished, phase, run
from qblif.gen.training.checkpoint import CheckpointError
from qblif.gen.training.distributed import Team
from qblif.sim import golden

from .helpers import make, tiny


class Stop(KeyboardInterrupt):
    """Ctrl-C."""


def stopped_after(monkeypatch, folder, epochs, **options):
    """Train, and stop in the middle of the epoch after `epochs`."""
    real, count = phase.Phase.epoch, 0

    def epoch(self, progress=None):
        nonlocal count
        count += 1
        if count > epochs:
            self.optimiser.step()  # half an epoch: its traces must not be seen
            torch.rand(3)
            raise Stop
        return real(self, progress)

    monkeypatch.setattr(phase.Phase, "epoch", epoch)
    with pytest.raises(Stop):
        make(folder, **options).train()
    monkeypatch.setattr(phase.Phase, "epoch", real)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return folder, make(folder).train()


@pytest.mark.parametrize("epochs", [0, 1, 3, 4])
def test_a_stopped_run_goes_on_to_the_very_same_weights(whole, tmp_path, monkeypatch, epochs):
    stopped_after(monkeypatch, tmp_path, epochs)
    torch.manual_seed(99)  # another process starts in another state
    done = make(tmp_path, resume=True).train()
    for file in (run.WEIGHTS, run.FLOAT):
        mine, theirs = load_file(tmp_path / file), load_file(whole[0] / file)
        assert mine.keys() == theirs.keys() and all(torch.equal(mine[k], theirs[k]) for k in mine)
    assert done.float_accuracy == whole[1].float_accuracy and done.quantised_accuracy == whole[1].quantised_accuracy
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [(line["phase"], line["epoch"]) for line in lines] == [
        ("float", 1), ("float", 2), ("float", 3), ("quantised", 1), ("quantised", 2)]
    assert [line["loss"] for line in lines] == [line["loss"] for line in whole[1].history]
    assert [line["test"] for line in lines] == [None, None, done.float_accuracy, None, done.quantised_accuracy]


def test_a_run_with_sgd_mixing_and_a_penalty_goes_on_as_well(tmp_path, monkeypatch):
    chosen = tiny(train={"optimiser": "sgd", "mixup": 0.8, "cutmix": 1.0, "mixup_off": 2, "sop_penalty": 0.1})
    make(tmp_path / "whole", chosen).train()
    stopped_after(monkeypatch, tmp_path / "parts", 2, chosen=chosen)
    make(tmp_path / "parts", chosen, resume=True).train()
    mine, theirs = (load_file(tmp_path / name / run.WEIGHTS) for name in ("parts", "whole"))
    assert all(torch.equal(mine[k], theirs[k]) for k in mine)


@pytest.mark.parametrize("epochs", [2, 4])
def test_a_run_that_learns_n_goes_on_as_well_and_ends_with_integers(tmp_path, monkeypatch, epochs):
    chosen = tiny(neuron={"levels": 31, "learn_levels": True, "start_levels": 3}, train={"sop_penalty": 10.0})
    done = make(tmp_path / "whole", chosen).train()
    stopped_after(monkeypatch, tmp_path / "parts", epochs, chosen=chosen)
    make(tmp_path / "parts", chosen, resume=True).train()
    for file in (run.WEIGHTS, run.FLOAT):
        mine, theirs = (load_file(tmp_path / name / file) for name in ("parts", "whole"))
        assert all(torch.equal(mine[k], theirs[k]) for k in mine)
    logged = [entry["levels"] for entry in done.history]
    assert set(logged[2].values()) != {3} and logged[2] == logged[3] == logged[4]  # learned, then fixed
    weights = load_file(tmp_path / "whole" / run.WEIGHTS)
    kept = {k.removeprefix("module.").removesuffix(".learned_levels"): v for k, v in weights.items() if "learned" in k}
    assert kept == logged[-1]
    network = fold(done.quantised)
    assert [layer.neuron.levels for layer in network.layers[:-1]] == list(logged[-1].values())
    again = finished.load(tmp_path / "parts")
    assert levels(again.quantised(again.dataset()).module) == levels(again.module(again.dataset())) == logged[-1]


def test_a_finished_run_comes_back_without_training_again(tmp_path, monkeypatch):
    """With the weights of its last epoch."""
    chosen = tiny(train={"evaluate_every": 100})
    first = make(tmp_path, chosen).train()
    weights = load_file(tmp_path / run.WEIGHTS)
    monkeypatch.setattr(phase.Phase, "epoch", None)
    monkeypatch.setattr(run, "accuracy", None)  # the test set was looked at after the last epoch
    done = make(tmp_path, chosen, resume=True).train()
    again = load_file(tmp_path / run.WEIGHTS)
    assert all(torch.equal(again[k], weights[k]) for k in weights)
    assert done.quantised_accuracy == first.quantised_accuracy


def test_a_folder_with_a_training_is_not_overwritten(whole):
    with pytest.raises(CheckpointError, match="has a training already\n  hint: --resume goes on"):
        make(whole[0])


def test_another_recipe_does_not_go_on(whole):
    with pytest.raises(CheckpointError, match=r"was trained otherwise: train.rate: 0.01 there, 0.02 here\n"):
        make(whole[0], tiny(train={"rate": 2e-2}), resume=True)
    with pytest.raises(CheckpointError, match="augment differs"):
        make(whole[0], tiny(augment=[]), resume=True)


def test_another_number_of_processes_does_not_go_on(whole):
    said = r"was trained otherwise: processes \(torchrun --nproc-per-node\): 1 there, 2 here\n  hint: give the same"
    with pytest.raises(CheckpointError, match=said):
        make(whole[0], resume=True, team=Team(0, 2))


def test_a_data_set_that_is_not_there_leaves_no_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("QBLIF_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataMissing):
        make(tmp_path / "run", tiny(data={"name": "mnist"})).train()
    assert not (tmp_path / "run").exists()


def test_a_damaged_checkpoint_is_told(tmp_path):
    (tmp_path / run.CHECKPOINT).write_bytes(b"nothing of use")
    with pytest.raises(CheckpointError, match="was not written by a training run, or is damaged"):
        make(tmp_path, resume=True)


def test_training_starts_from_another_run_and_may_only_quantise(whole, tmp_path):
    chosen = tiny(train={"epochs": 0, "quantised_epochs": 0, "weight_bits": 4})
    done = make(tmp_path, chosen, start=whole[0]).train()
    assert done.float_accuracy == whole[1].float_accuracy
    assert done.quantised.weight_bits == 4
    before, after = load_file(whole[0] / run.FLOAT), load_file(tmp_path / run.FLOAT)
    assert all(torch.equal(before[k], after[k]) for k in before)


def test_the_input_scale_is_the_recipes_not_that_of_the_run_it_starts_from(whole, tmp_path):
    """Pixels of fewer bits have another one."""
    chosen = tiny(model={"input_scale": 0.5}, train={"epochs": 0, "quantised_epochs": 0})
    make(tmp_path, chosen, start=whole[0]).train()
    before, after = load_file(whole[0] / run.FLOAT), load_file(tmp_path / run.FLOAT)
    assert before["scale.scale"] == 0.0625 and after["scale.scale"] == 0.5
    assert all(torch.equal(before[k], after[k]) for k in before if k != "scale.scale")


def test_autoaugment_of_pixels_of_fewer_bits_is_refused(tmp_path):
    with pytest.raises(RecipeError, match=r"autoaugment works on pixels of 8 bits, those of the data have 5"):
        make(tmp_path, tiny(augment=[{"name": "autoaugment"}])).train()


def test_starting_from_a_run_of_another_model_is_told(whole, tmp_path):
    with pytest.raises(ModelError, match="does not fit Classifier"):
        make(tmp_path, tiny(model={"channels": [4, 4]}), start=whole[0]).train()


@pytest.mark.parametrize(("changes", "error", "message"), [
    ({"data": {"name": "digit"}}, DataError, "did you mean 'digits'"),
    ({"data": {"bits": 3}}, DataError, "has no option 'bits'"),
    ({"model": {"channel": [3]}}, RecipeError, "'channel' is not a known option of model 'vgg'.*did you mean 'chann"),
    ({"neuron": {"method": "qlif"}}, RecipeError, "'qlif' is not a known method.*did you mean"),
    ({"neuron": {"tau": 3.0}}, ModelError, "not 0, 1 or a power of two"),
    ({"neuron": {"method": "mlf", "levels": 3}, "train": {"sop_penalty": 1.0}}, RecipeError, "mlf does not fold"),
])
def test_what_cannot_be_built_or_deployed_is_told_before_it_is_trained(tmp_path, monkeypatch, changes, error, message):
    monkeypatch.setattr(phase.Phase, "epoch", None)
    with pytest.raises(error, match=message):
        make(tmp_path, tiny(**changes)).train()


def test_a_neuron_that_does_not_fold_is_trained_in_float_alone(tmp_path, capsys):
    done = make(tmp_path, tiny(neuron={"method": "mlf", "levels": 3}, train={"epochs": 1})).train()
    assert done.quantised is None and done.quantised_accuracy is None
    assert "mlf does not fold" in capsys.readouterr().out


def test_amp_computes_the_float_phase_in_bfloat16_and_leaves_parameters_and_integers_exact(tmp_path):
    seen = []

    def note(module, given, result):
        seen.append((module.training, result.dtype))

    chosen = make(tmp_path, tiny(train={"amp": True, "epochs": 1, "quantised_epochs": 1}))
    build = chosen.build

    def watched(dataset):
        module = build(dataset)
        next(m for m in module.modules() if isinstance(m, torch.nn.Conv2d)).register_forward_hook(note)
        return module

    chosen.build = watched
    done = chosen.train()
    assert (True, torch.bfloat16) in seen            # training, in the float phase
    assert (False, torch.bfloat16) not in seen       # never where accuracies are measured
    kinds = {value.dtype for value in load_file(tmp_path / run.FLOAT).values() if value.is_floating_point()}
    assert kinds == {torch.float32}
    assert all(torch.isfinite(torch.tensor(entry["loss"])) for entry in done.history)
    x = done.dataset.test.batch(torch.arange(20))[0]
    assert (golden.run(fold(done.quantised), x.numpy()).logits == done.quantised.integers(x).numpy()).all()


def test_another_seed_gives_another_network(whole, tmp_path):
    make(tmp_path, tiny(train={"seed": 1})).train()
    mine, theirs = load_file(tmp_path / run.FLOAT), load_file(whole[0] / run.FLOAT)
    assert not torch.equal(mine["readout.weight"], theirs["readout.weight"])


def test_whoever_asks_is_told_each_epoch_and_nothing_is_printed(tmp_path, capsys):
    entries = []
    done = make(tmp_path, tiny(), told=entries.append).train()
    assert entries == done.history and {entry["phase"] for entry in entries} == {"float", "quantised"}
    assert capsys.readouterr().out == ""
    assert not (tmp_path / "tensorboard").exists()


def test_what_training_left_is_read_back(whole):
    folder, done = whole
    found = finished.load(folder)
    assert (found.float_accuracy, found.quantised_accuracy) == (done.float_accuracy, done.quantised_accuracy)
    x = done.dataset.test.batch(torch.arange(5))[0]
    assert torch.equal(found.quantised(found.dataset()).integers(x), done.quantised.integers(x))


def test_a_run_whose_weights_are_no_weights_is_refused(tmp_path):
    (tmp_path / run.WEIGHTS).write_bytes(b"something else")
    with pytest.raises(CheckpointError, match="was not written by a training run, or is damaged"):
        finished.load(tmp_path)
