"""Tensors and facts in one file: safetensors, with the facts as JSON in its metadata. Nothing is unpickled.

A file is replaced as a whole: whoever is killed while writing leaves the old one.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from qblif.host.errors import QblifError

KEY = "qblif.training"
"""Of the metadata: the facts."""


class CheckpointError(QblifError):
    """A file of a training run is missing, damaged, or of another run."""


def write(path: Path, tensors: dict[str, torch.Tensor], facts: dict) -> None:
    """Write a file, all or nothing; facts: JSON-able. Raises OSError."""
    data = save({name: value.detach().cpu().contiguous() for name, value in tensors.items()},
                metadata={KEY: json.dumps(facts)})
    replace(path, data)


def read(path: Path) -> tuple[dict[str, torch.Tensor], dict]:
    """Return the tensors and facts of a file; raises CheckpointError."""
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {})[KEY])
            return {name: file.get_tensor(name) for name in file.keys()}, facts
    except FileNotFoundError as error:
        raise CheckpointError(f"there is no {path}") from error
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise CheckpointError(f"{path} was not written by a training run, or is damaged: {error}") from error


def replace(path: Path, data: bytes | str) -> None:
    """Put `data` into a file, all or nothing."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
