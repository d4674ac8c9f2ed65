"""The benchmark's figures are those of simulation, models and reports, and what is missing is said to be."""

import dataclasses
import json

import pytest

from qblif.gen.plan import make_plan
from qblif.host import serial
from qblif.host.errors import InputError
from qblif.host.stats import LOSSES
from qblif.hw import boards
from qblif.hw.ecp5_report import Report
from qblif.sim import benchmark, named, trend
from qblif.sim.simulation import Simulation

from .designs import ONE_CORE

BOARD = boards.find("ulx3s")[0]


def traced(design):
    """Return the simulation that other tests have built; tracing changes no cycle."""
    return Simulation(design, trace=True, threads=1)


def plan():
    return make_plan(named.find("digits").network, design=ONE_CORE)


def a_report(build_hash):
    cells = {"LUT4": 5000, "CCU2C": 1000, "TRELLIS_FF": 8000, "TRELLIS_DPR16X4": 200, "DP16KD": 60}
    return Report("ulx3s", "part", "key", build_hash, "", 80.0, 90.0, "clk", 1, {1: 90.0}, {}, {"top": cells}, {}, (),
                  {}, {}, (), "today")


@pytest.fixture(scope="module")
def row():
    clock = benchmark.Routed(90.0, benchmark.resources.Resources(5000, 1000, 8000, 200, 60),
                             f"{ONE_CORE.build_hash:016x}", "a report")
    return benchmark.measure(named.find("digits"), BOARD, plan(), 3, clock, traced)


def test_cycles_are_simulated_and_predicted(row):
    assert row["cycles"]["rtl"] == row["cycles"]["predicted"] > 10_000
    assert row["latency_cycles"]["rtl"] == row["latency_cycles"]["predicted"] > row["cycles"]["rtl"]
    assert 0.8 < row["scan_efficiency"] < 1 and 0.8 < row["lane_utilisation"] < 1
    assert sum(row["losses"][name] for name in LOSSES) == pytest.approx(1 - row["scan_efficiency"], abs=1e-4)


def test_rates_follow_from_cycles_and_clock(row):
    rates = row["rates"]
    frames = 90e6 / row["cycles"]["rtl"]
    assert rates["frames_per_second"] == pytest.approx(frames)
    assert rates["additions_per_second"] == pytest.approx(frames * rates["per_image"]["additions"])
    assert rates["dense_equivalent_gops_per_klut"] == pytest.approx(rates["dense_equivalent_gops"] / 7.0)
    assert row["link"]["name"] == f"serial line, {serial.BAUD:,} baud"
    assert row["energy"]["model"].endswith("not measured")


def test_images_of_events_are_counted_and_not_their_steps():
    digits = named.find("digits")
    events = dataclasses.replace(digits.network, input=dataclasses.replace(digits.network.input, static=False), meta={})
    one = dataclasses.replace(digits, card=None, network=events)
    row = benchmark.measure(one, BOARD, make_plan(events, design=ONE_CORE), 3, None, traced)
    assert row["images"] == 3 and "3 random images" in row["data"]
    assert row["cycles"]["rtl"] == row["cycles"]["predicted"]


def test_the_pace_of_the_simulation_is_that_of_a_thread(row):
    pace, per_image = row["simulation"], row["rates"]["per_image"]["additions"]
    cycles = pace["cycles_per_second"] * per_image / pace["additions_per_second"]  # of an image, and of the gaps
    assert row["cycles"]["rtl"] < cycles < 2 * row["cycles"]["rtl"]
    assert f"{pace['additions_per_second'] / 1e6:.2f} M" in benchmark.report([row])


def test_a_clock_of_other_hardware_is_not_taken():
    clock = benchmark.Routed(90.0, benchmark.resources.Resources(1, 1, 1, 1, 1), "0" * 16, "a report")
    row = benchmark.measure(named.find("digits"), BOARD, plan(), 2, clock, traced)
    assert row["clock_hz"] is None and row["clock_source"] == benchmark.MISSING
    assert "frames_per_second" not in row["rates"] and row["resources"]["synthesised"] is None
    assert "missing: no report" in benchmark.report([row])


def test_the_report_of_place_and_route_is_read(tmp_path):
    file = tmp_path / "report.json"
    file.write_text(a_report("12ab").to_json())
    found = benchmark.routed(file)
    assert (found.mhz, found.build_hash, found.used.logic, found.used.block_ram) == (90.0, "12ab", 7000, 60)
    file.write_text("{}")
    with pytest.raises(InputError, match="is no report of place and route"):
        benchmark.routed(file)
    with pytest.raises(InputError, match="is no report of place and route"):
        benchmark.routed(tmp_path / "none.json")


def test_results_are_kept_with_the_commit_and_drawn(row, tmp_path):
    file = benchmark.save([row], tmp_path)
    kept = json.loads(file.read_text())
    assert kept["rows"] == [json.loads(json.dumps(row))] and kept["commit"] == benchmark.commit()
    assert (tmp_path / "trend.png").read_bytes()[:4] == b"\x89PNG"
    text = benchmark.report([row])
    assert "90.0 MHz" in text and "FireFly-T" in text and "nothing measured" in text


def test_peers_have_sources_and_marks():
    peers = json.loads(benchmark.PEERS.read_text())
    assert all(peer["mark"] in peers["marks"] and peer["source"] for peer in peers["peers"])


def test_hardware_that_the_board_cannot_hold_is_said_to_be(row):
    assert row["too_large"] == [] and "larger than" not in benchmark.report([row])
    beyond = benchmark._too_large(benchmark.resources.Resources(100, 0, 100, 0, 298), BOARD)
    assert beyond == ["block RAM 298 of 208"]
    assert "digits: larger than ulx3s: block RAM 298 of 208" in benchmark.report([row | {"too_large": beyond}])


def test_a_line_of_the_trend_is_a_network_on_a_layout(row):
    chain = row | {"hardware": [{"lanes": 64, "clusters": 2}, {"lanes": 64, "clusters": 1}]}
    assert trend.name(row) == "digits, 1x16" and trend.name(chain) == "digits, 2x64 + 1x64"
