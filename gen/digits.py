"""The digits network as a file: trained once, folded as often as one likes."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from .errors import ModelError
from .models import digits_net
from .quantised import QuantisedNetwork, quantise
from .training import DIGITS, Progress, Recipe, Trained, train_digits
from .weights import load_weights


@contextlib.contextmanager
def one_thread():
    """Compute in one thread: faster for a network this small, and the result does not depend on the machine's cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def train(path: str | os.PathLike, steps: int = 2, levels: int = 20, recipe: Recipe = DIGITS,
          progress: Progress | bool = False) -> Trained:
    """Train the digits network (T = steps, N = levels), write it to `path` (.safetensors), and return it.

    Raises OSError where `path` cannot be written."""
    with one_thread():
        trained = train_digits(steps, levels, recipe=recipe, progress=progress)
    state = {name: value.contiguous() for name, value in trained.quantised.state_dict().items()}
    facts = {"steps": str(steps), "levels": str(levels), "float_accuracy": repr(trained.float_accuracy),
             "quantised_accuracy": repr(trained.quantised_accuracy)}
    Path(path).write_bytes(save(state, metadata=facts))     # its own save_file hides why a file cannot be written
    return trained


def facts(path: str | os.PathLike) -> dict[str, float]:
    """Return what `train` noted in the file: steps, levels, float_accuracy, quantised_accuracy."""
    try:
        with safe_open(path, framework="pt") as file:
            noted = file.metadata() or {}
        return {name: float(noted[name]) for name in ("steps", "levels", "float_accuracy", "quantised_accuracy")}
    except (OSError, KeyError, ValueError, SafetensorError) as error:
        raise ModelError(f"{Path(path)} was not written by `qblif train`: {error}") from error


def load(path: str | os.PathLike) -> QuantisedNetwork:
    """Return the network that `train` wrote, with its integers as they were trained; raises ModelError."""
    noted = facts(path)
    module = digits_net(int(noted["steps"]), int(noted["levels"])).eval()
    quantised = quantise(module, torch.zeros(1, 1, 8, 8))
    load_weights(quantised, path)
    return quantised
