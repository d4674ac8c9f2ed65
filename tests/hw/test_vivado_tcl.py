"""Vivado's scripts, without Vivado: linted, and run against a stand-in that knows cells, pins, settings and order.

Each kind of mistake is also seeded, to show that it would be found."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from qblif.hw.boards import BOARDS, xilinx
from qblif.hw.dma_top import DmaTop
from qblif.hw.params import CoreParams, DesignParams

from . import vivado
from .stand_in import StandIn

DESIGN = DesignParams((CoreParams(lanes=4, word_bits=32, neuron_lanes=1, weight_depth=4, source_depth=4,
                                  layer_depth=4, channel_depth=4, map_depth=16),))
FLOWS = [(name, toolchain) for name, board in BOARDS.items() for toolchain in board.toolchains
         if toolchain.startswith("vivado")]
GOLDEN = Path(__file__).with_name("golden")
SCRIPTS = sorted((Path(xilinx.__file__).parent / "vivado").glob("*.tcl"))

pytestmark = pytest.mark.tcl


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Return a function that gives a fresh copy of a flow's project folder."""
    made = {}

    def folder(board, toolchain, target):
        if (board, toolchain) not in made:
            base = tmp_path_factory.mktemp("projects") / f"{board}-{toolchain}"
            dma = DmaTop(DESIGN, xilinx.ADDRESS_BITS[BOARDS[board].family], core=StandIn)
            for name, text in xilinx.project(BOARDS[board], dma, toolchain, 100).items():
                (base / name).parent.mkdir(parents=True, exist_ok=True)
                (base / name).write_text(text)
            made[board, toolchain] = base
        return shutil.copytree(made[board, toolchain], target / "project")

    return folder


def dry_run(folder, tmp_path, **options):
    """Run a project's script against the stand-in; return exit status and what it printed."""
    vivado.install(tmp_path / "tool", "7z020clg400", "<EDKSYSTEM/>", **options)
    command = [str(tmp_path / "tool" / "bin" / "vivado"), *xilinx.TOOLCHAINS["vivado"].command[1:]]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert ran.stderr == ""
    return ran.returncode, ran.stdout


@pytest.mark.parametrize(("board", "toolchain"), FLOWS)
def test_a_project_runs_to_its_bitstream(written, tmp_path, board, toolchain):
    folder = written(board, toolchain, tmp_path)
    status, said = dry_run(folder, tmp_path)
    assert status == 0, said
    assert (folder / "result" / "qblif.bit").is_file()
    assert (folder / "result" / "vivado.hwh").is_file() == (toolchain == "vivado")
    assert (folder / "result" / "summary.txt").read_text() == (
        "tool Vivado 2024.1\nclock_mhz 100\nwns_ns 0.125\nwhs_ns 0.031\n")
    if toolchain == "vivado-ps7" or board in ("pynq-z2", "kv260"):
        # Change a golden file only after having looked at the difference: it is what Vivado will be told.
        golden = GOLDEN / f"{'zynq' if toolchain == 'vivado-ps7' else board}-{toolchain}.txt"
        assert (tmp_path / "tool" / "commands.txt").read_text() == golden.read_text()


def test_a_script_may_be_started_from_elsewhere(written, tmp_path):
    folder = written("pynq-z2", "vivado-ps7", tmp_path)
    vivado.install(tmp_path / "tool", "7z020clg400")
    ran = subprocess.run([tmp_path / "tool" / "bin" / "vivado", "-source", folder / "build.tcl"], cwd=tmp_path,
                         capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stdout
    assert (folder / "result" / "qblif.bit").is_file()


@pytest.mark.parametrize(("options", "says"), [
    ({"wns": "-0.001"}, "timing is not met at 100 MHz: setup slack -0.001 ns"),
    ({"whs": "-0.2"}, "hold slack -0.2 ns"),
    ({"progress": "42%"}, "synth_1 ended at 42% \\(stand-in\\); see .*/runme.log"),
    ({"hertz": "62500000"}, "Vivado counts on 62.5 MHz, 100 MHz is asked for"),
])
def test_a_bad_result_of_a_block_design_ends_without_a_bitstream(written, tmp_path, options, says):
    folder = written("pynq-z2", "vivado", tmp_path)
    status, said = dry_run(folder, tmp_path, **options)
    assert status == 1 and re.search(says, said), said
    assert not (folder / "result" / "qblif.bit").exists()


@pytest.mark.parametrize(("options", "says"), [
    ({"wns": "-0.001"}, "timing is not met"),
    ({"ps7": 0}, "the netlist has 0 processing systems, one is expected"),
    ({"ps7": 2}, "the netlist has 2 processing systems"),
])
def test_a_bad_result_without_ip_ends_without_a_bitstream(written, tmp_path, options, says):
    folder = written("pynq-z2", "vivado-ps7", tmp_path)
    status, said = dry_run(folder, tmp_path, **options)
    assert status == 1 and says in said
    assert not (folder / "result" / "qblif.bit").exists()


SEEDED = [
    # toolchain, file, what is there, what is put there instead, what the stand-in says
    ("vivado", "build.tcl", "validate_bd_design\n", "validate_design\n", 'invalid command name "validate_design"'),
    ("vivado", "build.tcl", "-to_step", "-tostep", "launch_runs: unknown switch -tostep"),
    ("vivado", "build.tcl", "control/S00_AXI", "control/S01_AXI", "cell 'control' has no 'S01_AXI'"),
    ("vivado", "build.tcl", "memory/M00_AXI ", "memory2/M00_AXI ", "no cell 'memory2'"),
    ("vivado", "build.tcl", "$instance/m_axi    memory/S00_AXI", "", "is not connected"),
    ("vivado", "build.tcl", "control/M00_AXI    $instance/s_axi", "control/M00_AXI    memory/S00_AXI",
     "'memory/S00_AXI' is connected already"),
    ("vivado", "build.tcl", "memory/aclk ", "", "pin 'memory/aclk' is not connected"),
    ("vivado", "build.tcl", "connect_bd_net [get_bd_pins ps/$reset]", "connect_bd_net [get_bd_pins ps/$control_clock]",
     "drives nothing"),
    ("vivado", "build.tcl", "memory/aresetn $instance/aresetn", "memory/aresetn", "pin 'qblif_0/aresetn' is not"),
    ("vivado", "build.tcl", "-reference qblif_block", "-reference qblif_top", "no module 'qblif_top' in the sources"),
    ("vivado", "build.tcl", "xilinx.com:ip:smartconnect", "xilinx.com:ip:smart_connect", "no IP 'smart_connect'"),
    ("vivado", "build.tcl", "CONFIG.NUM_MI 1", "CONFIG.NUM_M 1", "smartconnect has no setting 'CONFIG.NUM_M'"),
    ("vivado", "build.tcl", "set_property top qblif_system_wrapper", "set_property tops qblif_system_wrapper",
     "no property 'tops'"),
    ("vivado", "build.tcl", "$instance/s_axi/reg0", "$instance/s_axi/reg", "no segment 'qblif_0/s_axi/reg'"),
    ("vivado", "build.tcl", "assign_bd_address -force -target", "puts -nonewline {} ;# ", "reaches no memory"),
    ("vivado", "build.tcl", "save_bd_design\n", "", "get_files before save_bd_design"),
    ("vivado", "build.tcl", "  wait_on_run -timeout $timeout_minutes [get_runs $run]\n", "", "before waited"),
    ("vivado", "settings.tcl", "CONFIG.PCW_USE_S_AXI_HP0 {1}", "CONFIG.PCW_USE_S_AXI_HP0 {0}", "has no 'S_AXI_HP0'"),
    ("vivado", "settings.tcl", "PCW_FPGA0_PERIPHERAL_FREQMHZ", "PCW_FPGA0_FREQMHZ", "has no setting"),
    ("vivado", "settings.tcl", "src/qblif_block.v", "src/block.v", "no file 'src/block.v'"),
    ("vivado", "build.tcl", "apply_bd_automation -rule", "list -rule", "DDR is not external"),
    ("vivado-ps7", "qblif.xdc", "ps7/FCLKCLK", "ps/FCLKCLK", "no pin 'ps/FCLKCLK[0]'"),
    ("vivado-ps7", "qblif.xdc", "{ps7/FCLKCLK[0]}", "ps7/FCLKCLK[0]", 'invalid command name "0"'),
    ("vivado-ps7", "qblif.xdc", "create_clock", "#", "no timing path (setup): the clock is not constrained"),
    ("vivado-ps7", "build.tcl", "read_xdc", "#", "the clock is not constrained"),
    ("vivado-ps7", "build.tcl", "route_design\n", "", "report_timing_summary before route_design"),
    ("vivado-ps7", "build.tcl", "synth_design -top qblif_ps7", "synth_design -top ps7", "no module 'ps7'"),
    ("vivado-ps7", "build.tcl", "check_timing\n", "", "write_bitstream before get_timing_paths"),
    ("vivado-ps7", "common.tcl", "$here settings.tcl", "$here setting.tcl", "couldn't read file"),
]


@pytest.mark.parametrize(("toolchain", "file", "there", "instead", "says"), SEEDED)
def test_a_seeded_mistake_is_found(written, tmp_path, toolchain, file, there, instead, says):
    folder = written("pynq-z2", toolchain, tmp_path)
    text = (folder / file).read_text()
    assert there in text
    (folder / file).write_text(text.replace(there, instead))
    status, said = dry_run(folder, tmp_path)
    assert (status, says in said) == (1, True), said


def tclint(tmp_path, *files):
    spec = tmp_path / "vivado.json"
    spec.write_text(vivado.tclint_spec())
    ran = subprocess.run([shutil.which("tclint"), "--commands", spec, "--style-line-length", "100", *files],
                         cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    return ran.returncode, ran.stdout + ran.stderr


def test_the_scripts_are_clean(tmp_path):
    assert SCRIPTS
    assert tclint(tmp_path, *SCRIPTS) == (0, "")


@pytest.mark.parametrize(("there", "instead", "says"), [
    ("-to_step", "-tostep", "unrecognized argument for launch_runs: -tostep"),
    ("save_bd_design\n", "save_bd_design now\n", "too many arguments for save_bd_design"),
    ("}\nopen_run impl_1", "\nopen_run impl_1", "syntax error"),
    ("{$progress ne \"100%\"}", "$progress ne \"100%\"",
     "expected braced word"),
])
def test_the_linter_finds_a_seeded_mistake(tmp_path, there, instead, says):
    text = next(script for script in SCRIPTS if script.name == "block_design.tcl").read_text()
    assert there in text
    (tmp_path / "seeded.tcl").write_text(text.replace(there, instead))
    status, said = tclint(tmp_path, tmp_path / "seeded.tcl")
    assert status and says in said, said


def test_every_setting_is_on_the_list_of_known_names():
    for board in BOARDS.values():
        if "vivado" in board.toolchains:
            ip = {"zynq": "processing_system7", "zynqmp": "zynq_ultra_ps_e"}[board.family]
            assert set(xilinx.ps_config(board, 100)) <= set(vivado.CONFIG_NAMES[ip])
