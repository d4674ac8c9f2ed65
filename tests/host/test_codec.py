"""Input frames against a reference that follows the words of the module's docstring, bit by bit."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qblif.host import InputError, InputLayout


def reference(layout: InputLayout, x: np.ndarray) -> np.ndarray:
    """Return the frames of a batch, one bit at a time."""
    channels, height, width = layout.map_shape
    top, left = layout.padding[0], layout.padding[2]
    if layout.static:
        x = x[None]
    frames = []
    for image in range(x.shape[1]):
        words = []
        for y in range(height):
            for t in range(1 if layout.static else layout.steps):
                for plane in range(layout.bits):
                    row = 0
                    for column in range(width):
                        for c in range(channels):
                            inside = (top <= y < top + layout.shape[1]) and (left <= column < left + layout.shape[2])
                            zero = layout.zero_point[c] if layout.zero_point else 0
                            level = int(x[t, image, c, y - top, column - left]) if inside else zero
                            row |= (level >> plane & 1) << column * layout.stored_channels + c
                    bits = width * layout.stored_channels
                    for word in range(-(-bits // layout.word_bits)):
                        words.append(row >> word * layout.word_bits & (1 << layout.word_bits) - 1)
        frames.append([word >> 32 * i & 0xFFFF_FFFF for word in words for i in range(layout.word_bits // 32)])
    return np.array(frames, np.uint32)


@st.composite
def layouts(draw):
    small = st.integers(1, 5)
    shape = (draw(small), draw(small), draw(small))
    bits = draw(st.integers(1, 8))
    zero_point = draw(st.one_of(st.just(()), st.tuples(*[st.integers(0, 2**bits - 1)] * shape[0])))
    return InputLayout(shape=shape, steps=draw(st.integers(1, 3)), static=draw(st.booleans()), bits=bits,
                       padding=draw(st.tuples(*[st.integers(0, 2)] * 4)), zero_point=zero_point,
                       stored_channels=shape[0] + draw(st.integers(0, 12)),
                       word_bits=draw(st.sampled_from([32, 64, 128])))


@given(layouts(), st.integers(1, 3), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_frames_are_those_of_the_reference_and_unpack_gives_the_images_back(layout, batch, seed):
    x = np.random.default_rng(seed).integers(0, 2**layout.bits, layout.array_shape(batch), dtype=np.uint8)
    frames = layout.pack(x)
    assert frames.dtype == np.uint32 and frames.shape == (batch, layout.beats)
    assert np.array_equal(frames, reference(layout, x))
    assert np.array_equal(layout.unpack(frames), x)


@given(layouts())
@settings(max_examples=30, deadline=None)
def test_a_layout_survives_json(layout):
    assert InputLayout.from_dict(json.loads(json.dumps(layout.to_dict()))) == layout


GRAY = InputLayout(shape=(1, 2, 3), steps=4, static=True, bits=4, padding=(0, 0, 0, 0), zero_point=(),
                   stored_channels=1, word_bits=32)
TIMED = dataclasses.replace(GRAY, static=False)


def test_one_frame_written_out():
    x = np.array([[[[1, 2, 3], [0, 8, 15]]]])
    # row 0: planes 0 to 3 of 1, 2, 3; row 1: of 0, 8, 15; column 0 is the lowest bit
    assert GRAY.pack(x).tolist() == [[0b101, 0b110, 0, 0, 0b100, 0b100, 0b100, 0b110]]


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16, np.uint16, np.int32, np.int64, np.uint64, ">i4"])
def test_every_integer_type_is_accepted(dtype):
    x = np.arange(6).reshape(1, 1, 2, 3)
    assert np.array_equal(GRAY.pack(x.astype(dtype)), GRAY.pack(x))


def test_bools_lists_and_arrays_that_are_not_contiguous_are_accepted():
    x = np.arange(6).reshape(1, 1, 2, 3)
    assert np.array_equal(GRAY.pack(x.tolist()), GRAY.pack(x))
    assert np.array_equal(GRAY.pack(x > 2), GRAY.pack((x > 2).astype(int)))
    wide = np.zeros((2, 1, 4, 6), int)
    wide[::2, :, ::-2, 1::2] = x
    assert not wide[::2, :, ::-2, 1::2].flags.c_contiguous
    assert np.array_equal(GRAY.pack(wide[::2, :, ::-2, 1::2]), GRAY.pack(x))
    assert np.array_equal(GRAY.pack(np.asfortranarray(x)), GRAY.pack(x))


class Tensor:
    """Offers what torch's tensors offer, without torch."""

    def __init__(self, array, error=None):
        self.array, self.error = array, error

    def __array__(self, dtype=None, copy=None):
        if self.error:
            raise self.error
        return self.array


def test_what_offers_an_array_is_accepted():
    x = np.arange(6).reshape(1, 1, 2, 3)
    assert np.array_equal(GRAY.pack(Tensor(x)), GRAY.pack(x))


@pytest.mark.parametrize("error", [TypeError("can't convert cuda:0 device type tensor to numpy"),
                                   RuntimeError("Can't call numpy() on Tensor that requires grad")])
def test_a_tensor_that_cannot_be_an_array_says_what_to_do(error):
    with pytest.raises(InputError, match="a Tensor, cannot be made a numpy array: .*\n.*detach.*cpu"):
        GRAY.pack(Tensor(None, error))


def image(value=0, dtype=np.int64):
    x = np.zeros((2, 1, 2, 3), dtype)
    x[1, 0, 1, 2] = value
    return x


@pytest.mark.parametrize("x, words", [
    (image(0.5, np.float32), r"of type float32, allowed are integers 0 to 15\n.*the network was trained on"),
    (image(1.0, np.float64), "of type float64, allowed are integers 0 to 15"),
    (image(np.nan, np.float32), "float32 and contains NaN"),
    (image(np.inf, np.float64), "of type float64"),
    (image(1j, np.complex64), "of type complex64"),
    (image(-1), r"-1 at index \(1, 0, 1, 2\), allowed are integers 0 to 15 \(4 bits\)"),
    (image(-128, np.int8), r"-128 at index \(1, 0, 1, 2\)"),
    (image(16), r"16 at index \(1, 0, 1, 2\).*\n.*nothing is clipped or wrapped"),
    (image(256), r"256 at index"),
    (image(2**64 - 1, np.uint64), r"18446744073709551615 at index"),
    (image(3, object), "of type object"),
    ([[[[1, 2, 3], [4, 5]]]], "cannot be made a numpy array|of type object"),
    ("digits", "of type <U6"),
    (None, "of type object"),
    (image().astype("datetime64[s]"), "of type datetime64"),
    (np.zeros((0, 1, 2, 3), int), r"an empty batch of shape \(0, 1, 2, 3\)"),
    (np.zeros((1, 2, 3), int), r"shape \(1, 2, 3\), allowed is \(B, 1, 2, 3\).*\n.*run_batch takes a batch"),
    (np.zeros((1, 1, 1, 2, 3), int), r"shape \(1, 1, 1, 2, 3\), allowed is \(B, 1, 2, 3\)"),
    (np.zeros((4, 2, 3, 1), int), r"shape \(4, 2, 3, 1\), allowed is \(B, 1, 2, 3\), which is \(B, C, H, W\)"),
    (np.zeros((), int), r"shape \(\)"),
])
def test_bad_batches_of_a_static_input_are_refused(x, words):
    with pytest.raises(InputError, match=words) as caught:
        GRAY.pack(x)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("shape, words", [
    ((3, 2, 1, 2, 3), r"has 3 time steps .*, allowed is 4: \(4, B, 1, 2, 3\), which is \(T, B, C, H, W\)"),
    ((2, 4, 1, 2, 3), "has 2 time steps .*\n.*time axis comes first"),
    ((2, 1, 2, 3), r"allowed is \(4, B, 1, 2, 3\).*\n.*one array for each of its 4 time steps"),
    ((4, 1, 2, 3), "run_batch takes a batch"),
    ((4, 0, 1, 2, 3), "an empty batch"),
    ((4, 2, 3, 1, 2), r"shape \(4, 2, 3, 1, 2\), allowed"),
])
def test_bad_batches_of_an_input_in_time_are_refused(shape, words):
    with pytest.raises(InputError, match=words):
        TIMED.pack(np.zeros(shape, int))


def test_single_images_are_checked_as_such():
    assert GRAY.check(np.ones((1, 2, 3), int), single=True).dtype == np.uint8
    assert TIMED.check(np.ones((4, 1, 2, 3), int), single=True).shape == (4, 1, 2, 3)
    with pytest.raises(InputError, match=r"allowed is \(1, 2, 3\), which is \(C, H, W\)\n.*run takes one image"):
        GRAY.check(np.ones((1, 1, 2, 3), int), single=True)
    with pytest.raises(InputError, match=r"has 3 time steps .*allowed is 4: \(4, 1, 2, 3\), which is \(T, C, H, W\)"):
        TIMED.check(np.ones((3, 1, 2, 3), int), single=True)


@pytest.mark.parametrize("change, words", [
    ({"shape": (1, 2)}, "shape has 2 values, allowed is 3"),
    ({"shape": (0, 2, 3)}, "shape is 0"),
    ({"shape": (1, 2.0, 3)}, r"shape is 2\.0"),
    ({"steps": 0}, "steps is 0"),
    ({"steps": True}, "steps is True"),
    ({"static": 1}, "static is 1"),
    ({"bits": 9}, "bits is 9, allowed is 1 to 8"),
    ({"padding": (0, 0, -1, 0)}, "padding is -1"),
    ({"padding": (0, 0)}, "padding has 2 values"),
    ({"zero_point": (16,)}, "zero_point is 16, allowed is 0 to 15"),
    ({"zero_point": (1, 2)}, "zero_point has 2 values, allowed is none or one for each of the 1 channels"),
    ({"stored_channels": 0}, "stored_channels is 0"),
    ({"word_bits": 48}, "word_bits is 48"),
    ({"shape": (60000, 60000, 60000), "stored_channels": 60000}, "a frame would have .* beats"),
])
def test_impossible_layouts_are_refused(change, words):
    with pytest.raises(ValueError, match=words):
        dataclasses.replace(GRAY, **change)
    data = {**GRAY.to_dict(), **change}
    with pytest.raises(ValueError, match=words):
        InputLayout.from_dict(data)


@pytest.mark.parametrize("data", [{}, [], None, {**GRAY.to_dict(), "extra": 1}, {**GRAY.to_dict(), "shape": 3},
                                  {**GRAY.to_dict(), "shape": "123"}])
def test_dictionaries_that_are_no_layout_are_refused(data):
    with pytest.raises(ValueError):
        InputLayout.from_dict(data)


def test_frames_of_another_size_are_not_unpacked():
    with pytest.raises(InputError, match=r"frames of shape \(1, 7\), allowed is \(B, 8\)"):
        GRAY.unpack(np.zeros((1, 7), np.uint32))
