"""`qblif plan NETWORK --board`: what it chooses fits and is the best that does, and every figure says what it is."""

import dataclasses
import json
import re
import shlex
import time

import numpy as np
import pytest
import torch

from qblif import cli, gen
from qblif.gen import models, zoo
from qblif.gen.errors import PlanError
from qblif.gen.plan import make_plan
from qblif.host.errors import InputError
from qblif.hw import boards, calibrate, resources
from qblif.hw.ecp5_report import Report
from qblif.hw.params import DesignParams
from qblif.hw.parts import PARTS
from qblif.hw.sizing import Size, Sizes
from qblif.sim import bitstream, design_file, golden, named, plan_report, planner
from qblif.sim.activity import Activity
from qblif.sim.cycles import CycleModel

BOARD = boards.find("ulx3s")[0]


class Simple:
    """Sizes that are easy to add up: what the search does with them is tested in tests/gen."""

    by = None

    @staticmethod
    def core(core):
        memory = (core.map_depth * core.word_bits + core.weight_depth * core.lanes * core.weight_bits) * core.clusters
        return Size(3000.0 + 90 * core.lanes * core.clusters, 3000.0 + 90 * core.lanes * core.clusters, memory // 16384)

    @staticmethod
    def shell(cores):
        return Size(3000.0, 3000.0, 8)


def exact(design, by=None):
    """Return sizes as the resource model does, those of Simple."""
    size = sum((Simple.core(core) for core in design.cores), Simple.shell(0))
    return resources.Resources(round(size.lut), 0, round(size.ff), 0, size.block_ram)


@pytest.fixture
def simple(monkeypatch):
    monkeypatch.setattr(resources, "estimate", exact)
    monkeypatch.setattr(resources, "placed", lambda used, measured=None: used.slots)
    monkeypatch.setattr(planner, "kept_sizes", Simple)


@pytest.fixture(scope="module")
def digits():
    return named.find("digits")


@pytest.fixture(scope="module")
def images(digits):
    return named.images_of(digits, 5)[0]


def test_work_is_counted_on_test_images_and_otherwise_on_random_ones_which_is_said(digits):
    x, about = named.images_of(digits, 5)
    assert len(x) == 5 and about == "the first 5 test images of digits"
    stranger = dataclasses.replace(digits, card=None, network=dataclasses.replace(digits.network, meta={}))
    assert named.images_of(stranger, 2)[1] == "2 random images, 20 % of the values not 0 (no test data at hand)"


def test_activity_is_what_the_golden_model_counts(digits, images):
    plan, rows = make_plan(digits.network), Activity(digits.network, images)
    whole = golden.row_adds(digits.network, images, plan.packing).mean(axis=1)
    share = plan.segments[0].shares[0][0]
    assert [rows(index, plan.packing, share) for index in range(len(whole))] == pytest.approx(list(whole))


@pytest.mark.parametrize("goal", planner.GOALS)
def test_the_choice_fits_and_no_layout_that_fits_is_estimated_better(simple, digits, images, goal):
    search = planner.Planner(digits.network, images, goal)
    choice, room = search.choose(BOARD), planner.room_of(PARTS[BOARD.part])
    assert choice.size.within(room) and choice.used == exact(choice.plan.design)
    assert choice.speed.how == planner.EXACT and choice.speed.images == len(images)
    near = [one for one in search.layouts() if one.size.within(room)][:planner.FINALISTS]
    for one in near:            # all are timed on the same images, whatever the number of their cores
        assert search.finish(one, len(images)).speed.of(goal) >= choice.speed.of(goal)


@pytest.mark.parametrize("cores", [1, 2])
def test_a_plan_is_timed_on_each_image_once_with_others_in_front(digits, images, cores):
    plan = make_plan(digits.network, cores=cores)
    speed = planner.exact(plan, images, len(images))
    found = CycleModel(plan).predict(np.concatenate([images, images[:cores]]))
    assert speed.cycles == pytest.approx(found.cycles[cores:].mean())
    assert (speed.latency, speed.images) == (found.latency[0], len(images))


def test_estimates_are_near_what_the_exact_model_says(simple, digits, images):
    search = planner.Planner(digits.network, images)
    found = [(one.cost("throughput"), search.finish(one, 3).speed.cycles) for one in search.layouts()[:30]]
    assert all(planner.OPTIMISTIC < exact / estimated < 1.4 for estimated, exact in found)


def test_the_answer_for_latency_is_no_slower_than_chains_made_for_throughput(simple, digits, images):
    """Their cores work at the same time, so that estimates of one core, which are sums, say nothing of them."""
    other = planner.Planner(digits.network, images)
    best = planner.Planner(digits.network, images, "latency").choose(BOARD).speed.latency
    room = planner.room_of(planner.part_of(BOARD))
    fit = other.layouts(room)[:planner.FINALISTS]
    assert fit and all(best <= other.finish(one, len(images)).speed.latency for one in fit)


def test_what_takes_too_long_to_time_exactly_is_an_estimate_and_says_so(simple, digits, images, monkeypatch):
    monkeypatch.setattr(planner, "BUDGET", 1000)
    speed = planner.Planner(digits.network, images).choose(BOARD).speed
    assert speed.how == planner.ESTIMATED == "estimated from counted weight rows" and speed.cycles > 500


def test_what_is_sized_too_large_as_a_whole_is_not_chosen(simple, digits, images, monkeypatch):
    search = planner.Planner(digits.network, images)
    first = search.choose(BOARD)

    def larger(design, by=None):
        found = exact(design)
        return dataclasses.replace(found, block_ram=999) if design == first.plan.design else found

    monkeypatch.setattr(resources, "estimate", larger)
    assert search.choose(BOARD).plan.design != first.plan.design


@pytest.fixture
def tiny(monkeypatch):
    """The ULX3S with a part that holds nothing."""
    monkeypatch.setitem(PARTS, BOARD.part, dataclasses.replace(PARTS[BOARD.part], block_ram=9))


def test_what_does_not_fit_is_told_with_figures_and_with_boards_that_hold_it(simple, tiny, digits, images):
    message = r"'digits' does not fit the Radiona ULX3S 85F .* needs block RAM \d+ of 9"
    with pytest.raises(PlanError, match=message) as e:
        planner.Planner(digits.network, images).choose(BOARD)
    assert "it fits TUL PYNQ-Z2 (pynq-z2)" in e.value.hint


def test_what_no_board_holds_is_told(simple, digits, images, monkeypatch):
    for name, part in list(PARTS.items()):
        monkeypatch.setitem(PARTS, name, dataclasses.replace(part, block_ram=9))
    with pytest.raises(PlanError) as e:
        planner.Planner(digits.network, images).choose(BOARD)
    assert "no board of this project holds it: the largest has 9 block RAMs" in e.value.hint


def test_a_goal_that_there_is_not_is_refused(digits, images):
    with pytest.raises(ValueError, match="the goal is 'area', allowed is throughput or latency"):
        planner.Planner(digits.network, images, "area")


def test_the_clock_is_asked_for_routed_or_the_boards_and_says_which(digits, tmp_path):
    plan, report = make_plan(digits.network), tmp_path / "report.json"
    assert planner.clock_of(BOARD, plan, 90.0, report) == planner.Clock(90e6, "asked, not routed")
    assert "no design routed for LFE5U-85F" in planner.clock_of(BOARD, plan, 5000.0, report).source
    assert planner.clock_of(BOARD, plan, None, report).source == "asked, not routed: the board's default"
    mine = f"{plan.design.build_hash:016x}"
    for build_hash, before, sources, after in (
            (mine, "routed: ", boards.sources_hash(), ""),
            (mine, "routed: ", "0" * 32, ", from other hardware sources than today's"),
            (mine, "routed: ", "", ", from older or unknown hardware sources"),
            ("0" * 16, "routed for another design: ", boards.sources_hash(), "")):
        report.write_text(Report("ulx3s", "part", "key", build_hash, "", 80.0, 82.5, "clk", 1, {1: 82.5}, {}, {}, {},
                                 (), {}, {}, (), "today", sources).to_json())
        clock = planner.clock_of(BOARD, plan, None, report)
        assert (clock.hz, clock.source) == (82.5e6, f"{before}{report}{after}")
    assert planner.clock_of(BOARD, None, None, report).source == f"routed for another design: {report}"


def test_what_place_and_route_made_of_a_design_is_told(tmp_path):
    (name, one), *_ = [(name, one) for name, one in calibrate.load()["designs"].items() if "comb" in one]
    plan = dataclasses.replace(make_plan(zoo.load("digits")), design=DesignParams.from_dict(one["design"]))
    found = planner.placed(plan)
    assert (found.name, found.size.lut, found.mhz) == (name, one["comb"], one["mhz"])
    clock = planner.clock_of(BOARD, plan, None, tmp_path / "none")
    assert clock.hz == one["mhz"] * 1e6 and name in clock.source
    assert clock.source.endswith(" hardware sources") or one["sources"] == boards.sources_hash()
    assert planner.placed(make_plan(zoo.load("digits"), lanes=8)) is None
    assert planner.largest_placed().size.ff >= found.size.ff


def test_a_measured_value_is_that_of_the_same_network_board_hardware_and_program(digits, tmp_path):
    plan = make_plan(digits.network)
    row = {"network": "digits", "board": "ulx3s", "build_hash": f"{plan.design.build_hash:016x}",
           "program_hash": f"{plan.program_hash:016x}", "cycles": {"rtl": 1234.0}}
    for name, change in (("1", {}), ("2", {"network": "mnist"}), ("3", {"build_hash": "0"}), ("4", {"board": "kv260"}),
                         ("5", {"program_hash": "0"})):
        (tmp_path / f"{name}.json").write_text(json.dumps({"commit": name, "rows": [row | change]}))
    (tmp_path / "6.json").write_text(json.dumps({"commit": "6", "rows": [{"network": "digits", "board": "ulx3s"}]}))
    found = planner.measured(tmp_path, "digits", "ulx3s", plan)
    assert (found["cycles"]["rtl"], found["commit"], found["file"]) == (1234.0, "1", str(tmp_path / "1.json"))
    assert planner.measured(tmp_path, "n-mnist", "ulx3s", plan) is None
    (tmp_path / "7.json").write_text("{}")
    with pytest.raises(InputError, match=r"7\.json is no result of `make bench`"):
        planner.measured(tmp_path, "digits", "ulx3s", plan)


def test_a_saved_design_is_planned_for_as_it_was_chosen(simple, digits, images, tmp_path):
    plan, path = planner.Planner(digits.network, images).choose(BOARD).plan, tmp_path / "design.json"
    design_file.save(path, plan, "ulx3s")
    again = make_plan(digits.network, **bitstream.read_layout(path, digits.network))
    assert np.array_equal(again.program, plan.program) and again.design == plan.design
    other = zoo.load("mnist")
    assert bitstream.read_layout(path, other) == {"design": plan.design}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"spans": 5}))
    with pytest.raises(InputError, match="is no design"):
        bitstream.read_design(path)


def test_the_command_prints_saves_and_says_what_to_do_next(simple, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["plan", "digits", "--board", "ulx3s", "--out", "d.json", "--json", "f.json", "--clock", "90"]) == 0
    shown = capsys.readouterr().out
    for words in ("Radiona ULX3S 85F", "frames per second at 90.0 MHz", "RTL, the same images",
                  "none", "90.0 MHz, asked, not routed",
                  "the first 6 test images of digits", "exact cycle model", "share",
                  "qblif bitstream --board ulx3s --design d.json --network digits --clock 90"):
        assert words in shown
    assert [line for line in shown.splitlines() if len(line) > 120] == []
    found = json.loads((tmp_path / "f.json").read_text())
    assert found["predicted"]["frames_per_second"] == pytest.approx(90e6 / found["predicted"]["cycles"])
    assert found["measured"] is None and found["goal"] == "throughput"
    assert cli.main(["plan", "digits", "--design", "d.json"]) == 0
    assert f"build {found['build_hash']}" in capsys.readouterr().out
    name = re.search(r"^layout (.*): clusters x lanes / neurons a cycle$", shown, re.M)[1]
    assert cli.main(["plan", "digits", "--board", "ulx3s", "--layout", name, "--clock", "60"]) == 0
    shown = capsys.readouterr().out
    assert f"keep it     qblif plan digits --board ulx3s --layout {shlex.quote(name)} --clock 60 --out design" in shown
    assert f"build {found['build_hash']}" in shown


def test_the_table_has_what_fits_and_what_is_faster_and_does_not(simple, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(PARTS, BOARD.part, dataclasses.replace(PARTS[BOARD.part], lut=20_000))
    assert cli.main(["plan", "digits", "--board", "ulx3s", "--pareto"]) == 0
    shown = capsys.readouterr().out
    assert "all figures estimated" in shown and "fits ulx3s" in shown and "no: LUT4" in shown and " yes\n" in shown
    assert "99.44 %" in shown and "accuracy" in shown           # of the zoo's card
    assert [line for line in shown.splitlines() if len(line) > 120] == []


def test_a_layout_that_the_table_names_can_be_had(simple, digits, images):
    search = planner.Planner(digits.network, images)
    best = search.choose(BOARD)
    for name in ("1x16", "1x32+1x32"):
        choice = search.choose(BOARD, name)
        assert planner.name_of(choice.layout).replace(" ", "") == name
        assert choice.speed.cycles > best.speed.cycles
        full = planner.name_of(choice.layout, full=True)
        assert planner.name_of(search.choose(BOARD, full).layout, full=True) == full
    with pytest.raises(InputError, match="'7x64' is no layout of 'digits'") as error:
        search.choose(BOARD, "7x64")
    assert "1x16, " in error.value.hint


def test_of_layouts_that_all_do_not_fit_the_nearest_is_shown(simple, tiny, digits, images):
    layouts = planner.Planner(digits.network, images).layouts()
    shown = plan_report.pareto(layouts, BOARD, planner.Clock(80e6, "asked"), "throughput", Simple)
    assert "no: block RAM" in shown and " of 9" in shown and " yes\n" not in shown


@pytest.mark.parametrize(("words", "message"), [
    (["digits", "--board", "ulx4m"], "there is no board 'ulx4m'"),
    (["nothing", "--board", "ulx3s"], "nothing"),
    (["digits", "--pareto"], "--pareto: only with --board"),
    (["digits", "--board", "ulx3s", "--lanes", "16"], "--lanes: not with --board"),
    (["digits", "--layout", "1x16"], "--layout: only with --board"),
    (["digits", "--board", "ulx3s", "--pareto", "--layout", "1x16"], "--layout: not with --pareto"),
    (["digits", "--board", "ulx3s", "--pareto", "--out", "d.json"], "--json, --out: not with --pareto"),
])
def test_mistakes_are_one_message(capsys, words, message):
    assert cli.main(["plan", *words]) == 2
    error = capsys.readouterr().err
    assert message in error and error.startswith("qblif plan: ")


@pytest.mark.long
@pytest.mark.datasets("mnist", "fashion-mnist", "cifar10")
@pytest.mark.parametrize("name", [*zoo.names(), "the paper's ResNet-20"])
def test_an_answer_takes_seconds(name):
    """Processor time, with nothing kept from before."""
    began = time.process_time()
    if name in zoo.names():
        one = named.find(name)
        choice = planner.Planner(one.network, named.images_of(one, 6)[0], sizes=Sizes()).choose(BOARD)
        assert choice.size.within(planner.room_of(PARTS[BOARD.part]))
    else:
        network = gen.fold(models.build("resnet20", shape=(3, 32, 32)).eval(), torch.zeros(1, 3, 32, 32), input_bits=8)
        images = np.random.default_rng(1).integers(0, 256, (2, 3, 32, 32), np.uint8)
        with pytest.raises(PlanError, match="does not fit the Radiona ULX3S 85F"):
            planner.Planner(network, images, sizes=Sizes()).choose(BOARD)
    assert time.process_time() - began < 40
