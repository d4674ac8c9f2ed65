"""The stages of `make sim`: done once, done again when an input changed, never half done."""

from __future__ import annotations

import pytest

from qblif.sim import stages


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("QBLIF_CACHE", str(tmp_path))


def run(value, fresh=False, after=()):
    return stages.stage("probe", ("qblif.host.abi",), {"value": value},
                        lambda folder: (folder / "out").write_text(str(value)), after=after, fresh=fresh)


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


def test_fresh_makes_a_stage_again():
    run(1)
    assert not run(1, fresh=True).cached


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
