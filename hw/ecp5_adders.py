"""Lane adders on the ECP5's carry chains: doubling and adding in one LUT4 per bit.

A half of a CCU2C has a LUT4 in front of its carry chain. Yosys' own mapping of an adder leaves two of the four inputs
empty and puts the choice between a sum and its double into a LUT of its own, twice the area. Here the LUT4 takes both::

    propagate = w ^ (double ? a[i-1] : a[i])        with A = w, B = double, C = a[i], D = a[i-1]

Where nothing propagates, both addends are equal and the carry is w, which is what a LUT2 of A and B gives that has the
LUT4's lower quarter (C = D = 0) for a table, as the device demands.
"""

from __future__ import annotations

import re

ADDERS = re.compile(r"^module \\?(\S+?\.adders_(\d+)x(\d+)x(\d+)) ?\(", re.M)
"""An instance of accumulate.LaneAdders in emitted text: its module, lanes, bits of a sum and of a weight."""

FILE = "adders.v"
"""What `map_file` gives goes into this file, beside the script."""


def _table() -> int:
    """Return the LUT4's table: bit A + 2B + 4C + 8D."""
    return sum((a ^ (d if b else c)) << (a | b << 1 | c << 2 | d << 3)
               for a in (0, 1) for b in (0, 1) for c in (0, 1) for d in (0, 1))


def shapes(verilog: str) -> list[tuple[int, int, int]]:
    """Return (lanes, bits of a sum, bits of a weight) of all adders in emitted SystemVerilog, each once."""
    return sorted({tuple(map(int, found)) for _, *found in ADDERS.findall(verilog)})


def map_file(verilog: str) -> str:
    """Return Verilog for Yosys' techmap: a module for each shape of adders in `verilog`."""
    return "\n".join(_module(*shape) for shape in shapes(verilog)) + "\n"


def commands(verilog: str) -> str:
    """Return script lines that replace the adders of a design, with its hierarchy, by carry chains; FILE holds them."""
    found = shapes(verilog)
    if not found:
        return ""
    changes = [f"chtype -set {_name(*shape)} t:*.adders_{'x'.join(map(str, shape))}" for shape in found]
    return "\n".join(["proc", *changes, f"techmap -map {FILE}", ""])


def _name(lanes: int, bits: int, weight_bits: int) -> str:
    return f"qblif_ecp5_adders_{lanes}x{bits}x{weight_bits}"


def _module(lanes: int, bits: int, weight_bits: int) -> str:
    if bits < weight_bits:
        raise ValueError(f"sums of {bits} bits cannot take weights of {weight_bits} bits")
    pairs, table = -(-bits // 2), f"16'h{_table():04x}"
    return f"""\
module {_name(lanes, bits, weight_bits)} (
  input [{lanes * bits - 1}:0] acc, input double, input [{lanes * weight_bits - 1}:0] weight,
  output [{lanes * bits - 1}:0] total);
  genvar lane, pair;
  generate for (lane = 0; lane < {lanes}; lane = lane + 1) begin
    wire [{2 * pairs - 1}:0] a = {{{{2{{acc[lane * {bits} + {bits - 1}]}}}}, acc[lane * {bits} +: {bits}]}};
    wire [{2 * pairs - 1}:0] w = {{{{{bits}{{weight[lane * {weight_bits} + {weight_bits - 1}]}}}},
                                  weight[lane * {weight_bits} +: {weight_bits}]}};
    wire [{2 * pairs - 1}:0] before = {{a, 1'b0}};
    wire [{2 * pairs - 1}:0] sum;
    wire [{pairs}:0] carry;
    assign carry[0] = 1'b0;
    assign total[lane * {bits} +: {bits}] = sum[{bits - 1}:0];
    for (pair = 0; pair < {pairs}; pair = pair + 1)
      CCU2C #(.INIT0({table}), .INIT1({table}), .INJECT1_0("NO"), .INJECT1_1("NO")) bits (
        .CIN(carry[pair]), .COUT(carry[pair + 1]),
        .A0(w[2 * pair]), .B0(double), .C0(a[2 * pair]), .D0(before[2 * pair]), .S0(sum[2 * pair]),
        .A1(w[2 * pair + 1]), .B1(double), .C1(a[2 * pair + 1]), .D1(before[2 * pair + 1]), .S1(sum[2 * pair + 1]));
  end endgenerate
endmodule
"""
