"""Names of layouts: clusters x lanes of each core, "2x64 + 1x64"; with neurons a cycle, "2x64/4 + 1x64/4"."""

from __future__ import annotations

import dataclasses
import re

from qblif.gen.explore import CLUSTERS, SHAPES, Layout
from qblif.host.errors import InputError
from qblif.hw.params import DesignParams

from .simulation import BLOCK

_CORE = re.compile(r"(\d+)x(\d+)(?:/(\d+))?")


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What a name asks for. shapes: (lanes, neuron lanes) that it may mean; clusters: of each core, first to last."""

    text: str
    shapes: tuple[tuple[int, int], ...]
    clusters: tuple[int, ...]


def name_of(layout: Layout | DesignParams, full: bool = False) -> str:
    """Return the name of a layout, or of a design; full: with neuron lanes."""
    return " + ".join(f"{core.clusters}x{core.lanes}" + (f"/{core.neuron_lanes}" if full else "")
                      for core in layout.cores)


def parse(text: str) -> Wanted:
    """Return what a name asks for; raises InputError, which says what a name is, for anything else."""
    cores = [_CORE.fullmatch(part.strip()) for part in text.split("+")]
    if not all(cores):
        raise InputError(f"{text!r} is no name of a layout", hint='a name has clusters x lanes of each core, for '
                         'instance "2x64 + 1x64", or neurons a cycle, too: "2x64/4 + 1x64/4"')
    if len(cores) > BLOCK - 2:
        raise InputError(f"{text!r} has {len(cores)} cores", hint=f"layouts of up to {BLOCK - 2} cores are looked at")
    shapes = {(int(core[2]), core[3] and int(core[3])) for core in cores}
    if len(shapes) > 1:
        raise InputError(f"{text!r}: the cores of a chain differ in lanes or neurons a cycle",
                         hint="they may differ in clusters alone")
    ((lanes, neurons),) = shapes
    found = tuple(shape for shape in SHAPES if shape[0] == lanes and neurons in (None, shape[1]))
    if not found:
        raise InputError(f"{text!r}: there are no layouts of {lanes} lanes" + (f" and {neurons} neurons a cycle" if
                         neurons is not None and lanes in dict(SHAPES) else ""),
                         hint="lanes/neurons: " + ", ".join(f"{one}/{other}" for one, other in SHAPES))
    clusters = tuple(int(core[1]) for core in cores)
    if not set(clusters) <= set(CLUSTERS):
        raise InputError(f"{text!r}: there are no cores of {max(set(clusters) - set(CLUSTERS))} clusters",
                         hint=f"clusters of a core: {', '.join(map(str, CLUSTERS))}")
    return Wanted(text, found, clusters)
