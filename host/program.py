"""Reading a program image: what the host checks before it sends one (the layout is in host/abi.py)."""

from __future__ import annotations

import dataclasses

import numpy as np

from . import abi


@dataclasses.dataclass(frozen=True)
class ProgramHeader:
    """The preamble of a program image: 64-bit hashes, and the number of sections."""

    build_hash: int
    program_hash: int
    sections: int


def read_header(image: np.ndarray) -> ProgramHeader:
    """Return the preamble of a program image, a uint32 array (beats,), once magic, version and checksum hold.

    Raises ValueError, saying what was found, otherwise."""
    if image.ndim != 1 or image.dtype != np.uint32:
        raise ValueError(f"a program image is a vector of uint32, not {image.dtype} of shape {image.shape}")
    if len(image) < abi.PREAMBLE_BEATS + 1:
        raise ValueError(f"a program image has at least {abi.PREAMBLE_BEATS + 1} beats, not {len(image)}")
    words = [int(word) for word in image[:abi.PREAMBLE_BEATS]]
    if words[0] != abi.MAGIC:
        raise ValueError(f"the program image begins with {words[0]:#010x}, not with {abi.MAGIC:#010x}")
    if words[1] != abi.ABI_VERSION:
        raise ValueError(f"the program image has ABI version {words[1]}, this package has {abi.ABI_VERSION}")
    crc = abi.crc(image[:-1].astype("<u4").tobytes())
    if crc != int(image[-1]):
        raise ValueError(f"the program image's checksum is {int(image[-1]):#010x}, its contents give {crc:#010x}")
    return ProgramHeader(words[2] | words[3] << 32, words[4] | words[5] << 32, words[6])
