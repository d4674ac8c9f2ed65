"""The ECP5's lane adders compute what the RTL says, for every input: proven, not sampled."""

import itertools
import os
import subprocess

import pytest

from qblif.hw import ecp5_adders, emit
from qblif.hw.accumulate import LaneAdders, adders_name
from qblif.hw.ecp5_adders import _table
from qblif.hw.params import CoreParams
from qblif.hw.tools import YOSYS


def ccu2c_half(a, b, c, d, carry):
    """Return (sum, carry out) of half a CCU2C with the adders' table, as Lattice's model has it."""
    propagate = _table() >> (a | b << 1 | c << 2 | d << 3) & 1
    generate = (_table() & 0xF) >> (a | b << 1) & 1
    return propagate ^ carry, carry if propagate else generate


def test_half_a_cell_adds_the_weight_s_bit_to_the_bit_or_its_lower_neighbour():
    for w, double, bit, below, carry in itertools.product((0, 1), repeat=5):
        total = w + (below if double else bit) + carry
        assert ccu2c_half(w, double, bit, below, carry) == (total & 1, total >> 1)


@pytest.mark.parametrize("bits, weight_bits", [(12, 2), (13, 8)])
def test_the_mapped_adders_equal_the_rtl(bits, weight_bits, tmp_path):
    params = CoreParams(lanes=4, word_bits=32, neuron_lanes=2, acc_bits=bits, weight_bits=weight_bits)
    name = f"top.{adders_name(params)}"
    text = emit.emit(LaneAdders(params), name)
    assert ecp5_adders.shapes(text) == [(2, bits, weight_bits)]
    (tmp_path / "rtl.sv").write_text(text)
    (tmp_path / ecp5_adders.FILE).write_text(ecp5_adders.map_file(text))
    mapped = ecp5_adders._name(2, bits, weight_bits)
    (tmp_path / "run.ys").write_text(f"""
        read_verilog -D NO_INCLUDES -icells +/ecp5/cells_sim.v
        read_verilog {ecp5_adders.FILE}
        hierarchy -top {mapped}
        proc
        flatten -wb
        opt_clean
        design -stash gate
        read_verilog -sv rtl.sv
        rename \\{name} gold
        proc
        design -copy-from gate -as gate {mapped}
        miter -equiv -make_assert -flatten gold gate miter
        sat -verify -prove-asserts miter
    """)
    run = subprocess.run([*YOSYS.command(), "-q", "run.ys"], cwd=tmp_path, capture_output=True, text=True, check=False,
                         env=os.environ | {"PYTHONWARNINGS": "ignore"})
    assert run.returncode == 0, run.stdout + run.stderr


def test_a_design_without_adders_is_left_alone():
    assert ecp5_adders.commands("module top (clk);\nendmodule\n") == ""
