"""Bitstreams of PYNQ boards: the project folder, the tool's run, and what is accepted as its result.

The tools are stand-ins: programs on the PATH that leave the files that the real ones would."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import subprocess
import sys

import pytest

from qblif.cli import main
from qblif.host import bitfile, hwh, overlays
from qblif.host.errors import OverlayError, QblifError
from qblif.hw.accumulate import LaneGroup
from qblif.hw.boards import BOARDS, Options, find, xilinx, zcu104
from qblif.hw.dma_top import DmaTop
from qblif.hw.emit import emit
from qblif.hw.flow import BuildError, quiet
from qblif.hw.params import CoreParams, DesignParams

from . import vivado
from .stand_in import StandIn

DESIGN = DesignParams((CoreParams(lanes=4, word_bits=32, neuron_lanes=1, weight_depth=4, source_depth=4,
                                  layer_depth=4, channel_depth=4, map_depth=16),))
PYNQ = [name for name, board in BOARDS.items() if board.family in xilinx.ADDRESS_BITS]
NEXTPNR = """\
Info: Max frequency for clock 'clk': 80.00 MHz (FAIL at 100.00 MHz)
Info: Max frequency for clock 'clk': 123.45 MHz (PASS at 100.00 MHz)
"""
RECORD = """\
import pathlib, shutil, sys
a = sys.argv
with open({calls!r}, "a") as file:
    file.write(" ".join([pathlib.Path(a[0]).name, *a[1:]]) + "\\n")
"""


_emitted = {}


def emit_once(component, name, dialect):
    """Emit, or give what was emitted before: all tests of a name and a width build the same design."""
    key = name, getattr(component, "address_bits", 32), dialect
    if key not in _emitted:
        _emitted[key] = emit(component, name, dialect)
    # Amaranth warns of components that are never elaborated.
    for unused in (component, getattr(component, "_dma", component)):
        unused._MustUse__silence = True
    return _emitted[key]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """A design that is emitted quickly, and a PATH without any tool."""
    monkeypatch.setattr(xilinx, "DmaTop", lambda design, bits, baked=None: DmaTop(design, bits, core=StandIn))
    monkeypatch.setattr(xilinx, "emit", emit_once)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")


def options(clock_hz=100_000_000, **more):
    return Options(clock_hz, keep=None, progress=quiet, **more)


def build(folder, board="pynq-z2", toolchain=None, design=DESIGN, **more):
    chosen, toolchain = find(board, toolchain)
    folder.mkdir(exist_ok=True)
    return xilinx.build(chosen, design, folder, toolchain, options(**more))


def with_vivado(monkeypatch, tmp_path, part="7z020clg400", text=None, **said):
    """Put the stand-in for Vivado on the PATH."""
    text = text or hwh.hwh("zynq", 100, 0)
    monkeypatch.setenv("PATH", f"{vivado.install(tmp_path / 'tool', part, text, **said)}:/usr/bin:/bin")


def with_openxc7(monkeypatch, tmp_path, log=NEXTPNR, part="xc7z020clg400-1", nextpnr="nextpnr-himbaechel"):
    """Put stand-ins for openXC7's programs on the PATH; each writes down its arguments."""
    bit = tmp_path / "made.bit"
    bit.write_bytes(bitfile.Bitfile("f;Generator=xc7frames2bit", part, "2026/01/01", "00:00:00", bytes(64)).to_bytes())
    record = RECORD.format(calls=str(tmp_path / "calls.txt"))

    def program(name, text):
        return vivado.python_program(tmp_path / "tool", name, record + text)

    program("yosys", "pathlib.Path('result/qblif.json').write_text('{}')\n")
    program(nextpnr, f"pathlib.Path(a[a.index('--log') + 1]).write_text({log!r})\n"
                     "pathlib.Path('result/qblif.fasm').write_text('')\n")
    program("fasm2frames", "print('frames')\n")
    path = program("xc7frames2bit", f"shutil.copyfile({str(bit)!r}, a[a.index('--output_file') + 1])\n")
    database = tmp_path / "db" / "zynq7" / "xc7z020clg400-1"
    database.mkdir(parents=True)
    (database / "part.yaml").write_text("")
    monkeypatch.setenv("PATH", f"{path}:/usr/bin:/bin")
    monkeypatch.setenv("PRJXRAY_DB_DIR", str(tmp_path / "db"))
    monkeypatch.delenv("CHIPDB", raising=False)


# Without a tool ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("board", PYNQ)
def test_without_its_tool_the_project_is_complete_and_says_what_to_run(tmp_path, board):
    built = build(tmp_path / "out", board)
    assert built.bit is None and built.front_end == "dma" and built.clock_hz == 100_000_000
    assert "no bitstream was made: vivado is not on the PATH; the project is complete" in built.text
    assert "vivado -mode batch -notrace -nojournal -nolog -source build.tcl" in built.text
    assert f"{sys.executable} -m qblif.hw.boards.xilinx ." in built.text
    readme = (tmp_path / "out" / "README.txt").read_text()
    assert "-source build.tcl" in readme and "python -m qblif.hw.boards.xilinx ." in readme
    listed = json.loads((tmp_path / "out" / xilinx.PROJECT).read_text())["files"]
    there = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert set(listed) == there - {xilinx.PROJECT} >= {"build.tcl", "settings.tcl", "qblif.hwh", "src/qblif_block.v"}
    assert all(hashlib.sha256((tmp_path / "out" / name).read_bytes()).hexdigest() == digest
               for name, digest in listed.items())


def test_boards_agree_with_what_the_host_knows_of_them():
    assert {name: BOARDS[name].part for name in PYNQ} == {name: board.part for name, board in overlays.BOARDS.items()}


@pytest.mark.parametrize("toolchain", ["vivado", "vivado-ps7", "openxc7"])
def test_sources_are_plain_verilog_with_the_tops_that_are_named(tmp_path, toolchain):
    build(tmp_path / "out", toolchain=toolchain)
    sources = "\n".join(path.read_text() for path in (tmp_path / "out" / "src").iterdir())
    assert ("module qblif_dma" in sources and "module qblif_block" in sources) == (toolchain == "vivado")
    assert ("module qblif_ps7" in sources) == (toolchain != "vivado")
    assert "always_comb" not in sources and "always_ff" not in sources and "logic" not in sources


def test_the_project_is_the_same_every_time(tmp_path):
    build(tmp_path / "one", toolchain="vivado-ps7")
    _emitted.clear()
    build(tmp_path / "two", toolchain="vivado-ps7")
    assert (tmp_path / "one" / xilinx.PROJECT).read_text() == (tmp_path / "two" / xilinx.PROJECT).read_text()


def test_the_clock_is_what_the_board_can_make(tmp_path):
    built = build(tmp_path / "out", toolchain="vivado-ps7", clock_hz=130_000_000)
    assert built.clock_hz == 125_000_000 and "the fastest that its PLL gives up to 130 MHz" in built.text
    assert "-period 8.000 [get_pins {ps7/FCLKCLK[0]}]" in (tmp_path / "out" / "qblif.xdc").read_text()
    assert "set clock_mhz {125}" in (tmp_path / "out" / "settings.tcl").read_text()


def test_bad_parameters_are_refused(tmp_path):
    with pytest.raises(QblifError, match="cannot be built with 'openxc7'"):
        build(tmp_path / "out", "kv260", "openxc7")
    with pytest.raises(ValueError, match="the clock is 600.0 MHz, allowed is 1 to 500"):
        build(tmp_path / "out", clock_hz=600_000_000)
    traced = DesignParams((CoreParams(trace=True),))
    with pytest.raises(ValueError, match="trace ports"):
        build(tmp_path / "out", design=traced)


# With a tool ------------------------------------------------------------------------------------------------


@pytest.mark.tcl
@pytest.mark.parametrize("toolchain", ["vivado", "vivado-ps7"])
def test_vivado_is_run_and_its_result_becomes_an_overlay(monkeypatch, tmp_path, toolchain):
    with_vivado(monkeypatch, tmp_path)
    built = build(tmp_path / "out", toolchain=toolchain)
    assert built.bit == "overlay/qblif.bit" and "wns_ns 0.125" in built.text
    overlay = overlays.Overlay.load(tmp_path / "out" / "overlay")
    overlay.verify("pynq-z2")
    assert (overlay.board, overlay.clock_mhz, overlay.build_hash) == ("pynq-z2", 100, DESIGN.build_hash)
    # Vivado's .hwh had a build hash of 0: the patched one tells this design's.
    assert f"0x{DESIGN.build_hash:016X}" in overlay.hwh.read_text()
    assert "qblif: done" in (tmp_path / "out" / f"{toolchain}.log").read_text()


@pytest.mark.parametrize("nextpnr", ["nextpnr-himbaechel", "nextpnr-xilinx"])
def test_openxc7_is_run_and_its_result_becomes_an_overlay(monkeypatch, tmp_path, nextpnr):
    with_openxc7(monkeypatch, tmp_path, nextpnr=nextpnr)
    if nextpnr == "nextpnr-xilinx":
        (tmp_path / "xc7z020clg400.bin").write_text("")
        monkeypatch.setenv("CHIPDB", str(tmp_path))
    built = build(tmp_path / "out", "pynq-z1", "openxc7")
    assert built.facts["timing"]["reached_mhz"] == 123.45
    overlays.Overlay.load(tmp_path / "out" / "overlay").verify("pynq-z1")
    yosys, placed, frames, bits = (tmp_path / "calls.txt").read_text().splitlines()
    assert "read_verilog src/qblif_ps7.v; synth_xilinx -flatten -abc9 -arch xc7 -top qblif_ps7" in yosys
    assert placed.startswith(nextpnr) and "--freq 100 " in placed
    assert ("-o fasm=result/qblif.fasm" in placed) == (nextpnr == "nextpnr-himbaechel")
    database = tmp_path / "db" / "zynq7"
    assert frames == f"fasm2frames --part xc7z020clg400-1 --db-root {database} result/qblif.fasm"
    assert f"--part_file {database}/xc7z020clg400-1/part.yaml --part_name xc7z020clg400-1" in bits


def test_openxc7_says_what_is_missing_of_its_database(monkeypatch, tmp_path):
    with_openxc7(monkeypatch, tmp_path, nextpnr="nextpnr-xilinx")
    with pytest.raises(BuildError, match="CHIPDB is not set; nextpnr-xilinx needs its xc7z020clg400.bin"):
        build(tmp_path / "out", toolchain="openxc7")
    monkeypatch.setenv("PRJXRAY_DB_DIR", str(tmp_path))
    with pytest.raises(BuildError, match="which has no zynq7/xc7z020clg400-1/part.yaml"):
        build(tmp_path / "again", toolchain="openxc7")


@pytest.mark.parametrize(("log", "says"), [
    (NEXTPNR.replace("123.45", "99.99"), "the clock reaches 99.99 MHz, 100 was asked for"),
    ("Info: nothing of interest\n", "nextpnr.log says nothing of a clock"),
])
def test_a_missed_clock_of_openxc7_is_an_error(monkeypatch, tmp_path, log, says):
    with_openxc7(monkeypatch, tmp_path, log=log)
    with pytest.raises(BuildError, match=says):
        build(tmp_path / "out", toolchain="openxc7")
    assert not (tmp_path / "out" / "overlay").exists()


@pytest.mark.tcl
@pytest.mark.parametrize(("said", "says"), [
    (dict(wns="-0.5"), "timing is not met at 100 MHz: setup slack -0.5 ns"),
    (dict(progress="13%"), "synth_1 ended at 13%"),
    (dict(part="7z010clg400"), "for the part '7z010clg400', TUL PYNQ-Z2 has a xc7z020clg400-1"),
    (dict(bit=__file__), "this is no .bit file: it begins with 22 22 22"),
    (dict(text="<html/>"), "XML of another kind"),
])
def test_a_bad_result_of_vivado_is_an_error_with_all_that_vivado_said(monkeypatch, tmp_path, said, says):
    with_vivado(monkeypatch, tmp_path, **said)
    with pytest.raises(BuildError, match=says) as caught:
        build(tmp_path / "out")
    assert "qblif: project for pynq-z2" in caught.value.log
    assert not (tmp_path / "out" / "overlay").exists()


def test_a_tool_that_does_not_end_is_ended(monkeypatch, tmp_path):
    path = vivado.python_program(tmp_path / "tool", "vivado", "import time\ntime.sleep(60)\n")
    monkeypatch.setenv("PATH", f"{path}:/usr/bin:/bin")
    with pytest.raises(BuildError, match="vivado took longer than the 1 s it may take"):
        build(tmp_path / "out", timeout=1.0)


# Results brought back from another machine ------------------------------------------------------------------


@pytest.fixture
def brought(monkeypatch, tmp_path):
    """A project folder with a result that was made elsewhere."""
    folder = tmp_path / "out"
    build(folder, toolchain="vivado-ps7")
    (folder / "result").mkdir()
    (folder / "result" / "qblif.bit").write_bytes(
        bitfile.Bitfile("qblif_ps7", "7z020clg400", "2026/01/01", "00:00:00", bytes(64)).to_bytes())
    (folder / "result" / "summary.txt").write_text("tool Vivado 2024.1\nclock_mhz 100\nwns_ns 0.2\nwhs_ns 0.1\n")
    return folder


def test_a_result_brought_back_becomes_an_overlay(brought, capsys):
    assert xilinx.main([str(brought)]) == 0
    assert "wns_ns 0.2" in capsys.readouterr().out
    overlay = overlays.Overlay.load(brought / "overlay")
    overlay.verify("pynq-z2")
    assert overlay.hwh.read_text() == (brought / "qblif.hwh").read_text()


@pytest.mark.parametrize(("file", "change", "says"), [
    ("result/summary.txt", lambda text: text.replace("0.2", "-0.2"), "not met: setup slack -0.2 ns"),
    ("result/summary.txt", lambda text: text.replace("0.1", "nan"), "hold slack nan ns"),
    ("result/summary.txt", lambda text: text.replace("100", "50"), "built for 50 MHz, the project is for 100"),
    ("result/summary.txt", lambda text: "", "does not tell clock_mhz, wns_ns and whs_ns"),
    ("src/qblif_ps7.v", lambda text: text + "\n", "src/qblif_ps7.v in .* changed since the project was written"),
    ("settings.tcl", None, "settings.tcl in .* changed"),
    ("result/qblif.bit", None, "has no result/qblif.bit: the tool has not run"),
    ("project.json", None, "is no project folder: project.json: FileNotFoundError"),
    ("project.json", lambda text: text.replace("pynq-z2", "pynq-z9"), "is no project folder: project.json: KeyError"),
    ("project.json", lambda text: "[]", "is no project folder: project.json: TypeError"),
])
def test_a_result_that_is_not_this_projects_is_refused(brought, capsys, file, change, says):
    if change is None:
        (brought / file).unlink()
    else:
        (brought / file).write_text(change((brought / file).read_text()))
    with pytest.raises(OverlayError, match=says):
        xilinx.finish(brought)
    assert xilinx.main([str(brought)]) == 1
    assert "qblif: " in capsys.readouterr().err
    assert not (brought / "overlay").exists()


def test_the_program_that_finishes_says_how_it_is_used(capsys):
    assert xilinx.main([]) == 2
    assert "usage: python -m qblif.hw.boards.xilinx FOLDER" in capsys.readouterr().err


@pytest.mark.parametrize(("lanes", "rows"), [(64, 8192), (16, 32_768)])
def test_the_zcu104_has_twice_the_weight_memory_and_room_for_it(lanes, rows):
    design = zcu104.default_design(lanes)
    others = xilinx.default_design(lanes)
    assert sum(core.weight_depth for core in design.cores) == rows
    assert [dataclasses.replace(core, weight_depth=other.weight_depth)
            for core, other in zip(design.cores, others.cores, strict=True)] == list(others.cores)
    bits = sum(core.weight_depth * core.lanes * core.weight_bits for core in design.cores)
    assert bits / 36_864 < 312 / 2
    assert find("zcu104")[0].implementation() is zcu104


def test_the_cifar10_network_of_the_zoo_fits_the_zcu104():
    pytest.importorskip("torch", reason="plans a network")
    from qblif.gen import zoo
    from qblif.gen.training import sanity

    assert sanity.fitting(zoo.load("cifar10-classic"), "zcu104") == (True, "fits the AMD ZCU104")


# Lanes on DSP blocks ----------------------------------------------------------------------------------------


@pytest.fixture
def with_lanes(monkeypatch):
    """The stand-in core has no lanes: beside it a lane group, as a real one is emitted."""
    group = emit(LaneGroup(CoreParams(lanes=4, word_bits=32, neuron_lanes=2), 4), "group_0", dialect="")
    monkeypatch.setattr(xilinx, "emit", lambda *what, **how: emit_once(*what, **how) + group)


@pytest.mark.parametrize("toolchain", BOARDS["pynq-z2"].toolchains)
def test_the_lanes_become_dsp_blocks_where_that_is_asked_for(tmp_path, with_lanes, toolchain):
    plain, changed = (build(tmp_path / name, toolchain=toolchain, dsp_adders=wanted)
                      for name, wanted in (("plain", False), ("changed", True)))
    source = "src/qblif_dma.v" if toolchain == "vivado" else "src/qblif_ps7.v"
    before, after = ((tmp_path / name / source).read_text() for name in ("plain", "changed"))
    assert "DSP48E1" not in before and "adders_2x24x8" in before and "adders_2x24x8" not in after
    assert after.count("DSP48E1 #(") == 1 and '.USE_MULT("NONE")' in after and "always_ff" not in after
    assert before.partition("module group_0")[0] == after.partition("module group_0")[0]
    assert (plain.facts["dsp_adders"], changed.facts["dsp_adders"]) == (False, True)
    assert "lanes on DSP48E1" in changed.text and "DSP" not in plain.text
    same = [{name: value for name, value in json.loads((tmp_path / folder / xilinx.PROJECT).read_text()).items()
             if name != "files"} for folder in ("plain", "changed")]
    assert same[0] == same[1]


# The command line -------------------------------------------------------------------------------------------


@pytest.fixture
def command(monkeypatch, tmp_path):
    """Run `qblif bitstream` for a small design."""
    for module in (xilinx, zcu104):
        monkeypatch.setattr(module, "default_design", lambda lanes=4: DESIGN)
    monkeypatch.setenv("QBLIF_CACHE", str(tmp_path / "cache"))

    def run(*arguments):
        return main(["bitstream", "--out", str(tmp_path / "out"), *arguments])

    return run


def test_the_command_ends_with_3_where_the_tool_is_missing(command, capsys, tmp_path):
    pytest.importorskip("torch", reason="the command plans networks")
    assert command("--board", "zcu104") == 3
    said = capsys.readouterr().out
    assert "no bitstream was made: vivado is not on the PATH" in said and f"{tmp_path / 'out'}" in said
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert (manifest["board"], manifest["part"], manifest["bit"]) == ("zcu104", "xczu7ev-ffvc1156-2-e", None)
    assert "src/qblif_dma.v" in manifest["files"]


@pytest.mark.parametrize("board", ["zcu104", "kv260", "ulx3s"])
def test_lanes_on_dsp_blocks_are_refused_where_there_is_no_dsp48e1(command, capsys, tmp_path, board):
    pytest.importorskip("torch", reason="the command plans networks")
    assert command("--board", board, "--dsp-adders") == 2
    said = capsys.readouterr().err
    assert f"need the DSP48E1 of Xilinx 7-series; {BOARDS[board].title} has an {BOARDS[board].part}" in said
    assert "leave --dsp-adders out" in said and "pynq-z2" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.tcl
def test_the_command_builds_once_and_says_where_the_overlay_is(monkeypatch, command, capsys, tmp_path):
    pytest.importorskip("torch", reason="the command plans networks")
    with_vivado(monkeypatch, tmp_path)
    assert command("--board", "pynq-z2") == 0
    said = capsys.readouterr().out
    assert str(tmp_path / "out" / "overlay" / "qblif.bit") in said and "--target pynq --option overlay=" in said
    overlays.Overlay.load(tmp_path / "out" / "overlay").verify("pynq-z2")
    (tmp_path / "tool" / "commands.txt").unlink()
    assert command("--board", "pynq-z2") == 0
    assert "up to date" in capsys.readouterr().out
    assert not (tmp_path / "tool" / "commands.txt").exists()


def test_the_folder_is_named_where_the_tool_has_not_run(tmp_path, monkeypatch, capsys):
    build(tmp_path / "out")
    monkeypatch.chdir(tmp_path / "out")
    assert xilinx.main(["."]) == 1
    assert f"hint: run in {tmp_path / 'out'}: vivado" in capsys.readouterr().err


def test_the_module_can_be_run_as_a_program(tmp_path):
    ran = subprocess.run([sys.executable, "-m", "qblif.hw.boards.xilinx", tmp_path], capture_output=True, text=True,
                         timeout=60, check=False)
    assert ran.returncode == 1 and "is no project folder" in ran.stderr
