"""What is known of a data set before it is read."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable

from .dataset import DataSet


@dataclasses.dataclass(frozen=True)
class About:
    """What is known of a set before it is loaded.

    shape: (C, H, W), as it is read without options; classes: how many; source: where people get it, a sentence
    forms: the file formats that are read; folders: the names looked for below $QBLIF_DATA, ./data or the given root
    reader(about, root, **options) reads the set; its keyword arguments are the options of `load`
    """

    name: str
    summary: str
    classes: int
    shape: tuple[int, int, int]
    source: str
    forms: str
    folders: tuple[str, ...]
    reader: Callable[..., DataSet]

    def options(self) -> dict[str, object]:
        """Return the options of `load` for this set, with their defaults."""
        return {p.name: p.default for p in inspect.signature(self.reader).parameters.values()
                if p.kind is p.KEYWORD_ONLY}
