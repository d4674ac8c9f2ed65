"""Between Yosys and nextpnr: only those carry outs are cut that nobody reads."""

import json

from qblif.hw.ecp5_netlist import free_carry_ends


def _cell(kind, **connections):
    return {"type": kind, "connections": {name: [bit] for name, bit in connections.items()}}


def test_only_carry_outs_that_lead_nowhere_are_cut(tmp_path):
    cells = {"chained": _cell("CCU2C", CIN="0", COUT=10, S0=20),
             "end": _cell("CCU2C", CIN=10, COUT=11, S0=21),
             "read": _cell("CCU2C", CIN="0", COUT=12, S0=22),
             "out": _cell("CCU2C", CIN="0", COUT=13, S0=23),
             "cut before": _cell("CCU2C", CIN="0", COUT="x", S0=24),
             "lut": _cell("LUT4", A=12, Z=30),
             "alone": _cell("LUT4", A=20, Z=31)}
    module = {"cells": cells, "ports": {"carry": {"direction": "output", "bits": [13]}}}
    path = tmp_path / "netlist.json"
    path.write_text(json.dumps({"modules": {"top": module, "LUT4": {"cells": {}, "ports": {}}}}))

    assert free_carry_ends(path, "top") == 1

    left = json.loads(path.read_text())["modules"]
    assert left["top"]["cells"].pop("end")["connections"] == {"CIN": [10], "COUT": ["x"], "S0": [21]}
    del cells["end"]
    assert left == {"top": module, "LUT4": {"cells": {}, "ports": {}}}
