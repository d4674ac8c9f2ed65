"""Which first layers ask where their image is empty, and what the hardware is told of their windows."""

from __future__ import annotations

from qblif.host import abi
from qblif.hw.occupancy import ROWS
from qblif.hw.params import CoreParams

from .maps import MapLayout

NONE = {name: 0 for name, *_ in abi.WINDOW_FIELDS}
"""Of a layer that does not ask."""

_MOST = {name: (1 << bits) - 1 for name, bits, *_ in abi.WINDOW_FIELDS}


def window(sources: list[dict], layer: dict, layout: MapLayout, core: CoreParams) -> dict[str, int]:
    """Return abi.WINDOW_FIELDS of a layer: the window of a sum is the smallest that all its fields are in.

    sources, layer: its rows in the tables of a cluster; layout: of the input map. NONE for a layer that cannot ask:
    not all of its sources read the input map, of which a plane row fits `core.occupancy`, at one pace; or windows are
    too large."""
    if not sources or layout.plane_words > 1 or layout.height > ROWS or any(
            source["diagonal"] or not source["input"] for source in sources):
        return NONE
    paces = {(source["y_step"], source["x_step"]) for source in sources}
    top = min(source["y_init"] for source in sources)
    bottom = max(source["y_init"] + (source["tap_rows"] - 1) * source["tap_dy"] for source in sources)
    left = min(source["x_init"] for source in sources)
    right = max(source["x_init"] + (source["tap_cols"] - 1) * source["tap_col_step"] + source["run_bits"] - 1
                for source in sources)
    (_, step), *others = paces
    found = {"window_rows": bottom - top + 1, "window_bits": right - left + 1, "window_first": right,
             "window_step": step}
    fits = all(0 <= value <= _MOST[name] for name, value in found.items())
    inside = right + (layer["cols"] - 1) * step < core.occupancy and layout.width * layout.channels <= core.occupancy
    # The rows asked for are told by the last one that an output row reads.
    return found if fits and inside and not others and layer["input_first"] == bottom + 1 else NONE
