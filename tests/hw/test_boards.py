"""Boards: what a bitstream counts as made from."""

import ast
import importlib
from pathlib import Path

from qblif import hw
from qblif.hw import boards


def imported_from_host(path):
    """Return the modules of qblif.host that a file imports, absolutely, as hardware does."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "qblif.host":
            found |= {f"qblif.host.{name.name}" for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
        elif isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
    return {name for name in found if name.startswith("qblif.host.")}


def test_a_bitstream_is_stale_when_anything_that_the_hardware_imports_has_changed():
    files = sorted(Path(hw.__file__).parent.rglob("*.py"))
    names = set().union(*map(imported_from_host, files))
    assert {"qblif.host.abi", "qblif.host.program", "qblif.host.framing", "qblif.host.hwh"} <= names
    sources = boards.sources()
    for path in [*files, *(Path(importlib.import_module(name).__file__) for name in names)]:
        assert path.read_bytes() in sources, path
