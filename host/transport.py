"""How the host reaches an accelerator: the protocol of a transport, and finding one by the target's name.

A target is ``name`` or ``name:details``; everything after the name is the transport's business. Transports are entry
points of the group ``qblif.transports``: name -> ``factory(bundle, target, timeout, **options) -> Transport``.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
import re
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from .bundle import Bundle
from .errors import ToolMissing, UnknownTarget, install

GROUP = "qblif.transports"

TARGETS = "sim, board, pynq, pynq://HOST[:PORT], serial:PATH[?baud=N]"
"""The targets of this package, as they are written."""

OWN = {"sim": ("qblif.sim.transport", "open_transport", install("sim")),
       "board": ("qblif.sim.board.bus", "open_transport", install("sim")),
       "pynq": ("qblif.host.pynq", "open_transport", "PYNQ_REMOTE=1 pip install pynq"),
       "serial": ("qblif.host.serial", "open_transport", "serial ports need a POSIX system: Linux or macOS")}
"""Transports of this package: name -> (module, factory, what installs it). Found without the package's metadata."""

_IN_TARGET = {"baud": "the bit rate is part of the target: serial:/dev/ttyUSB0?baud=115200"}
"""What people give as an option -> where it belongs."""


class Transport(Protocol):
    """One accelerator. Used by one thread at a time.

    What it knows beyond the protocol it may offer as attributes, which may be missing: `clock` (stats.Clock, or None),
    `jobs` (stats.JobStats), `about` (what to tell a person, by key) and `memory_test()` (of memory that it shares with
    the host; returns the bytes tested).

    When `program` or `infer` raises, whatever the reason, KeyboardInterrupt included, the transport stops and
    forgets the frames under way, so that CONTROL's reset and another `program` make the accelerator usable again.
    """

    def read(self, offset: int) -> int:
        """Return the 32-bit register at a byte offset."""

    def write(self, offset: int, value: int) -> None:
        """Write a 32-bit register."""

    def program(self, image: np.ndarray, timeout: float) -> None:
        """Send one program frame, uint32 (beats,), and return once it was taken.

        Raises Timeout after `timeout` seconds."""

    def infer(self, frames: np.ndarray, classes: int, timeout: float,
              progress: Callable[[int], None] | None = None) -> tuple[np.ndarray, np.ndarray | None]:
        """Send input frames, uint32 (B, beats), and return (logits, cycles).

        logits: int32 or int64 (B, classes). cycles: int64 (B,), clock cycles from an image's first beat in to its
        last logit out, or None where nobody counts them. progress: called now and then with the number of images
        finished. Raises Timeout when no image was finished for `timeout` seconds, and may raise it at once when
        STATUS shows an error."""

    def close(self) -> None:
        """Let go of the accelerator; called once."""


def open_transport(bundle: Bundle, target: str, timeout: float, **options: Any) -> Transport:
    """Return the transport that `target` names, opened for `bundle`.

    Raises UnknownTarget, listing what exists, also for options that the transport does not have, and ToolMissing,
    saying what to install."""
    name = re.split(r"[:/]", target, maxsplit=1)[0] if isinstance(target, str) else target
    factory = _factory(name)
    signature = inspect.signature(factory)
    try:
        signature.bind(bundle, target, timeout, **options)
    except TypeError as error:
        known = [key for key, given in signature.parameters.items() if given.kind is given.KEYWORD_ONLY]
        raise UnknownTarget(f"the target {name!r} does not take these options: {error}",
                            hint=f"its options: {', '.join(known) or 'none'}"
                            + "".join(f"; {_IN_TARGET[key]}" for key in options if key in _IN_TARGET)) from error
    return factory(bundle, target, timeout, **options)


def _factory(name: str) -> Callable[..., Transport]:
    found = {point.name: point for point in importlib.metadata.entry_points(group=GROUP)}
    if name not in found and name not in OWN:
        others = ", ".join(["", *sorted(found.keys() - OWN.keys())])
        raise UnknownTarget(f"there is no target {name!r}; there are: {TARGETS}{others}",
                            hint="on a PYNQ board itself: pynq; a ULX3S: serial:PATH; without a board: sim or board")
    what = OWN[name][2] if name in OWN else f"install what {found[name].value} needs"
    try:
        if name in found:
            return found[name].load()
        module, factory, _ = OWN[name]
        return getattr(importlib.import_module(module), factory)
    except ImportError as error:
        raise ToolMissing(f"the target {name!r} is not installed: {error}", hint=what) from error
