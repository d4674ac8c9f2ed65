"""The benchmark's figures are those of simulation, models and reports, and what is missing is said to be."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from qblif import cli
from qblif.gen.plan import make_plan
from qblif.host import serial
from qblif.host.errors import InputError
from qblif.host.stats import LOSSES, CoreStats
from qblif.hw import boards
from qblif.hw.ecp5_report import Report, Step
from qblif.hw.params import DesignParams
from qblif.hw.parts import PARTS
from qblif.hw.sizing import Size, misfits
from qblif.sim import benchmark, bitstream, board_link, golden, named, trend
from qblif.sim.benchmark_tables import CAUSES, PEERS, report
from qblif.sim.cycles import measured_ends
from qblif.sim.simulation import Simulation

from .designs import CORE, ONE_CORE

BOARD = boards.find("ulx3s")[0]

CHAIN = DesignParams((CORE, CORE))
"""As the random networks' RTL tests have it."""

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


def traced(design):
    """Return the simulation that other tests have built; tracing changes no cycle."""
    return Simulation(design, trace=True, threads=1)


def plan():
    return make_plan(named.find("digits").network, design=ONE_CORE)


def a_report(build_hash, sources=""):
    cells = {"LUT4": 5000, "CCU2C": 1000, "TRELLIS_FF": 8000, "TRELLIS_DPR16X4": 200, "DP16KD": 60}
    return Report("ulx3s", "part", "key", build_hash, "", 80.0, 90.0, "clk", 1, {1: 90.0},
                  {"TRELLIS_COMB": (9000, 83640)}, {"top": cells}, {}, (), {}, {}, (), "today", sources)


@pytest.fixture(scope="module")
def row():
    clock = a_report(f"{ONE_CORE.build_hash:016x}", boards.sources_hash())
    return benchmark.measure(named.find("digits"), BOARD, plan(), 3, clock, traced)


@pytest.fixture(scope="module")
def chain():
    network = named.find("digits")
    return benchmark.measure(network, BOARD, make_plan(network.network, design=CHAIN), 4, None, traced)


def test_cycles_are_simulated_and_predicted(row):
    assert row["cycles"]["rtl"] == row["cycles"]["predicted"] > 10_000
    assert row["latency_cycles"]["rtl"] == row["latency_cycles"]["predicted"] > row["cycles"]["rtl"]
    assert 0.8 < row["scan_efficiency"] < 1 and 0.8 < row["lane_utilisation"] < 1
    assert row["core"] == 0 and row["core_efficiencies"] == [row["scan_efficiency"]]
    assert set(row["losses"]) == {*LOSSES, "other", "output_stalls"} and abs(row["losses"]["other"]) < 0.001


@pytest.mark.parametrize("name", ["row", "chain"])
def test_the_losses_printed_add_up_to_what_scan_efficiency_lacks(name, request):
    one = request.getfixturevalue(name)
    assert sum(one["losses"][cause] for cause in CAUSES) == pytest.approx(1 - one["scan_efficiency"], abs=1e-5)
    head, line = report([one]).splitlines()[:2]
    assert head.split()[-len(CAUSES):] == list(CAUSES.values())
    shares = [float(share.split()[-1]) for share in line.split("%")[:-1]]
    assert len(shares) == len(CAUSES)
    assert sum(shares) == pytest.approx(100 * (1 - one["scan_efficiency"]), abs=0.05 * (len(CAUSES) + 1))


def test_of_a_chain_the_core_that_works_longest_is_told_over_the_cycles_from_image_to_image(chain):
    network = named.find("digits").network
    plan = make_plan(network, design=CHAIN)
    x, _ = named.images_of(named.find("digits"), 4)
    rows = golden.row_adds(network, x, plan.packing)[:, 2:].mean(1)             # two images fill the chain
    needed = [rows[one.first:one.last + 1].sum() for one in plan.segments]
    with traced(CHAIN) as sim:
        sim.program(plan.program)
        ends = measured_ends(plan, sim.infer(plan.input_layout.pack(x), 10))
    pace = max((ends[3, one.last] - ends[1, one.last]) / 2 for one in plan.segments)
    assert chain["core_efficiencies"] == pytest.approx([one / pace for one in needed])
    assert chain["core"] == np.argmax(needed)
    assert chain["scan_efficiency"] == chain["core_efficiencies"][chain["core"]] > 0.85
    assert chain["chain_efficiency"] == pytest.approx(sum(needed) / (2 * pace))
    assert 0.8 < chain["lane_utilisation"] < 1
    assert all(share >= 0 for share in chain["losses"].values())     # counters are of the images that count, too
    assert f"  {chain['chain_efficiency']:.3f} " in report([chain])
    assert "digits: scan efficiency of each core: 0." in report([chain])


def test_too_few_images_for_a_chain_are_refused():
    one = named.find("digits")
    with pytest.raises(InputError, match="2 images do not fill a chain of 2 cores") as error:
        benchmark.measure(one, BOARD, make_plan(one.network, design=CHAIN), 2, None, traced)
    assert error.value.hint == "take 3 or more"


@pytest.mark.parametrize("design", [ONE_CORE, CHAIN], ids=["one core", "chain"])
def test_the_largest_layers_efficiency_is_that_of_the_rtl(design, row, chain):
    one = named.find("digits")
    x, _ = named.images_of(one, 4)
    plan = make_plan(one.network, design=design)
    with traced(design) as sim:
        sim.program(plan.program)
        ends = measured_ends(plan, sim.infer(plan.input_layout.pack(x), 10))
    rows = golden.row_adds(one.network, x, plan.packing)
    first, last = (1, 3) if design is ONE_CORE else (2, 4)                      # images that count
    at = int(rows[:, first:last].sum(1).argmax())
    found = (row if design is ONE_CORE else chain)["largest_layer"]
    assert found["layer"] == one.network.layers[at].name and at > 0
    assert plan.segments[found["core"]].first < at <= plan.segments[found["core"]].last
    cycles = (ends[:, at] - ends[:, at - 1])[first:last].sum()
    assert found["scan_efficiency"] == pytest.approx(rows[at, first:last].sum() / cycles)
    assert 0.95 < found["scan_efficiency"] <= 1


def test_waiting_for_input_is_a_loss_of_a_cores_first_layer():
    """Layer 0 has most rows; it begins when the core's last layer of the image before has ended."""
    network = named.find("digits").network
    plan = make_plan(network, design=ONE_CORE)
    layers = len(network.layers)
    counts = [_Counted({plan.packing: np.array([0, 600] if index == 0 else [0, 1])}) for index in range(layers)]
    image = [[_Ended((np.array([at * 1000 + 10 * index]),)) for index in range(layers)] for at in (0, 1)]
    found = benchmark._largest(plan, counts, _Predicted(image), np.array([False, True]))
    assert found == {"layer": network.layers[0].name, "core": 0,
                     "scan_efficiency": pytest.approx(600 / (1000 - 10 * (layers - 1)))}


@dataclasses.dataclass
class _Counted:
    row_adds: dict


@dataclasses.dataclass
class _Ended:
    updates: tuple


@dataclasses.dataclass
class _Predicted:
    layers: list


def test_a_row_says_which_hardware_program_and_report_it_is_of(row):
    made = plan()
    assert row["build_hash"] == f"{ONE_CORE.build_hash:016x}" and row["program_hash"] == f"{made.program_hash:016x}"
    assert row["hardware"] == [{"lanes": 16, "clusters": 1, "neuron_lanes": CORE.neuron_lanes}]
    assert row["report"] == {"key": "key", "made": "today", "sources": "today's", "seed": 1}
    assert row["sources"] == boards.sources_hash() and row["chain_efficiency"] == row["scan_efficiency"]
    assert (row["clock_hz"], row["asked_hz"], row["clock_source"]) == (90e6, 80e6, "ulx3s, made today")
    assert "clock of digits" not in report([row])


def test_the_critical_path_is_told_where_it_is_known(row):
    path = (Step(0.5, "clk-to-q", "a.reg", "b.lut", "n"), Step(2.25, "routing", "a.reg", "b.lut", "n"),
            Step(0.25, "setup", "b.lut", "c.reg", "m"))
    clock = benchmark._clock(dataclasses.replace(a_report("0"), path=path))
    assert clock["critical_path"] == {"ns": 3.0, "from": "a.reg", "to": "c.reg", "routing_ns": 2.25}
    assert "critical path of digits: 3.0 ns, 2.25 of them routing, from a.reg to c.reg; seed 1" in report([row | clock])
    assert row["critical_path"] is None and "critical path" not in report([row])


@pytest.mark.parametrize("sources, said", [("0" * 32, "from other hardware sources than today's"),
                                           ("", "from older or unknown hardware sources")])
def test_a_report_of_other_sources_is_said_to_be(sources, said, row):
    clock = benchmark._clock(a_report(f"{ONE_CORE.build_hash:016x}", sources))
    assert clock["clock_hz"] == 90e6 and clock["clock_source"] == f"ulx3s, made today, {said}"
    assert f"clock of digits: ulx3s, made today, {said}" in report([row | clock])


def test_luts_are_those_of_the_device_where_it_was_routed(row, chain):
    placed = row["resources"]["placed_lut"]
    assert placed["routed"] == 9000 and placed["predicted"] > benchmark.resources.Resources(
        **row["resources"]["predicted"]).slots
    lines = [line.split() for line in report([row, chain]).splitlines()]
    assert ["digits", "ulx3s", "placed", "and", "routed", "9,000", "562"] in lines
    assert trend._luts_per_lane(row) == 9000 / 16
    assert trend._luts_per_lane(chain) == chain["resources"]["placed_lut"]["predicted"] / 32


def test_images_a_second_of_a_link_that_the_clock_drives(row):
    board = boards.find("pynq-z2")[0]
    link = board_link.of_board(board, np.zeros((3, 190), np.uint32), 10)
    on_dma = row | {"board": board.name, "link": link}
    assert report([on_dma]).count(f"{80e6 / 200:,.0f}\n") == 1
    unknown = on_dma | benchmark._clock(None) | {"rates": {}}
    assert "  200 cycles each\n" in report([unknown])
    assert "pynq-z2  ECP5 model" in report([on_dma]) and "  predicted  " not in report([on_dma]).split("\n\n")[1]


def test_rates_follow_from_cycles_and_clock(row):
    rates = row["rates"]
    frames = 90e6 / row["cycles"]["rtl"]
    assert rates["frames_per_second"] == pytest.approx(frames)
    assert rates["frames_per_second_asked"] == pytest.approx(frames * 80 / 90)
    assert f"90.0 MHz        {frames:,.0f}     80.0 MHz  {frames * 80 / 90:,.0f} " in report([row])
    assert rates["additions_per_second"] == pytest.approx(frames * rates["per_image"]["additions"])
    assert rates["dense_equivalent_gops_per_klut"] == pytest.approx(rates["dense_equivalent_gops"] / 9.0)
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
    assert f"{pace['additions_per_second'] / 1e6:.2f} M" in report([row])


def test_a_clock_of_other_hardware_is_not_taken():
    row = benchmark.measure(named.find("digits"), BOARD, plan(), 2, a_report("0" * 16), traced)
    assert row["clock_hz"] is None and row["clock_source"] == benchmark.MISSING
    assert "frames_per_second" not in row["rates"] and row["resources"]["synthesised"] is None
    assert row["asked_hz"] is None and row["report"] is None and row["resources"]["placed_lut"]["routed"] is None
    assert "missing: no report" in report([row])


def test_a_core_that_waits_for_the_next_one_is_not_the_busiest():
    waits, works = ({"cycles": cycles, "input_stalls": before, "output_stalls": after}
                    for cycles, before, after in ((1000, 0, 700), (900, 100, 0)))
    assert benchmark._busiest([CoreStats(1, waits), CoreStats(2, works)]) == 1
    assert benchmark._busiest([CoreStats(2, works), CoreStats(1, waits)]) == 0


def test_the_report_beside_the_design_is_taken_else_the_bitstreams_if_it_is_of_this_hardware(tmp_path):
    files = [tmp_path / name / "report.json" for name in ("beside", "build")]
    assert benchmark.find_report(ONE_CORE, BOARD, files) is None
    mine, other = f"{ONE_CORE.build_hash:016x}", f"{CHAIN.build_hash:016x}"
    for found, expected in (((None, other), None), ((None, mine), 1), ((other, mine), 1), ((mine, mine), 0)):
        for file, build_hash in zip(files, found, strict=True):
            file.parent.mkdir(exist_ok=True)
            if build_hash:
                file.write_text(dataclasses.replace(a_report(build_hash), made=file.parent.name).to_json())
        taken = benchmark.find_report(ONE_CORE, BOARD, files)
        assert (taken and taken.made) == (None if expected is None else files[expected].parent.name)
    assert benchmark.find_report(ONE_CORE, boards.find("pynq-z2")[0], files) is None      # of another board


def test_a_design_that_is_not_there_is_a_clear_error(tmp_path, capsys):
    with pytest.raises(InputError, match=r"none\.json cannot be read: No such file"):
        bitstream.read_design(tmp_path / "none.json")
    assert cli.main(["bench", "digits", "--design", str(tmp_path / "none.json")]) == cli.MISTAKE
    said = capsys.readouterr().err
    assert "Errno" not in said and "qblif plan NETWORK --board BOARD --out FILE" in said


def test_the_report_of_place_and_route_is_read(tmp_path):
    file = tmp_path / "report.json"
    file.write_text(a_report("12ab").to_json())
    found = benchmark.routed(file)
    assert found == a_report("12ab")
    old = json.loads(file.read_text())
    del old["sources"]
    file.write_text(json.dumps(old))
    assert benchmark.state(benchmark.routed(file).sources) == "unknown"
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
    text = report([row])
    assert "90.0 MHz" in text and "FireFly-T" in text and "nothing measured" in text


def test_a_files_name_says_that_the_sources_were_changed(row, tmp_path, monkeypatch):
    for commit, ending in (("0123456789ab+", "-0123456789ab-changed.json"), ("0123456789ab", "-0123456789ab.json"),
                           ("", "-unknown.json")):
        monkeypatch.setattr(benchmark, "commit", lambda found=commit: found)
        assert benchmark.save([row], tmp_path).name.endswith(ending)
    assert [trend._label({"commit": commit, "made": "2026-11-22T16"}) for commit in ("0123456789ab+", "")] == [
        "01234567+", "2026-11-22"]


def test_old_results_are_drawn_beside_new_ones(row, tmp_path):
    """Their rows lack what was added since."""
    files = sorted(RESULTS.glob("*.json"))
    assert files
    for file in files:
        (tmp_path / file.name).write_bytes(file.read_bytes())
    old = json.loads(files[0].read_text())["rows"][0]
    assert "placed_lut" not in old["resources"]
    used = old["resources"]["synthesised"]
    assert trend._luts_per_lane(old) == (used["lut"] + 2 * used["carry"] + 4 * used["lut_ram"]) / 64
    benchmark.save([row], tmp_path)
    assert (tmp_path / "trend.png").stat().st_size > 10_000


def test_peers_have_sources_and_marks():
    peers = json.loads(PEERS.read_text())
    assert all(peer["mark"] in peers["marks"] and peer["source"] for peer in peers["peers"])


def test_hardware_that_the_board_cannot_hold_is_said_to_be(row):
    assert row["too_large"] == [] and "larger than" not in report([row])
    beyond = misfits(Size(100, 100, 298), PARTS[BOARD.part])
    assert beyond == ["block RAM 298 of 208"]
    assert "digits: larger than ulx3s: block RAM 298 of 208" in report([row | {"too_large": beyond}])


def test_a_line_of_the_trend_is_a_network_on_a_layout(row):
    chain = row | {"hardware": [{"lanes": 64, "clusters": 2}, {"lanes": 64, "clusters": 1}]}
    assert trend.name(row) == "digits, 1x16" and trend.name(chain) == "digits, 2x64 + 1x64"
