"""Initial contents of memories as files beside the SystemVerilog, which Yosys reads in seconds instead of minutes."""

from __future__ import annotations

import re

_BLOCK = re.compile(r"^  initial begin\n((?:    (?:\\\S+ |\w+)\[\d+\] = \d+'(?:h[0-9a-f]+|d\d+);\n)+)  end\n", re.M)
_ROW = re.compile(r"    (\\\S+ |\w+)\[(\d+)\] = \d+'(?:h([0-9a-f]+)|d(\d+));\n")


def split(verilog: str) -> tuple[str, dict[str, str]]:
    """Return emitted text that reads its memories by $readmemh, and file name -> contents of what it reads.

    Blocks that fill one memory from row 0 on are moved; the text means what it meant before. Numbers of 32 bits are
    decimal in emitted text."""
    files: dict[str, str] = {}

    def move(match: re.Match) -> str:
        rows = _ROW.findall(match[1])
        if len({name for name, *_ in rows}) != 1 or [int(index) for _, index, *_ in rows] != list(range(len(rows))):
            return match[0]
        file = f"memory_{len(files)}.hex"
        files[file] = "".join(f"{value or format(int(decimal), 'x')}\n" for _, _, value, decimal in rows)
        return f'  initial $readmemh("{file}", {rows[0][0]});\n'

    return _BLOCK.sub(move, verilog), files
