"""Where data sets are looked for, and what is said when they are not there."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from qblif.gen.errors import DataMissing

from .about import About


@dataclasses.dataclass(frozen=True)
class Form:
    """A form in which people have a set: what it is called, the files that tell it, and what reads it.

    needed: file patterns in the folder, all of which have to match; alternatives are separated by "|"
    read(folder, **options) returns the DataSet
    """

    what: str
    needed: tuple[str, ...]
    read: Callable

    def missing(self, folder: Path) -> list[str]:
        """Return the patterns that nothing in the folder matches."""
        return [need for need in self.needed
                if not any(True for pattern in need.split("|") for _ in folder.glob(pattern))]


def first(folder: Path, patterns: str) -> Path | None:
    """Return the first file or folder that matches one of the patterns, which "|" separates; None where none does."""
    return next((path for pattern in patterns.split("|") for path in sorted(folder.glob(pattern))), None)


def find(about: About, root: str | os.PathLike | None, forms: Iterable[Form]) -> tuple[Form, Path]:
    """Return the first form that is there, and its folder.

    root: the folder that holds the set's folder, or the set's folder itself. Without it: $QBLIF_DATA, then ./data.
    Raises DataMissing with every folder that was tried, what was missing there, and where people get the set."""
    forms = tuple(forms)
    if root is not None:
        base = Path(root).expanduser()
        tried = [*(base / name for name in about.folders), base]
    else:
        variable = os.environ.get("QBLIF_DATA")
        bases = [*([Path(variable).expanduser()] if variable else []), Path("data")]
        tried = [base / name for base in bases for name in about.folders]
    lines = []
    for folder in tried:
        if not folder.is_dir():
            lines.append(f"  {folder.absolute()}: no such folder")
            continue
        for form in forms:
            missing = form.missing(folder)
            if not missing:
                return form, folder
            names = ", ".join(need.split("|")[0] for need in missing)
            lines.append(f"  {folder.absolute()}: as {form.what} it lacks {names}")
    unset = " ($QBLIF_DATA is not set)" if root is None and not os.environ.get("QBLIF_DATA") else ""
    raise DataMissing("\n".join([f"the data set {about.name!r} was not found{unset}. Looked in", *lines]),
                      hint=f"{about.source}. Unpack it into one of these folders, or name the folder that holds it in "
                           "$QBLIF_DATA, or in Python root.")


def fingerprint(files: Iterable[Path]) -> str:
    """Return a hash of names, sizes and times of files: another one as soon as one of them changes."""
    digest = hashlib.sha256()
    for path in sorted(files):
        stat = path.stat()
        digest.update(f"{path.absolute()} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()
