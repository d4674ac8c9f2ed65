"""`qblif plan NETWORK --board`: what it chooses fits and is the best that does, and every figure says what it is."""

import dataclasses
import itertools
import json
import re
import shlex
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from qblif import cli, gen
from qblif.gen import models, network_file, zoo
from qblif.gen.errors import PlanError
from qblif.gen.explore import Layout
from qblif.gen.packing import Packing
from qblif.gen.plan import make_plan
from qblif.host import abi
from qblif.host.errors import InputError
from qblif.hw import boards, resources
from qblif.hw.params import DesignParams
from qblif.hw.parts import PARTS
from qblif.hw.sizing import Size, Sizes
from qblif.sim import benchmark, bitstream, built, design_file, golden, known, layout_name, named, pareto, planner
from qblif.sim.cycles import CycleModel

BOARD = boards.find("ulx3s")[0]
ROOT = Path(__file__).parents[2]


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


def test_work_is_counted_on_test_images_and_otherwise_on_random_ones_which_is_said(digits, tmp_path, monkeypatch):
    x, about = named.images_of(digits, 5)
    assert len(x) == 5 and about == "the first 5 test images of digits"
    stranger = dataclasses.replace(digits, card=None, network=dataclasses.replace(digits.network, meta={}))
    assert named.images_of(stranger, 2)[1] == "2 random images, 20 % of the values not 0 (no test data at hand)"
    monkeypatch.delenv("QBLIF_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    few, about = named.images_of(named.find("mnist-fast"), 20)
    assert few.shape == (16, 1, 28, 28) and few.max() == 3
    assert about == "the first 16 test images of mnist (16 of them come with qblif, the set is not here)"
    own, about = named.images_of(stranger, 2, x[1:], "own.npy")
    assert np.array_equal(own, x[1:3]) and about == "the first 2 images of own.npy"
    with pytest.raises(InputError, match="9, 8"):
        named.images_of(stranger, 2, np.zeros((2, 1, 9, 8), np.uint8), "own.npy")


@pytest.mark.parametrize("goal", planner.GOALS)
def test_the_choice_fits_and_no_layout_that_fits_is_estimated_better(simple, digits, images, goal):
    search = planner.Planner(digits.network, images, goal, routed=lambda board: {})
    choice, room = search.choose(BOARD), planner.room_of(PARTS[BOARD.part])
    assert choice.size.within(room) and choice.used == exact(choice.plan.design)
    assert choice.speed.how == planner.EXACT and choice.speed.images == len(images)
    near = [one for one in search.layouts() if one.size.within(room)][:planner.FINALISTS]
    others = [search.finish(one, len(images)) for one in near]      # on the same images, however many their cores
    assert choice.speed.of(goal) <= planner.ALIKE * min(other.speed.of(goal) for other in others)
    assert choice.speed.efficiency == pytest.approx(
        golden.row_adds(digits.network, images, choice.plan.packing).sum(0).mean()
        / (choice.speed.cycles * sum(core.clusters for core in choice.plan.design.cores)))


def test_of_choices_that_are_as_fast_the_one_that_leaves_most_room_comes_first(digits, images):
    cores = make_plan(digits.network).design.cores

    def choice(cycles, lut, block_ram=10):
        layout = Layout(cores, (), Packing(8, ()), True, (cycles,), Size(lut, 100, block_ram))
        return planner.Choice(layout, None, planner.Speed(cycles, cycles, 1.0, planner.EXACT, 1))

    def ranked(choices):
        return planner.Planner(digits.network, images)._ranked(choices, BOARD)

    large, small, slow, full = choice(1000, 50_000), choice(1009, 20_000), choice(1020, 100), choice(1005, 100, 208)
    assert ranked([full, slow, large, small]) == [small, large, full, slow]
    fast = choice(1000, 20_000)
    assert ranked([small, fast]) == [fast, small]


def test_what_was_routed_comes_first_if_it_is_about_as_fast(digits, images):
    """Its clock is known: what a layout that beats it by less than 5 % reaches is not."""
    designs = [make_plan(digits.network, lanes=lanes).design for lanes in (8, 16)]

    def ranked(cycles, confirmed=True):
        """Return the choice that comes first: of one that was routed and takes so many cycles, and one of 1000."""
        choices = [planner.Choice(Layout(design.cores, (), Packing(8, ()), True, (taken,), Size(1000, 100, 10)), None,
                                  planner.Speed(taken, taken, 1.0, planner.EXACT, 1))
                   for design, taken in zip(designs, (cycles, 1000), strict=True)]

        def clocks(design):
            return known.Clock(80e6, "", confirmed=confirmed and design == designs[0])

        search = planner.Planner(digits.network, images, clocks=lambda board: clocks)
        return search._ranked(choices, BOARD)[0].speed.cycles

    assert ranked(1049) == 1049 and ranked(1051) == 1000
    assert ranked(1049, confirmed=False) == 1000


def test_the_smallest_layout_for_a_rate_is_fast_enough_and_no_smaller_one_is(simple, digits, images):
    search = planner.Planner(digits.network, images, clocks=partial(known.clocks_of, mhz=80.0))
    room = planner.room_of(PARTS[BOARD.part], 1 / planner.NEAR)
    found = search.smallest(BOARD, 10_000)
    enough = [one for one in search.layouts(room) if 80e6 / one.cost("throughput") >= 10_000 * planner.ALIKE]
    assert found in enough and all(found.size.lut <= one.size.lut for one in enough) and len(enough) > 3
    assert search.smallest(BOARD, 1e6) is None


@pytest.mark.parametrize("goal", planner.GOALS)
def test_a_layout_counts_with_the_clock_that_it_was_routed_at(simple, digits, images, goal):
    search = planner.Planner(digits.network, images, goal)
    first = search.choose(BOARD)
    room = planner.room_of(PARTS[BOARD.part], 1 / planner.NEAR)
    other = next(one for one in search.layouts(room) if one.design != first.design
                 and planner.ALIKE * first.cost(goal) < one.cost(goal) < 1.5 * first.cost(goal))

    def clocks(design):
        return known.Clock(200e6 if design == other.design else 80e6, "routed")

    search = planner.Planner(digits.network, images, goal, clocks=lambda board: clocks)
    second = search.choose(BOARD)
    assert second.design == other.design and second.cost(goal) > first.cost(goal)
    seconds = [planner.time(one, goal, clocks) for one in search.table(BOARD, second)[0]]
    assert seconds == sorted(seconds) and seconds[0] == second.cost(goal) / 200e6


@pytest.mark.parametrize("cores", [1, 2])
def test_a_plan_is_timed_on_each_image_once_with_others_in_front(digits, images, cores):
    plan = make_plan(digits.network, cores=cores)
    cycles, latency = planner.exact(plan, images, len(images))
    found = CycleModel(plan).predict(np.concatenate([images, images[:cores]]))
    assert cycles == pytest.approx(found.cycles[cores:].mean()) and latency == found.latency[0]


def test_estimates_are_near_what_the_exact_model_says(simple, digits, images):
    search = planner.Planner(digits.network, images)
    found = [(one.cost("throughput"), search.finish(one, 3).speed.cycles) for one in search.layouts()[:30]]
    assert all(planner.OPTIMISTIC < exact / estimated < 1.4 for estimated, exact in found)


def test_the_answer_for_latency_is_no_slower_than_chains_made_for_throughput(simple, digits, images):
    """Their cores work at the same time, so that estimates of one core, which are sums, say nothing of them."""
    other = planner.Planner(digits.network, images)
    best = planner.Planner(digits.network, images, "latency", routed=lambda board: {}).choose(BOARD).speed.latency
    room = planner.room_of(planner.part_of(BOARD))
    fit = other.layouts(room)[:planner.FINALISTS]
    assert fit and all(best <= other.finish(one, len(images)).speed.latency for one in fit)


def test_what_takes_too_long_to_time_exactly_is_an_estimate_and_says_so(simple, digits, images, monkeypatch):
    monkeypatch.setattr(planner, "BUDGET", 1000)
    speed = planner.Planner(digits.network, images).choose(BOARD).speed
    assert speed.how == planner.ESTIMATED == "estimated from the work of test images" and speed.cycles > 500


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


def test_figures_of_random_images_say_so_on_top(simple, digits, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    network_file.save(dataclasses.replace(digits.network, meta={}), tmp_path / "a.network")
    assert cli.main(["plan", "a.network", "--board", "ulx3s"]) == 0
    shown = capsys.readouterr().out
    assert shown.index("its test images are not at hand") < shown.index("predicted, random images")
    assert cli.main(["plan", "digits", "--board", "ulx3s"]) == 0
    shown = capsys.readouterr().out
    assert "predicted, test images" in shown and "at hand" not in shown


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
    link = found["link"]
    assert 90e6 / max(core["estimated_cycles"] for core in link["enough"]["cores"]) > link["images_per_second"]
    assert re.search(rf"--layout {link['enough']['name']} keeps up with the link, by its estimate, with \d\d%", shown)
    assert cli.main(["plan", "digits", "--design", "d.json"]) == 0
    assert f"build {found['build_hash']}" in capsys.readouterr().out
    name = re.search(r"^layout (.*): clusters x lanes / neurons a cycle$", shown, re.M)[1]
    assert cli.main(["plan", "digits", "--board", "ulx3s", "--layout", name, "--clock", "60"]) == 0
    shown = capsys.readouterr().out
    assert f"keep it     qblif plan digits --board ulx3s --layout {shlex.quote(name)} --clock 60 --out design" in shown
    assert f"build {found['build_hash']}" in shown


def test_a_bitstream_that_lies_there_is_named_with_what_it_would_do(simple, digits, images, tmp_path, monkeypatch,
                                                                    capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "build/bitstream/ulx3s").mkdir(parents=True)
    file, wide, small = (tmp_path / "build/bitstream/ulx3s/manifest.json",
                         *(make_plan(digits.network, lanes=lanes) for lanes in (32, 4)))
    (tmp_path / "build/bitstream/ulx3s/ulx3s.bit").touch()
    report = json.loads((known.ROUTED / "digits_2x16.json").read_text())

    def manifest(hardware, **changed):
        return {"format": bitstream.FORMAT, "board": "ulx3s", "clock_hz": 70_000_000, "bit": "ulx3s.bit",
                "abi": abi.ABI_VERSION, "build_hash": f"{hardware.build_hash:016x}",
                "design": hardware.to_dict()} | changed

    def told(text):
        file.write_text(json.dumps(text))
        assert cli.main(["plan", "digits", "--board", "ulx3s", "--json", "f.json"]) == 0
        shown = capsys.readouterr().out
        assert [line for line in shown.splitlines() if len(line) > 120] == []
        return json.loads((tmp_path / "f.json").read_text()), shown

    found, shown = told(manifest(wide.design))
    six = named.images_of(digits, 6)[0]
    cycles = CycleModel(wide).predict(six[[0, *range(6)]]).cycles[1:].mean()
    unknown = ", from older or unknown hardware sources"
    assert found["built"] == {"file": "build/bitstream/ulx3s/manifest.json", "name": "1x32", "hz": 70_000_000,
                              "sources": unknown, "same": False, "cycles": cycles, "frames_per_second": 70e6 / cycles,
                              "cut_alike": False}
    assert (f"built       build/bitstream/ulx3s, 1x32 at 70.0 MHz{unknown},\n              takes it, too: "
            f"{70e6 / cycles:,.0f} frames per second, predicted;\n              "
            "qblif compile digits --design build/bitstream/ulx3s/manifest.json") in shown
    file.with_name("report.json").write_text(json.dumps(report))
    found, shown = told(manifest(DesignParams.from_dict(found["design"])))
    assert found["built"]["same"] and "1x" in found["built"]["name"] and "is of this very design;\n" in shown
    assert found["built"]["sources"] == benchmark.from_sources(report["sources"])
    small = DesignParams((dataclasses.replace(small.design.cores[0], weight_depth=16),))
    choice = planner.Planner(digits.network, images).choose(BOARD)
    for text in (manifest(wide.design), manifest(small), [], *(manifest(wide.design, **wrong) for wrong in (
            {"board": "other"}, {"format": "other"}, {"design": {"cores": []}}, {"clock_hz": None},
            {"clock_hz": 10**400}, {"bit": None}, {"bit": "gone.bit"}, {"abi": 1}, {"build_hash": "0" * 16}))):
        file.write_text(json.dumps(text))
        assert (built.find(BOARD, choice, images) is None) == (text != manifest(wide.design))


@pytest.fixture(scope="module")
def routed():
    """Return a function: clusters and lanes of each core -> the design of it that was routed first."""
    return lambda *cores: next(design for design in known.routed_designs(BOARD) if cores == tuple(
        (core.clusters, core.lanes) for core in design.cores))


def test_a_program_that_its_bitstream_s_manifest_would_cut_otherwise_is_that_of_the_plan(tmp_path, monkeypatch):
    monkeypatch.delenv("QBLIF_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ulx3s").mkdir()
    (tmp_path / "ulx3s/ulx3s.bit").touch()
    one = named.find("mnist-fast")
    images = named.images_of(one, 2)[0]
    search = planner.Planner(one.network, images)
    found = set()
    for layout in search.on_routed(BOARD):
        design, choice = layout.design, search.finish(layout, 0)
        (tmp_path / "ulx3s/manifest.json").write_text(json.dumps({
            "format": bitstream.FORMAT, "board": "ulx3s", "clock_hz": 70_000_000, "bit": "ulx3s.bit",
            "abi": abi.ABI_VERSION, "build_hash": f"{design.build_hash:016x}", "design": design.to_dict()}))
        there = built.find(BOARD, choice, images, tmp_path)
        alike = make_plan(one.network, design=design).program_hash == choice.plan.program_hash
        assert there.same and there.cut_alike == alike
        assert ("`load it` below" in there.text("mnist-fast")) != alike
        assert ("qblif compile mnist-fast --design" in there.text("mnist-fast")) == alike
        found.add(alike)
    assert found == {True, False}


def test_a_network_is_laid_on_what_was_routed_for_another(routed):
    one = named.find("mnist-fast")
    found = planner.Planner(one.network, named.images_of(one, 2)[0]).on_routed(BOARD)
    fitting = [layout.design for layout in found]
    assert len(set(fitting)) == len(fitting) and routed((2, 64), (1, 64)) in fitting        # fashion-mnist's
    for layout in found:
        plan = make_plan(one.network, design=layout.design, packing=layout.packing, spans=layout.spans)
        assert plan.design == layout.design and len(layout.cycles) == len(layout.design.cores)
    wanted = layout_name.parse("2x64/4 + 1x64/4")
    only = planner.Planner(one.network, named.images_of(one, 2)[0]).on_routed(BOARD, wanted)
    assert [layout.design for layout in only] == [routed((2, 64), (1, 64))]


def test_a_slow_design_that_was_routed_keeps_no_faster_one_from_being_timed(simple, digits, images, routed):
    slow = routed((1, 16))
    search = planner.Planner(digits.network, images, "latency", routed=lambda board: {slow: Size(1, 1, 1)})
    assert [layout.design for layout in search.on_routed(BOARD)] == [slow]
    for search.budget in (2_000, 5_000, 10_000, 20_000, 30_000, 60_000, 200_000):
        assert search.choose(BOARD).design != slow


def test_the_table_has_what_fits_and_what_is_faster_and_does_not(simple, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(PARTS, BOARD.part, dataclasses.replace(PARTS[BOARD.part], lut=20_000))
    assert cli.main(["plan", "digits", "--board", "ulx3s", "--pareto", "--json", "t.json"]) == 0
    shown = capsys.readouterr().out
    assert "digits: 99.44 %, T 2, N 20" in shown and "fits: up to 17,000 LUT4" in shown       # of the zoo's card
    assert [line for line in shown.splitlines() if len(line) > 120] == []
    assert cli.main(["plan", "digits", "--board", "ulx3s", "--json", "a.json"]) == 0
    found, answer = (json.loads((tmp_path / name).read_text()) for name in ("t.json", "a.json"))
    (network,) = found["networks"]
    fitting = [one for one in network["layouts"] if one["fits"]]
    larger = [one for one in network["layouts"] if not one["fits"]]
    (chosen,) = (one for one in fitting if one["chosen"])
    assert chosen["cycles"] == answer["predicted"]["cycles"] and chosen["size"]["lut"] == answer["predicted"]["lut"]
    assert re.search(rf"^ *\* +{re.escape(chosen['name'])} ", shown, re.M)
    assert larger and all(one["cycles"] < chosen["cycles"] and one["size"]["lut"] > 17_000 for one in larger)
    for one, two in itertools.permutations(fitting, 2):         # nothing in it is pointless, but for the answer
        assert two["chosen"] or one["cycles"] > two["cycles"] or one["size"]["lut"] > two["size"]["lut"]
    assert all(one["how"] == planner.EXACT and one["images"] == 6 for one in fitting)


def test_ones_own_report_is_in_the_table_with_what_it_reached(simple, digits, images, tmp_path):
    search, own = planner.Planner(digits.network, images), tmp_path / "report.json"
    fitting, _ = search.table(BOARD, search.choose(BOARD))
    report = dataclasses.replace(known.all_placed()[0].report, asked=95.0, reached=97.5,
                                 build_hash=f"{fitting[-1].design.build_hash:016x}")
    own.write_text(report.to_json())
    entry = pareto.Entry("digits", 2, (20,), 8, None, "images", fitting[0], tuple(fitting), (), (None,) * len(fitting))
    clocks = known.clocks_of(BOARD, own)
    assert re.search(r"  95\.0  97\.5$", pareto.text([entry], BOARD, "throughput", clocks), re.M)
    row = pareto.to_dict([entry], BOARD, "throughput", clocks)["networks"][0]["layouts"][-1]
    assert row["routed_mhz"] == 97.5 and row["frames_per_second"] == 95e6 / row["cycles"] and row["clock"]["routed"]


def test_an_estimate_in_the_table_is_marked(simple, digits, images, monkeypatch):
    monkeypatch.setattr(planner, "BUDGET", 1000)
    search = planner.Planner(digits.network, images)
    fitting, larger = search.table(BOARD, search.choose(BOARD))
    entry = pareto.Entry("digits", 2, (20,), 8, None, "images", fitting[0], tuple(fitting), tuple(larger),
                         (None,) * len(fitting))
    shown = pareto.text([entry], BOARD, "throughput", known.clocks_of(BOARD, mhz=80.0), 80.0)
    assert shown.count("\n  ≈  ") == len(fitting) - 1 > 0 and "digits: accuracy not known" in shown


def test_a_network_leaves_out_what_a_better_one_makes_pointless(simple, digits, images):
    search = planner.Planner(digits.network, images)
    choices = tuple(search.table(BOARD, search.choose(BOARD))[0])
    good = pareto.Entry("good", 2, (20,), 8, 0.99, "images", choices[0], choices, (), (None,) * len(choices))
    bad = dataclasses.replace(good, name="bad", accuracy=0.98)
    unknown = dataclasses.replace(good, accuracy=None)

    def left(entry, other):
        return pareto._unbeaten(entry, [entry, other], "throughput", known.clocks_of(BOARD)).fitting

    assert left(good, bad) == choices and left(bad, good) == choices[:1]
    assert left(bad, unknown) == choices and left(unknown, good) == choices


def test_a_layout_that_is_named_can_be_had_even_if_another_one_beats_it(simple, digits, images):
    search = planner.Planner(digits.network, images)
    best = search.choose(BOARD)
    listed = {layout_name.name_of(one) for one in search.layouts()}
    beaten = next(name for chain in itertools.product((1, 2, 4), repeat=3)
                  if (name := " + ".join(f"{clusters}x16" for clusters in chain)) not in listed)
    for name in ("1x16", "1x32+1x32", beaten):
        choice = search.choose(BOARD, layout_name.parse(name))
        assert layout_name.name_of(choice.layout).replace(" ", "") == name.replace(" ", "")
        assert choice.speed.cycles > best.speed.cycles
        full = layout_name.parse(layout_name.name_of(choice.layout, full=True))
        assert search.choose(BOARD, full).plan.design == choice.plan.design


def test_a_layout_that_is_named_and_does_not_fit_says_by_how_much(simple, tiny, digits, images):
    search = planner.Planner(digits.network, images)
    with pytest.raises(PlanError, match=r"does not fit the .*: 1x16/4, needs block RAM \d+ of 9"):
        search.choose(BOARD, layout_name.parse("1x16"))
    with pytest.raises(PlanError, match="it cannot be cut into 9 cores"):
        search.choose(BOARD, layout_name.parse("+".join(["1x16"] * 9)))


def test_what_does_not_fit_as_a_whole_alone_says_by_how_much(simple, digits, images, monkeypatch):
    """Its parts, which are approximate, would."""
    monkeypatch.setattr(resources, "estimate",
                        lambda design, by=None: dataclasses.replace(exact(design), block_ram=209))
    with pytest.raises(PlanError, match=r": 1x16/4, needs block RAM 209 of 208\n") as error:
        planner.Planner(digits.network, images).choose(BOARD, layout_name.parse("1x16"))
    assert "ulx3s" not in error.value.hint


def test_networks_without_a_layout_are_all_named():
    entries = [pareto.Entry(name, 1, (15,), 8, None, "images", why=f"{name} is damaged") for name in ("one", "two")]
    shown = pareto.text(entries, BOARD, "throughput", known.clocks_of(BOARD))
    assert "one: accuracy not known" in shown and "two is damaged" in shown


@pytest.mark.datasets("mnist", "fashion-mnist", "n-mnist", "cifar10")
@pytest.mark.parametrize("name", ["digits", "mnist-small", "fashion-mnist", "n-mnist", "cifar10-classic-6bit"])
def test_the_answer_was_routed_and_simulated_with_the_predicted_cycles(name):
    """docs/synthesis.md says so; place and route reached the clock that was asked for, the board's or a higher one."""
    one = named.find(name)
    choice = planner.Planner(one.network, named.images_of(one, 6)[0]).choose(BOARD)
    report = known.report_of(choice.plan.design, BOARD)
    assert report.met and report.asked * 1e6 == known.clocks_of(BOARD)(choice.design).hz >= BOARD.clock_hz
    seen = known.measured(ROOT / "benchmarks/results", name, BOARD.name, choice.plan)
    assert seen["cycles"]["rtl"] == seen["cycles"]["predicted"]


@pytest.mark.datasets("fashion-mnist")
def test_a_chain_that_was_routed_for_one_network_runs_another_at_20_000_frames_a_second():
    """docs/synthesis.md says so of mnist-fast: it is a program for fashion-mnist's bitstream."""
    one = named.find("fashion-mnist")
    design = planner.Planner(one.network, named.images_of(one, 6)[0]).choose(BOARD).design
    seen = known.measured(ROOT / "benchmarks/results", "mnist-fast", BOARD.name,
                          make_plan(zoo.load("mnist-fast"), design=design))
    report = known.report_of(design, BOARD)
    assert report.met and report.asked * 1e6 / seen["cycles"]["rtl"] >= 20_000
    assert seen["cycles"]["rtl"] == seen["cycles"]["predicted"] and seen["images"] == 200
    assert zoo.card("mnist-fast").golden_accuracy >= 0.994


@pytest.mark.parametrize(("layout", "asked", "options"), [("1x64/4 + 2x64/4", 80, ""),
                                                         ("2x128/2", 90, " --clock 90 --seed 2")])
def test_of_a_layout_that_was_routed_both_clocks_are_told_and_how_to_build_it(layout, asked, options, tmp_path,
                                                                             monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["plan", "mnist-small", "--board", "ulx3s", "--layout", layout]) == 0
    shown = capsys.readouterr().out
    assert re.search(rf"frames per second at {asked}\.0 MHz +[\d,]+ ", shown)
    assert re.search(r"frames per second at the 9\d\.\d MHz that it reached +[\d,]+ ", shown)
    assert f"qblif bitstream --board ulx3s --design design.json{options}\n" in shown
    assert re.search(r"build +\d+ to \d+ minutes beside other work, for designs of 38,\d+ to 38,\d+ flip-flops", shown)
    assert re.search(rf"routed: sim/routed/mnist-small_[\dx+]+\.json, {asked} MHz asked, 9\d\.\d reached, seed", shown)


def test_of_layouts_that_all_do_not_fit_the_nearest_is_shown(simple, tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["plan", "digits", "--board", "ulx3s", "--pareto"]) == 0
    shown = capsys.readouterr().out
    assert "9 RAM" in shown and "\n  -  1x16/4 " in shown and "\n  *  1x" not in shown
    assert "'digits' does not fit the Radiona ULX3S 85F" in shown


@pytest.mark.parametrize(("words", "message"), [
    (["digits", "--board", "ulx4m"], "there is no board 'ulx4m'"),
    (["nothing", "--board", "ulx3s"], "nothing"),
    (["digits", "--pareto"], "--pareto: only with --board"),
    (["digits", "--board", "ulx3s", "--lanes", "16"], "--lanes: not with --board"),
    (["digits", "--layout", "1x16"], "--layout: only with --board"),
    (["digits", "--board", "ulx3s", "--pareto", "--layout", "1x16"], "--layout: not with --pareto"),
    (["digits", "--board", "ulx3s", "--pareto", "--out", "d.json"], "--out: not with --pareto"),
    (["digits", "--board", "ulx3s", "--clock", "5000"], "the PLL's clock would be 5000 MHz, allowed is 10 to 400 MHz"),
    (["digits", "--board", "ulx3s", "--clock", "97.5"], "the PLL cannot make 97.5 MHz from 25 MHz; the nearest is"),
    (["digits", "--vectors", "x.npy"], "--vectors: only with --board"),
    (["digits", "--board", "ulx3s", "--vectors", __file__], "is not a .npy file of numbers"),
    (["digits", "--board", "ulx3s", "--layout", "two"], "'two' is no name of a layout"),
    (["digits", "--board", "ulx3s", "--layout", "1x16+1x32"], "the cores of a chain differ in lanes"),
    (["digits", "--board", "ulx3s", "--layout", "1x48"], "there are no layouts of 48 lanes"),
    (["digits", "--board", "ulx3s", "--layout", "1x16/8"], "there are no layouts of 16 lanes and 8 neurons"),
    (["digits", "--board", "ulx3s", "--layout", "3x16"], "there are no cores of 3 clusters"),
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
