"""Progress and tables as people read them."""

from __future__ import annotations

import io
import time

from qblif.sim.console import Progress, Stages, Waiting, table


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_log_gets_a_line_at_every_quarter():
    log = io.StringIO()
    with Progress("train", log) as progress:
        for done in range(1, 101):
            progress(done, 100, "loss 1.0")
    assert [line.split()[1] for line in log.getvalue().splitlines()] == ["25/100", "50/100", "75/100", "100/100"]


def test_a_terminal_gets_one_line_that_is_redrawn_and_cleared():
    terminal = Terminal()
    with Progress("train", terminal) as progress:
        progress(1, 2)
        progress(2, 2)
    assert "\n" not in terminal.getvalue()
    assert "[" + "#" * 28 + "] 2/2" in terminal.getvalue()
    assert terminal.getvalue().endswith("\r")


def test_a_line_of_a_log_reads_as_a_sentence():
    log = io.StringIO()
    with Progress("train", log, unit="epochs") as progress:
        progress(19, 75, "(float), loss 0.614")
    assert log.getvalue() == "train        19/75 epochs after 0 s (float), loss 0.614\n"


def test_waiting_is_one_line_in_a_log_and_counts_seconds_on_a_terminal():
    log, terminal = io.StringIO(), Terminal()
    with Waiting("compile", "about a minute", log), Waiting("compile", "about a minute", terminal):
        time.sleep(1.2)
    assert log.getvalue() == "compile      about a minute\n"
    assert terminal.getvalue().endswith("about a minute (1 s)\n")


def test_a_table_aligns_numbers_to_the_right_and_texts_to_the_left():
    assert table([("a", 1234567, 0.5), ("bb", 1, 12.25)], ("", "count", "share")).splitlines() == [
        "          count   share",
        "  a   1,234,567   0.500",
        "  bb          1  12.250"]


def test_stages_of_a_build_give_a_log_one_line_each_and_one_every_half_minute():
    log = io.StringIO()
    with Stages(log) as progress:
        for seconds in range(0, 65):
            progress("synthesis", float(seconds), f"pass {seconds}")
        progress("placement", 0.0, "packing")
        progress("placement", 1.0, "placing")
        progress("placement", 0.0, "seed 2")
    assert [line.split(None, 3) for line in log.getvalue().splitlines()] == [
        ["synthesis", "0", "s", "pass 0"], ["synthesis", "30", "s", "pass 30"], ["synthesis", "60", "s", "pass 60"],
        ["placement", "0", "s", "packing"], ["placement", "0", "s", "seed 2"]]


def test_stages_on_a_terminal_keep_a_line_each_and_redraw_the_last():
    terminal = Terminal()
    with Stages(terminal) as progress:
        progress("synthesis", 0.0, "a long text")
        time.sleep(0.2)
        progress("synthesis", 1.0, "short")
        progress("placement", 0.0, "x" * 300)
    lines = terminal.getvalue().split("\n")
    assert len(lines) == 3 and lines[0].count("\r") == 2
    assert all(len(part) <= 119 for line in lines for part in line.split("\r"))
