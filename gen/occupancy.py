"""Which first layers ask where their image is empty, and what the hardware is told of their windows."""

from __future__ import annotations

from qblif.host import abi
from qblif.hw.occupancy import ROWS
from qblif.hw.params import LARGEST_OCCUPANCY, CoreParams

from .gather import gathers
from .maps import MapLayout
from .network import MaxPool, Network
from .packing import ceil, unpacked

WORDS = 16
"""Words of a sum up to which a layer does not ask: reading them takes about as long as updating its neurons, which is
waited for where nothing is added."""

BLOCK_BITS = 36
"""Bits of a row of a block RAM, in which occupancy is kept: what is not used of it is not saved."""

NONE = {name: 0 for name, *_ in abi.WINDOW_FIELDS}
"""Of a layer that does not ask."""

_MOST = {name: (1 << bits) - 1 for name, bits, *_ in abi.WINDOW_FIELDS}


def pays(words: int) -> bool:
    """Return whether a layer gains by asking. words: that are read for one of its sums, all bit planes."""
    return words > WORDS


def columns(network: Network, word_bits: int) -> int:
    """Return the `occupancy` of a core that is made for a network: 0 where its first layer would not ask."""
    if isinstance(network.layers[0], MaxPool):
        return 0
    fields = [field for gather in gathers(network, 0, unpacked(network, 1)) for field in gather.fields]
    planes = network.map_bits(0)
    if any(field.mask or field.map for field in fields) or not pays(
            sum(field.taps[0] * field.taps[1] * planes for field in fields)):
        return 0
    channels, _, width = network.map_shape(0)
    last = network.layers[0].shape[2] - 1
    reach = max(field.offset[1] + last * field.step[1] + (field.taps[1] - 1) * field.tap_step[1] + field.run
                for field in fields)
    need = channels * max(width, reach)
    most = min(word_bits, LARGEST_OCCUPANCY)
    return min(most, BLOCK_BITS * ceil(need, BLOCK_BITS)) if need <= most else 0


def window(sources: list[dict], layer: dict, layout: MapLayout, core: CoreParams,
           asks: bool | None = None) -> dict[str, int]:
    """Return abi.WINDOW_FIELDS of a layer: the window of a sum is the smallest that all its fields are in.

    sources, layer: its rows in the tables of a cluster; layout: of the input map. NONE for a layer that cannot ask:
    not all of its sources read the input map, of which a plane row fits `core.occupancy`, at one pace; or windows are
    too large. asks: whether one asks that can; default: where it pays."""
    if not sources or asks is False or layout.plane_words > 1 or layout.height > ROWS or any(
            source["diagonal"] or not source["input"] for source in sources):
        return NONE
    paces = {(source["y_step"], source["x_step"]) for source in sources}
    top = min(source["y_init"] for source in sources)
    bottom = max(source["y_init"] + (source["tap_rows"] - 1) * source["tap_dy"] for source in sources)
    left = min(source["x_init"] for source in sources)
    right = max(source["x_init"] + (source["tap_cols"] - 1) * source["tap_col_step"] + source["run_bits"] - 1
                for source in sources)
    (_, step), *others = paces
    words = sum(source["planes"] * source["tap_rows"] * source["tap_cols"] for source in sources)
    found = {"window_rows": bottom - top + 1, "window_bits": right - left + 1, "window_first": right,
             "window_step": step}
    fits = all(0 <= value <= _MOST[name] for name, value in found.items())
    inside = right + (layer["cols"] - 1) * step < core.occupancy and layout.width * layout.channels <= core.occupancy
    # The rows asked for are told by the last one that an output row reads.
    able = fits and inside and not others and layer["input_first"] == bottom + 1
    return found if able and (asks or pays(words)) else NONE
