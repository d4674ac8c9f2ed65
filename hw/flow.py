"""Running the long programs of a tool chain: what they are doing is shown, they end in time, and Ctrl-C ends them."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from qblif.host.errors import QblifError

Progress = Callable[[str, float, str], None]
"""Called a few times a second with a stage's name, the seconds it has taken, and what it is doing."""

LOOK = 0.25
"""Seconds between two calls of Progress."""

GRACE = 5.0
"""Seconds that a program has to end after it was asked to, before it is killed."""

_NOISE = re.compile(r"^(Info|Warning|ERROR|Error): *|^[\d.]+ (?=Executing )")


class BuildError(QblifError):
    """A program of the tool chain failed or took too long.

    stage: its name; log: all that it printed."""

    def __init__(self, message: str, stage: str, log: str = "", *, hint: str | None = None):
        super().__init__(message, hint=hint)
        self.stage, self.log = stage, log


def quiet(stage: str, seconds: float, text: str) -> None:
    """Show no progress."""


@contextlib.contextmanager
def beating(stage: str, text: str, progress: Progress):
    """Call `progress` all the time while what is inside, which cannot say how far it is, runs."""
    started, done = time.monotonic(), threading.Event()

    def beat() -> None:
        while not done.wait(LOOK):
            progress(stage, time.monotonic() - started, text)

    progress(stage, 0.0, text)
    beater = threading.Thread(target=beat, daemon=True)
    beater.start()
    try:
        yield
    finally:
        done.set()
        beater.join()


@contextlib.contextmanager
def ended_by_sigterm():
    """Make SIGTERM end this process as Ctrl-C does, so that the programs which it runs end with it; and say so."""
    def leave(number, frame):
        signal.signal(number, signal.SIG_IGN)  # `timeout` and `make` send it twice; ending the programs takes a moment
        print("\nstopped; nothing was changed, finished stages are kept", file=sys.stderr)
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def run(stage: str, command: Sequence[str], folder: Path, timeout: float, progress: Progress = quiet,
        expected: Sequence[str] = ()) -> float:
    """Run a program in `folder`, its output going to `<stage>.log` there, and return the seconds it took.

    Name files relative to the folder: programs packaged for PyPI have a /tmp of their own. expected: files that it has
    to leave behind.

    Raises BuildError where it fails, leaves no such file, or takes more than `timeout` seconds. Whatever ends this
    function ends the program and all that it has started, too."""
    log, started = folder / f"{stage}.log", time.monotonic()
    doing = ["starting"]
    try:
        process = subprocess.Popen(list(command), cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True)
    except OSError as error:
        raise BuildError(f"{stage} cannot be started: {error}", stage) from error

    def read() -> None:
        with process.stdout, log.open("w", encoding="utf-8") as file:
            for line in process.stdout:
                file.write(line)
                file.flush()
                if line.strip():
                    doing[0] = _NOISE.sub("", line.strip())

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        while True:
            seconds = time.monotonic() - started
            progress(stage, seconds, doing[0])
            if seconds > timeout:
                raise BuildError(f"{stage} took longer than the {timeout:.0f} s it may take; it was at: {doing[0]}",
                                 stage, hint="allow more (--timeout), or free the machine")
            try:
                status = process.wait(min(LOOK, max(0.01, timeout - seconds)))
                break
            except subprocess.TimeoutExpired:
                continue
    except BaseException as error:
        _end(process)
        reader.join(GRACE)
        if isinstance(error, BuildError):
            error.log = _text(log)
        raise
    reader.join(GRACE)
    missing = [name for name in expected if not (folder / name).is_file()]
    if status or missing:
        said = _text(log)
        wrong = [line for line in said.splitlines() if line.lower().startswith(("error", "fatal"))]
        what = f"failed with status {status}" if status else f"left no {', '.join(missing)}"
        if status < 0:
            what = f"was ended by {signal.Signals(-status).name}"
        tail = wrong[-3:] or said.splitlines()[-5:]
        raise BuildError(f"{stage} {what}:\n    " + "\n    ".join(tail or ["(it printed nothing)"]), stage, said)
    return time.monotonic() - started


def _end(process: subprocess.Popen) -> None:
    """End a program and its children, politely first."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
            return


def _text(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
