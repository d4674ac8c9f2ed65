"""The command line: the chain step by step, and one message for each mistake."""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from qblif import cli
from qblif.host import Bundle
from qblif.sim import golden

MODULE = """
from torch import nn
from qblif import gen

def network():
    return nn.Sequential(gen.InputScale(1 / 16, bits=5), gen.QConv2d(1, 4, 3), gen.Repeat(2), gen.QBLIF(3),
                         gen.Flatten(), gen.QLinear(16, 3), gen.MeanOverTime())

def wrong():
    return 5
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a user's module, its network and its bundle, made by the commands."""
    folder = tmp_path_factory.mktemp("own")
    with contextlib.chdir(folder):
        (folder / "own.py").write_text(MODULE)
        (folder / "broken.py").write_text("def f(:")
        assert cli.main(["fold", "own.py:network", "--example", "1,1,4,4", "-o", "own.network"]) == 0
        assert cli.main(["compile", "own.network"]) == 0
    return folder


@pytest.fixture
def folder(made, monkeypatch):
    monkeypatch.chdir(made)


def test_a_network_is_inspected_and_planned(folder, capsys):
    assert cli.main(["inspect", "own.network"]) == 0
    assert "3x3" in capsys.readouterr().out
    assert cli.main(["plan", "own.network", "--lanes", "4"]) == 0
    assert "4 lanes" in capsys.readouterr().out


def test_a_bundle_is_inspected_and_run_with_golden_vectors_and_with_own_images(folder, capsys):
    assert cli.main(["inspect", "own.qblif"]) == 0
    assert "4 golden vector" in capsys.readouterr().out
    assert cli.main(["run", "own.qblif"]) == 0
    assert "4 golden vectors: all logits equal" in capsys.readouterr().out
    np.save("images.npy", np.arange(2 * 16, dtype=np.uint8).reshape(2, 1, 4, 4))
    assert cli.main(["run", "own.qblif", "images.npy", "-o", "logits.npy"]) == 0
    assert np.load("logits.npy").shape == (2, 3)


def test_a_module_is_compiled_for_hardware_that_there_is_and_run(folder, capsys, monkeypatch):
    monkeypatch.setattr("qblif.sim.simulation.emitted", None)  # nothing is emitted: the bundle has it
    Path("new.py").write_text(MODULE.replace("QBLIF(3)", "QBLIF(2)"))
    assert cli.main(["compile", "new.py:network", "--example", "1,1,4,4", "--design", "own.qblif", "--run"]) == 0
    shown = capsys.readouterr().out
    assert "12 logits: all are the golden model's" in shown and "saved new.qblif" in shown
    new, own = Bundle.load("new.qblif"), Bundle.load("own.qblif")
    assert new.design == own.design and new.verilog == own.verilog and new.program_hash != own.program_hash


def test_a_logit_that_differs_ends_a_compilation(folder, capsys, monkeypatch):
    run = golden.run

    def wrong(*args):
        result = run(*args)
        result.logits[3, 2] += 1
        return result

    monkeypatch.setattr(golden, "run", wrong)
    assert cli.main(["compile", "own.network", "--design", "own.qblif", "--run", "-o", "wrong.qblif"]) == cli.MISTAKE
    assert "golden image 3, logit 2" in capsys.readouterr().err


MISTAKES = {
    "a missing network": (["plan", "none.network"], "none.network"),
    "a missing bundle": (["run", "none.qblif"], "none.qblif"),
    "a network where a bundle belongs": (["run", "own.network"], "own.network"),
    "a parameter out of range": (["synth", "--map-depth", "5"], "map_depth is 5, allowed is a power of two"),
    "a missing design": (["compile", "own.network", "--design", "none.json"], "none.json cannot be read: No such file"),
    "an unknown target": (["run", "own.qblif", "--target", "moon"], "there is no target 'moon'"),
    "a module without a function": (["fold", "own.py", "-o", "x"], "allowed is file.py:function"),
    "a function that does not exist": (["fold", "own.py:nothing", "-o", "x"], "no function 'nothing'"),
    "a function that returns no module": (["fold", "own.py:wrong", "-o", "x"], "returned a int"),
    "a bundle where a network belongs": (["plan", "own.qblif"], "is a bundle, needed is a network"),
    "something else where a network belongs": (["inspect", "own.py"], "'own.py' is a module, needed is a network"),
    "images that are none": (["run", "own.qblif", "own.py"], "own.py is not a .npy file of numbers"),
    "vectors that are none": (["compile", "own.network", "--vectors", "own.py"], "own.py is not a .npy file"),
    "weights that are none": (["fold", "own.py:network", "--weights", "own.py", "-o", "x"], "own.py"),
    "a module with an error": (["fold", "broken.py:f", "-o", "x"], "broken.py cannot be run: SyntaxError"),
    "a recipe where a module belongs": (["fold", "digits", "-o", "x"], "folded itself, to NAME.network"),
}


@pytest.mark.parametrize("arguments, expected", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_message_and_exit_code_2(folder, capsys, arguments, expected):
    assert cli.main(arguments) == cli.MISTAKE
    assert expected in capsys.readouterr().err


OUTPUTS = {
    "figures": ["plan", "none.network", "--board", "ulx3s", "--json"],
    "a layout": ["plan", "none.network", "--board", "ulx3s", "--out"],
    "a bundle": ["compile", "none.network", "--out"],
    "a network": ["fold", "none.py:f", "--out"],
    "logits": ["run", "none.qblif", "--out"],
    "a page": ["report", "none.network", "--out"],
    "a waveform": ["sim", "--network", "none.network", "--waves"]}


@pytest.mark.parametrize("arguments", OUTPUTS.values(), ids=OUTPUTS)
@pytest.mark.parametrize("path, expected", [(".", "is a folder, needed is a file to write"),
                                            ("own.py/deep/x", "own.py is no folder")])
def test_a_file_that_cannot_be_written_is_told_before_anything_is_read(folder, capsys, arguments, path, expected):
    assert cli.main([*arguments, path]) == cli.MISTAKE
    shown = capsys.readouterr().err
    assert expected in shown and "hint: name" in shown and "none" not in shown


@pytest.mark.parametrize("arguments", [["bench", "none.network"], ["bitstream", "--network", "own.network"],
                                       ["train", "digits"]])
@pytest.mark.parametrize("path, expected", [("own.py", "is a file, needed is a folder to write"),
                                            ("own.py/deep", "own.py is no folder")])
def test_a_folder_that_cannot_be_written_likewise(folder, capsys, arguments, path, expected):
    assert cli.main([*arguments, "--out", path]) == cli.MISTAKE
    assert expected in capsys.readouterr().err


def test_a_file_that_is_not_ones_own_is_told_and_a_missing_folder_is_made(folder, monkeypatch):
    cli._writable(Path("new/folder/file.json"))
    assert Path("new/folder").is_dir()
    monkeypatch.setattr("os.access", lambda path, mode: Path(path).name != "folder")
    with pytest.raises(cli.Mistake, match="not yours to write"):
        cli._writable(Path("new/folder/file.json"))


@pytest.mark.parametrize("arguments", [["plan", "x"], ["compile", "x"], ["bench"], ["bitstream"], ["sim"], ["synth"],
                                       ["netlist"]])
@pytest.mark.parametrize("lanes", ["3", "5", "512", "many"])
def test_any_number_of_lanes_that_cannot_be_is_one_message(capsys, arguments, lanes):
    with pytest.raises(SystemExit):
        cli.main([*arguments, "--lanes", lanes])
    assert f"--lanes: {lanes} is not allowed, allowed are powers of two from 4 to 256" in capsys.readouterr().err


def test_every_argument_has_a_help_text():
    commands = next(action for action in cli.parser()._actions if isinstance(action, argparse._SubParsersAction))
    for name, sub in commands.choices.items():
        for action in sub._actions:
            assert action.help, f"qblif {name}: {action.option_strings or action.dest} has no help text"


@pytest.mark.parametrize("name", ["run", "selftest"])
def test_the_help_lists_the_targets_that_the_error_lists(capsys, name):
    from qblif.host.transport import TARGETS

    with pytest.raises(SystemExit):
        cli.main([name, "--help"])
    shown = capsys.readouterr().out
    for target in TARGETS.split(", "):
        assert target in shown, target


@pytest.mark.parametrize("arguments, expected", [
    (["run", "own.qblif", "--timeout", "0"], "0 is not a positive number of seconds"),
    (["run", "own.qblif", "--timeout", "nan"], "nan is not a positive number of seconds"),
    (["fold", "own.py:network", "-o", "x", "--example", "1x4"], "sizes with commas between"),
    (["fold", "own.py:network", "-o", "x", "--example", "1,-1,4,4"], "sizes with commas between")])
def test_a_bad_option_is_refused_with_what_is_allowed(capsys, arguments, expected):
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    assert stopped.value.code == cli.MISTAKE
    assert expected in capsys.readouterr().err


def test_ctrl_c_ends_with_130_and_no_traceback(monkeypatch, capsys):
    def version(args):
        """Stand in for a command that takes long."""
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "version", version)
    assert cli.main(["version"]) == cli.INTERRUPTED
    assert "Traceback" not in capsys.readouterr().err


def test_a_reader_that_stops_early_is_no_mistake(folder):
    done = subprocess.run(f"{sys.executable} -m qblif.cli inspect own.network | true", shell=True, check=False,
                          capture_output=True, text=True)
    assert done.stderr == ""


def test_what_is_not_installed_is_named_with_the_extra_that_brings_it():
    script = ("import sys; sys.modules['torch'] = None; from qblif import cli; "
              "sys.exit(cli.main(['fold', 'own.py:network', '-o', 'x']))")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == cli.MISTAKE
    assert "needs torch, which is not installed; in a clone of qblif: pip install '.[gen]'" in done.stderr
    assert "Traceback" not in done.stderr
