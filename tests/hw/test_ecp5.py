"""The flow to an ECP5 bitstream with stub tools: what is done again, what fails, and what is left behind."""

from __future__ import annotations

import _thread
import dataclasses
import signal
import subprocess
import threading
import time

import pytest

from qblif.host.errors import ToolMissing
from qblif.hw import ecp5, tools
from qblif.hw.ecp5 import ClockMissed, Design, Multiplies, build
from qblif.hw.flow import BuildError
from qblif.sim import cache

from .stub_tools import REPORT, Tools

VERILOG = "module \\top.a (clk);\nendmodule\nmodule \\top.a.b (clk);\nendmodule\nmodule top(clk);\nendmodule\n"
DESIGN = Design("board", VERILOG, "top", "LOCATE", "LFE5U-85F", ("--85k",), 80e6)


@pytest.fixture
def stubs(tmp_path, monkeypatch):
    monkeypatch.setenv("QBLIF_CACHE", str(tmp_path / "cache"))
    return Tools(tmp_path, monkeypatch)


def go(design=DESIGN, **options):
    return build(design, cache.entry, **options)


def test_a_build_gives_a_bitstream_and_a_report(stubs):
    seen = []
    report, files = go(progress=lambda *args: seen.append(args), build_hash=0xAB)
    assert files["board.bit"].read_bytes() == b"bits of config 1"
    assert (report.reached, report.asked, report.seed, report.met) == (81.5, 80.0, 1, True)
    assert report.build_hash == "00000000000000ab" and report.program_hash == ""
    assert report.used["DP16KD"] == (170, 208) and report.multipliers == {}
    assert report.modules == {"": {"LUT4": 1}, "a": {"LUT4": 1, "TRELLIS_FF": 1}, "a.b": {"LUT4": 1, "DP16KD": 1}}
    assert [step.kind for step in report.path] == ["clk-to-q", "routing"]
    assert set(report.tools.values()) == {"stub 1 yosys", "stub 1 nextpnr-ecp5", "stub 1 ecppack"}
    assert ecp5.Report.from_json(report.to_json()) == report
    for part in ("81.50 MHz reached, 80.00 MHz asked", "a.x_FF -> b.y_LUT4", "a.b", "00000000000000ab"):
        assert part in str(report)
    assert {stage for stage, *_ in seen} == {"synthesis", "placement", "packing"}


def test_an_unchanged_design_runs_no_tool_again_and_says_so(stubs):
    go()
    assert stubs.calls == ["yosys", "nextpnr-ecp5", "ecppack"]
    seen = []
    report, _ = go(progress=lambda *args: seen.append(args))
    assert stubs.calls == ["yosys", "nextpnr-ecp5", "ecppack"]
    assert report.cached == ("synthesis", "placement", "packing")
    assert [text for *_, text in seen] == ["done before"] * 3


@pytest.mark.parametrize(("change", "again"), [
    ({"verilog": DESIGN.verilog + "// x\n"}, ["yosys", "nextpnr-ecp5", "ecppack"]),
    ({"constraints": "LOCATE other"}, ["nextpnr-ecp5", "ecppack"]),
    ({"clock_hz": 81e6}, ["nextpnr-ecp5", "ecppack"]),
    ({"device": ("--45k",)}, ["nextpnr-ecp5", "ecppack"]),
], ids=["text", "pins", "clock", "part"])
def test_a_change_does_again_what_depends_on_it(stubs, change, again):
    go()
    go(dataclasses.replace(DESIGN, **change))
    assert stubs.calls[3:] == again


def test_another_seed_is_placed_again_but_not_synthesised_again(stubs):
    stubs.save(mhz={"1": 81.5, "2": 90.0})
    go()
    report, _ = go(seeds=(2,))
    assert stubs.calls[3:] == ["nextpnr-ecp5", "ecppack"]
    assert (report.seed, report.reached) == (2, 90.0)


def test_other_versions_of_the_tools_do_everything_again(stubs):
    go()
    stubs.save(version="stub 2")
    go()
    assert stubs.calls[3:] == ["yosys", "nextpnr-ecp5", "ecppack"]


def test_a_missed_clock_fails_with_both_figures_and_what_to_do_and_packs_nothing(stubs):
    stubs.save(mhz={"1": 71.25})
    with pytest.raises(ClockMissed, match=r"71.25 MHz reached, 80.00 MHz asked \(seed 1\)") as error:
        go()
    assert "ecppack" not in stubs.calls
    for advice in ("--seeds", "fewer lanes", "--clock 71"):
        assert advice in error.value.hint
    assert not error.value.report.met and "MISSED" in error.value.report.summary()


def test_seeds_are_tried_until_one_reaches_the_clock(stubs):
    stubs.save(mhz={"5": 70.0, "6": 82.0, "7": 90.0})
    report, files = go(seeds=range(5, 8))
    assert (report.seed, report.seeds) == (6, {5: 70.0, 6: 82.0})
    assert stubs.calls == ["yosys", "nextpnr-ecp5", "nextpnr-ecp5", "ecppack"]
    assert files["board.bit"].read_bytes() == b"bits of config 6"


def test_where_no_seed_reaches_the_clock_the_best_is_reported(stubs):
    stubs.save(mhz={"1": 70.0, "2": 79.9, "3": 60.0})
    with pytest.raises(ClockMissed, match=r"79.90 MHz reached.*seeds 1, 2, 3") as error:
        go(seeds=(1, 2, 3))
    assert error.value.report.seed == 2


@pytest.mark.parametrize("change", [
    {"cells": {"MULT18X18D": ["a.product"]}},
    {"report": REPORT | {"utilization": {"MULT18X18D": {"used": 1, "available": 156}}}},
], ids=["in the netlist", "in the placed design"])
def test_a_multiplier_block_fails_the_build(stubs, change):
    stubs.save(**change)
    with pytest.raises(Multiplies, match="MULT18X18D': 1"):
        go()
    assert "ecppack" not in stubs.calls


@pytest.mark.parametrize("tool", ["yosys", "nextpnr-ecp5", "ecppack"])
def test_a_tool_that_fails_is_named_with_its_message_and_is_run_again_next_time(stubs, tool):
    stubs.save(fail={tool: "no room for the cells"})
    with pytest.raises(BuildError, match="failed with status 3:\n    ERROR: no room for the cells") as error:
        go()
    assert "at work" in error.value.log
    stubs.save(fail={})
    report, _ = go()
    assert report.met and stubs.calls.count(tool) == 2


def test_a_tool_that_leaves_no_result_fails(stubs):
    stubs.save(silent=["nextpnr-ecp5"])
    with pytest.raises(BuildError, match=r"placement left no placed.config"):
        go()


def test_a_report_that_is_none_is_an_error(stubs):
    stubs.save(report={"utilization": {}})
    with pytest.raises(BuildError, match=r"report.json is no report of nextpnr: KeyError 'critical_paths'"):
        go()


def test_a_tool_that_hangs_is_ended_in_time_and_leaves_nothing(stubs, tmp_path):
    stubs.save(hang=["nextpnr-ecp5"])
    started = time.monotonic()
    with pytest.raises(BuildError, match="placement took longer than the 2 s"):
        go(timeout=2.0)
    assert time.monotonic() - started < 20
    assert not [path for path in (tmp_path / "cache" / "ecp5-placement").iterdir() if path.is_dir()]


@pytest.fixture
def ctrl_c():
    """What Python does on Ctrl-C, also where the tests were started in the background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_ends_the_tool_and_leaves_nothing(stubs, tmp_path):
    stubs.save(hang=["yosys"])

    def interrupt():
        while not stubs.hanging:
            time.sleep(0.05)
        _thread.interrupt_main()

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        go()
    assert not [path for path in (tmp_path / "cache" / "ecp5-synthesis").iterdir() if path.is_dir()]
    running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(tmp_path / "yosys") not in running


@pytest.mark.parametrize("tool", [tools.NEXTPNR_ECP5, tools.ECPPACK])
def test_a_missing_tool_is_an_error_that_says_what_to_install(stubs, monkeypatch, tool):
    monkeypatch.setenv(tool.variable, "no-such-program")
    with pytest.raises(ToolMissing, match="'no-such-program', which is no program") as error:
        go()
    assert "pip install '.[bitstream]'" in error.value.hint
