"""benchmarks/area.py: every instance of a design has its part, and the sums of parts are those of the cells."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest

from qblif.hw import emit
from qblif.hw.ecp5_report import luts
from qblif.hw.params import CoreParams, DesignParams

PATH = Path(__file__).parents[2] / "benchmarks" / "area.py"


@pytest.fixture(scope="module")
def area():
    spec = importlib.util.spec_from_file_location("qblif_benchmark_area", PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_the_shapes_are_cores_and_have_the_lanes_of_their_names(area):
    for name, params in area.SHAPES.items():
        core = CoreParams(**area.COMMON | params)
        assert name == f"{core.clusters}x{core.lanes}" and (core.weight_bits, core.acc_bits) == (8, 24)


def test_modules_of_a_core_are_told_apart(area):
    text = emit.emit_top(DesignParams((CoreParams(lanes=4, word_bits=32, neuron_lanes=2, clusters=2),)))
    found = {}
    for path in re.findall(r"^module \\?qblif_top\.(\S+?) ?\(", text, re.M):
        found.setdefault(area.part_of(path), set()).add(path.rpartition("cluster_")[2].partition(".")[2])
    assert found["lanes"] >= {"accumulators.group_0", "accumulators.group_1.adders_2x24x8"}
    assert found["joining of sums"] == {"accumulators"} and found["layer tables"] == {"layers"}
    assert {"words", "words.fifo", "words.entries"} <= found["word readers"]
    assert set(found) >= {"neuron units", "sequencers", "run generators", "bit scanners", "write-backs", "loader",
                          "registers", "clusters, rest", "core, rest"}


def test_luts_count_carry_and_memory():
    assert luts({"LUT4": 5, "CCU2C": 3, "TRELLIS_DPR16X4": 2, "TRELLIS_FF": 99, "DP16KD": 9}) == 5 + 6 + 8


def test_the_table_says_luts_by_part_and_lane_and_what_was_routed(area):
    step = {"delay": 5.8, "kind": "clk-to-q", "source": "a", "target": "b", "net": ""}
    routed = {"reached_mhz": 91.5, "asked_mhz": 90.0, "luts_per_lane": 101.0, "used": {"TRELLIS_COMB": [25856, 83640]},
              "path": [step, step | {"delay": 0.05, "target": "chain"}]}
    figures = area.Figures("4x64", 256, {}, {"lanes": 8192, "rest": 512}, {"TRELLIS_FF": 3, "DP16KD": 2}, routed)
    text = area.table(figures)
    assert "256 lanes, 8,704 LUT4, 34.0 a lane (synthesised)" in text and "lanes                8,192    32.0" in text
    assert "routed: 91.5 MHz (90.0 asked), 25,856 LUT4, 101.0 a lane" in text
    assert "5.80 ns clk-to-q  b" in text and "chain" not in text
