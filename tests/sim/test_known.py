"""What place and route and RTL said of a design is found again, and of which sources it is."""

import dataclasses
import json

import pytest

from qblif.gen import zoo
from qblif.gen.plan import make_plan
from qblif.host.errors import InputError
from qblif.hw import boards, calibrate, resources
from qblif.hw.ecp5_report import Report
from qblif.hw.params import DesignParams
from qblif.sim import benchmark, known

BOARD = boards.find("ulx3s")[0]


def test_the_clock_is_asked_for_routed_or_the_boards_and_says_which(tmp_path):
    design, file = make_plan(zoo.load("digits")).design, tmp_path / "report.json"
    assert known.placed(design, BOARD, file) is None
    assert known.clock_of(BOARD, None, 90.0) == known.Clock(90e6, "asked, not routed")
    assert "no design routed for LFE5U-85F" in known.clock_of(BOARD, None, 5000.0).source
    assert known.clock_of(BOARD, None, None) == known.Clock(80e6, "the board's default, not routed")
    for sources, after in ((boards.sources_hash(), ""), ("0" * 32, ", from other hardware sources than today's"),
                           ("", ", from older or unknown hardware sources")):
        file.write_text(Report("ulx3s", "part", "key", f"{design.build_hash:016x}", "", 80.0, 82.5, "clk", 1, {1: 82.5},
                               {}, {}, {}, (), {}, {}, (), "today", sources).to_json())
        routed = known.placed(design, BOARD, file)
        told = f"routed: {file}, 80 MHz asked, 82.5 reached, seed 1{after}"
        assert known.clock_of(BOARD, routed, None) == known.Clock(80e6, told, routed, True)
        # What was routed, at the clock that it was routed for; and another one
        assert known.clock_of(BOARD, routed, 80.0) == known.Clock(80e6, f"asked; {told}", routed, True)
        assert known.clock_of(BOARD, routed, 82.0) == known.Clock(82e6, f"asked; {told}", routed)
        assert known.clock_of(BOARD, routed, 82.0).report is None
    assert known.placed(design, boards.find("kv260")[0], file) is None
    assert known.placed(make_plan(zoo.load("digits"), lanes=8).design, BOARD, file) is None


def test_reports_that_come_with_the_product_are_found_unless_there_is_an_own_one(tmp_path):
    one = known.all_placed()[-1]
    design = design_of(one)
    assert known.placed(design, BOARD) == known.placed(design, BOARD, tmp_path / "none") == one
    assert known.report_of(design, BOARD) == one.report and known.placed(design, boards.find("kv260")[0]) is None
    own = tmp_path / "report.json"
    own.write_text(dataclasses.replace(one.report, reached=99.0).to_json())
    found = known.placed(design, BOARD, own)
    assert (found.name, found.report.reached, found.size) == (str(own), 99.0, one.size)
    clock = known.clock_of(BOARD, one, None)
    assert clock.to_dict() == {"hz": one.report.asked * 1e6, "source": clock.source, "routed": True,
                               "seed": one.report.seed, "reached_hz": one.report.reached * 1e6}
    assert one.name in clock.source
    assert known.clock_of(BOARD, None, None).to_dict()["routed"] is False
    assert known.largest_placed().size.ff == max(one.size.ff for one in known.all_placed())
    assert [one.size.ff for one in known.alike_placed(0)] == [min(one.size.ff for one in known.all_placed())]
    assert all(0.8 * 40_000 <= one.size.ff <= 1.2 * 40_000 for one in known.alike_placed(40_000))


def test_a_clock_that_was_missed_is_no_bitstreams_and_a_report_that_met_its_own_comes_first(tmp_path):
    one, own = known.all_placed()[0], tmp_path / "report.json"
    missed = dataclasses.replace(one.report, asked=130.0, reached=101.0, seed=7)
    own.write_text(missed.to_json())
    assert known.placed(design_of(one), BOARD, own) == one
    own.write_text(dataclasses.replace(missed, build_hash=f"{make_plan(zoo.load('digits')).design.build_hash:016x}",
                                       ).to_json())
    clock = known.clocks_of(BOARD, own)(make_plan(zoo.load("digits")).design)
    assert clock.hz == BOARD.clock_hz and clock.report is None and clock.placed.report.reached == 101.0
    assert clock.source.startswith(f"the board's default; missed: {own}, 130 MHz asked, 101.0 reached, seed 7")
    assert not known.clocks_of(BOARD, own, 130.0)(make_plan(zoo.load("digits")).design).confirmed


@pytest.mark.parametrize("one", known.all_placed(), ids=lambda one: one.name)
def test_the_resource_model_is_fitted_to_the_very_reports_that_come_with_it(one):
    """Modules, LUTs, clock and sources of each are those of hw/calibration.json; programs are loaded at run time."""
    kept, = [fitted for fitted in calibrate.load()["designs"].values() if "comb" in fitted
             and DesignParams.from_dict(fitted["design"]).build_hash == int(one.report.build_hash, 16)]
    used = resources.total({"modules": one.report.modules})
    assert (kept["modules"], kept["comb"], kept["sources"]) == (one.report.modules, one.size.lut, one.report.sources)
    assert kept["mhz"] == round(one.report.reached, 2) and one.report.met and not one.report.program_hash
    assert (used.ff, used.block_ram) == (one.size.ff, one.size.block_ram)
    assert sum(one.report.multipliers.values()) == 0


def design_of(one: known.Placed) -> DesignParams:
    return next(found for found in (DesignParams.from_dict(fitted["design"])
                                    for fitted in calibrate.load()["designs"].values())
                if benchmark.is_of(one.report, found, BOARD))


def test_a_measured_value_is_that_of_the_same_network_board_hardware_and_program(tmp_path):
    plan = make_plan(zoo.load("digits"))
    row = {"network": "digits", "board": "ulx3s", "build_hash": f"{plan.design.build_hash:016x}",
           "program_hash": f"{plan.program_hash:016x}", "cycles": {"rtl": 1234.0, "predicted": 1234.0},
           "latency_cycles": {"rtl": 2000, "predicted": 2000}, "images": 14}
    for name, change in (("1", {}), ("2", {"network": "mnist"}), ("3", {"build_hash": "0"}), ("4", {"board": "kv260"}),
                         ("5", {"program_hash": "0"})):
        (tmp_path / f"{name}.json").write_text(json.dumps({"commit": name, "rows": [row | change]}))
    for name, images, sources in (("3b", 50, boards.sources_hash()), ("4b", 9, boards.sources_hash()), ("5b", 70, "0")):
        changed = row | {"images": images, "sources": sources, "network": "often"}
        (tmp_path / f"{name}.json").write_text(json.dumps({"commit": name, "rows": [changed]}))
    assert known.measured(tmp_path, "often", "ulx3s", plan)["commit"] == "3b"     # of today's hardware, most images
    (tmp_path / "6.json").write_text(json.dumps({"commit": "6", "rows": [{"network": "digits", "board": "ulx3s"}]}))
    found = known.measured(tmp_path, "digits", "ulx3s", plan)
    assert (found["cycles"]["rtl"], found["commit"], found["file"]) == (1234.0, "1", str(tmp_path / "1.json"))
    assert known.measured(tmp_path, "n-mnist", "ulx3s", plan) is None
    lacking = {name: value for name, value in row.items() if name != "latency_cycles"}
    (tmp_path / "7.json").write_text(json.dumps({"commit": "7", "rows": [lacking]}))
    with pytest.raises(InputError, match=r"7\.json is no result of `make bench`: 'latency_cycles'"):
        known.measured(tmp_path, "digits", "ulx3s", plan)
    (tmp_path / "7.json").write_text("{}")
    with pytest.raises(InputError, match=r"7\.json is no result of `make bench`"):
        known.measured(tmp_path, "digits", "ulx3s", plan)
