"""Writers of the file formats in which people have the sets, for small files of made-up contents."""

import gzip
import lzma
import struct

import numpy as np


def idx(path, array):
    """Write an idx file of unsigned bytes, compressed if its name ends in .gz."""
    raw = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)


def _text(text: bytes) -> bytes:
    return b"U" + bytes([len(text)]) + text if len(text) < 256 else b"T" + struct.pack("<I", len(text)) + text


def _number(n: int) -> bytes:
    return b"K" + bytes([n]) if n < 256 else b"M" + struct.pack("<H", n) if n < 65536 else b"J" + struct.pack("<i", n)


def _list(items) -> bytes:
    return b"](" + b"".join(map(_number if items and isinstance(items[0], int) else _text, items)) + b"e"


def _array(a) -> bytes:
    """A 2-D array of bytes as numpy 1.x under Python 2 writes it."""
    kind = b"cnumpy\ndtype\n" + _text(b"u1") + b"K\0K\x01\x87R(K\x03" + _text(b"|") + b"NNN" + 2 * (
        b"J" + struct.pack("<i", -1)) + b"K\0tb"
    return (b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85" + _text(b"b") + b"\x87R(K\x01"
            + b"".join(map(_number, a.shape)) + b"\x86" + kind + b"\x89" + _text(a.tobytes()) + b"tb")


def python2_pickle(path, entries):
    """Write a dictionary as Python 2's cPickle does with protocol 2, in the way of CIFAR's batches."""
    out = b"\x80\x02}("
    for key, value in entries.items():
        out += _text(key) + (_array(value) if isinstance(value, np.ndarray) else
                             _list(value) if isinstance(value, list) else _text(value))
    path.write_bytes(out + b"u.")


def packed(path, x):
    """Write uint8 images (N, 3, H, W) as a packed part, pixel by pixel as the format is described."""
    n, _, height, width = x.shape
    x = x.astype(int)
    green = x[:, 1]
    out = b"MGX1" + struct.pack("<3I", n, height, width)
    for plane in (green, x[:, 0] - green, x[:, 2] - green):
        residuals = np.zeros_like(plane)
        for k in range(n):
            for i in range(height):
                for j in range(width):
                    left = plane[k, i, j - 1] if j else None
                    above = plane[k, i - 1, j] if i else None
                    if left is None and above is None:
                        guess = 0
                    elif left is None or above is None:
                        guess = above if left is None else left
                    else:
                        guess = sorted((left, above, left + above - plane[k, i - 1, j - 1]))[1]
                    residuals[k, i, j] = (plane[k, i, j] - guess) % 256
        out += residuals.astype(np.uint8).tobytes()
    path.write_bytes(lzma.compress(out))


def nmnist(path, x, y, p, t):
    """Write events as N-MNIST's 40-bit records."""
    path.write_bytes(b"".join(bytes([a, b, c << 7 | d >> 16, d >> 8 & 255, d & 255])
                              for a, b, c, d in zip(x, y, p, t, strict=True)))


def aedat2(path, x, y, p, t, special=()):
    """Write events of a DVS128 as jAER does: x counts from the right, 0 is brighter; special: raw addresses."""
    header = b"#!AER-DAT2.0\r\n# This is a raw AE data file - do not edit\r\n# Timestamps tick is 1 us\r\n"
    words = [(b << 8 | (127 - a) << 1 | (1 - c), d) for a, b, c, d in zip(x, y, p, t, strict=True)]
    path.write_bytes(header + np.array([*words, *((address, 0) for address in special)], ">u4").tobytes())


def aedat3(path, packets):
    """Write packets as cAER does. packets: each (type, number of time overflows, rows of valid, x, y, p, t)."""
    out = b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: DVS128\r\n#Start-Time: 2015-11-17 11:02:30\r\n#!END-HEADER\r\n"
    for kind, overflow, rows in packets:
        out += struct.pack("<2H6I", kind, 1, 8, 4, overflow, len(rows), len(rows), sum(row[0] for row in rows))
        for valid, x, y, p, t in rows:
            out += struct.pack("<2I", x << 17 | y << 2 | p << 1 | valid, t)
    path.write_bytes(out)
