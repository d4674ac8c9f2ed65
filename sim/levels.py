"""From trace records, in the order in which the hardware computes, to feature maps as the golden model has them."""

from __future__ import annotations

import numpy as np

from qblif.gen.network import MaxPool, Network, Readout
from qblif.gen.plan import Plan, Share

MISSING = np.iinfo(np.int32).min
"""Stands where no record came: no current, membrane or level has this value."""

KINDS = {"current": "current", "membrane": "membrane", "levels": "level"}
"""Name in golden.Record -> field of a trace record."""


def collect(plan: Plan, traces: dict[tuple[int, int], np.ndarray]) -> dict[int, dict[str, np.ndarray]]:
    """Return layer index -> kind -> int32 (T, B, C, H, W), for sim.compare.first_mismatch.

    traces: (core, cluster) -> records (B, records per image), as in Simulation.traces. A MaxPool has levels only, a
    Readout no levels, as in golden.Record. A value that is not in the trace is MISSING.

    Raises ValueError when images differ in what they trace: the order of the hardware does not depend on data."""
    network = plan.network
    found = {}
    for core, (segment, params) in enumerate(zip(plan.segments, plan.design.cores, strict=True)):
        clusters = [traces[core, cluster] for cluster in range(params.clusters)]
        for row, index in enumerate(range(segment.first, segment.last + 1)):
            maps = _empty(network, index, len(clusters[0]))
            for records, share in zip(clusters, segment.shares[row], strict=True):
                _fill(maps, records[:, records["layer"][0] == row], share, params)
            found[index] = maps
    return found


def _empty(network: Network, index: int, batch: int) -> dict[str, np.ndarray]:
    layer = network.layers[index]
    kinds = ("levels",) if isinstance(layer, MaxPool) else ("current", "membrane") if isinstance(layer, Readout) \
        else tuple(KINDS)
    return {kind: np.full((network.steps, batch, *layer.shape), MISSING, np.int32) for kind in kinds}


def _fill(maps: dict[str, np.ndarray], records: np.ndarray, share: Share, params) -> None:
    """Put one cluster's records of one layer where they belong; channels that pad the last lane group are dropped."""
    place = records[["layer", "step", "row", "col", "chunk"]]
    if not (place == place[:1]).all():
        raise ValueError("the images of a batch have trace records in different orders")
    if not place.shape[1]:
        return
    place = place[0]
    group, chunk = np.divmod(place["chunk"], params.chunks)
    first = (share.group[0] + share.group[1] * group) * params.lanes + chunk * params.neuron_lanes
    y = share.row[0] + share.row[1] * place["row"]
    x = share.col[0] + share.col[1] * place["col"]
    for kind, into in maps.items():
        for lane in range(params.neuron_lanes):
            there = first + lane < into.shape[2]
            # Advanced indices around the slice of the batch put it last
            into[place["step"][there], :, (first + lane)[there], y[there], x[there]] = \
                records[KINDS[kind]][:, there, lane].T
