"""`make sim` without its simulator: what it prints, and that a single wrong integer fails it. The real thing is run by
continuous integration, and by the long test below on Icarus.
"""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest

from qblif.gen import network_file, zoo
from qblif.host.errors import ToolMissing
from qblif.sim import golden, pipeline, subjects
from qblif.sim.stages import Done

QUICK = ("train.epochs=1", "train.quantised_epochs=1", "train.batch=256")


def fake_rtl(change=lambda logits, records: None):
    """Return a simulator that answers with the golden model's integers, once `change` had its way with them."""
    def simulate(given, verdict, expected, built, plan, stages):
        result = golden.run(plan.network, given.images, record=True)
        logits = result.logits.copy()
        records = [{name: None if value is None or name == "name" else value.copy()
                    for name, value in vars(record).items()} for record in result.records]
        change(logits, records)
        stages.append(Done("simulate", 1.0, processor=0.1))
        verdict.logits("logits, RTL", expected, logits)
        verdict.levels("levels, RTL", result.records, records)
        return pipeline.Rtl(logits, np.full(len(logits), 1000))

    return simulate


@pytest.fixture(scope="module")
def cache_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def run(cache_folder, monkeypatch, capsys):
    """Run the pipeline on four images with a stand-in for the simulator; return exit code and printed lines."""
    def run(change=lambda logits, records: None, **options):
        monkeypatch.setenv("QBLIF_CACHE", str(cache_folder))
        monkeypatch.setattr(pipeline, "_verilator", fake_rtl(change))
        monkeypatch.setattr(pipeline, "deploy_plan", lambda plan, path, vectors: path.write_bytes(b""))
        code = pipeline.run(pipeline.Options(**{"first": 5, "images": 4, "settings": QUICK} | options))
        return code, capsys.readouterr().out.splitlines()

    return run


def test_the_last_line_is_the_result(run):
    code, lines = run()
    assert code == 0
    assert re.fullmatch(r"result: images=4 mismatches=0 accuracy=\d+\.\d\d cycles=1000", lines[-1])


def test_the_table_has_accuracies_mismatches_layers_and_stages(run):
    text = "\n".join(run()[1])
    for word in ("float", "quantised", "golden", "RTL", "γ", "input bits set", "SOPs", "additions", "dense MACs",
                 "block1.neuron1", "cycles per image", "hypothetical 100 MHz", "simulated, not measured on a board",
                 "quantised PyTorch: logits of images 5 to 8", "train", "fold", "plan", "build",
                 "0.04 million cycles a second of processor time"):
        assert word in text, word


def test_stages_are_kept_between_runs(run):
    run()
    assert any(re.match(r" *train .*kept from before", line) for line in run()[1])


def test_the_bundle_is_left_under_the_name_of_its_network_and_said_before_the_result(run, tmp_path):
    code, lines = run(bundles=tmp_path / "build")
    assert code == 0 and (tmp_path / "build" / "digits.qblif").is_file()
    assert lines[-1].startswith("result: ") and f"bundle    {tmp_path / 'build' / 'digits.qblif'}  (for" in lines[-3]


def test_no_name_of_a_network_leaves_the_folder(tmp_path):
    (tmp_path / "made").write_bytes(b"bundle")
    left = pipeline._leave(tmp_path / "made", tmp_path / "build", "../a b/c")
    assert left.parent == tmp_path / "build" and left.name == ".._a_b_c.qblif" and left.read_bytes() == b"bundle"


def test_a_network_of_the_zoo_is_run_without_training(run, monkeypatch):
    monkeypatch.setattr(subjects.training.Run, "train", lambda run: pytest.fail("trained"))
    code, lines = run(network="digits")
    text = "\n".join(lines)
    assert code == 0 and lines[-1].startswith("result: images=4 mismatches=0 accuracy=")
    assert "images 5 to 8 of the test set 'digits'" in text and "golden, by its card" in text
    assert "quantised PyTorch" not in text and "train" not in text.split("wall time")[1]


def test_of_random_images_the_accuracy_is_none_and_a_difference_still_fails(run, tmp_path, monkeypatch):
    monkeypatch.delenv("QBLIF_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    network = dataclasses.replace(zoo.load("digits"), meta={"data": "cifar10"})
    network_file.save(network, tmp_path / "a.network")
    code, lines = run(network="a.network")
    assert code == 0 and lines[-1] == "result: images=4 mismatches=0 accuracy=none cycles=1000"
    assert "4 images of random integers: integers are compared, accuracy cannot be told" in "\n".join(lines)

    def change(logits, records):
        logits[1, 2] += 1

    code, lines = run(change, network="a.network")
    assert code == 1 and "make sim FIRST=6 IMAGES=1 WAVES=waves.vcd NETWORK=a.network" in "\n".join(lines)


def test_a_single_wrong_logit_fails_and_is_named(run):
    def change(logits, records):
        logits[2, 7] += 1

    code, lines = run(change)
    text = "\n".join(lines)
    assert code == 1
    assert "mismatches=1 " in lines[-1]
    assert re.search(r"layer 5 \(readout\), logits, image 2, channel 7", text)
    assert "make sim FIRST=7 IMAGES=1 WAVES=waves.vcd" in text  # image 5 + 2 of the data set


def test_a_single_wrong_membrane_is_named_with_its_place(run):
    def change(logits, records):
        records[2]["membrane"][1, 3, 4, 5, 6] -= 1

    code, lines = run(change)
    text = "\n".join(lines)
    assert code == 1
    assert re.search(r"layer 2 \(block1.neuron2\), membrane, image 3, time step 1, position \(y=5, x=6\)", text)
    assert "channel 4: expected " in text


def test_a_missing_simulator_is_reported_before_anything_is_trained(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(subjects.training.Run, "train", lambda run: pytest.fail("trained first"))
    with pytest.raises(ToolMissing):
        pipeline.run(pipeline.Options(simulator="icarus"))


@pytest.mark.long
@pytest.mark.icarus
def test_two_images_are_bit_exact_on_icarus(cache_folder, monkeypatch, capsys):
    monkeypatch.setenv("QBLIF_CACHE", str(cache_folder))
    assert pipeline.run(pipeline.Options(simulator="icarus", images=2, settings=QUICK)) == 0
    assert "result: images=2 mismatches=0" in capsys.readouterr().out
