"""The stages of `make sim`: done once, done again when an input changed, never half done."""

from __future__ import annotations

import errno

import pytest

from qblif.host.errors import CacheError
from qblif.sim import cache, stages


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("QBLIF_CACHE", str(tmp_path))


def run(value, after=()):
    return stages.stage("probe", ("qblif.host.abi",), {"value": value},
                        lambda folder: (folder / "out").write_text(str(value)), after=after)


def test_a_stage_is_made_once_for_the_same_parameters():
    assert not run(1).cached
    assert run(1).cached
    assert (run(1).folder / "out").read_text() == "1"


def test_other_parameters_are_another_stage():
    run(1)
    assert not run(2).cached
    assert run(1).folder != run(2).folder


def test_a_stage_is_made_again_when_one_before_it_changes():
    assert run(3, after=(run(1),)).key != run(3, after=(run(2),)).key


def test_starting_over_makes_a_stage_again_once():
    run(1)
    with cache.starting_over():
        assert not run(1).cached
        assert run(1).cached
    assert run(1).cached


def test_starting_over_and_failing_keeps_what_there_was():
    kept = run(1).folder

    def fail(folder):
        raise KeyboardInterrupt

    with cache.starting_over(), pytest.raises(KeyboardInterrupt):
        stages.stage("probe", ("qblif.host.abi",), {"value": 1}, fail)
    assert (kept / "out").read_text() == "1" and run(1).cached


def test_a_full_disk_amid_a_stage_says_what_to_do():
    def fill(folder):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(CacheError, match="set QBLIF_CACHE to a folder elsewhere"):
        stages.stage("probe", (), {"full": True}, fill)


def test_a_stage_is_made_again_when_a_source_changes(monkeypatch):
    before = run(1)
    monkeypatch.setattr(stages, "closure", lambda module: {module: "changed"})
    assert run(1).key != before.key


def test_a_failed_stage_leaves_nothing_behind(tmp_path):
    def fail(folder):
        (folder / "half").write_text("")
        raise RuntimeError("interrupted")

    with pytest.raises(RuntimeError, match="interrupted"):
        stages.stage("probe", (), {}, fail)
    assert not list(tmp_path.glob("**/half"))
    assert not stages.stage("probe", (), {}, lambda folder: None).cached


def test_the_sources_of_a_module_are_those_that_it_imports_directly_or_not():
    found = set(stages.closure("qblif.hw.layouts"))
    assert {"qblif.hw.layouts", "qblif.hw.params", "qblif.host.abi"} <= found
    assert "qblif.gen.network" not in found
