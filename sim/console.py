"""What long commands print: progress that moves on a terminal, single lines in a log, and plain tables."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Sequence

WIDTH = 28
"""Characters of a progress bar."""

PAUSE = 0.1
"""Seconds between two redraws on a terminal."""


class Progress:
    """A progress bar: a context manager that is called with (steps done, steps in all, text at the end).

    On a terminal one line is redrawn; elsewhere a line is printed at every quarter, so that logs stay short.
    """

    def __init__(self, title: str, stream=None, unit: str = ""):
        self._title = title
        self._unit = f" {unit}" if unit else ""
        self._stream = stream or sys.stderr
        self._terminal = self._stream.isatty()
        self._started = time.monotonic()
        self._drawn = 0.0
        self._quarter = 0
        self._width = 0

    def __call__(self, done: int, total: int, text: str = "") -> None:
        """Show that `done` of `total` steps are done."""
        now = time.monotonic()
        if self._terminal and (done >= total or now - self._drawn > PAUSE):
            filled = WIDTH * done // max(total, 1)
            bar = "#" * filled + "." * (WIDTH - filled)
            line = f"{self._title:<12} [{bar}] {done}/{total}{self._unit} {text}".rstrip()
            self._stream.write("\r" + line.ljust(self._width))
            self._stream.flush()
            self._drawn, self._width = now, len(line)
        elif not self._terminal and 4 * done // max(total, 1) > self._quarter:
            self._quarter = 4 * done // total
            print(f"{self._title:<12} {done}/{total}{self._unit} after {now - self._started:.0f} s {text}".rstrip(),
                  file=self._stream, flush=True)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_) -> None:
        """Leave the line: what is printed next starts on a line of its own."""
        if self._terminal and self._width:
            self._stream.write("\r" + " " * self._width + "\r")
            self._stream.flush()


class Waiting:
    """Around a step that cannot say how far it is: its name, what to expect, and on a terminal the seconds so far."""

    def __init__(self, title: str, text: str, stream=None):
        self._line = f"{title:<12} {text}"
        self._stream = stream or sys.stderr
        self._done = threading.Event()
        self._ticker = threading.Thread(target=self._tick, daemon=True) if self._stream.isatty() else None

    def __enter__(self) -> Waiting:
        self._stream.write(self._line if self._ticker else self._line + "\n")
        self._stream.flush()
        if self._ticker:
            self._ticker.start()
        return self

    def __exit__(self, *_) -> None:
        self._done.set()
        if self._ticker:
            self._ticker.join()
            self._stream.write("\n")
            self._stream.flush()

    def _tick(self) -> None:
        started = time.monotonic()
        while not self._done.wait(1):
            self._stream.write(f"\r{self._line} ({time.monotonic() - started:.0f} s)")
            self._stream.flush()


class Stages:
    """The stages of a long build: called with (stage, seconds so far, what it is doing), as hw.flow.Progress.

    On a terminal one line is redrawn; elsewhere a line is printed when a stage begins, and every `EVERY` seconds. What
    is told at 0 seconds gets a line of its own."""

    EVERY = 30.0

    def __init__(self, stream=None):
        self._stream = stream or sys.stderr
        self._terminal = self._stream.isatty()
        self._shown = ("", 0.0, 0.0)
        self._width = 0

    def __call__(self, stage: str, seconds: float, text: str) -> None:
        """Show what a stage is doing."""
        before, when, drawn = self._shown
        new, now = stage != before or seconds == 0, time.monotonic()
        line = f"{stage:<12} {seconds:4.0f} s  {text}"[:119]
        if self._terminal and (new or now - drawn > PAUSE):
            self._stream.write(("\n" if new and before else "\r") + line.ljust(self._width))
            self._width = len(line)
        elif not self._terminal and (new or seconds - when >= self.EVERY):
            self._stream.write(line + "\n")
        else:
            return
        self._stream.flush()
        self._shown = stage, seconds, now

    def __enter__(self) -> Stages:
        return self

    def __exit__(self, *_) -> None:
        if self._terminal and self._width:
            self._stream.write("\n")
            self._stream.flush()


def table(rows: Sequence[Sequence], header: Sequence[str] = ()) -> str:
    """Return rows as aligned text: numbers to the right with thousands separated, texts to the left."""
    def text(value) -> str:
        if isinstance(value, bool) or value is None:
            return "" if value is None else str(value)
        return f"{value:,}" if isinstance(value, int) else f"{value:.3f}" if isinstance(value, float) else str(value)

    cells = [[text(value) for value in row] for row in rows]
    widths = [max(len(line[i]) for line in [*cells, header] if i < len(line))
              for i in range(max(map(len, [*cells, header])))]
    numeric = [any(isinstance(row[i], (int, float)) for row in rows if i < len(row)) for i in range(len(widths))]

    def line(parts) -> str:
        return "  " + "  ".join(part.rjust(width) if right else part.ljust(width) for part, width, right in
                                zip(parts, widths, numeric, strict=False)).rstrip()

    return "\n".join(line(parts) for parts in ([header] if header else []) + cells)
