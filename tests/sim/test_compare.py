"""The first mismatch is named, in the order in which the network computes."""

import numpy as np
import pytest

from qblif.gen.network import MaxPool
from qblif.sim import golden
from qblif.sim.compare import compare_logits, first_mismatch
from qblif.sim.random_networks import random_input, random_network


def with_max_pool_inside(network):
    return network.steps > 2 and any(isinstance(layer, MaxPool) for layer in network.layers[1:-1])


NETWORK = next(n for n in map(random_network, range(300)) if with_max_pool_inside(n))
RESULT = golden.run(NETWORK, random_input(NETWORK, 0, 2), record=True)


def trace():
    """What hardware without a fault would report."""
    return [{kind: np.array(value) for kind in ("current", "membrane", "levels")
             if (value := getattr(record, kind)) is not None} for record in RESULT.records]


def test_equal_records_have_no_mismatch():
    assert first_mismatch(NETWORK, RESULT.records, trace()) is None
    assert first_mismatch(NETWORK, RESULT.records, {0: trace()[0]}) is None
    assert first_mismatch(NETWORK, RESULT.records, RESULT.records) is None


def test_the_first_of_several_mismatches_is_found_and_reads_well():
    got = trace()
    last = len(got) - 1
    got[last]["current"][0, 0, 0, 0, 0] += 1
    got[0]["levels"][1, 0, 0, 0, 0] += 3
    got[0]["levels"][2, 1, 0, 0, 0] += 1
    got[0]["current"][2, 0, 0, 0, 0] += 1
    found = first_mismatch(NETWORK, RESULT.records, got)
    assert (found.layer, found.kind, found.image, found.step, found.position, found.channel) == \
        (0, "levels", 0, 1, (0, 0), 0)
    assert found.got == found.expected + 3
    assert str(found) == (f"first mismatch: layer 0 ({NETWORK.layers[0].name}), levels, image 0, time step 1, position "
                          f"(y=0, x=0), channel 0: expected {found.expected}, got {found.got} "
                          f"(2 of {RESULT.records[0].levels.size} values of this kind in this layer differ)")


def test_a_cause_is_named_before_its_effects_in_the_same_step():
    got = trace()
    for kind in ("levels", "membrane", "current"):
        got[0][kind][1, 1, 0, 0, 0] -= 1
    assert first_mismatch(NETWORK, RESULT.records, got).kind == "current"


def test_levels_of_max_pooling_are_compared():
    got = trace()
    index = next(i for i, layer in enumerate(NETWORK.layers) if isinstance(layer, MaxPool))
    got[index]["levels"][0, 0, -1, -1, -1] ^= 1
    assert first_mismatch(NETWORK, RESULT.records, got).layer == index


def test_kinds_that_the_trace_does_not_have_are_left_out_but_not_everything():
    got = trace()
    got[0]["membrane"] += 1
    del got[0]["membrane"]
    assert first_mismatch(NETWORK, RESULT.records, got) is None
    with pytest.raises(ValueError, match="nothing to compare"):
        first_mismatch(NETWORK, RESULT.records, [])


def test_a_trace_of_another_shape_is_refused():
    got = trace()
    got[0]["current"] = got[0]["current"][1:]
    with pytest.raises(ValueError, match=r"current has shape"):
        first_mismatch(NETWORK, RESULT.records, got)


def test_logits_are_compared():
    got = RESULT.logits.copy()
    assert compare_logits(NETWORK, RESULT.logits, got) is None
    got[1, -1] += 5
    found = compare_logits(NETWORK, RESULT.logits, got)
    assert (found.kind, found.image, found.channel, found.got - found.expected) == ("logits", 1, got.shape[1] - 1, 5)
    assert "logits, image 1, channel" in str(found)
    with pytest.raises(ValueError, match="shape"):
        compare_logits(NETWORK, RESULT.logits, got[:1])
