"""Emitted SystemVerilog, kept in the cache under the hash of everything that it was made from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from qblif import hw
from qblif.host import abi
from qblif.hw import emit
from qblif.hw.params import DesignParams

from . import cache
from .console import Waiting


def emitted(kind: str, design: DesignParams, make: Callable[[], str]) -> str:
    """Return the text that `make` emits, from the cache where design, sources and tools have not changed.

    kind: what else the text depends on: the top and its parameters. Raises CacheError, and what `make` raises."""
    sources = [path for folder in (Path(hw.__file__).parent, Path(abi.__file__).parent)
               for path in sorted(folder.glob("*.py"))]
    name = cache.key(kind, json.dumps(design.to_dict()), emit.tool_versions(),
                     *(part for path in sources for part in (path.name, path.read_bytes())))

    def fill(where: Path) -> None:
        with Waiting("hardware", "emitting SystemVerilog, once for this design"):
            text = make()
        with cache.explained(cache.folder()):
            (where / "top.sv").write_text(text)

    return (cache.entry("emit", name, fill) / "top.sv").read_text()
