"""The table docs/faults.md: one row per fault, written and checked by the tests that provoke it.

With QBLIF_WRITE_FAULTS=1 in the environment each test writes its row; without, the row has to stand there already.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import re
import time

DOCUMENT = pathlib.Path(__file__).resolve().parents[3] / "docs" / "faults.md"
VARIABLE = "QBLIF_WRITE_FAULTS"

HEADER = ("| fault | how it is injected | error | its message | within | next job |", "|---|---|---|---|---|---|")


@dataclasses.dataclass
class Attempt:
    """What came of a job. error: or None; seconds: until it was raised, or the job was done."""

    error: Exception | None = None
    seconds: float = 0.0


@contextlib.contextmanager
def attempt(clock=time.monotonic):
    """Give an Attempt that holds the error raised in the block; clock: what its seconds are counted by."""
    made, began = Attempt(), clock()
    try:
        yield made
    except Exception as error:
        made.error = error
    made.seconds = clock() - began


def message(text: str) -> str:
    """Return the first line of an error's text without what differs from machine to machine."""
    text = text.partition("\n")[0]
    text = re.sub(r"\(/[^)]*\)|(?:(?<=[ '])|^)/[\w./-]*/(?=[\w.-]+)", "", text)  # folders
    text = re.sub(r"0x[0-9a-f]+", "0x…", text)
    text = re.sub(r"\b[0-9a-f]{16}\b", "…", text)
    text = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:…", text)
    return text.replace("|", "\\|")


def row(fault: str, how: str, error: Exception | None, within: str, after: str) -> str:
    """Return a row of the table."""
    kind, said = "none", "none"
    if error is not None:
        code = getattr(error, "code", None)
        kind = f"`{type(error).__name__}`" + (f" {code.name}" if code is not None else "")
        said = message(str(error))
    return f"| {fault} | {how} | {kind} | {said} | {within} | {after} |"


def rows() -> dict[str, str]:
    """Return the rows of the committed table by their faults, in order."""
    lines = DOCUMENT.read_text(encoding="utf-8").splitlines()
    return {line.split("|")[1].strip(): line for line in lines[lines.index(HEADER[1]) + 1:] if line.startswith("|")}


def check(found: str) -> None:
    """Hold a row against the committed table; or write it there, if so asked."""
    fault = found.split("|")[1].strip()
    before = rows()
    if os.environ.get(VARIABLE):
        text = DOCUMENT.read_text(encoding="utf-8")
        text = text.replace(before[fault], found) if fault in before else text.rstrip("\n") + f"\n{found}\n"
        DOCUMENT.write_text(text, encoding="utf-8")
        return
    assert before.get(fault) == found, f"{DOCUMENT.name} differs; {VARIABLE}=1 pytest ... writes it anew"
