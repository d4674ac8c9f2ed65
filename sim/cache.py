"""A folder of things that are made once: every entry is named by the hash of all it was made from."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from qblif.host.errors import CacheError

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


def folder() -> Path:
    """Return the cache folder: $QBLIF_CACHE, else ~/.cache/qblif (below $XDG_CACHE_HOME where that is set)."""
    chosen = os.environ.get("QBLIF_CACHE")
    if chosen:
        return Path(chosen).expanduser().absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "qblif"


def key(*parts: str | bytes) -> str:
    """Return the name of an entry made from `parts`: a hash in which their order and boundaries count."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()[:32]


@contextlib.contextmanager
def explained(where: Path):
    """Turn file errors into a CacheError that says what to do about the cache folder `where`."""
    try:
        yield
    except OSError as error:
        if error.errno in NO_SPACE:
            raise CacheError(f"the disk under the cache folder {where} is full. Free some space, delete the folder "
                             f"(all of it can be made again), or set QBLIF_CACHE to a folder elsewhere.") from error
        raise CacheError(f"the cache folder {where} cannot be written ({error.strerror or error}). Make it "
                         f"writable, or set QBLIF_CACHE to a folder that is.") from error


_redone: set[tuple[str, str]] | None = None
"""While starting over: the entries that have been made again."""


@contextlib.contextmanager
def starting_over(wanted: bool = True):
    """Make every entry again that is asked for in here, once; the old one stays until the new one is complete."""
    global _redone
    before, _redone = _redone, set() if wanted else _redone
    try:
        yield
    finally:
        _redone = before


def entry(kind: str, name: str, make: Callable[[Path], None]) -> Path:
    """Return the folder of entry `name` of a `kind` ("emit", "verilator" ...), made by `make` where it is missing.

    make(folder) fills an empty folder; what it leaves when it fails or is killed is never taken for an entry. Of
    several processes that want the same entry one makes it and the others wait. Raises CacheError."""
    base = folder() / kind
    done = base / name

    def found() -> bool:
        return done.is_dir() and (_redone is None or (kind, name) in _redone)

    if found():
        return done
    with explained(folder()):
        base.mkdir(parents=True, exist_ok=True)
        lock = (base / f"{name}.lock").open("w")
    with lock:
        with explained(folder()):
            fcntl.flock(lock, fcntl.LOCK_EX)  # ends with the process, however that ends
        if found():
            return done
        with explained(folder()):
            for left in base.glob(f"{name}.part*"):  # by someone who was killed: we hold the lock
                shutil.rmtree(left, ignore_errors=True)
            part = Path(tempfile.mkdtemp(prefix=f"{name}.part", dir=base))
        try:
            make(part)
            with explained(folder()):
                part.chmod(0o755)
                if done.is_dir():
                    done.rename(base / f"{name}.part.old")  # swept away with what killed processes leave behind
                part.rename(done)
                shutil.rmtree(base / f"{name}.part.old", ignore_errors=True)
            if _redone is not None:
                _redone.add((kind, name))
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return done
