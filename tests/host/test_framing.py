"""Frames of the serial link: whatever noise does, a frame that is found is one that was sent."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qblif.host import framing
from qblif.host.framing import Deframer, cobs_decode, cobs_encode, decode, encode, wire_bytes

# many zeros and long runs without one, as well as anything
BYTES = st.one_of(st.binary(max_size=1100),
                  st.lists(st.sampled_from([b"\0", b"\0" * 5, b"\xff" * 253, b"\x01" * 254, b"\x02" * 255, b"abc"]),
                           max_size=6).map(b"".join))
WORDS = BYTES.map(lambda data: (data[:len(data) // 4 * 4] or b"word")[:4 * framing.REQUEST_WORDS - 4])


@given(BYTES)
def test_stuffing_leaves_no_zero_and_is_undone(data):
    stuffed = cobs_encode(data)
    assert 0 not in stuffed and cobs_decode(stuffed) == data
    assert len(stuffed) <= len(data) + 1 + len(data) // 254


@pytest.mark.parametrize("data, stuffed", [
    (b"", "01"), (b"\0", "0101"), (b"\0\0", "010101"), (b"\x11\x22\0\x33", "0311220233"),
    (bytes(range(1, 255)), "ff" + bytes(range(1, 255)).hex() + "01"),
    (bytes(range(255)), "01ff" + bytes(range(1, 255)).hex() + "01")])
def test_the_stuffing_is_the_usual_one(data, stuffed):
    assert cobs_encode(data).hex() == stuffed


def test_of_two_ways_to_end_with_a_full_run_both_are_understood():
    full = b"\xff" + b"\x07" * 254
    assert cobs_decode(full) == cobs_decode(full + b"\x01") == b"\x07" * 254


@given(BYTES)
def test_what_is_no_stuffing_is_recognised(data):
    text = cobs_decode(data)
    assert text is None or 0 not in data


@given(WORDS)
def test_a_frame_has_zeros_at_its_ends_alone_and_is_no_longer_than_computed(words):
    wire = encode(words)
    assert wire[0] == wire[-1] == 0 and 0 not in wire[1:-1] and decode(wire[1:-1]) == words
    assert len(wire) <= wire_bytes(len(words) // 4)


@given(st.lists(WORDS, max_size=4), st.data())
def test_frames_are_found_however_they_come_in_pieces(texts, data):
    wire, deframer, found = b"".join(map(encode, texts)), Deframer(), []
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=5)))
    for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True):
        found += deframer.feed(wire[start:end])
    assert found == texts and deframer.damaged == 0


@given(st.lists(st.tuples(BYTES, WORDS), max_size=4))
def test_noise_between_frames_costs_none(traffic):
    deframer = Deframer()
    wire = b"".join(noise + encode(words) for noise, words in traffic)
    assert deframer.feed(wire) == [words for _, words in traffic]


EDITS = st.lists(st.tuples(st.sampled_from(["flip", "lose", "extra", "swap"]), st.integers(0, 1 << 20),
                           st.integers(1, 255)), min_size=1, max_size=4)


@given(WORDS, WORDS, EDITS)
def test_a_damaged_frame_is_never_taken_for_another_and_the_next_is_found(words, following, edits):
    wire = bytearray(encode(words))
    for kind, at, value in edits:
        at %= len(wire)
        if kind == "flip":
            wire[at] ^= value
        elif kind == "lose" and len(wire) > 1:
            del wire[at]
        elif kind == "extra":
            wire.insert(at, value)
        elif kind == "swap" and at:
            wire[at - 1:at + 1] = wire[at - 1:at + 1][::-1]
    found = Deframer().feed(bytes(wire) + encode(following))
    assert found in ([following], [words, following])


def test_noise_without_end_takes_no_memory():
    deframer, rng = Deframer(), random.Random(1)
    for _ in range(300):
        assert deframer.feed(bytes(rng.randrange(1, 256) for _ in range(1000))) == []
    assert len(deframer._piece) < 2000
    assert deframer.feed(b"\0" + encode(b"word")) == [b"word"] and deframer.damaged == 1
