"""From a board and a network to a folder, with stub tools: what is in it, when it is made again, what fails."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from qblif import cli, host
from qblif.gen import network_file
from qblif.gen.plan import make_plan
from qblif.hw.boards import ulx3s
from qblif.hw.params import CoreParams, DesignParams
from qblif.sim import bitstream, design_file
from qblif.sim.deploy import deploy

from ..gen import planned
from ..hw.stub_tools import Tools

SMALL = DesignParams((CoreParams(lanes=4, word_bits=32, map_depth=256, weight_depth=256, layer_depth=8, source_depth=16,
                                 channel_depth=32, contexts=8),))
NETWORK = planned.chain(layers=1, side=3)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A cache of all tests here: what is emitted is emitted once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def stubs(kept, tmp_path, monkeypatch):
    monkeypatch.setenv("QBLIF_CACHE", str(kept))
    monkeypatch.setattr(ulx3s, "default_design",
                        lambda lanes=4: SMALL if lanes == 4 else DesignParams((CoreParams(lanes=lanes),)))
    monkeypatch.chdir(tmp_path)
    tools = Tools(tmp_path, monkeypatch)
    tools.save(version=f"stub of {tmp_path.name}")  # so that no stage of another test is taken
    return tools


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_folder_holds_the_bitstream_its_report_and_a_manifest_that_describes_them(stubs, tmp_path):
    made = bitstream.make("ulx3s", tmp_path / "out")
    manifest = json.loads((made.folder / "manifest.json").read_text())
    assert made.bit == tmp_path / "out" / "ulx3s.bit" and made.bundle is None and not made.unchanged
    assert manifest["sha256"] == digest(made.bit)
    assert manifest["files"] == {path.name: digest(path) for path in made.folder.iterdir()
                                 if path.name != "manifest.json"}
    assert set(manifest["files"]) >= {"report.txt", "report.json", "top.sv", "pins.lpf", "synthesis.log",
                                      "placement.log"}
    assert (manifest["board"], manifest["clock_hz"], manifest["front_end"]) == ("ulx3s", 80_000_000, "uart")
    assert manifest["build_hash"] == f"{SMALL.build_hash:016x}" and manifest["program_hash"] is None
    assert DesignParams.from_dict(manifest["design"]) == SMALL
    assert bitstream.read_design(made.folder / "manifest.json") == SMALL


def test_a_build_that_has_not_changed_is_not_done_again(stubs, tmp_path):
    made = bitstream.make("ulx3s", tmp_path / "out")
    before, calls = (tmp_path / "out").stat().st_ino, stubs.calls
    again = bitstream.make("ulx3s", tmp_path / "out")
    assert again.unchanged and (again.text, again.manifest) == (made.text, made.manifest)
    assert (tmp_path / "out").stat().st_ino == before and stubs.calls == calls


def test_a_file_that_was_changed_since_is_put_right(stubs, tmp_path):
    made = bitstream.make("ulx3s", tmp_path / "out")
    made.bit.write_bytes(b"damaged")
    again = bitstream.make("ulx3s", tmp_path / "out")
    assert not again.unchanged and digest(again.bit) == made.manifest["sha256"]
    assert stubs.calls == ["yosys", "nextpnr-ecp5", "ecppack"]


@pytest.mark.parametrize("options", [{"clock_hz": 75_000_000}, {"seeds": (1, 2)}], ids=str)
def test_other_options_are_another_build(stubs, tmp_path, options):
    bitstream.make("ulx3s", tmp_path / "out")
    made = bitstream.make("ulx3s", tmp_path / "out", **options)
    assert not made.unchanged


def test_a_failed_build_leaves_the_folder_as_it_was_and_says_why_beside_it(stubs, tmp_path):
    made = bitstream.make("ulx3s", tmp_path / "out")
    stubs.save(mhz={"1": 60.0})
    with pytest.raises(bitstream.BuildError, match="60.00 MHz reached, 85.00") as error:
        bitstream.make("ulx3s", tmp_path / "out", clock_hz=85_000_000)
    assert digest(made.bit) == made.manifest["sha256"]
    assert str(tmp_path / "out.failed") in error.value.hint
    assert "60.00 MHz reached" in (tmp_path / "out.failed" / "report.txt").read_text()
    assert json.loads((tmp_path / "out.failed" / "design.json").read_text()) == {
        name: made.manifest[name] for name in ("build_hash", "design")}
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith((".out", "out"))) == [
        "out", "out.failed"]
    stubs.save(mhz={"1": 81.5, "2": 90.0})
    bitstream.make("ulx3s", tmp_path / "out", clock_hz=85_000_000, seeds=(2,))
    assert not (tmp_path / "out.failed").exists()


def test_a_bundle_is_baked_in_with_its_own_hardware(stubs, tmp_path):
    bundle = deploy(NETWORK, tmp_path / "own.qblif", lanes=8)
    made = bitstream.make("ulx3s", tmp_path / "out", network=tmp_path / "own.qblif")
    assert made.bundle.read_bytes() == (tmp_path / "own.qblif").read_bytes()
    assert made.manifest["build_hash"] == f"{bundle.build_hash:016x}"
    assert made.manifest["program_hash"] == f"{bundle.program_hash:016x}"
    first, text = planned_weights(bundle)[0], (made.folder / "top.sv").read_text()
    lanes = DesignParams.from_dict(bundle.design).cores[0].neuron_lanes
    for at in range(0, len(first), lanes):
        part = int.from_bytes(bytes(first[at:at + lanes]), "big")
        assert lanes == 4 and f"= 32'd{part};" in text, "the first weight row is in the text, chunk by chunk"


def planned_weights(bundle):
    """Return the weight rows of a bundle of one core of 8 lanes, highest lane first, as unsigned bytes."""
    from ..program_image import parse

    design = DesignParams.from_dict(bundle.design)
    image = parse(bundle.program, design)
    return [[value & 0xFF for value in reversed(row)] for row in image.weights(design.cores[0], 0, 0)]


def test_a_network_file_is_planned_for_the_board_and_its_bundle_lies_beside_the_bitstream(stubs, tmp_path):
    network_file.save(NETWORK, tmp_path / "own.network")
    made = bitstream.make("ulx3s", tmp_path / "out", network=tmp_path / "own.network")
    bundle = host.Bundle.load(made.bundle)
    assert made.bundle.name == "own.qblif" and bundle.build_hash == SMALL.build_hash
    assert bundle.program_hash == make_plan(NETWORK, design=SMALL).program_hash
    assert len(bundle.golden_logits) > 0
    assert bitstream.make("ulx3s", tmp_path / "out", network=tmp_path / "own.network").unchanged


def test_lanes_with_a_bundle_plan_its_network_anew(stubs, tmp_path):
    deploy(NETWORK, tmp_path / "own.qblif", lanes=8)
    made = bitstream.make("ulx3s", tmp_path / "out", network=tmp_path / "own.qblif", lanes=4)
    assert made.manifest["build_hash"] == f"{SMALL.build_hash:016x}"


def command(capsys, *words):
    """Run the command; return its exit code, output and messages."""
    code = cli.main(["bitstream", "--out", "out", *words])
    return code, *capsys.readouterr()


def test_the_command_says_what_it_made_and_how_to_use_it(stubs, tmp_path, capsys):
    code, out, messages = command(capsys)
    assert code == 0
    for part in ("81.50 MHz reached, 80.00 MHz asked", "out/ulx3s.bit", "openFPGALoader -b ulx3s ", "multiplier blocks",
                 "block RAM", "qblif selftest --target serial:/dev/ttyUSB0", "--design"):
        assert part in out
    assert "synthesis" in messages and "placement" in messages
    code, out, _ = command(capsys)
    assert code == 0 and "up to date" in out


def test_another_tool_chain_has_a_folder_of_its_own(stubs, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bitstream, "make", lambda board, out, **options: pytest.fail(str(out), pytrace=False))
    for words, folder in (([], "ulx3s"), (["--board", "pynq-z2"], "pynq-z2"),
                          (["--board", "pynq-z2", "--toolchain", "vivado"], "pynq-z2"),
                          (["--board", "pynq-z2", "--toolchain", "openxc7"], "pynq-z2-openxc7")):
        with pytest.raises(pytest.fail.Exception, match=f"^build/bitstream/{folder}$"):
            cli.main(["bitstream", *words])


def test_the_command_fails_where_the_clock_is_missed(stubs, capsys):
    stubs.save(mhz={"1": 70.0, "2": 75.0})
    code, out, messages = command(capsys, "--seeds", "2")
    assert code == 1 and "bitstream " not in out
    assert "75.00 MHz reached, 80.00 MHz asked (seeds 1, 2)" in messages and "--clock 75" in messages


@pytest.mark.parametrize(("words", "message"), [
    (["--board", "spartan"], "no board 'spartan'\n  hint: boards are ulx3s"),
    (["--toolchain", "diamond"], "cannot be built with 'diamond'"),
    (["--clock", "5"], "the PLL's clock would be 5 MHz, allowed is 10 to 400 MHz"),
    (["--clock", "500"], "hint: leave the clock out for the board's default, 80 MHz"),
    (["--clock", "25"], "the 3 Mbaud of its serial link cannot be made from a clock of 25 MHz to 2 % in 8 cycles"),
    (["--clock", "25"], "hint: write CLOCK=24 (--clock 24), or leave the clock out"),
    (["--board", "pynq-z2", "--clock", "900"], "TUL PYNQ-Z2: the clock is 900.0 MHz, allowed is 1 to 500; leave it"),
    (["--network", "missing.network"], "'missing.network' is neither a file nor a network of the zoo"),
    (["--network", "missing.network"], "hint: give a network (qblif fold, qblif train), where it can be one a bundle"),
    (["--network", "noise.network"], "noise.network is neither a bundle (qblif compile) nor a network file (qblif"),
])
def test_mistakes_are_one_message(stubs, tmp_path, capsys, words, message):
    (tmp_path / "noise.network").write_bytes(np.arange(200, dtype=np.uint8).tobytes())
    code, _, messages = command(capsys, *words)
    assert code == 2 and message in messages and stubs.calls == []


def test_a_network_too_large_for_the_board_is_refused_with_figures(stubs, tmp_path, capsys):
    network_file.save(planned.chain(channels=64, side=8), tmp_path / "large.network")
    code, _, messages = command(capsys, "--network", "large.network")
    assert code == 2 and "does not fit" in messages and stubs.calls == []


def test_of_a_planned_design_the_file_is_told_that_knows_how_its_network_lies_on_it(stubs, capsys):
    design_file.save(Path("design.json"), make_plan(NETWORK, design=SMALL), "ulx3s")
    code, out, _ = command(capsys, "--design", "design.json")
    assert code == 0 and "qblif compile NETWORK --design design.json -o" in out
    code, out, _ = command(capsys, "--design", "out/manifest.json")
    assert code == 0 and "out/manifest.json -o NETWORK.qblif" in out


def test_a_network_is_planned_for_a_bitstream_that_there_is(stubs, tmp_path, capsys):
    made = bitstream.make("ulx3s", tmp_path / "out")
    network_file.save(NETWORK, tmp_path / "own.network")
    assert cli.main(["compile", "own.network", "--design", str(made.folder / "manifest.json")]) == 0
    assert host.Bundle.load("own.qblif").build_hash == SMALL.build_hash
    assert cli.main(["plan", "own.network", "--design", str(tmp_path / "plan.json")]) == 2
    assert "neither a bundle nor the manifest.json" in capsys.readouterr().err
