"""Names that people mistype."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def check_names(what: str, given: Iterable[str], allowed: Iterable[str]):
    """Raise ValueError for the first name of `given` that is not in `allowed`, with the nearest one and all of them."""
    allowed = list(allowed)
    for name in given:
        if name not in allowed:
            near = difflib.get_close_matches(str(name), allowed, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"{name!r} is not a known {what}; allowed are {', '.join(allowed) or 'none'}{hint}")
