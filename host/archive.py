"""The container of a bundle: named byte strings in one uncompressed zip file, read without trusting it.

Members are stored, not compressed: the bytes of a bundle then depend on its contents alone, and no small file can
claim to hold a huge one.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import re
import secrets
import struct
import zipfile
from pathlib import Path

import numpy as np

from .errors import BundleError

_SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")
_NPY = re.compile(rb"\x93NUMPY\x01\x00(?P<length>..)\{'descr': '(?P<dtype>[^'\n]+)', 'fortran_order': False, "
                  rb"'shape': \((?P<shape>(\d{1,18}, ?)*(\d{1,18})?)\), \} *\n", re.DOTALL)
_MOST_MEMBERS = 256
_ENCRYPTED = 0x1


def read(path: Path) -> dict[str, bytes]:
    """Return the members of the archive at `path`.

    Raises BundleError if it is no zip file, damaged or truncated, has unsafe, repeated, compressed or encrypted
    members, or cannot be read at all."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BundleError(f"cannot read the bundle {path}: {error.strerror or error}",
                          hint="a bundle is the .qblif file that `qblif compile` makes") from error
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = archive.infolist()
            _check_members(path, infos, len(data))
            return {info.filename: archive.read(info) for info in infos}
    except (zipfile.BadZipFile, zipfile.LargeZipFile, struct.error, EOFError, OSError, ValueError, OverflowError,
            NotImplementedError, RuntimeError) as error:
        raise BundleError(f"{path} is not a bundle, or is damaged or truncated: {error}",
                          hint="build or copy it again") from error


def _check_members(path: Path, infos: list[zipfile.ZipInfo], size: int):
    if len(infos) > _MOST_MEMBERS:
        raise BundleError(f"{path} has {len(infos)} members, allowed is {_MOST_MEMBERS}")
    names = set()
    for info in infos:
        name = info.orig_filename
        if not _SAFE_NAME.fullmatch(name):
            raise BundleError(f"{path} has a member with the unsafe name {name!r}",
                              hint="allowed are relative paths of letters, digits and _.- that stay inside the bundle")
        if name in names:
            raise BundleError(f"{path} has the member {name!r} twice")
        names.add(name)
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & _ENCRYPTED:
            raise BundleError(f"{path}: member {name!r} is compressed or encrypted, bundles are not",
                              hint="use the bundle as it was written; do not pack it again")
        if info.file_size != info.compress_size:
            raise BundleError(f"{path}: member {name!r} declares {info.file_size} bytes and takes {info.compress_size}")
    declared = sum(info.file_size for info in infos)
    if declared > size:
        raise BundleError(f"{path} declares {declared} bytes of contents, but has only {size} in all")


def write(path: Path, members: dict[str, bytes]):
    """Write an archive, replacing `path` atomically: readers see the old file or the new one, never a part.

    Equal members give equal bytes. Raises BundleError when the file cannot be written."""
    draft = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(draft, "xb") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
                for name, data in members.items():
                    info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
                    info.create_system = 3  # else the bytes would depend on the operating system
                    info.external_attr = 0o644 << 16
                    archive.writestr(info, data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except OSError as error:
        raise BundleError(f"cannot write the bundle {path}: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            draft.unlink()


def array_to_bytes(array: np.ndarray) -> bytes:
    """Return an array as an .npy file."""
    file = io.BytesIO()
    np.lib.format.write_array(file, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
    return file.getvalue()


def array_from_bytes(data: bytes, dtype: type) -> np.ndarray:
    """Return the array of an .npy file, read-only.

    Raises ValueError unless it has `dtype`, row order, and exactly the size that its header declares. numpy's own
    reader evaluates the header and allocates what it asks for; only headers as numpy writes them are needed here."""
    header = _NPY.match(data)
    if not header:
        raise ValueError("it is not a plain .npy file of version 1.0 in row order")
    if int.from_bytes(header["length"], "little") != header.end() - header.end("length"):
        raise ValueError("its header has another length than it says")
    found, wanted = header["dtype"].decode("ascii", "replace"), np.dtype(dtype)
    if found != wanted.str:
        raise ValueError(f"it holds {found!r}, allowed is {wanted.str!r}")
    shape = tuple(int(size) for size in header["shape"].split(b",") if size.strip())
    size = math.prod(shape) * wanted.itemsize
    if size != len(data) - header.end():
        raise ValueError(f"its header declares the shape {shape}, its contents are {len(data) - header.end()} bytes")
    return np.frombuffer(data, wanted, offset=header.end()).reshape(shape)
