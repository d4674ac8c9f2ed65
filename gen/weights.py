"""Reading trained weights without running code from the file."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from torch import nn

from qblif.gen.errors import ModelError


def load_weights(module: nn.Module, path) -> nn.Module:
    """Fill `module` with the weights in a file and return it.

    path: a .safetensors file, or a .pt or .pth file with a state dict, on its own or under the key "state_dict" or
        "model"; the latter is read with weights_only=True, so that no code in it runs

    Raises ModelError, naming the file: missing, not readable, or with other names or shapes than the module's.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelError(f"weights file {str(path)!r} does not exist")
    state = _read(path)
    own = module.state_dict()
    problems = [f"{name} is missing; the module has {tuple(own[name].shape)}" for name in own.keys() - state.keys()
                if not name.endswith("num_batches_tracked")]
    problems += [f"{name} is not in the module" for name in state.keys() - own.keys()]
    problems += [f"{name} has shape {tuple(state[name].shape)}, the module has {tuple(own[name].shape)}"
                 for name in own.keys() & state.keys() if state[name].shape != own[name].shape]
    if problems:
        more = [f"... and {len(problems) - 20} more"] if len(problems) > 20 else []
        raise ModelError("\n".join([f"weights file {str(path)!r} does not fit {type(module).__name__}:",
                                    *(f"  - {p}" for p in sorted(problems)[:20] + more)]))
    module.load_state_dict(state, strict=False)
    return module


def _read(path: Path) -> dict[str, torch.Tensor]:
    if path.suffix == ".safetensors":
        try:
            from safetensors import SafetensorError
            from safetensors.torch import load_file
        except ImportError as e:
            raise ModelError("reading .safetensors needs the package safetensors: pip install safetensors") from e
        try:
            return load_file(path)
        except (SafetensorError, OSError, ValueError) as e:
            raise ModelError(f"weights file {str(path)!r} is not a readable safetensors file: {e}") from e
    if path.suffix not in (".pt", ".pth", ".bin"):
        raise ModelError(f"weights file {str(path)!r} ends in {path.suffix!r}, allowed are .safetensors, .pt and .pth")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as e:
        raise ModelError(f"weights file {str(path)!r} holds more than tensors, and is not run; save "
                         f"module.state_dict() instead of the module ({str(e).partition(chr(10))[0]})") from e
    except (OSError, RuntimeError, EOFError, ValueError, KeyError) as e:
        reason = str(e).partition("\n")[0]
        raise ModelError(f"weights file {str(path)!r} is not a readable torch file: {reason}") from e
    for key in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not (isinstance(state, dict) and all(isinstance(v, torch.Tensor) for v in state.values())):
        raise ModelError(f"weights file {str(path)!r} does not hold a state dict: save module.state_dict()")
    return state
