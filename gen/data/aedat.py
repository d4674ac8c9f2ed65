"""Recordings of the jAER, cAER and DV software: .aedat of versions 2 and 3, .aedat4.

Versions 2 and 3.1 are headers of text and records of fixed size, read here; .aedat4 is read by the package aedat.

Ref: iniVation, AEDAT file formats; P. Lichtsteiner et al., the DVS128 camera, 2008.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from qblif.gen.errors import DataError

from .events import Events

PACKET = np.dtype([("type", "<u2"), ("source", "<u2"), ("size", "<u4"), ("offset", "<u4"), ("overflow", "<u4"),
                   ("capacity", "<u4"), ("number", "<u4"), ("valid", "<u4")])
"""The header of a packet of version 3.1. overflow: how often 31 bits of microseconds have overflowed."""

POLARITY = 1
"""The type of packets with events of pixels, 8 bytes each; others hold frames, triggers and movement."""


def read_dvs128(path: Path) -> Events:
    """Return the events of a DVS128 camera in a file of version 2: 32 bits of address, 32 of time, big end first.

    Coordinates and polarity as the camera's own software shows them: x from the left, p = 1 for brighter."""
    raw, start = _open(path, b"2")
    if (len(raw) - start) % 8:
        raise DataError(f"{path} has {len(raw) - start} bytes of events, needed are records of 8: it was cut off")
    address, t = np.frombuffer(raw, ">u4", offset=start).reshape(-1, 2).T.astype(np.int64)
    pixel = address >> 15 == 0      # bit 15 marks signals that came in from outside
    address, t = address[pixel], t[pixel]
    return Events(127 - (address >> 1 & 127), address >> 8 & 127, 1 - (address & 1), t)


def read_aedat3(path: Path) -> Events:
    """Return the valid events of pixels in a file of version 3.1: packets of events, little end first."""
    raw, start = _open(path, b"3.1")
    parts = [np.zeros((2, 0), np.int64)]
    while start < len(raw):
        if len(raw) - start < PACKET.itemsize:
            raise DataError(f"{path} ends inside the header of a packet: it was cut off")
        packet = np.frombuffer(raw, PACKET, 1, start)[0]
        start += PACKET.itemsize
        size = int(packet["capacity"]) * int(packet["size"])
        if len(raw) - start < size or packet["number"] > packet["capacity"]:
            raise DataError(f"{path} announces a packet of {size} bytes with {packet['number']} events, and "
                            f"{len(raw) - start} are left: it was cut off or damaged")
        if packet["type"] == POLARITY and packet["size"] == 8:
            words = np.frombuffer(raw, "<u4", 2 * int(packet["number"]), start).reshape(-1, 2).T.astype(np.int64)
            words[1] += int(packet["overflow"]) << 31
            parts.append(words[:, words[0] & 1 == 1])
        start += size
    data, t = np.concatenate(parts, axis=1)
    return Events(data >> 17 & 0x7fff, data >> 2 & 0x7fff, data >> 1 & 1, t)


def read_aedat4(path: Path) -> Events:
    """Return the events of the first stream of events in an .aedat4 file."""
    import aedat

    try:
        decoder = aedat.Decoder(str(path))
        streams = [number for number, stream in decoder.id_to_stream().items() if stream["type"] == "events"]
        parts = [packet["events"] for packet in decoder if packet["stream_id"] == min(streams, default=None)]
    except Exception as error:  # it has a class of its own for each kind of damage, and does not publish them
        raise DataError(f"{path} is not read as .aedat4: {error}") from error
    if not streams:
        raise DataError(f"{path} has no stream of events")
    return Events(*(np.concatenate([part[name] for part in parts] or [np.zeros(0)]).astype(np.int64)
                    for name in ("x", "y", "p", "t")))


def _open(path: Path, version: bytes) -> tuple[bytes, int]:
    """Return the bytes of a file and where its data begins: behind lines that begin with #."""
    raw = path.read_bytes()
    found = re.match(rb"#!AER-DAT([\d.]+)", raw)
    if not found or not found[1].startswith(version):
        raise DataError(f"{path} begins with {raw[:16]!r}, needed is a recording of version {version.decode()}, which "
                        f"begins with '#!AER-DAT{version.decode()}'")
    end = re.search(rb"^#!END-HEADER\r?\n", raw, re.MULTILINE) if version.startswith(b"3") else \
        re.match(rb"(?:#[^\n]*\n)+", raw)
    if not end:
        raise DataError(f"{path} has no end of its header: it was cut off")
    return raw, end.end()
