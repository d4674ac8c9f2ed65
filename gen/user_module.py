"""A user's own module, named on the command line as file.py:function."""

from __future__ import annotations

import importlib.util
import traceback
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from .errors import ModelError
from .folding import fold
from .network import Network
from .weights import load_weights


def fold_module(name: str, weights: Path | None = None, example: Sequence[int] | None = None,
                input_bits: int | None = None) -> Network:
    """Return the network of integers that a user's module is.

    name: as for `load_module`; weights: file to load into it; example: shape of an input batch; input_bits: as for
    `fold`. Raises ModelError and what `load_weights` and `fold` raise."""
    module = load_module(name)
    if weights is not None:
        load_weights(module, weights)
    return fold(module.eval(), torch.zeros(tuple(example)) if example else None, input_bits=input_bits)


def load_module(name: str) -> nn.Module:
    """Return what the function of a Python file returns; `name` is file.py:function.

    The file is run, as `python file.py` would run it (but not as __main__). Raises ModelError where the file or the
    function is missing or fails, or what it returns is no module."""
    path, _, function = name.rpartition(":")
    if not path.endswith(".py") or not function.isidentifier():
        raise ModelError(f"the module is {name!r}, allowed is file.py:function; what `qblif train` trains it has "
                         "folded itself, to NAME.network in the run's folder")
    if not Path(path).is_file():
        raise ModelError(f"there is no file {path!r}")
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    loaded = importlib.util.module_from_spec(spec)
    _call(path, spec.loader.exec_module, loaded)
    if not callable(getattr(loaded, function, None)):
        raise ModelError(f"{path} has no function {function!r}")
    module = _call(f"{function} of {path}", getattr(loaded, function))
    if not isinstance(module, nn.Module):
        raise ModelError(f"{function} of {path} returned a {type(module).__name__}, needed is a torch.nn.Module")
    return module


def _call(what, function, *args):
    """Call the user's code; whatever it raises becomes a ModelError that says where."""
    try:
        return function(*args)
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        file, line = (error.filename, error.lineno) if isinstance(error, SyntaxError) else (last.filename, last.lineno)
        raise ModelError(f"{what} cannot be run: {type(error).__name__}: {error} ({file}, line {line})") from error
