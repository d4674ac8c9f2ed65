"""Networks as files: one .safetensors file with the arrays, and everything else as JSON in its metadata.

No pickle, so that opening a stranger's file runs nothing. The same network gives the same bytes. Metadata keys:
``qblif.network`` (the JSON) and nothing else; the JSON's ``sha256`` covers the rest of it and all arrays.

Ref: the safetensors format, https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import pathlib
import shlex
import zipfile

import numpy as np
import safetensors
import safetensors.numpy

from qblif.host.bundle import MANIFEST

from .errors import NetworkFileError, VerifyError
from .network import Input, MaxPool, Network, Neuron, NeuronLayer, Readout, Reset, Source
from .verify import verify

SCHEMA = 1
"""Incremented whenever the meaning of a file changes; `load` refuses newer ones."""

KEY = "qblif.network"
KINDS = {"neuron": NeuronLayer, "max_pool": MaxPool, "readout": Readout}


def save(network: Network, path: str | os.PathLike) -> None:
    """Write a network to a file, all or nothing.

    Raises VerifyError if the network is not valid, NetworkFileError if the file cannot be written.
    """
    path = pathlib.Path(path)
    data = dumps(network)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError as error:
        raise NetworkFileError(f"cannot write {str(path)!r}: {error.strerror}") from error
    finally:
        temporary.unlink(missing_ok=True)


def load(path: str | os.PathLike) -> Network:
    """Return the verified network in a file; raises NetworkFileError if anything about it is not as saved."""
    try:
        data = pathlib.Path(path).read_bytes()
    except OSError as error:
        raise NetworkFileError(f"cannot read {str(path)!r}: {error.strerror}") from error
    try:
        return loads(data)
    except NetworkFileError as error:
        other, hint = _other(path, data)
        told = f"is {other}, needed is a network: the file that `qblif fold` saves" if other else str(error)
        raise NetworkFileError(f"{str(path)!r} {told}", hint=hint) from error.__cause__


def _other(path, data: bytes) -> tuple[str | None, str | None]:
    """Return what a file is that holds no network, and what to do with it, where that can be told."""
    if pathlib.Path(path).suffix == ".py":
        return "a module", f"`qblif fold {shlex.quote(str(path))}:NAME -o FILE.network` makes a network of it"
    if data[:1] == b"{":
        return "a text, perhaps a design", "a design says what hardware there is: it goes with --design"
    if zipfile.is_zipfile(io.BytesIO(data)):
        members = zipfile.ZipFile(io.BytesIO(data)).namelist()
        if MANIFEST in members:
            return "a bundle", "it was made of a network, for one piece of hardware; give that network"
        if any(name.endswith("/data.pkl") for name in members):
            return "weights", "`qblif fold FILE.py:NAME --weights FILE -o FILE` makes a network of them and a module"
        return "an archive", None
    return None, None


def dumps(network: Network) -> bytes:
    """Return a network as the bytes of a file."""
    tree, arrays = _encode(verify(network))
    tree = {"schema": SCHEMA, "sha256": _digest(tree, arrays), "network": tree}
    return safetensors.numpy.save(arrays, metadata={KEY: _json(tree)})


def loads(data: bytes) -> Network:
    """Return the verified network in the bytes of a file; raises NetworkFileError."""
    try:
        arrays = safetensors.numpy.load(data)
        length = int.from_bytes(data[:8], "little")
        tree = json.loads(json.loads(data[8:8 + length])["__metadata__"][KEY], parse_constant=_refuse_constant)
    except safetensors.SafetensorError as error:
        raise NetworkFileError(f"is truncated, altered or not a safetensors file: {error}") from error
    except (KeyError, TypeError) as error:
        raise NetworkFileError(f"holds no network: its metadata has no {KEY!r}") from error
    except (ValueError, RecursionError) as error:
        raise NetworkFileError(f"is altered, its metadata cannot be read: {error}") from error
    schema = tree.get("schema") if isinstance(tree, dict) else None
    if not isinstance(schema, int) or schema < 1:
        raise NetworkFileError(f"has the schema {schema!r}, allowed is {SCHEMA}")
    if schema > SCHEMA:
        raise NetworkFileError(f"has the schema {schema}, this version reads up to {SCHEMA}: install a newer qblif")
    try:
        if tree.get("sha256") != _digest(tree["network"], arrays):
            raise NetworkFileError("is altered: its checksum does not match its contents")
        return verify(_decode(tree["network"], arrays))
    except VerifyError as error:
        raise NetworkFileError(f"holds a network that is not valid: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise NetworkFileError(f"holds something else than a network: {type(error).__name__} {error}") from error


def network_hash(network: Network) -> str:
    """Return the SHA-256 (hex) of what a network computes and how it is named, without its `meta`."""
    return _digest(*_encode(dataclasses.replace(network, meta={})))


# --- between dataclasses and JSON ---------------------------------------------------------------------------

def _encode(network: Network):
    """Return the network as JSON-able values, and its arrays by name; arrays stand in the JSON as {"array": name}."""
    arrays: dict[str, np.ndarray] = {}

    def encode(value, where):
        if isinstance(value, np.ndarray):
            arrays[where] = np.ascontiguousarray(value)
            return {"array": where}
        if isinstance(value, Reset):
            return value.value
        if dataclasses.is_dataclass(value):
            fields = {field.name: encode(getattr(value, field.name), f"{where}.{field.name}".lstrip("."))
                      for field in dataclasses.fields(value)}
            kinds = [name for name, kind in KINDS.items() if isinstance(value, kind)]
            return fields | ({"kind": kinds[0]} if kinds else {})
        if isinstance(value, tuple):
            return [encode(item, f"{where}.{index}") for index, item in enumerate(value)]
        return value

    return encode(network, ""), arrays


def _decode(tree, arrays) -> Network:
    """Inverse of `_encode`; raises TypeError, KeyError or ValueError for what no network encodes to."""
    unused = dict(arrays)

    def array(value):
        found = unused.pop(value["array"])
        found.setflags(write=False)
        return found

    def made(kind, value, **parts):
        names = [field.name for field in dataclasses.fields(kind)]
        if sorted(value.keys() - {"kind"}) != sorted(names):
            raise ValueError(f"{kind.__name__} with the fields {sorted(value)}, allowed are {sorted(names)}")
        return kind(**{name: parts[name](value[name]) if name in parts else _plain(value[name]) for name in names})

    def source(value):
        return made(Source, value, weight=array)

    def neuron(value):
        return made(Neuron, value, style=Reset)

    def layer(value):
        parts = {"sources": lambda items: tuple(map(source, items)), "bias": array, "shift": array, "neuron": neuron}
        return made(KINDS[value["kind"]], value, **parts)

    network = made(Network, tree, input=lambda value: made(Input, value),
                   layers=lambda items: tuple(map(layer, items)), meta=dict)
    if unused:
        raise ValueError(f"arrays that belong to no layer: {sorted(unused)}")
    return network


def _plain(value):
    """Return numbers and text as they are, lists as tuples."""
    return tuple(map(_plain, value)) if isinstance(value, list) else value


def _digest(tree, arrays) -> str:
    digest = hashlib.sha256(_json(tree).encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(_json([name, str(array.dtype), array.shape]).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _json(tree) -> str:
    return json.dumps(tree, sort_keys=True, separators=(",", ":"))


def _refuse_constant(name: str):
    raise ValueError(f"{name} is not a number that a network may hold")
