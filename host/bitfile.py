"""Xilinx .bit files: a small header in front of the configuration data.

The container has no specification; this is what Vivado and prjxray's xc7frames2bit write. All numbers are big-endian:
a field of 9 magic bytes; the word 1; then a key letter, a length and a value each: ``a`` design, ``b`` part, ``c``
date, ``d`` time (text that ends in NUL, 16-bit length), ``e`` the configuration data (32-bit length), up to the end of
the file.
"""

from __future__ import annotations

import dataclasses
import re
import struct
from pathlib import Path

from .errors import QblifError

MAGIC = bytes.fromhex("0ff00ff00ff00ff000")

_TEXTS = (("a", "design"), ("b", "part"), ("c", "date"), ("d", "time"))
_START = struct.pack(">H", len(MAGIC)) + MAGIC + struct.pack(">H", 1)
_HINT = "Build it again, or copy it again: a .bit that ends early or was changed underway must not reach a board."


class BitfileError(QblifError):
    """A .bit file that is damaged, cut off, or none."""


@dataclasses.dataclass(frozen=True)
class Bitfile:
    """Contents of a .bit file.

    design: what was built, as the tool calls it, with ``;`` separated properties behind; part: device and package, as
    the tool spells it (`same_part`); date: ``YYYY/MM/DD``; time: ``HH:MM:SS``; data: the configuration, a multiple of
    4 bytes and not empty. The texts are printable ASCII. Raises BitfileError, naming the field.
    """

    design: str
    part: str
    date: str
    time: str
    data: bytes

    def __post_init__(self):
        for _, name in _TEXTS:
            value = getattr(self, name)
            if not value.isascii() or not value.isprintable() or len(value) > 0xFFFE:
                raise BitfileError(f"the {name} field is {value[:60]!r}; printable ASCII of at most 65,534 characters "
                                   f"is allowed", hint=_HINT)
        if not self.part:
            raise BitfileError("the part field is empty; the part tells which chip a bitstream is for", hint=_HINT)
        if not self.data or len(self.data) % 4:
            raise BitfileError(f"there are {len(self.data)} bytes of configuration data; a multiple of 4, and not 0, "
                               f"is what a device takes", hint=_HINT)

    def to_bytes(self) -> bytes:
        """Return the file; `parse` is the inverse."""
        fields = [_START]
        for key, name in _TEXTS:
            text = getattr(self, name).encode("ascii") + b"\0"
            fields.append(key.encode() + struct.pack(">H", len(text)) + text)
        return b"".join([*fields, b"e", struct.pack(">I", len(self.data)), self.data])


def parse(content: bytes) -> Bitfile:
    """Return what a .bit file says. Raises BitfileError, telling what was found where."""
    if content[:len(_START)] != _START:
        raise BitfileError(f"this is no .bit file: it begins with {content[:13].hex(' ') or 'nothing'}, "
                           f"a .bit file with {_START.hex(' ')}",
                           hint="A .bin file has no header; take the .bit file that lies beside it.")
    at, texts = len(_START), {}

    def take(count: int, what: str) -> bytes:
        nonlocal at
        if at + count > len(content):
            raise BitfileError(f"the .bit file ends amid {what}: byte {at} and {count} more were due, the file has "
                               f"{len(content)}", hint=_HINT)
        at += count
        return content[at - count:at]

    def key(letter: str, what: str) -> None:
        found = take(1, what)
        if found != letter.encode():
            raise BitfileError(f"byte {at - 1} of the .bit file is {found!r}, where the {what} field begins with "
                               f"{letter.encode()!r}", hint=_HINT)

    for letter, name in _TEXTS:
        key(letter, name)
        (length,) = struct.unpack(">H", take(2, f"the length of the {name} field"))
        text = take(length, f"the {name} field")
        if text[-1:] != b"\0" or b"\0" in text[:-1]:
            raise BitfileError(f"the {name} field is {text[:60]!r}; text that ends in its only NUL is allowed",
                               hint=_HINT)
        texts[name] = text[:-1].decode("latin-1")
    key("e", "data")
    (length,) = struct.unpack(">I", take(4, "the length of the data"))
    data = take(length, "the data")
    if at != len(content):
        raise BitfileError(f"{len(content) - at} bytes follow the configuration data; the file should end there",
                           hint=_HINT)
    return Bitfile(**texts, data=data)


def read(path: str | Path) -> Bitfile:
    """Return what the .bit file at `path` says. Raises BitfileError that names the file, and OSError."""
    try:
        return parse(Path(path).read_bytes())
    except BitfileError as error:
        raise BitfileError(f"{path}: {error.message}", hint=error.hint) from None


def same_part(found: str, wanted: str) -> bool:
    """Return whether two spellings name the same device and package: ``7z020clg400`` and ``xc7z020clg400-1`` do.

    Vivado leaves out prefix and speed grade for 7-series and writes both for newer parts; a speed grade or temperature
    range that only one of them gives does not count."""
    one, other = (re.sub(r"^xc|[-_]", "", part.lower()) for part in (found, wanted))
    shorter = min(one, other, key=len)
    # A device without its package ("7z020") is not enough: it would match any package.
    return bool(re.match(r".*[a-z]{3,4}\d{3,4}", shorter)) and one[:len(shorter)] == other[:len(shorter)]
