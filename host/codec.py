"""How images become input frames: bit planes of padded maps, packed into feature-map words.

The memory order of a frame (host/abi.py's input map, row by row)::

    for y in rows:
        for t in time steps (one for a static input):
            for p in bit planes (plane 0 = least significant bit):
                words of the plane row

A plane row is bit p of the level of column x, channel c, at bit ``x * stored_channels + c``; channels that do not
exist and the rest of the last word are 0. Bit b of word w is bit ``w * word_bits + b`` of the row. A word is sent as
``word_bits / 32`` beats, lowest first.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from . import abi
from .errors import InputError

_LARGEST_FRAME = 1 << 26
"""Beats; far beyond any feature-map memory, and small enough to allocate."""


@dataclasses.dataclass(frozen=True)
class InputLayout:
    """Shape of the user's arrays and of the frames made from them.

    Parameters
    ----------
    shape: (C, H, W) of one time step as the user gives it
    steps: T
    static: True: one array (C, H, W) per image; False: (T, C, H, W) per image
    bits: bit planes sent, 1 to 8; levels are 0 .. 2**bits - 1
    padding: (top, bottom, left, right), map positions added around every step
    zero_point: level that fills the padding, one per channel; () = 0
    stored_channels: channels per column in a plane row, at least C; the ones added are 0
    word_bits: bits of a feature-map word, a multiple of 32

    Raises ValueError, naming the field, for values outside these.
    """

    shape: tuple[int, int, int]
    steps: int
    static: bool
    bits: int
    padding: tuple[int, int, int, int]
    zero_point: tuple[int, ...]
    stored_channels: int
    word_bits: int

    def __post_init__(self):
        for name, length in (("shape", 3), ("padding", 4), ("zero_point", None)):
            values = tuple(getattr(self, name))
            object.__setattr__(self, name, values)
            if length not in (None, len(values)):
                raise ValueError(f"{name} has {len(values)} values, allowed is {length}")
        _check_range("shape", self.shape, 1, 0xFFFF)
        _check_range("steps", (self.steps,), 1, 255)
        if not isinstance(self.static, bool):
            raise ValueError(f"static is {self.static!r}, allowed is True or False")
        _check_range("bits", (self.bits,), 1, 8)
        _check_range("padding", self.padding, 0, 0xFFFF)
        _check_range("zero_point", self.zero_point, 0, (1 << self.bits) - 1)
        if len(self.zero_point) not in (0, self.shape[0]):
            raise ValueError(f"zero_point has {len(self.zero_point)} values, allowed is none or one for each of the "
                             f"{self.shape[0]} channels")
        _check_range("stored_channels", (self.stored_channels,), self.shape[0], 1 << 20)
        _check_range("word_bits", (self.word_bits,), abi.LINK_BITS, 1 << 12)
        if self.word_bits % abi.LINK_BITS:
            raise ValueError(f"word_bits is {self.word_bits}, allowed is a multiple of {abi.LINK_BITS}")
        if self.beats > _LARGEST_FRAME:
            raise ValueError(f"a frame would have {self.beats} beats, allowed is {_LARGEST_FRAME}")

    # Sizes --------------------------------------------------------------------------------------------------

    @property
    def map_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one step after padding."""
        top, bottom, left, right = self.padding
        return (self.shape[0], self.shape[1] + top + bottom, self.shape[2] + left + right)

    @property
    def stored_steps(self) -> int:
        """Time steps that a frame holds: 1 for a static input, else T."""
        return 1 if self.static else self.steps

    @property
    def row_words(self) -> int:
        """Words of one plane row."""
        return -(-self.map_shape[2] * self.stored_channels // self.word_bits)

    @property
    def words(self) -> int:
        """Words of one frame."""
        return self.map_shape[1] * self.stored_steps * self.bits * self.row_words

    @property
    def beats(self) -> int:
        """32-bit beats of one frame."""
        return self.words * (self.word_bits // abi.LINK_BITS)

    def array_shape(self, batch: int | str | None) -> tuple:
        """Return the shape of the arrays that the user gives: of a batch, or of one image if `batch` is None."""
        count = () if batch is None else (batch,)
        return (*count, *self.shape) if self.static else (self.steps, *count, *self.shape)

    # Checking -----------------------------------------------------------------------------------------------

    def check(self, x, *, single: bool = False) -> np.ndarray:
        """Return `x` as a uint8 array of the same shape, once it is known to be valid.

        x: integers (or bools) 0 .. 2**bits - 1, anything that numpy understands: shape (B, C, H, W) if static,
        else (T, B, C, H, W); with `single`, without B. Need not be contiguous.

        Raises InputError with the offending shape, type, or first offending value; values are never wrapped.
        """
        x = _as_array(x)
        most = (1 << self.bits) - 1
        if x.dtype.kind not in "bui":
            hint = {"f": "give the integers that the network was trained on (undo any scaling to 0..1), as uint8",
                    "O": "all images need the same shape, and all values must be integers"}.get(x.dtype.kind)
            found = f"the input is of type {x.dtype}"
            if x.dtype.kind == "f" and np.isnan(x).any():
                found += " and contains NaN"
            raise InputError(f"{found}, allowed are integers 0 to {most}", hint=hint)
        self._check_shape(x, single)
        # bools have no min and max worth asking for
        if x.dtype.kind != "b" and (int(x.min()) < 0 or int(x.max()) > most):
            at = np.unravel_index(int(np.argmax((x < 0) | (x > most))), x.shape)
            raise InputError(f"the input is {int(x[at])} at index {tuple(int(i) for i in at)}, "
                             f"allowed are integers 0 to {most} ({self.bits} bits)",
                             hint="nothing is clipped or wrapped for you; scale or clip the data first")
        return x.astype(np.uint8, copy=False)

    def _check_shape(self, x: np.ndarray, single: bool):
        axes = ("" if self.static else "T, ") + ("" if single else "B, ") + "C, H, W"
        expected = self.array_shape(None if single else "B")
        where = 0 if self.static else 1
        wanted = f"({', '.join(map(str, expected))}), which is ({axes})"
        if x.ndim != len(expected):
            hint = None
            if single and x.ndim == len(expected) + 1:
                hint = "run takes one image; give a batch to run_batch"
            elif not single and x.shape == self.array_shape(None):
                hint = "run_batch takes a batch; give one image to run, or add an axis for the batch"
            elif not self.static and x.shape[-3:] == self.shape:
                hint = f"this network takes one array for each of its {self.steps} time steps, time first"
            raise InputError(f"the input has shape {x.shape}, allowed is {wanted}", hint=hint)
        if not single and x.shape[where] == 0:
            raise InputError(f"the input is an empty batch of shape {x.shape}", hint="give at least one image")
        if not self.static and x.shape[0] != self.steps:
            raise InputError(f"the input has {x.shape[0]} time steps (shape {x.shape}), allowed is {self.steps}: "
                             f"{wanted}", hint="the time axis comes first, before the batch")
        if x.shape[-3:] != self.shape:
            raise InputError(f"the input has shape {x.shape}, allowed is {wanted}")

    # Packing ------------------------------------------------------------------------------------------------

    def pack(self, x) -> np.ndarray:
        """Return the frames of a batch: uint32 of shape (B, beats). `x` and errors as in `check`."""
        x = self.check(x)
        if self.static:
            x = x[None]
        steps, batch, channels, height, width = x.shape
        _, map_height, map_width = self.map_shape
        top, _, left, _ = self.padding
        levels = np.zeros((batch, map_height, steps, map_width, self.stored_channels), np.uint8)
        if self.zero_point:
            levels[..., :channels] = np.array(self.zero_point, np.uint8)
        levels[:, top:top + height, :, left:left + width, :channels] = x.transpose(1, 3, 0, 4, 2)
        row_bits = map_width * self.stored_channels
        planes = np.zeros((batch, map_height, steps, self.bits, self.row_words * self.word_bits), np.uint8)
        for p in range(self.bits):
            planes[:, :, :, p, :row_bits] = (levels >> p & 1).reshape(batch, map_height, steps, row_bits)
        packed = np.packbits(planes, axis=-1, bitorder="little")
        return packed.reshape(batch, -1).view("<u4").astype(np.uint32, copy=False)

    def unpack(self, frames: np.ndarray) -> np.ndarray:
        """Return the batch that `pack` made these frames of: the inverse, uint8, without the padding."""
        frames = np.ascontiguousarray(frames, dtype="<u4")
        if frames.ndim != 2 or frames.shape[1] != self.beats:
            raise InputError(f"frames of shape {frames.shape}, allowed is (B, {self.beats})")
        channels, height, width = self.shape
        _, map_height, map_width = self.map_shape
        top, _, left, _ = self.padding
        bits = np.unpackbits(frames.view(np.uint8), axis=-1, bitorder="little")
        bits = bits.reshape(len(frames), map_height, self.stored_steps, self.bits, -1)
        bits = bits[..., :map_width * self.stored_channels]
        bits = bits.reshape(*bits.shape[:-1], map_width, self.stored_channels)
        levels = np.zeros((*bits.shape[:3], map_width, self.stored_channels), np.uint8)
        for p in range(self.bits):
            levels |= bits[:, :, :, p] << p
        levels = levels[:, top:top + height, :, left:left + width, :channels]
        x = levels.transpose(2, 0, 4, 1, 3)
        return np.ascontiguousarray(x[0] if self.static else x)

    # Serialising --------------------------------------------------------------------------------------------

    def to_dict(self) -> dict:
        """Return a JSON-able description, the inverse of `from_dict`."""
        return {name: list(value) if isinstance(value, tuple) else value
                for name, value in dataclasses.asdict(self).items()}

    @classmethod
    def from_dict(cls, data: dict) -> InputLayout:
        """Rebuild a layout from `to_dict`'s output. Raises ValueError on missing, unknown or bad values."""
        names = {field.name for field in dataclasses.fields(cls)}
        if not isinstance(data, dict) or set(data) != names:
            found = sorted(data) if isinstance(data, dict) else type(data).__name__
            raise ValueError(f"an input layout has the fields {sorted(names)}, not {found}")
        for name in ("shape", "padding", "zero_point"):
            if not isinstance(data[name], (list, tuple)):
                raise ValueError(f"{name} is {data[name]!r}, allowed is a list of integers")
        return cls(**data)


def _check_range(name: str, values: tuple, low: int, high: int):
    for value in values:
        # bool is an int in Python, and JSON's 1.0 is a float: neither is meant
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ValueError(f"{name} is {value!r}, allowed is {low} to {high}")


def _as_array(x) -> np.ndarray:
    try:
        return np.asarray(x)
    except (TypeError, ValueError, RuntimeError) as error:
        # ragged lists, tensors on another device, tensors that require gradients
        raise InputError(f"the input, a {type(x).__name__}, cannot be made a numpy array: {error}",
                         hint="all images need the same shape; give tensors as x.detach().cpu()") from error
