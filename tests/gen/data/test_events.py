"""Binning of events, against a loop over events and steps that is written down as the definition says."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qblif.gen.data import DataError
from qblif.gen.data.events import Binning, Events
from qblif.host.errors import InputError

SIZE = (4, 6)


def naive(events, binning):
    """Return counts, clipped and dropped, one event after the other."""
    out = np.zeros((binning.steps, 2, SIZE[0] // binning.pool, SIZE[1] // binning.pool), int)
    order = sorted(range(len(events.t)), key=lambda i: events.t[i])
    first, last = (events.t[order[0]], events.t[order[-1]]) if order else (0, 0)
    dropped = 0
    for rank, i in enumerate(order):
        for step in range(binning.steps + 1):
            if step == binning.steps:
                dropped += 1
                break
            if binning.by == "count":      # the first k+1 steps have floor or ceiling of (k+1)/T of all events
                inside = rank * binning.steps < (step + 1) * len(order)
            elif binning.window:
                inside = events.t[i] - first < (step + 1) * binning.window
            else:
                inside = (events.t[i] - first) * binning.steps < (step + 1) * (last - first + 1)
            if inside:
                out[step, events.p[i], events.y[i] // binning.pool, events.x[i] // binning.pool] += 1
                break
    most = 2 ** binning.bits - 1
    return np.minimum(out, most), int((out - np.minimum(out, most)).sum()), dropped


EVENTS = st.lists(st.tuples(st.integers(0, SIZE[1] - 1), st.integers(0, SIZE[0] - 1), st.integers(0, 1),
                            st.integers(0, 60)), max_size=80)
WAYS = st.sampled_from([("count", None), ("time", None)]) | st.tuples(st.just("time"), st.integers(1, 40))
BINNINGS = st.builds(lambda steps, bits, way, pool: Binning(steps, bits, *way, pool), st.integers(1, 7),
                     st.integers(1, 8), WAYS, st.sampled_from([1, 2]))


@given(EVENTS, BINNINGS)
def test_counts_equal_those_of_a_loop(rows, binning):
    events = Events(*np.array(rows, np.int64).reshape(-1, 4).T)
    counts, clipped, dropped = binning.counts(events, SIZE)
    expected = naive(events, binning)
    assert np.array_equal(counts, expected[0]) and (clipped, dropped) == expected[1:]
    assert counts.dtype == np.uint8 and counts.shape == (binning.steps, *binning.shape(SIZE))
    assert int(counts.sum()) + clipped + dropped == len(rows)


def test_counts_above_the_highest_are_clipped_and_counted():
    events = Events(*np.array([[1, 2, 1, 0]] * 20 + [[0, 0, 0, 9]] * 3).T)
    counts, clipped, dropped = Binning(2, bits=3).counts(events, SIZE)
    assert counts[0, 1, 2, 1] == 7 and counts[1, 0, 0, 0] == 3 and counts.sum() == 10
    assert (clipped, dropped) == (13, 0)


def test_times_may_begin_anywhere_and_arrays_may_be_of_any_integer_type():
    t = np.array([0, 99, 100, 199])
    for start, kind in ((0, np.uint8), (2 ** 31, np.uint32), (2 ** 40, np.int64)):
        events = Events(np.zeros(4, np.uint8), np.zeros(4, np.int16), np.zeros(4, bool), (t + start).astype(kind))
        assert Binning(2).counts(events, SIZE).counts[:, 0, 0, 0].tolist() == [2, 2]


@pytest.mark.parametrize(("events", "message"), [
    ([[6, 0, 0, 0]], "1 of 1 events are not of this sensor, the first with x=6, y=0, p=0; allowed are x below 6"),
    ([[0, 0, 0, 0], [0, 4, 0, 0]], "y=4"), ([[-1, 0, 0, 0]], "x=-1"), ([[0, 0, 2, 0]], "p=2")])
def test_events_outside_the_sensor_are_refused(events, message):
    with pytest.raises(DataError, match=message):
        Binning(1).counts(Events(*np.array(events).T), SIZE)


def test_arrays_of_different_lengths_are_refused():
    with pytest.raises(DataError, match="needed is one of each for every event"):
        Binning(1).counts(Events(np.zeros(2), np.zeros(2), np.zeros(1), np.zeros(2)), SIZE)


@pytest.mark.parametrize(("options", "message"), [
    ({"steps": 0}, "steps is 0, allowed is 1 to 255"), ({"steps": 2.0}, "steps is 2.0"),
    ({"steps": 1, "bits": 9}, "bits is 9, allowed is 1 to 8"),
    ({"steps": 1, "by": "event"}, "by is 'event', allowed are"),
    ({"steps": 1, "window": 0}, "window is 0"), ({"steps": 1, "window": 9, "by": "count"}, "by time alone"),
    ({"steps": 0, "pool": 0}, "steps is 0.*pool is 0")])
def test_options_are_checked(options, message):
    with pytest.raises(InputError, match=message):
        Binning(**options)


def test_a_pool_has_to_divide_the_sensor():
    with pytest.raises(InputError, match="pool is 3, which does not divide the sensor's 4 x 6 pixels"):
        Binning(1, pool=3).shape(SIZE)
