"""Between Yosys and nextpnr: what a netlist's cells are made to do, and nothing else changes."""

import copy
import json

import pytest

from qblif.hw.ecp5_netlist import finish

PLAIN = {"CLKMUX": "CLK", "CEMUX": "1 ", "LSRMUX": "LSR", "SRMODE": "LSR_OVER_CE", "REGSET": "RESET"}
OUTPUTS = {"DOA0", "DOA1", "DOB0", "DOB1", "S0", "COUT", "Q", "Z"}


def cell(kind, parameters=(), **connections):
    return {"type": kind, "parameters": dict(parameters),
            "connections": {pin: [bit] for pin, bit in connections.items()},
            "port_directions": {pin: "output" if pin in OUTPUTS else "input" for pin in connections}}


def finished(tmp_path, cells, ports=()):
    """Return the flip-flops that are gone, and the cells that are left."""
    module = {"cells": copy.deepcopy(cells),
              "ports": {name: {"direction": "output", "bits": [bit]} for name, bit in ports}}
    path = tmp_path / "netlist.json"
    path.write_text(json.dumps({"modules": {"top": module, "LUT4": {"cells": {}, "ports": {}}}}))
    gone = finish(path, "top")
    left = json.loads(path.read_text())["modules"]
    assert left["LUT4"] == {"cells": {}, "ports": {}} and left["top"]["ports"] == module["ports"]
    return gone, left["top"]["cells"]


def test_only_carry_outs_that_lead_nowhere_are_cut(tmp_path):
    cells = {"chained": cell("CCU2C", CIN="0", COUT=10, S0=20),
             "end": cell("CCU2C", CIN=10, COUT=11, S0=21),
             "read": cell("CCU2C", CIN="0", COUT=12, S0=22),
             "out": cell("CCU2C", CIN="0", COUT=13, S0=23),
             "cut before": cell("CCU2C", CIN="0", COUT="x", S0=24),
             "lut": cell("LUT4", A=12, Z=30)}
    gone, left = finished(tmp_path, cells, [("carry", 13)])
    cells["end"]["connections"]["COUT"] = ["x"]
    assert gone == [] and left == cells


def block_ram(width=18, enable="1", **more):
    """Return a block RAM whose port A, of two data pins in use, is behind flip-flops, and its reader."""
    width = f"{width:032b}"
    return {
        "ram": cell("DP16KD", {name: value for port in "AB" for name, value in (
                        (f"DATA_WIDTH_{port}", width), (f"REGMODE_{port}", "NOREG"))},
                    CLKA=1, CLKB=1, CEA=enable, CEB="1", OCEA="0", OCEB="0", DOA0=10, DOA1=11, DOB0=12, DOB1=13),
        "a0": cell("TRELLIS_FF", PLAIN, CLK=1, DI=10, LSR="0", Q=20),
        "a1": cell("TRELLIS_FF", PLAIN, CLK=1, DI=11, LSR="0", Q=21),
        "reader": cell("LUT4", A=20, B=21, C=13, Z=30), **more}


def test_flip_flops_behind_a_port_go_into_the_block_ram(tmp_path):
    gone, left = finished(tmp_path, block_ram())
    assert gone == ["a0", "a1"] and sorted(left) == ["ram", "reader"]
    assert left["reader"] == block_ram()["reader"]
    ram = left["ram"]
    assert ram["parameters"]["REGMODE_A"] == "OUTREG" and ram["parameters"]["REGMODE_B"] == "NOREG"
    pins = {pin: bits[0] for pin, bits in ram["connections"].items()}
    assert (pins["DOA0"], pins["DOA1"], pins["OCEA"]) == (20, 21, "1")
    assert (pins["DOB0"], pins["DOB1"], pins["OCEB"]) == (12, 13, "0")


def test_a_data_pin_that_nobody_reads_does_not_matter(tmp_path):
    cells = block_ram()
    del cells["a1"]
    gone, left = finished(tmp_path, cells)
    assert gone == ["a0"] and left["ram"]["connections"]["DOA1"] == [11]


@pytest.mark.parametrize("why, change", [
    ("another reader", lambda cells: cells.update(other=cell("LUT4", A=11, Z=31))),
    ("another clock", lambda cells: cells["a1"]["connections"].update(CLK=[2])),
    ("the other edge", lambda cells: cells["a1"]["parameters"].update(CLKMUX="INV")),
    ("an enable", lambda cells: cells["a1"]["parameters"].update(CEMUX="CE")),
    ("a reset", lambda cells: cells["a1"]["connections"].update(LSR=[3])),
    ("a reset that is on", lambda cells: cells["a1"]["parameters"].update(LSRMUX="INV")),
    ("a set", lambda cells: cells["a1"]["parameters"].update(REGSET="SET")),
    ("no flip-flop", lambda cells: cells.update(a1=cell("LUT4", A=11, Z=21))),
    ("a pin that is not the data", lambda cells: cells.update(a1=cell("TRELLIS_FF", PLAIN, CLK=1, DI=9, CE=11, Q=21))),
    ("an enable of the port", lambda cells: cells["ram"]["connections"].update(CEA=[4])),
    ("36 bits", lambda cells: cells["ram"]["parameters"].update(DATA_WIDTH_A=f"{36:032b}"))])
def test_a_port_stays_as_it_is_where_that_would_change_something(tmp_path, why, change):
    cells = block_ram()
    change(cells)
    assert finished(tmp_path, cells) == ([], cells), why


def test_a_port_that_is_read_from_outside_stays_as_it_is(tmp_path):
    assert finished(tmp_path, block_ram(), [("out", 11)]) == ([], block_ram())
