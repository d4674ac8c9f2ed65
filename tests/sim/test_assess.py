"""`qblif eval`, `qblif zoo` and names wherever a network is taken, as they are typed."""

import json
import re

import numpy as np
import pytest

from qblif import cli
from qblif.gen import zoo
from qblif.sim import runs, subjects

from ..gen.data import formats


def run(capsys, *arguments) -> tuple[int, str]:
    code = cli.main(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out if code == 0 else captured.err


def test_a_network_of_the_zoo_is_evaluated_on_its_whole_test_set(capsys):
    code, out = run(capsys, "eval", "digits")
    card = zoo.card("digits")
    assert code == 0
    golden = f"{100 * card.golden_accuracy:.2f} %"
    assert re.search(rf"digits +digits +2 +20 +8 +all 360 .* {golden} +- +{card.sops:,.0f} ", out)
    assert "block2.neuron2" in out and "read out after step" in out


def test_a_run_is_evaluated_in_float_quantised_and_golden(capsys, trained_once):
    code, out = run(capsys, "eval", "--run", str(trained_once), "--json")
    (found,) = json.loads(out)
    card = json.loads((trained_once / "card.json").read_text())
    assert code == 0 and found["different"] == []
    for name in ("float_accuracy", "quantised_accuracy", "golden_accuracy"):
        assert found[name] == pytest.approx(card[name])


def test_a_folder_of_a_run_will_do_as_a_network_and_several_share_a_table(capsys, trained_once):
    code, out = run(capsys, "eval", "digits", str(trained_once), "--limit", "30")
    assert code == 0
    assert out.count("30 of 360") == 2


def test_another_number_of_steps_is_read_out_after_each(capsys):
    code, out = run(capsys, "eval", "digits", "--limit", "60", "--steps", "4", "--json")
    longer = json.loads(out)[0]["by_step"]
    code, out = run(capsys, "eval", "digits", "--limit", "60", "--json")
    assert len(longer) == 4 and longer[:2] == json.loads(out)[0]["by_step"]


def test_a_run_is_evaluated_with_another_number_of_steps_in_all_three_forms(capsys, trained_once):
    arguments = ("eval", str(trained_once), "--limit", "60", "--json")
    own, longer = (json.loads(run(capsys, *arguments, *more)[1])[0] for more in ((), ("--steps", "4")))
    assert (own["steps"], longer["steps"], len(longer["by_step"])) == (2, 4, 4)
    assert longer["by_step"][:2] == own["by_step"]
    assert longer["different"] == [] and longer["quantised_accuracy"] == longer["golden_accuracy"]
    found = runs.load(trained_once)
    dataset = found.dataset()
    assert found.quantised(dataset, 4).graph.steps == 4


@pytest.mark.parametrize("command", ["eval", "report"])
def test_a_run_is_not_evaluated_on_other_data_in_silence(capsys, trained_once, command):
    code, err = run(capsys, command, str(trained_once), "--data", "mnist")
    assert code == cli.MISTAKE
    assert "--data is 'mnist', and the run in" in err and "was trained on 'digits'" in err and "small.network" in err


EVENTS = """
[data]
name = "n-mnist"
bits = 2
[model]
name = "mlp"
hidden = [4]
[neuron]
method = "qblif"
levels = 3
[train]
T = 2
epochs = 1
quantised_epochs = 0
batch = 4
"""


def test_events_that_were_clipped_are_told_wherever_they_are_counted(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("QBLIF_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("QBLIF_DATA", str(tmp_path))
    for part, label in (("Train", 0), ("Train", 1), ("Train", 2), ("Test", 0), ("Test", 1)):
        path = tmp_path / "N-MNIST" / part / str(label) / "00001.bin"
        path.parent.mkdir(parents=True)
        columns = np.random.default_rng(label).integers(0, 34, (3, 40))
        formats.nmnist(path, [3] * 10 + columns[0].tolist(), [4] * 10 + columns[1].tolist(), [1] * 50,
                       [0] * 10 + sorted(columns[2].tolist()))
    told = "n-mnist: 250 events, 35 clipped at 3 a pixel and step, 0 behind the last window"
    (tmp_path / "events.toml").write_text(EVENTS)
    folder = str(tmp_path / "run")
    assert told in run(capsys, "train", str(tmp_path / "events.toml"), "--out", folder)[1]
    assert run(capsys, "eval", folder, f"{folder}/events.network")[1].count(told) == 1
    (found,) = json.loads(run(capsys, "eval", folder, "--json")[1])
    assert found["lost"] == told
    subject = subjects.subject(subjects.Options(network=f"{folder}/events.network", images=1))
    assert subject.about == f"image 0 of the test set 'n-mnist' ({told})"
    assert run(capsys, "eval", folder, "--steps", "3")[0] == cli.MISTAKE


def test_the_zoo_is_listed_and_a_card_is_printed(capsys):
    assert "digits" in run(capsys, "zoo")[1]
    assert zoo.Card.from_json(run(capsys, "zoo", "digits")[1]) == zoo.card("digits")
    code, out = run(capsys, "zoo", "digits", "--verify")
    assert code == 0 and "as told" in out


@pytest.mark.parametrize("arguments", [["inspect", "digits"], ["plan", "digits"]], ids=lambda a: a[0])
def test_names_of_the_zoo_are_taken_where_networks_are(capsys, arguments):
    code, out = run(capsys, *arguments)
    assert code == 0 and "digits" in out


@pytest.mark.parametrize(("arguments", "expected"), [
    (["eval"], "nothing to evaluate: name a network of the zoo"),
    (["eval", "mnits"], "'mnits' is neither a file nor a network of the zoo; those are: .*digits"),
    (["plan", "mnits"], "(?s)'mnits' is neither a file nor a network of the zoo.*hint: did you mean mnist[?] Or "),
    (["plan", __file__], r"is a module, needed is a network.*\n.*hint: `qblif fold .*py:NAME -o FILE.network` makes"),
    (["zoo", "mnits"], "there is no network 'mnits' in the zoo; there are .*digits"),
    (["eval", "digits", "--data", "minst"], "there is no data set 'minst' .*did you mean 'mnist'"),
    (["eval", "--run", "."], "is not the folder of a finished training"),
    (["sim", "--first", "400"], "there are test images 0 to 359"),
    (["sim", "--network", "mnits"], "neither a file nor a network of the zoo")])
def test_mistakes_are_one_message(capsys, arguments, expected):
    code, err = run(capsys, *arguments)
    assert code == cli.MISTAKE
    assert re.search(expected, err)


def test_a_name_of_the_zoo_comes_before_a_folder_of_the_same_name(capsys, trained_once, tmp_path, monkeypatch):
    (tmp_path / "digits").symlink_to(trained_once)
    monkeypatch.chdir(tmp_path)
    assert json.loads(run(capsys, "eval", "digits", "--limit", "9", "--json")[1])[0]["network"] == "digits"
    assert json.loads(run(capsys, "eval", "./digits", "--limit", "9", "--json")[1])[0]["network"] == "small"
