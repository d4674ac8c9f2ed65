"""Stages of work that are done once: each is kept under the hash of everything that it was made from.

A stage's key is made of its parameters, of the keys of the stages before it, and of the text of the modules that it
runs, with all of ours that those import. So a change of a source file does again what depends on it, and nothing else,
and nobody has to remember what that is.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import importlib.util
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from . import cache
from .stopwatch import Stopwatch

PACKAGE = "qblif"

Result = TypeVar("Result")


@dataclasses.dataclass(frozen=True)
class Done:
    """A finished stage.

    seconds: wall time now; cached: it was done before; folder: its files; key: its hash; processor: processor time of
    all threads and tools, seconds, where it was timed alone"""

    name: str
    seconds: float
    cached: bool = False
    folder: Path = Path()
    key: str = ""
    processor: float | None = None


def stage(name: str, modules: tuple[str, ...], parameters: dict, make: Callable[[Path], None],
          after: tuple[Done, ...] = ()) -> Done:
    """Return a stage, made by `make(folder)` where it is not in the cache.

    modules: names of the modules that do the work; parameters: JSON-able; after: stages that it reads.
    Raises CacheError, and whatever `make` raises; an unfinished stage leaves nothing behind."""
    started = time.monotonic()
    key = cache.key(name, json.dumps(parameters, sort_keys=True), *(done.key for done in after),
                    *(text for module in modules for text in closure(module).values()))
    made = []

    def make_once(folder: Path) -> None:
        made.append(folder)
        with cache.explained(cache.folder()):
            make(folder)

    folder = cache.entry(name, key, make_once)
    return Done(name, time.monotonic() - started, not made, folder, key)


def timed(name: str, work: Callable[[], Result]) -> tuple[Result, Done]:
    """Return what `work()` returns and how long it took: a stage that is done every time."""
    watch = Stopwatch()
    result = work()
    lap = watch.lap(name)
    return result, Done(name, lap.seconds, processor=lap.processor)


@functools.cache
def closure(module: str) -> dict[str, str]:
    """Return name -> source text of a module of ours and of all modules of ours that it imports, in order."""
    found: dict[str, str] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        spec = None if name in found else _spec(name)
        if spec is not None:
            found[name] = Path(spec.origin).read_text(encoding="utf-8")
            waiting += _imports(name, bool(spec.submodule_search_locations), found[name])
    return dict(sorted(found.items()))


def _spec(name: str):
    """Return the spec of a module of ours; None for anything else, for instance a class in a module."""
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError:
        return None
    return spec if spec is not None and spec.origin else None


def _imports(name: str, is_package: bool, text: str) -> list[str]:
    """Return the names, inside our package, that a module's text imports; some may be no modules."""
    names = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = name.split(".")
                parts = parts[:len(parts) - node.level + is_package]
                base = ".".join([*parts, base] if base else parts)
            names += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return [found for found in names if found.split(".")[0] == PACKAGE]
