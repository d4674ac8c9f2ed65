"""Long programs: signs of life where a stage cannot say how far it is, and what is said when they are ended."""

from __future__ import annotations

import os
import signal
import time

import pytest

from qblif.hw import flow


def test_a_stage_that_says_nothing_is_told_about_until_it_ends(monkeypatch):
    monkeypatch.setattr(flow, "LOOK", 0.01)
    told = []
    with flow.beating("elaboration", "Amaranth", lambda *what: told.append(what)):
        until = time.monotonic() + 10
        while len(told) < 3 and time.monotonic() < until:
            time.sleep(0.01)
    count = len(told)
    assert count >= 3 and told[0] == ("elaboration", 0.0, "Amaranth") and told[2][1] > 0
    time.sleep(0.05)
    assert len(told) == count


def test_a_failure_ends_the_signs_of_life(monkeypatch):
    monkeypatch.setattr(flow, "LOOK", 0.01)
    told = []
    with pytest.raises(RuntimeError), flow.beating("elaboration", "Amaranth", lambda *what: told.append(what)):
        raise RuntimeError
    count = len(told)
    time.sleep(0.05)
    assert len(told) == count


def test_sigterm_ends_with_143_and_says_that_nothing_was_changed(capsys):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as ended, flow.ended_by_sigterm():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)  # while what runs is being ended
    assert ended.value.code == 143 and capsys.readouterr().err.count("stopped; nothing was changed") == 1
    assert signal.getsignal(signal.SIGTERM) == before
