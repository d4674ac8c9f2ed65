"""`qblif compile`: what training left is folded as training folded it, and runs on hardware that there is, in seconds.
"""

import os
import re
import subprocess
import sys

import numpy as np
import pytest

from qblif import cli
from qblif.gen import network_file
from qblif.host import Bundle
from qblif.sim import compilation, golden
from qblif.sim.stopwatch import Stopwatch

SECONDS = 10
"""That a processor may take from a trained module to logits of the simulated hardware."""


def test_a_run_is_folded_to_the_integers_that_training_saved(small_run):
    network, images = compilation.of_run(small_run)
    saved = network_file.load(small_run / "small.network")
    assert network.meta == {key: text for key, text in saved.meta.items() if key != "command"}
    for mine, theirs in zip(network.layers, saved.layers, strict=True):
        assert np.array_equal(mine.bias, theirs.bias)
        assert all(np.array_equal(a.weight, b.weight) and a.exponent == b.exponent
                   for a, b in zip(mine.sources, theirs.sources, strict=True))
    assert np.array_equal(golden.run(network, images).logits, golden.run(saved, images).logits)


def test_the_bundle_of_a_run_has_images_of_its_test_set(small_run, capsys):
    assert cli.main(["compile", str(small_run)]) == 0
    shown = capsys.readouterr().out
    bundle = Bundle.load(small_run.with_name("small.qblif"))
    assert np.array_equal(bundle.golden_inputs, compilation.of_run(small_run)[1])
    assert f"saved {bundle.path}" in shown and "once: emit SystemVerilog" in shown


def test_what_is_done_once_is_not_in_the_sum():
    watch = Stopwatch()
    for name in ("first", "second"):
        sum(range(300_000))
        watch.lap(name)
    watch.lap("third", once=True)
    first, second, third = watch.laps
    assert watch.total.seconds == first.seconds + second.seconds > 0
    assert watch.total.processor == first.processor + second.processor
    assert third.once and re.search(r"\n  all .*\n  once: third ", str(watch))


def qblif(*arguments: object) -> tuple[str, float]:
    """Run a command as people do; return what it prints and the processor time of all of it, in seconds."""
    before = os.times()
    done = subprocess.run([sys.executable, "-m", "qblif", *map(str, arguments)], capture_output=True, text=True,
                          check=False)
    after = os.times()
    assert done.returncode == 0, done.stderr
    return done.stdout, sum(after[2:4]) - sum(before[2:4])


@pytest.mark.long
@pytest.mark.datasets("mnist")
def test_a_trained_module_runs_on_the_hardware_of_another_network_within_ten_seconds(tmp_path, capsys):
    there, run = tmp_path / "there.qblif", tmp_path / "run"
    qblif("compile", "mnist-small", "--board", "ulx3s", "--run", "-o", there)  # the simulator's one-time build
    qblif("train", "mnist-small", "--limit", 64, "--threads", 1, "--set", "train.epochs=1", "--set",
          "train.quantised_epochs=1", "--out", run)
    shown, processor = qblif("compile", run, "--design", there, "--run")
    with capsys.disabled():
        print(f"\n{shown}{processor:.1f} s of processor time in all, the start of Python included")
    new, old = Bundle.load(run.with_suffix(".qblif")), Bundle.load(there)
    assert new.build_hash == old.build_hash and new.program_hash != old.program_hash
    assert new.program.size == old.program.size, "the networks are of one size"
    assert "4 images on the simulated hardware, 40 logits: all are the golden model's" in shown
    assert processor < SECONDS
