"""The serial link's frames: what host and hardware agree on, byte by byte. Plain Python; docs/serial.md explains it.

On the wire a frame is ``00 COBS(words, CRC-32) 00``: no byte of a frame is 0, so a receiver that lost its place finds
it again at the next 0. All words are 32 bits, little-endian; the CRC is zlib's, over all words before it.

| request word  | what                                                                                          |
|---------------|-----------------------------------------------------------------------------------------------|
| 0             | HEADER_FIELDS                                                                                 |
| 1             | ARGUMENT_FIELDS                                                                               |
| 2 ...         | data: up to REQUEST_DATA words                                                                |
| last          | CRC-32                                                                                        |

| response word | what                                                                                          |
|---------------|-----------------------------------------------------------------------------------------------|
| 0             | HEADER_FIELDS of the request                                                                  |
| 1 ...         | data: up to RESPONSE_DATA words                                                               |
| last three    | STATE_FIELDS, QUEUE_FIELDS, CRC-32                                                            |
"""

from __future__ import annotations

import enum
import zlib

LINK_VERSION = 1
"""Incremented whenever anything in this file changes its meaning."""

REQUEST_WORDS = 256
"""Largest request, in words, header and CRC included."""

RESPONSE_WORDS = 64
"""Largest response, in words, header and CRC included."""

REQUEST_DATA = REQUEST_WORDS - 3
RESPONSE_DATA = RESPONSE_WORDS - 4

STORED = 4
"""Responses that the hardware keeps: it answers any of the last STORED requests again instead of executing it again."""

WINDOW = 2
"""Requests that a host may have under way. The hardware has room for this many beside the one it executes."""

QUEUE_BEATS = 1024
"""Beats that the hardware takes before the accelerator does."""

OUTPUT_BEATS = 512
"""Beats that the accelerator may be ahead of the host's collecting."""


class Command(enum.IntEnum):
    """What a request asks for.

    SYNC: begin a session. Its sequence number is the first of the session. Response: SYNC_DATA.
    READ: `count` registers from byte offset `place`. Response: their values.
    WRITE: data words to consecutive registers from byte offset `place`.
    PROGRAM, INPUT: beats to a stream, flag LAST: the last of them ends a frame; they are taken all or, with
    status REFUSED, none. The data are the beats, or with flag PACKED what `pack_beats` makes of them. Response of
    both: up to `count` beats of the output stream, of one frame at most.
    """

    SYNC = 1
    READ = 2
    WRITE = 3
    PROGRAM = 4
    INPUT = 5


class Status(enum.IntEnum):
    """How a request ended."""

    OK = 0
    REFUSED = 1
    BAD_REQUEST = 2
    NO_SESSION = 3

    @property
    def meaning(self) -> str:
        """One sentence for a person: what happened."""
        return _MEANING[self]


_MEANING = {
    Status.OK: "the request was executed",
    Status.REFUSED: "the beats were not taken: there is no room for all of them, or others are missing before them",
    Status.BAD_REQUEST: "the request is none that the hardware knows",
    Status.NO_SESSION: "the request belongs to no session of the hardware: it was restarted, or opened by someone else",
}

HEADER_FIELDS = (("command", 8), ("sequence", 8), ("session", 16))
"""session: number that the host draws when it opens the link, not 0; sequence: of requests, modulo 256."""

ARGUMENT_FIELDS = (("place", 16), ("count", 8), ("flags", 8))
"""place: of PROGRAM and INPUT, beats taken since reset before these, modulo 2**16."""

LAST = 1
"""Request flag: the last beat ends a frame."""

PACKED = 2
"""Request flag: beats of value 0 are left out; see `pack_beats`."""

STATE_FIELDS = (("status", 8), ("last", 1), ("drained", 1), ("error", 1), ("reserved", 5), ("place", 16))
"""last: the last data word ended an output frame; drained: the accelerator took all beats that the hardware took;
error: the STATUS register shows an error; place: beats taken since reset, modulo 2**16."""

QUEUE_FIELDS = (("room", 16), ("waiting", 16))
"""room: beats that would be taken now; waiting: output beats that wait to be collected."""

SYNC_DATA = (LINK_VERSION, REQUEST_DATA, RESPONSE_DATA, QUEUE_BEATS, WINDOW)
"""Response to SYNC: how the hardware was built."""

BYTE_BITS = 10
"""Bits that a byte takes on the line: start bit, eight data bits, stop bit."""


def cobs_encode(data: bytes) -> bytes:
    """Return `data` without zeros: each is replaced by the distance to the next (consistent overhead byte stuffing).

    Adds one byte, and one more for every 254 bytes without zero."""
    out = bytearray()
    for run in data.split(b"\0"):
        while len(run) >= 254:
            out += b"\xff" + run[:254]
            run = run[254:]
        out.append(len(run) + 1)
        out += run
    return bytes(out)


def cobs_decode(data: bytes) -> bytes | None:
    """Return what `cobs_encode` made `data` of; None where that cannot be."""
    out, at, pending = bytearray(), 0, False
    while at < len(data):
        code = data[at]
        run = data[at + 1:at + code]
        if code == 0 or len(run) != code - 1 or 0 in run:
            return None
        if pending:
            out.append(0)
        out += run
        at += code
        pending = code != 255
    return bytes(out)


def pack_beats(beats: list[int]) -> list[int]:
    """Return the data words of beats with flag PACKED: their number; then, for every 32 of them, a word with a bit for
    each (bit 0: the first) that is 1 where the beat is not 0, and those that are not.

    Most beats of an image are 0: the high planes of what is dark, margins, and what fills a row's last word."""
    words = [len(beats)]
    for at in range(0, len(beats), 32):
        group = beats[at:at + 32]
        words.append(sum(1 << bit for bit, beat in enumerate(group) if beat))
        words += filter(None, group)
    return words


def wire_bytes(words: int) -> int:
    """Return the bytes on the wire of a frame of so many words, its CRC not counted, at worst."""
    size = 4 * words + 4
    return size + 1 + size // 254 + 2


def encode(words: bytes) -> bytes:
    """Return the bytes on the wire of a frame of whole words, both delimiters included."""
    return b"\0" + cobs_encode(words + zlib.crc32(words).to_bytes(4, "little")) + b"\0"


def decode(chunk: bytes) -> bytes | None:
    """Return the words of a frame from what came between two delimiters; None where it is damaged."""
    data = cobs_decode(chunk)
    if data is None or len(data) < 8 or len(data) % 4:
        return None
    words = data[:-4]
    return words if zlib.crc32(words) == int.from_bytes(data[-4:], "little") else None


class Deframer:
    """Finds frames in a stream of bytes that may hold anything.

    damaged: number of pieces seen so far that were no frame."""

    def __init__(self, largest: int = 4 * REQUEST_WORDS):
        self._largest = largest + largest // 254 + 1
        self._piece = bytearray()
        self.damaged = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Return the words of all frames that `data` completes."""
        found = []
        *complete, rest = data.split(b"\0")
        for piece in complete:
            piece, self._piece = bytes(self._piece + piece), bytearray()
            if piece:
                words = decode(piece) if len(piece) <= self._largest else None
                if words is None:
                    self.damaged += 1
                else:
                    found.append(words)
        # what is too long is damaged, however it goes on: its end is all that has to be waited for
        self._piece += rest[:max(0, self._largest + 1 - len(self._piece))]
        return found
