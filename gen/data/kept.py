"""What takes long to read is kept as plain arrays in the cache folder, and mapped from there the next time."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

_temporary: list[tempfile.TemporaryDirectory] = []
"""Stand-ins for the cache, where it cannot be written; gone when the process ends."""


def kept(name: str, modules: Iterable[str], parameters: dict, make: Callable[[Path], None]) -> Path:
    """Return a folder that make(folder) has filled, now or before.

    modules: of this package, those that make the result: a change of their text makes it again; parameters: JSON-able,
    everything else that it depends on, files included (`files.fingerprint`). Where the cache folder ($QBLIF_CACHE, else
    ~/.cache/qblif) cannot be written, the result lasts as long as the process. What is left by a `make` that fails
    or is killed is never taken for a result."""
    text = "".join(Path(__file__).with_name(f"{module}.py").read_text(encoding="utf-8") for module in modules)
    key = hashlib.sha256(f"{text}{json.dumps(parameters, sort_keys=True)}".encode()).hexdigest()[:32]
    chosen = os.environ.get("QBLIF_CACHE")
    base = Path(chosen).expanduser() if chosen else \
        Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "qblif"
    done = base / "data" / f"{name}-{key}"
    if done.is_dir():
        return done
    try:
        done.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f"{name}.part", dir=done.parent))
    except OSError:
        _temporary.append(tempfile.TemporaryDirectory(prefix="qblif-data"))
        make(Path(_temporary[-1].name))
        return Path(_temporary[-1].name)
    try:
        make(part)
        part.chmod(0o755)
        try:
            part.rename(done)
        except OSError:  # another process was faster; both have made the same
            if not done.is_dir():
                raise
        return done
    finally:
        shutil.rmtree(part, ignore_errors=True)
