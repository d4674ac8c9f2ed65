"""Reports are of today's hardware as long as today's sources make the keys of their builds."""

import pytest

from qblif.hw import boards, calibrate
from qblif.sim import benchmark, same_logic


def test_today_s_sources_are_noted_as_those_of_the_reports():
    """After a change of hw/, or of host/, run `python -m qblif.sim.same_logic`; what it says is checked by the long
    test below."""
    assert boards.sources_hash() in calibrate.load()["same"]
    assert {benchmark.state(report.sources) for _, report, _ in same_logic.routed()} == {"today's"}


@pytest.mark.long
def test_today_s_sources_make_the_keys_of_the_reports_that_count_as_today_s():
    today = {name for name, report, _ in same_logic.routed() if benchmark.state(report.sources) == "today's"}
    assert {name for name, _, same in same_logic.compare() if same} == today


def test_sources_are_the_same_where_all_of_their_reports_are():
    found = [("a", "one", True), ("b", "two", True), ("c", "one", False), ("d", "three", True)]
    assert same_logic.equal(found) == {"two", "three"}


def test_a_key_changes_with_clock_seed_and_design():
    today = [one for one in same_logic.routed() if benchmark.state(one[1].sources) == "today's"]
    _, report, design = min(today, key=lambda one: one[1].used["TRELLIS_FF"][0])
    board, _ = boards.find(report.board)
    asked, seeds = round(report.asked * 1e6), tuple(report.seeds)
    keys = [board.implementation().key(board, design, clock, some) for clock, some in (
        (asked, seeds), (asked + 5_000_000, seeds), (asked, (*seeds, 99)))]
    assert keys[0] == report.key and len(set(keys)) == 3


def test_of_other_sources_is_what_is_not_noted(monkeypatch):
    monkeypatch.setattr(benchmark, "_same", lambda: {"one", boards.sources_hash()})
    assert benchmark.state("one") == benchmark.state(boards.sources_hash()) == "today's"
    assert (benchmark.state("two"), benchmark.state("")) == ("other", "unknown")
    monkeypatch.setattr(benchmark, "_same", lambda: {"one"})        # today's are others
    assert benchmark.state("one") == "other"
