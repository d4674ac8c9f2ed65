"""CIFAR's python batches, which are pickles, read without giving a pickle the power to run or build anything.

A pickle names functions and classes, and a plain unpickler imports and calls them. This one knows few names, those
with which numpy arrays are written, and puts stand-ins in their place; any other name is an error. So a file can make
lists, dictionaries, numbers, bytes and stand-ins, and nothing else.
"""

from __future__ import annotations

import io
import math
import pickle
from pathlib import Path

import numpy as np

from qblif.gen.errors import DataError

NAMES = (("numpy", "dtype"), ("numpy", "ndarray"), ("numpy.core.multiarray", "_reconstruct"),
         ("numpy._core.multiarray", "_reconstruct"), ("_codecs", "encode"))
"""What numpy arrays are written with; the last: bytes, where Python 3 writes a pickle that Python 2 can read."""


class _Made:
    """Stands for what a function made: remembers the arguments, and the state that was written behind it."""

    def __init__(self, name: str, arguments: tuple):
        self.name, self.arguments, self.state = name, arguments, None

    def __setstate__(self, state):
        self.state = state


class _Named:
    """Stands for a function or class that a pickle names."""

    def __init__(self, name: str):
        self.name = name

    def __call__(self, *arguments):
        return arguments[0].encode("latin1") if self.name == "encode" else _Made(self.name, arguments)


class _Reader(pickle.Unpickler):
    def find_class(self, module, name):
        if (module, name) not in NAMES:
            raise DataError(f"it asks for {module}.{name}, which no CIFAR batch does: nothing of it was run. Get the "
                            "file from the set's own page")
        return _Named(name)


def read(path: Path) -> dict[bytes, object]:
    """Return a batch: byte strings -> numbers, byte strings, lists of them, and arrays of bytes.

    Raises DataError where the file is no such batch, or asks for anything else."""
    try:
        # Python 2 wrote these files: its strings are bytes
        found = _Reader(io.BytesIO(path.read_bytes()), encoding="bytes").load()
    except DataError as error:
        raise DataError(f"{path} is not read: {error}") from None
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError,
            ImportError, OverflowError, MemoryError) as error:
        raise DataError(f"{path} is no CIFAR batch, or it was cut off: {error}") from error
    if not isinstance(found, dict):
        raise DataError(f"{path} holds a {type(found).__name__}, a CIFAR batch is a dictionary")
    return {key.encode() if isinstance(key, str) else key: _array(path, value) if isinstance(value, _Made) else value
            for key, value in found.items()}


def _array(path: Path, value: _Made) -> np.ndarray:
    """Return the uint8 array that a stand-in remembers, by its state: version, shape, type, Fortran order, bytes."""
    state = value.state
    fits = (isinstance(state, tuple) and len(state) == 5 and isinstance(state[1], tuple)
            and all(type(n) is int and n >= 0 for n in state[1]) and isinstance(state[2], _Made)
            and state[2].name == "dtype" and state[2].arguments[:1] in ((b"u1",), ("u1",)))
    if not fits or state[3] not in (False, 0) or not isinstance(state[4], bytes) \
            or len(state[4]) != math.prod(state[1]):
        raise DataError(f"{path} holds an array that is not of bytes, row by row, as CIFAR's are")
    return np.frombuffer(state[4], np.uint8).reshape(state[1])
