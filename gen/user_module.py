"""A user's own module, named on the command line as file.py:function."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from torch import nn

from .errors import ModelError


def load_module(name: str) -> nn.Module:
    """Return what the function of a Python file returns; `name` is file.py:function.

    The file is run, as `python file.py` would run it (but not as __main__). Raises ModelError where the file or the
    function is missing, or what it returns is no module."""
    path, _, function = name.rpartition(":")
    if not path.endswith(".py") or not function.isidentifier():
        raise ModelError(f"the module is {name!r}, allowed are digits and file.py:function")
    if not Path(path).is_file():
        raise ModelError(f"there is no file {path!r}")
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    loaded = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(loaded)
    except Exception as error:
        raise ModelError(f"{path} cannot be run: {type(error).__name__}: {error}") from error
    if not callable(getattr(loaded, function, None)):
        raise ModelError(f"{path} has no function {function!r}")
    module = getattr(loaded, function)()
    if not isinstance(module, nn.Module):
        raise ModelError(f"{function} of {path} returned a {type(module).__name__}, needed is a torch.nn.Module")
    return module
