"""The bundle: one file with everything that deploying a network takes. Read without trusting it.

| member               | what                                                                       |
|----------------------|----------------------------------------------------------------------------|
| manifest.json        | names, sizes, layouts, hashes, and the size and SHA-256 of every member    |
| program.npy          | program image, uint32 (beats,), host/abi.py                                |
| verilog/top.sv       | the hardware, as emitted                                                   |
| golden/inputs.npy    | test images, uint8, as `run_batch` takes them                              |
| golden/logits.npy    | the integers that they must give, int64 (B, K)                             |
| network.safetensors  | the integer network (gen/network_file.py); bytes to the host               |
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from . import abi, archive
from .codec import InputLayout
from .errors import BundleError, InputError
from .program import read_header

SCHEMA = 1
"""Version of the bundle's manifest; incremented when older readers would misread it."""

FORMAT = "qblif-bundle"
MANIFEST = "manifest.json"
PROGRAM = "program.npy"
VERILOG = "verilog/top.sv"
GOLDEN_INPUTS = "golden/inputs.npy"
GOLDEN_LOGITS = "golden/logits.npy"
NETWORK = "network.safetensors"

_LARGEST_MANIFEST = 1 << 22


@dataclasses.dataclass(frozen=True, eq=False)
class Bundle:
    """A verified bundle.

    path: the file; name: the network's; steps: T; classes: K;
    scale: logits in the units of training = integer logits * scale;
    input_layout: shape of images and frames;
    design: hw.params.DesignParams.to_dict(), the hardware that the program is for;
    build_hash, program_hash: 64-bit, of hardware and program; program: the image, uint32 (beats,);
    verilog: source text of the top; golden_inputs, golden_logits: test vectors;
    network: bytes of the integer network; tools: program -> version that made it; about: free text, by key.
    """

    path: Path
    name: str
    steps: int
    classes: int
    scale: float
    input_layout: InputLayout
    design: dict[str, Any]
    build_hash: int
    program_hash: int
    program: np.ndarray
    verilog: str
    golden_inputs: np.ndarray
    golden_logits: np.ndarray
    network: bytes
    tools: dict[str, str]
    about: dict[str, str]

    @classmethod
    def load(cls, path: str | os.PathLike) -> Bundle:
        """Read a bundle. Everything is checked before anything is used; raises BundleError, saying what is wrong."""
        path = Path(path)
        return _verified(path, archive.read(path))

    @staticmethod
    def write(path: str | os.PathLike, *, name: str, scale: float, input_layout: InputLayout, design: dict,
              program: np.ndarray, verilog: str, golden_inputs: np.ndarray, golden_logits: np.ndarray, network: bytes,
              tools: dict[str, str], about: dict[str, str] | None = None) -> Bundle:
        """Write a bundle, replacing `path` atomically, and return it. Equal arguments give equal bytes.

        Raises BundleError, leaving `path` as it was, when the parts contradict each other or cannot be written."""
        path = Path(path)
        members = {PROGRAM: archive.array_to_bytes(program),
                   VERILOG: verilog.encode(),
                   GOLDEN_INPUTS: archive.array_to_bytes(golden_inputs),
                   GOLDEN_LOGITS: archive.array_to_bytes(golden_logits),
                   NETWORK: bytes(network)}
        try:
            program_hash = read_header(program).program_hash
        except ValueError as error:
            raise BundleError(f"the program of {name!r} cannot be bundled: {error}") from error
        manifest = {"format": FORMAT, "schema": SCHEMA, "abi": abi.ABI_VERSION, "name": name,
                    "steps": input_layout.steps, "classes": int(golden_logits.shape[-1]), "scale": float(scale),
                    "input": input_layout.to_dict(), "design": design,
                    "build_hash": f"{abi.build_hash(design):016x}", "program_hash": f"{program_hash:016x}",
                    "members": {key: _fingerprint(data) for key, data in members.items()},
                    "tools": tools, "about": about or {}}
        manifest["sha256"] = _manifest_digest(manifest)
        members = {MANIFEST: json.dumps(manifest, indent=1, sort_keys=True).encode(), **members}
        bundle = _verified(path, members)
        archive.write(path, members)
        return bundle

    def __str__(self) -> str:
        shape = "x".join(map(str, self.input_layout.shape))
        return (f"{self.name}: input {shape} ({self.input_layout.bits} bits), T={self.steps}, {self.classes} classes, "
                f"{len(self.design['cores'])} core(s), program {self.program_hash:016x} of {self.program.nbytes} bytes "
                f"for build {self.build_hash:016x}, {len(self.golden_logits)} golden vector(s)")


@dataclasses.dataclass(frozen=True)
class _Manifest:
    """A parsed manifest.json and typed access to it."""

    path: Path
    values: dict[str, Any]

    @classmethod
    def parse(cls, path: Path, data: bytes) -> _Manifest:
        if len(data) > _LARGEST_MANIFEST:
            raise BundleError(f"{path}: {MANIFEST} has {len(data)} bytes, allowed is {_LARGEST_MANIFEST}")
        try:
            values = json.loads(data.decode())
        except (ValueError, RecursionError) as error:
            raise BundleError(f"{path}: {MANIFEST} is damaged: {error}") from error
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            raise BundleError(f"{path} is no bundle: {MANIFEST} does not say \"format\": \"{FORMAT}\"")
        manifest = cls(path, values)
        schema = manifest.integer("schema", 1, 1 << 31)
        if schema > SCHEMA:
            raise BundleError(f"{path} has bundle schema {schema}, this package reads up to {SCHEMA}",
                              hint="a newer version of qblif made it: upgrade this one (git pull, pip install .)")
        version = manifest.integer("abi", 1, 1 << 31)
        if version != abi.ABI_VERSION:
            raise BundleError(f"{path} is for ABI version {version}, this package has {abi.ABI_VERSION}",
                              hint="build the bundle again, or use the version of qblif that made it")
        if manifest.text("sha256") != _manifest_digest(values):
            raise BundleError(f"{path}: {MANIFEST} was altered: its contents do not have the hash that it states",
                              hint="build or copy the bundle again")
        return manifest

    def get(self, key: str, kind: type) -> Any:
        value = self.values.get(key)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise BundleError(f"{self.path}: {key!r} in {MANIFEST} is {_short(value)}, allowed is a {kind.__name__}")
        return value

    def integer(self, key: str, low: int, high: int) -> int:
        value = self.get(key, int)
        if not low <= value <= high:
            raise BundleError(f"{self.path}: {key!r} in {MANIFEST} is {_short(value)}, allowed is {low} to {high}")
        return value

    def text(self, key: str) -> str:
        return self.get(key, str)

    def texts(self, key: str) -> dict[str, str]:
        value = self.get(key, dict)
        if not all(isinstance(item, str) for item in value.values()):
            raise BundleError(f"{self.path}: {key!r} in {MANIFEST} holds something else than texts")
        return value

    def check_members(self, members: dict[str, bytes]):
        declared = self.get("members", dict)
        required = {PROGRAM, VERILOG, GOLDEN_INPUTS, GOLDEN_LOGITS, NETWORK}
        missing = sorted((required | set(declared)) - set(members))
        if missing:
            raise BundleError(f"{self.path} lacks {', '.join(missing)}", hint="build or copy the bundle again")
        unknown = sorted(set(members) - set(declared))
        if unknown:
            raise BundleError(f"{self.path} has members that its {MANIFEST} does not list: {', '.join(unknown)}")
        for name, data in members.items():
            found = _fingerprint(data)
            if declared[name] != found:
                raise BundleError(f"{self.path}: {name} was altered: size and hash are {found}, "
                                  f"{MANIFEST} says {_short(declared[name])}", hint="build or copy the bundle again")

    def design(self) -> dict[str, Any]:
        design = self.get("design", dict)
        cores = design.get("cores")
        if not isinstance(cores, list) or not cores or not all(isinstance(core, dict) for core in cores):
            raise BundleError(f"{self.path}: 'design' in {MANIFEST} has no list of cores")
        return design


def _verified(path: Path, members: dict[str, bytes]) -> Bundle:
    """Decode the members and check them against the manifest and each other."""
    members = dict(members)
    if MANIFEST not in members:
        raise BundleError(f"{path} is no bundle: it has no {MANIFEST}")
    manifest = _Manifest.parse(path, members.pop(MANIFEST))
    manifest.check_members(members)

    def array(name: str, dtype) -> np.ndarray:
        try:
            return archive.array_from_bytes(members[name], dtype)
        except ValueError as error:
            raise BundleError(f"{path}: {name} cannot be used: {error}") from error

    def agree(what: str, stated, found):
        if stated != found:
            raise BundleError(f"{path} contradicts itself: {what} is stated as {stated} and is {found}",
                              hint="build the bundle again")

    design = manifest.design()
    try:
        layout = InputLayout.from_dict(manifest.get("input", dict))
        verilog = members[VERILOG].decode()
        program = array(PROGRAM, np.uint32)
        header = read_header(program)
    except ValueError as error:
        raise BundleError(f"{path} cannot be used: {error}") from error
    build_hash = f"{abi.build_hash(design):016x}"
    agree("the build hash of the design", manifest.text("build_hash"), build_hash)
    agree("the build hash of the program", f"{header.build_hash:016x}", build_hash)
    agree("the program hash", manifest.text("program_hash"), f"{header.program_hash:016x}")
    steps, classes = manifest.integer("steps", 1, 255), manifest.integer("classes", 1, 0xFFFF)
    agree("the number of time steps", steps, layout.steps)
    scale = manifest.get("scale", float)
    if not math.isfinite(scale) or scale <= 0:
        raise BundleError(f"{path}: 'scale' in {MANIFEST} is {scale}, allowed is a positive number")
    inputs, logits = array(GOLDEN_INPUTS, np.uint8), array(GOLDEN_LOGITS, np.int64)
    try:
        layout.check(inputs)
    except InputError as error:
        raise BundleError(f"{path}: {GOLDEN_INPUTS} does not fit the network: {error}") from error
    agree("the shape of the golden logits", logits.shape, (inputs.shape[0 if layout.static else 1], classes))
    return Bundle(path, manifest.text("name"), steps, classes, scale, layout, design, header.build_hash,
                  header.program_hash, program, verilog, inputs, logits, members[NETWORK],
                  manifest.texts("tools"), manifest.texts("about"))


def _fingerprint(data: bytes) -> dict:
    return {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _manifest_digest(values: dict) -> str:
    """Return the SHA-256 of a manifest without its own entry `sha256`."""
    rest = {key: value for key, value in values.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 120 else text[:117] + "..."
