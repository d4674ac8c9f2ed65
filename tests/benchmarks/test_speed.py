"""benchmarks/speed.py: its own part, small; the other libraries are not installed here."""

import importlib.util
import sys
from pathlib import Path

import pytest

PATH = Path(__file__).parents[2] / "benchmarks" / "speed.py"


@pytest.fixture(scope="module")
def speed():
    spec = importlib.util.spec_from_file_location("qblif_benchmark_speed", PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_qblif_alone_is_timed_and_printed(speed, capsys):
    assert speed.main(["--own", "--steps", "2", "--batch", "2", "--repeats", "1"]) == 0
    out = capsys.readouterr().out
    assert "T = 2, batch 2, one thread, medians of 1" in out
    assert "qblif LIF" in out and "qblif QB-LIF" in out


def test_missing_libraries_are_named_with_the_way_to_get_them(speed, monkeypatch):
    monkeypatch.setattr(speed, "_imports", lambda name: name == "snntorch")
    with pytest.raises(SystemExit, match=r"spikingjelly cannot be imported; .*benchmarks/requirements\.txt"):
        speed.cases(2)


def test_each_library_counts_in_its_faster_layout_and_all_of_qblif_have_to_win(speed):
    figures = {("qblif a", "x"): (1.0, 2.0), ("qblif a", "y"): (2.0, 1.0), ("qblif b", "x"): (1.5, 0.5),
               ("qblif b", "y"): (9.0, 9.0), ("other", "x"): (3.0, 9.0), ("other", "y"): (9.0, 2.0)}
    text, faster = speed.table(figures)
    assert faster and "3000.0 ms   2.00  x" in text and "2000.000 ms   2.00  y" in text
    assert not speed.table(figures | {("other", "x"): (1.4, 9.0)})[1]


def test_networks_that_differ_are_not_compared(speed):
    a, b = speed.cases(2, others=False)
    with pytest.raises(SystemExit, match="do not compute the same"):
        speed.same_spikes(a, b, speed.torch.rand(4, 1, 28, 28))
