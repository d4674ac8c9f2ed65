"""Trace records become the golden model's records again, and whatever is missing or misplaced is noticed."""

import functools

import numpy as np
import pytest

from qblif.gen.network import MaxPool, Readout
from qblif.gen.plan import make_plan
from qblif.hw import layouts
from qblif.hw.params import CoreParams
from qblif.sim import golden
from qblif.sim.compare import first_mismatch
from qblif.sim.model import SimulationError
from qblif.sim.random_networks import Limits, random_input, random_network
from qblif.sim.trace import PLACE, decode, record_dtype, unpack_records

IMAGES = 2


@functools.cache
def job(seed, **options):
    network = random_network(seed, Limits(side=4, channels=12, steps=3))
    plan = make_plan(network, **dict(options) | {"lanes": 4, "word_bits": 32, "neuron_lanes": 2})
    return plan, golden.run(network, random_input(network, seed, IMAGES), record=True).records


def traces(plan, records, seed=0):
    """Return records of the golden model as traces, in an order that no hardware would emit."""
    found, rng = {}, np.random.default_rng(seed)
    for core, (segment, params) in enumerate(zip(plan.segments, plan.design.cores, strict=True)):
        for cluster in range(params.clusters):
            rows = [row for index in range(segment.first, segment.last + 1)
                    for row in layer_rows(plan, records[index], index - segment.first,
                                          segment.shares[index - segment.first][cluster], params, index)]
            order = rng.permutation(len(rows))
            array = np.zeros((IMAGES, len(rows)), record_dtype(params))
            for at, number in enumerate(order):
                for name, value in rows[number].items():
                    array[name][:, at] = value
            found[core, cluster] = array
    return found


def layer_rows(plan, record, number, share, params, index):
    channels, height, width = plan.network.layers[index].shape
    lanes, n, packed = params.lanes, params.neuron_lanes, plan.packing.positions[index + 1]
    stored = plan.packing.channels(plan.network, index + 1)
    for y_own, y in enumerate(range(share.row[0], height, share.row[1])):
        for x_own, x in enumerate(range(share.col[0], -(-width // packed), share.col[1])):
            for g_own, group in enumerate(range(share.group[0], -(-stored * packed // lanes), share.group[1])):
                for chunk in range(params.chunks):
                    for step in range(plan.network.steps):
                        first = group * lanes + chunk * n
                        row = {"layer": number, "step": step, "row": y_own, "col": x_own,
                               "chunk": g_own * params.chunks + chunk}
                        for name, values in (("current", record.current), ("membrane", record.membrane),
                                             ("level", record.levels)):
                            row[name] = np.full((IMAGES, n), 99)       # in padding channels and columns: ignored
                            for lane in range(n) if values is not None else ():
                                position, channel = divmod(first + lane, stored)
                                if channel < channels and x * packed + position < width:
                                    row[name][:, lane] = values[step, :, channel, y, x * packed + position]
                        yield row


@pytest.mark.parametrize("options", [{}, {"clusters": 3}, {"cores": "max"}], ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_records_of_all_cores_and_clusters_become_maps(seed, options):
    plan, records = job(seed, **options)
    found = decode(plan, traces(plan, records))
    assert first_mismatch(plan.network, records, found) is None
    for layer, record in zip(plan.network.layers, found, strict=True):
        assert (record.current is None) == isinstance(layer, MaxPool)
        assert (record.levels is None) == isinstance(layer, Readout)


def real(records):
    """Return the place in a trace of a record that holds channels of the network, not only padding."""
    return np.flatnonzero(records["chunk"][0] == 0)[0]


def test_a_value_that_is_missing_is_named():
    plan, records = job(1)
    broken = traces(plan, records)
    broken[0, 0] = np.delete(broken[0, 0], real(broken[0, 0]), axis=1)
    with pytest.raises(SimulationError, match="was traced 0 times, not once"):
        decode(plan, broken)


def test_a_value_that_comes_twice_is_named():
    plan, records = job(1)
    broken = traces(plan, records)
    again = broken[0, 0][:, [real(broken[0, 0])]]
    broken[0, 0] = np.concatenate([broken[0, 0], again], axis=1)
    with pytest.raises(SimulationError, match="was traced 2 times, not once"):
        decode(plan, broken)


@pytest.mark.parametrize("place", ["row", "col", "step"])
def test_a_place_outside_of_the_layer_is_refused(place):
    plan, records = job(1)
    broken = traces(plan, records)
    broken[0, 0][place][:, real(broken[0, 0])] += 99
    with pytest.raises(SimulationError, match="outside of layer"):
        decode(plan, broken)


def test_images_in_different_orders_are_refused():
    plan, records = job(1)
    broken = traces(plan, records)
    broken[0, 0][1] = broken[0, 0][1][::-1]
    with pytest.raises(SimulationError, match="different orders"):
        decode(plan, broken)


@pytest.mark.parametrize("params", [CoreParams(trace=True), CoreParams(acc_bits=31, neuron_lanes=2, level_bits=3)],
                         ids=["default", "odd widths"])
def test_records_are_unpacked_by_the_hardware_s_own_layout(params):
    rng, layout, count = np.random.default_rng(0), layouts.trace(params), 20
    wanted, words = np.zeros(count, record_dtype(params)), []
    for at in range(count):
        values = {name: int(rng.integers(1 << layout[name].width)) for name in PLACE}
        for name, bits in (("current", params.acc_bits), ("membrane", params.acc_bits)):
            values[name] = rng.integers(-1 << bits - 1, 1 << bits - 1, params.neuron_lanes).tolist()
        values["level"] = rng.integers(0, 1 << params.level_bits, params.neuron_lanes).tolist()
        for name, value in values.items():
            wanted[name][at] = value
        packed = layout.const(values).as_value().value
        words.append([packed >> 32 * i & 0xFFFF_FFFF for i in range(-(-layout.size // 32))])
    np.testing.assert_array_equal(unpack_records(np.array(words, np.uint32), params), wanted)
