"""The end of a training: a network file and a card that say what the golden model has shown."""

import hashlib
import json

import pytest
import torch

from qblif import cli
from qblif.gen import network_file
from qblif.gen.training.checkpoint import CheckpointError
from qblif.sim import golden, trained

RECIPE = """
[about]
title = "a tiny one"
[data]
name = "digits"
[model]
name = "vgg"
channels = [4, 8]
strides = [1, 2]
input_scale = 0.0625
[neuron]
method = "qblif"
levels = 7
[train]
epochs = 2
quantised_epochs = 1
batch = 16
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run of the command, in a folder of its own."""
    here = tmp_path_factory.mktemp("trained")
    (here / "tiny.toml").write_text(RECIPE)
    arguments = ["train", str(here / "tiny.toml"), "--limit", "60", "--set", "train.seed=3"]
    assert cli.main([*arguments, "--out", str(here / "run")]) == 0
    four = ["--set", "train.epochs=0", "--set", "train.quantised_epochs=0", "--set", "train.weight_bits=4"]
    assert cli.main([*arguments, *four, "--from", str(here / "run"), "--out", str(here / "run4")]) == 0
    return here


def test_the_card_says_what_the_network_does(folder):
    from qblif.gen.zoo.card import Card

    card = Card.from_json((folder / "run" / "card.json").read_text())
    network = network_file.load(folder / "run" / "tiny.network")
    from qblif.gen import data

    x, y = data.load("digits").test.batch(torch.arange(60))
    assert card.golden_accuracy == float((golden.run(network, x.numpy()).predictions == y.numpy()).mean())
    assert card.quantised_accuracy == card.golden_accuracy and card.different == 0
    assert card.sha256 == hashlib.sha256((folder / "run" / "tiny.network").read_bytes()).hexdigest()
    assert (card.seed, card.test_images, card.train_images, card.steps, card.levels) == (3, 60, 60, 1, [7])
    assert card.weight_bytes == 9 * 4 + 4 * 9 * 8 + 8 * 10
    assert f"--threads {torch.get_num_threads()} --set train.seed=3 --limit 60" in card.command


def test_runs_stand_side_by_side(folder, capsys):
    assert cli.main(["runs", str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 and "| run | digits | 1 | 7 | 8 bits |" in lines[2] and "| 4 bits |" in lines[3]
    # quantised from the same float weights: the same accuracy before
    assert lines[2].split("|")[6] == lines[3].split("|")[6]


def test_a_training_whose_neurons_do_not_fold_leaves_a_card_of_its_float_phase(tmp_path, capsys):
    (tmp_path / "tiny.toml").write_text(RECIPE.replace('"qblif"', '"mlf"').replace("levels = 7", "levels = 3"))
    folder = str(tmp_path / "run")
    assert cli.main(["train", str(tmp_path / "tiny.toml"), "--limit", "60", "--set", "train.epochs=1",
                     "--out", folder]) == 0
    card = json.loads((tmp_path / "run" / "card.json").read_text())
    assert card["golden_accuracy"] is None and card["float_accuracy"] > 0
    row = f"| run | digits | 1 | 3 | float | {100 * card['float_accuracy']:.2f} % |"
    assert row in capsys.readouterr().out
    assert cli.main(["runs", folder]) == 0
    told = capsys.readouterr().out
    assert row in told and "run does not fold: multi-level firing keeps one membrane per threshold" in told
    for command in ("eval", "report"):
        assert cli.main([command, folder]) == cli.MISTAKE
        told = capsys.readouterr().err
        assert "its neurons do not fold: multi-level firing" in told
        assert f"reaches {100 * card['float_accuracy']:.2f} % of 60 test samples" in told


def test_a_folder_without_runs_is_told(tmp_path):
    with pytest.raises(CheckpointError, match="no finished run in .*: none has a card.json"):
        trained.table([tmp_path])


def test_a_prediction_that_differs_is_an_error(folder, monkeypatch, tmp_path):
    from qblif.gen import training
    from qblif.gen.training import recipe

    run = training.Run(recipe.load(str(folder / "tiny.toml"), ("train.seed=3",)), folder / "run", limit=60, resume=True)
    done = run.train()
    run.folder = tmp_path
    real = done.quantised.integers
    monkeypatch.setattr(done.quantised, "integers", lambda x: real(x).roll(1, 1))
    with pytest.raises(trained.Differs, match="predictions of the golden model differ from quantised PyTorch's"):
        trained.finish(run, done, "command")
    assert not (tmp_path / "card.json").exists()


@pytest.mark.parametrize(("whole", "says"), [
    (0, "no epoch was whole, so nothing is kept. To begin again:"), (1, "what the last whole epoch left is in")])
def test_interrupted_it_says_how_to_go_on(tmp_path, monkeypatch, capsys, whole, says):
    from qblif.gen.training import phase

    real = phase.Phase.epoch

    def stop(self, progress=None):
        if self.done == whole:
            raise KeyboardInterrupt
        return real(self, progress)

    (tmp_path / "tiny.toml").write_text(RECIPE)
    monkeypatch.setattr(phase.Phase, "epoch", stop)
    arguments = ["train", str(tmp_path / "tiny.toml"), "--limit", "60", "--out", str(tmp_path / "run"),
                 "--set", "train.epochs=2"]
    monkeypatch.setattr("qblif.gen.training.sanity.learns", lambda *given: None)
    assert cli.main(arguments) == 130
    said = capsys.readouterr().err
    assert says in said and f"--limit 60 --out {tmp_path / 'run'}" in said
    assert said.rstrip().endswith(" --resume") == bool(whole)


def test_recipes_are_listed(capsys):
    assert cli.main(["train"]) == 0
    assert "fashion-mnist" in capsys.readouterr().out


def test_wrong_names_are_one_message(capsys, tmp_path):
    assert cli.main(["train", "minst"]) == 2
    assert "qblif train: there is no recipe 'minst' (did you mean 'mnist'?)" in capsys.readouterr().err
    assert cli.main(["runs", str(tmp_path)]) == 2


def test_ablation_rows_are_told_apart_and_compared(tmp_path):
    from qblif.sim import ablation

    assert len(ablation.SETTINGS) == 6 + 6 + 3 + 7
    folders = {ablation.folder_of(tmp_path, s.recipe(seed)) for s in ablation.SETTINGS for seed in range(3)}
    assert len(folders) == 66
    names = [s.name for s in ablation.SETTINGS]
    assert len(set(names)) == 22 and "QB-LIF, ReLSG-ET, N = 20 at most, learned from 8, penalty 0.3" in names
    assert [s for s in ablation.SETTINGS if "QB-LIF, ReLSG-ET, N = 20" in s.name] == list(ablation.FEWER)

    def runs(*values):
        return [{"seed": seed, "golden_accuracy": value, "sops": 1e6, "additions": {"double": 5e5}, "levels": [20, 3],
                 "microjoules": 3.14159}
                for seed, value in enumerate(values)]

    assert ablation.compare(runs(.81, .82, .83), runs(.80, .81, .82)).startswith("higher (+1.00 points")
    assert ablation.compare(runs(.80, .81, .82), runs(.81, .82, .83)).startswith("lower (-1.00 points")
    assert ablation.compare(runs(.81, .80, .83), runs(.80, .82, .81)).startswith("no difference")
    assert ablation.compare(runs(.81), runs(.80, .81)) == "not decided, 1 pair of runs"
    cards = {s: runs(*(.8 + x + (s.levels - 10 * s.penalty) / 1000 for x in (0, .01))) for s in ablation.SETTINGS}
    for card in cards[ablation.FEWER[-1]]:
        card["additions"] = {"double": 4e5}
    for card in cards[ablation.ONE_STEP[1]]:
        card["golden_accuracy"] -= .005
    text = ablation.report(cards, 3)
    assert "| quantised ANN | LSQ | 20 | 82.50 ± 0.71 % | 1.000 M | 0.500 M | 2 |" in text
    assert "- QB-LIF with ReLSG-ET over quantised ANN with ReLSG-ET, T = 1: higher (+0.50 points" in text
    assert "- QB-LIF with ReLSG-ET over quantised ANN with LSQ, T = 1: no difference" in text
    assert "| QB-LIF | ReLSG-ET | 20 | 82.50 ± 0.71 % | 1.000 M | 2 | 95.58 % |" in text
    assert "| 31 | 83.60 ± 0.71 % | 1.000 M | 0.500 M | 3.142 µJ | 2 |  |" in text
    assert "- QB-LIF over I-LIF, Box-ET: no difference" in text and "- N = 2 over N = 1: higher (+0.10" in text
    assert "| 1 | 20 at most, learned from 8 | 81.50 ± 0.71 % | 1.000 M | 0.400 M | 2 | 20/3, 20/3 |" in text
    assert "| 0.3 | 20 | 82.20 ± 0.71 % | 1.000 M | 0.500 M | 2 |  |" in text
    lines = text.splitlines()
    assert ("- penalty 1 over none, N = 20 at most, learned from 8: lower (-1.00 points, standard error 0.00, 2 "
            "seeds); additions -20.0 %") in lines
    assert any(line.startswith("- N = 20 at most, learned from 8 over N = 20, penalty 0.1: no diff") for line in lines)


def test_the_ann_of_the_ablation_has_one_step_and_no_membrane():
    from qblif.sim import ablation

    ours, *others = (setting.recipe(1) for setting in ablation.ONE_STEP)
    for other in others:
        assert other.neuron | {"method": "qblif", "tau": 2.0, "surrogate": "relsg_et"} == ours.neuron
        assert other.T == ours.T == 1 and other.neuron["tau"] == 1 and other.neuron["method"] == "ann"
        assert other.train == ours.train
    assert [other.neuron["surrogate"] for other in others] == ["relsg_et", "clipped"]


def test_the_folders_of_runs_stay_where_they_were(tmp_path):
    """The hash of a recipe names the folder of a run that took minutes: another one trains it again."""
    from qblif.sim import ablation

    named = [ablation.folder_of(tmp_path, setting.recipe(0)).name
             for setting in (ablation.TABLE_5[0], ablation.TABLE_6[-1], ablation.FEWER[-1])]
    assert named == ["59b2c1db38beac45", "7ad2aa2dd989a41f", "6f6f8434c740bee0"]


def test_an_ablation_of_nothing_names_what_there_is(tmp_path, capsys):
    assert cli.main(["ablation", "--only", "foo", "--out", str(tmp_path)]) == cli.MISTAKE
    told = capsys.readouterr().err
    assert "no setting is wanted; there are:" in told and "  binary LIF, Box-ET, N = 1\n" in told


def test_the_ablation_trains_what_is_missing_and_only_that(tmp_path, monkeypatch):
    from qblif.gen import training
    from qblif.gen.training import recipe
    from qblif.sim import ablation

    (tmp_path / "tiny.toml").write_text(RECIPE)
    monkeypatch.setattr(ablation, "RECIPE", str(tmp_path / "tiny.toml"))
    short = ("train.epochs=1", "data.limit=40")

    def wanted(setting):
        return setting.neuron == "I-LIF"

    text = ablation.run(tmp_path / "out", 2, wanted, short)
    assert "| I-LIF | Box-ET | 20 |" in text and "2 seeds)" in text
    kept = ablation.folder_of(tmp_path / "out", ablation.TABLE_5[1].recipe(0, short))
    energy = json.loads((kept / "evaluation.json").read_text())["energy"]["microjoules"]
    assert json.loads((tmp_path / "out" / "ablation.json").read_text())[0]["runs"][0]["microjoules"] == energy > 0
    assert len(json.loads((tmp_path / "out" / "ablation.json").read_text())) == 2
    monkeypatch.setattr(training.Run, "train", None)
    assert ablation.run(tmp_path / "out", 2, wanted, short) == text
    assert recipe.load("ablation").T == 2
