"""What the tests know of Vivado, which is not here: commands, settings of its IP, and a stand-in for the program."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from pathlib import Path

from qblif.host.bitfile import Bitfile

HERE = Path(__file__).parent

# Ref: AMD UG835, Vivado Design Suite Tcl Command Reference. Switches that end in "=" take a value; then the fewest and
# the most other arguments.
COMMANDS = {
    "add_files": ("-norecurse -fileset=", 1, 1),
    "apply_bd_automation": ("-rule= -config=", 1, 1),
    "assign_bd_address": ("-force -offset= -range= -target_address_space=", 0, 1),
    "connect_bd_intf_net": ("", 2, 2),
    "connect_bd_net": ("", 2, 2),
    "create_bd_cell": ("-type= -vlnv= -reference=", 1, 1),
    "create_bd_design": ("", 1, 1),
    "create_clock": ("-name= -period=", 1, 1),
    "create_project": ("-force -in_memory -part=", 0, 2),
    "current_fileset": ("", 0, 0),
    "current_project": ("", 0, 0),
    "generate_target": ("", 2, 2),
    "get_bd_addr_segs": ("-quiet", 1, 1),
    "get_bd_addr_spaces": ("", 1, 1),
    "get_bd_intf_pins": ("", 1, 1),
    "get_bd_pins": ("", 1, 1),
    "get_cells": ("-hierarchical -filter=", 0, 1),
    "get_files": ("", 1, 1),
    "get_pins": ("", 1, 1),
    "get_property": ("", 2, 2),
    "get_runs": ("", 1, 1),
    "get_timing_paths": ("-max_paths= -nworst= -setup -hold", 0, 0),
    "launch_runs": ("-jobs= -to_step=", 1, 1),
    "make_wrapper": ("-files= -top", 0, 0),
    "open_run": ("", 1, 1),
    "opt_design": ("", 0, 0),
    "phys_opt_design": ("", 0, 0),
    "place_design": ("", 0, 0),
    "read_verilog": ("", 1, 1),
    "read_xdc": ("", 1, 1),
    "report_timing_summary": ("-file=", 0, 0),
    "report_utilization": ("-hierarchical -file=", 0, 0),
    "route_design": ("", 0, 0),
    "save_bd_design": ("", 0, 0),
    "set_property": ("-dict=", 1, 3),
    "synth_design": ("-top= -part=", 0, 0),
    "update_compile_order": ("-fileset=", 0, 0),
    "validate_bd_design": ("", 0, 0),
    "version": ("-short", 0, 0),
    "wait_on_run": ("-timeout=", 1, 1),
    "write_bitstream": ("-force", 1, 1),
}

# Names only. Each was looked up in public block-design scripts, such as PYNQ's (boards/Pynq-Z2, boards/ZCU104/base) and
# those of Xilinx/kria-base-hardware; Vivado itself was not asked.
CONFIG_NAMES = {
    "processing_system7": [
        "CONFIG.PCW_CRYSTAL_PERIPHERAL_FREQMHZ", "CONFIG.PCW_APU_PERIPHERAL_FREQMHZ", "CONFIG.PCW_UIPARAM_DDR_FREQ_MHZ",
        "CONFIG.PCW_FCLK0_PERIPHERAL_CLKSRC", "CONFIG.PCW_FPGA0_PERIPHERAL_FREQMHZ", "CONFIG.PCW_EN_CLK0_PORT",
        "CONFIG.PCW_EN_RST0_PORT", "CONFIG.PCW_USE_M_AXI_GP0", "CONFIG.PCW_USE_S_AXI_HP0",
        "CONFIG.PCW_S_AXI_HP0_DATA_WIDTH"],
    "zynq_ultra_ps_e": [
        "CONFIG.PSU__PSS_REF_CLK__FREQMHZ", "CONFIG.PSU__DDR_HIGH_ADDRESS_GUI_ENABLE", "CONFIG.PSU__FPGA_PL0_ENABLE",
        "CONFIG.PSU__CRL_APB__PL0_REF_CTRL__SRCSEL", "CONFIG.PSU__CRL_APB__PL0_REF_CTRL__FREQMHZ",
        "CONFIG.PSU__USE__M_AXI_GP0", "CONFIG.PSU__MAXIGP0__DATA_WIDTH", "CONFIG.PSU__USE__M_AXI_GP1",
        "CONFIG.PSU__USE__M_AXI_GP2", "CONFIG.PSU__USE__S_AXI_GP2", "CONFIG.PSU__SAXIGP2__DATA_WIDTH"],
    "smartconnect": ["CONFIG.NUM_SI", "CONFIG.NUM_MI"],
    "proc_sys_reset": [],
}


def tclint_spec() -> str:
    """Return the commands as tclint's command specification."""
    def positionals(fewest, most):
        listed = [{"name": f"argument{index}", "required": index < fewest, "value": {"type": "any"}}
                  for index in range(most)]
        return listed

    def switch(name):
        value = {"type": "any"} if name.endswith("=") else None
        return name.rstrip("="), {"required": False, "repeated": False, "value": value}

    return json.dumps({"name": "vivado", "commands": {
        name: {"positionals": positionals(fewest, most), "switches": dict(map(switch, switches.split()))}
        for name, (switches, fewest, most) in COMMANDS.items()}})


def tcl_spec() -> str:
    """Return commands and settings as the stand-in reads them."""
    commands = "\n".join(f"  {name} {{ {{{switches}}} {fewest} {most} }}"
                         for name, (switches, fewest, most) in COMMANDS.items())
    names = "\n".join(f"  {ip} {{{' '.join(listed)}}}" for ip, listed in CONFIG_NAMES.items())
    return f"set ::commands {{\n{commands}\n}}\nset ::config_names {{\n{names}\n}}\n"


def install(folder: Path, part: str, hwh: str = "", **options) -> Path:
    """Make `folder`/bin with a program `vivado` that is the stand-in; return that folder, for the PATH.

    part: in the header of the bitstream that it leaves; hwh: text of the .hwh that it leaves; options: as the stand-in
    takes them; `log` is always `folder`/commands.txt."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "spec.tcl").write_text(tcl_spec())
    (folder / "made.bit").write_bytes(
        Bitfile("stand-in;UserID=0XFFFFFFFF", part, "2026/01/01", "00:00:00", bytes(64)).to_bytes())
    (folder / "made.hwh").write_text(hwh)
    options = {"log": folder / "commands.txt", "bit": folder / "made.bit", "hwh": folder / "made.hwh"} | options
    words = [shutil.which("tclsh"), HERE / "vivado_stub.tcl", folder / "spec.tcl",
             *(f"{name}={value}" for name, value in options.items()), "--"]
    program = folder / "bin" / "vivado"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f"#!/bin/sh\nexec {shlex.join(map(str, words))} \"$@\"\n")
    program.chmod(0o755)
    return program.parent


def python_program(folder: Path, name: str, text: str) -> Path:
    """Make a program `name` of Python text in `folder`/bin; return that folder."""
    program = folder / "bin" / name
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(f"#!{sys.executable}\n{text}")
    program.chmod(0o755)
    return program.parent
