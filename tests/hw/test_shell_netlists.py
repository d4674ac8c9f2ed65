"""The shells as Yosys sees them: all is connected, and they synthesise for the boards' families without multipliers."""

from __future__ import annotations

import json
import re
import subprocess

import pytest

from qblif.hw.axi3 import Axi3
from qblif.hw.boards.block import wrapper
from qblif.hw.boards.zynq7 import Zynq7
from qblif.hw.dma_top import DmaTop
from qblif.hw.emit import emit
from qblif.hw.params import CoreParams, DesignParams
from qblif.hw.tools import YOSYS

from .stand_in import StandIn

SMALL = DesignParams((CoreParams(lanes=4, word_bits=32, neuron_lanes=1, weight_depth=4, source_depth=4,
                                 layer_depth=4, channel_depth=4, map_depth=16),))
REAL = DesignParams((CoreParams(lanes=16, word_bits=64, neuron_lanes=4, weight_depth=2048, map_depth=1024),))
DROPPED = 8
"""Bits of the accelerator that AXI3 has no place for, all 0: four of each burst's length."""

# Bits of the processing system's ports that nothing reads, and those that are constants, by name without the prefix.
UNREAD = {"MAXIGP0": {f"{channel}{name}" for channel in ("AR", "AW") for name in ("LOCK", "CACHE", "QOS", "PROT")}
          | {"WID", "WLAST"}, "SAXIHP0": {"BID", "RID"}}
CONSTANT = {"MAXIGP0": {"RRESP", "BRESP"}, "SAXIHP0": {"WID", "RREADY", "RDISSUECAP1EN", "WRISSUECAP1EN"} | {
    f"{channel}{name}" for channel in ("AR", "AW") for name in ("ID", "LOCK", "CACHE", "QOS", "PROT", "SIZE", "BURST")}}
DMA = r"qblif_ps7\.accelerator\.dma"


def yosys(folder, script):
    """Run a script of Yosys in `folder`; return what it printed."""
    # The packaged Yosys has a /tmp of its own; names relative to the working directory reach ours.
    (folder / "run.ys").write_text(script)
    ran = subprocess.run([*YOSYS.command(), "run.ys"], cwd=folder, capture_output=True, text=True, timeout=1800,
                         check=False)
    assert ran.returncode == 0, (ran.stdout + ran.stderr)[-3000:]
    return ran.stdout


def ps7_sources(folder, design=SMALL, core=StandIn):
    """Write the shell without IP; return its top."""
    (folder / "top.v").write_text(emit(Zynq7(DmaTop(design, core=core) if core else DmaTop(design)), "qblif_ps7", ""))
    return "qblif_ps7"


def block_sources(folder, design=SMALL, core=StandIn, address_bits=40):
    """Write the module of a block design; return its top."""
    dma = DmaTop(design, address_bits, core=core) if core else DmaTop(design, address_bits)
    text = wrapper(dma)
    (folder / "top.v").write_text(emit(dma, "qblif_dma", "") + text)
    return "qblif_block"


def netlist(folder, top):
    """Return the top's ports and cells, flat but for the accelerator, as Yosys' JSON has them."""
    yosys(folder, f"read_verilog -lib +/xilinx/cells_sim.v +/xilinx/cells_xtra.v; read_verilog top.v; "
                  f"hierarchy -check -top {top}; setattr -mod -set keep_hierarchy 1 *.dma qblif_dma; proc; flatten; "
                  f"opt_clean; check -assert; select {top}; write_json -selected flat.json")
    return json.loads((folder / "flat.json").read_text())["modules"][top]


def unconnected(module, cell):
    """Return (port, bit) of a cell whose inputs nothing drives or whose outputs nothing reads."""
    driven, read = set(), set()
    for port in module["ports"].values():
        (driven if port["direction"] == "input" else read).update(port["bits"])
    for other in module["cells"].values():
        for port, bits in other["connections"].items():
            (driven if other["port_directions"][port] == "output" else read).update(bits)
    found = []
    for port, bits in cell["connections"].items():
        inward = cell["port_directions"][port] == "input"
        for index, bit in enumerate(bits):
            if bit not in (driven | {"0", "1"} if inward else read):
                found.append((port, index))
    return found


def of_type(module, pattern):
    """Return the cells whose type matches a pattern."""
    return [cell for cell in module["cells"].values() if re.fullmatch(pattern, cell["type"])]


@pytest.fixture(scope="module")
def ps7(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ps7")
    return netlist(folder, ps7_sources(folder))


@pytest.fixture(scope="module")
def block(tmp_path_factory):
    folder = tmp_path_factory.mktemp("block")
    return netlist(folder, block_sources(folder))


def ignored(port, bit):
    """Return whether nothing need read this bit of the processing system."""
    prefix, name = port[:7], port[7:]
    return name in UNREAD[prefix] or prefix == "MAXIGP0" and name in ("ARADDR", "AWADDR") and bit >= 12


def loose(module):
    """Return what is not connected at the accelerator and at the processing system's two ports: (cell, port, bit)."""
    (dma,), (system,) = of_type(module, DMA), of_type(module, "PS7")
    used = system | {"connections": {port: bits for port, bits in system["connections"].items()
                                     if port.startswith(("MAXIGP0", "SAXIHP0"))}}
    found = [("ps7", *place) for place in unconnected(module, used) if not ignored(*place)]
    for port, bits in used["connections"].items():
        # The three low bits of an address of 8 bytes are 0; so is the length's top where bursts are short.
        constant = [bit for bit, net in enumerate(bits) if net in ("0", "1")
                    and not (port.endswith("ADDR") and bit < 3)]
        if constant and port[7:] not in CONSTANT[port[:7]]:
            found += [("ps7", port, bit) for bit in constant]
    return found + [("dma", *place) for place in unconnected(module, dma)]


def test_accelerator_and_processing_system_are_wired_to_each_other(ps7):
    found = loose(ps7)
    assert len(found) <= DROPPED and {cell for cell, _, _ in found} <= {"dma"}, found


@pytest.mark.parametrize(("port", "bit", "instead"), [
    ("SAXIHP0WDATA", 7, "0"), ("SAXIHP0RDATA", 63, 999_999), ("SAXIHP0AWADDR", 31, "0"), ("SAXIHP0RLAST", 0, 999_999),
    ("SAXIHP0WLAST", 0, "1"), ("SAXIHP0BVALID", 0, 999_999), ("MAXIGP0RID", 11, 999_999), ("MAXIGP0AWID", 0, 999_999),
    ("MAXIGP0ARLEN", 3, 999_999), ("MAXIGP0RVALID", 0, "0"), ("MAXIGP0WSTRB", 2, 999_999), ("SAXIHP0ARLEN", 0, "0"),
])
def test_a_wire_that_is_forgotten_would_be_found(ps7, port, bit, instead):
    broken = json.loads(json.dumps(ps7))
    (system,) = of_type(broken, "PS7")
    system["connections"][port][bit] = instead
    assert ("ps7", port, bit) in loose(broken)


def test_there_is_one_processing_system_one_clock_and_no_other_port(ps7):
    assert ps7["ports"] == {}
    (system,), (buffer,) = of_type(ps7, "PS7"), of_type(ps7, "BUFG")
    assert system["attributes"]["DONT_TOUCH"] == "true"
    wired = {port: bits for port, bits in system["connections"].items() if bits}
    (clock,) = buffer["connections"]["O"]
    clocks = [port for port in wired if re.fullmatch(r"[MS]AXI(GP|HP|ACP)\d?ACLK", port)]
    assert len(clocks) == 9 and all(wired[port] == [clock] for port in clocks)
    assert buffer["connections"]["I"] == wired["FCLKCLK"][:1]
    members = [f"{prefix}{name.upper()}" for prefix, port in (("MAXIGP0", Axi3(12, 32)), ("SAXIHP0", Axi3(6, 64)))
               for name in port.members]
    assert set(members) <= set(wired)


def test_every_port_of_the_accelerator_is_a_port_of_the_block(block):
    (dma,) = of_type(block, "qblif_dma")
    assert unconnected(block, dma) == []
    for name, bits in dma["connections"].items():
        if name not in ("clk", "rst"):
            assert block["ports"][name]["bits"] == bits
    assert dma["connections"]["clk"] == block["ports"]["aclk"]["bits"]
    assert len(block["ports"]["m_axi_araddr"]["bits"]) == 40


LUTS = [f"LUT{inputs}" for inputs in range(1, 7)]


@pytest.mark.long
@pytest.mark.parametrize(("family", "sources", "design", "core"), [
    ("xc7", ps7_sources, REAL, None), ("xc7", block_sources, REAL, None), ("xcup", block_sources, REAL, None),
    ("xc7", block_sources, SMALL, StandIn), ("xcup", block_sources, SMALL, StandIn),
], ids=["xc7-ps7-16-lanes", "xc7-block-16-lanes", "xcup-block-16-lanes", "xc7-block-stand-in", "xcup-block-stand-in"])
def test_a_shell_synthesises_for_its_family_without_a_multiplier(tmp_path, capsys, family, sources, design, core):
    top = sources(tmp_path, design, core)
    direct = "-noiopad -noclkbuf" if top == "qblif_block" else "-noiopad"
    yosys(tmp_path, f"read_verilog top.v; synth_xilinx -family {family} -flatten {direct} -top {top}; check -assert; "
                    f"tee -q -o stat.json stat -json")
    cells = json.loads((tmp_path / "stat.json").read_text())["design"]["num_cells_by_type"]
    assert not [cell for cell in cells if "DSP" in cell or "MULT" in cell]
    assert (cells.get("PS7", 0), cells.get("BUFG", 0)) == ((1, 1) if top == "qblif_ps7" else (0, 0))
    figures = {"LUT": sum(cells.get(name, 0) for name in (*LUTS, "INV")),
               "FF": sum(cells.get(name, 0) for name in ("FDRE", "FDSE", "FDPE", "FDCE")),
               "block RAM (18 Kbit)": sum(weight * count for name, weight in (("RAMB18", 1), ("RAMB36", 2))
                                          for cell, count in cells.items() if cell.startswith(name))}
    assert figures["LUT"] and figures["FF"] and (core or figures["block RAM (18 Kbit)"])
    with capsys.disabled():
        print(f"\n{top} for {family}, {'a stand-in for the core' if core else '16 lanes'}: {figures}")
