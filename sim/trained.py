"""From a finished training to a network file and its card, proven on the whole test set.

The golden model runs the folded network on every test image; a prediction that differs from quantised PyTorch's is an
error, and then there is no card. evaluation.json beside it has everything that was counted.
"""

from __future__ import annotations

import hashlib
import json
import platform
from pathlib import Path

import torch

import qblif
from qblif import gen
from qblif.gen import network_file, training
from qblif.gen.network import layer_sources
from qblif.gen.training import checkpoint
from qblif.gen.training.finished import fold_trained
from qblif.host.errors import QblifError

from .evaluation import Evaluation, evaluate_network

CARD, EVALUATION = "card.json", "evaluation.json"


class Differs(QblifError):
    """The golden model predicts other classes than quantised PyTorch."""


def finish(run: training.Run, done: training.Finished, command: str, progress=None) -> Evaluation | None:
    """Fold what `run` has trained, prove it, and write NAME.network and card.json into the run's folder.

    Where its neurons do not fold there is a card of the float phase alone, which says why, and None is returned.
    command: what trains it again; progress: as sim.console.Progress. Raises Differs."""
    recipe = run.recipe
    common = _common(run, done, command)
    if done.quantised is None:
        why = next(reason for m in done.module.modules() if (reason := getattr(m, "unfoldable", None)))
        levels = sorted({m.levels for m in done.module.modules() if hasattr(m, "levels")}) or [1]
        _write(run, common | {"golden_accuracy": None, "quantised_accuracy": None, "steps": recipe.T, "levels": levels,
                              "weight_bits": None, "sops": None, "additions": None, "unfoldable": why})
        return None
    network = fold_trained(done.quantised.cpu(), recipe, done.dataset, command=command)
    path = run.folder / f"{recipe.name}.network"
    network_file.save(network, path)
    network = network_file.load(path)  # what is evaluated is what is in the file
    found = evaluate_network(network, done.dataset.test, data=done.dataset.name, quantised=done.quantised,
                             progress=progress)
    if found.different:
        image, golden, by_torch = found.different[0]
        raise Differs(f"{len(found.different)} predictions of the golden model differ from quantised PyTorch's, the "
                      f"first for test image {image}: {golden} instead of {by_torch}",
                      hint=f"please report this, with {path} and the run's command")
    data = path.read_bytes()
    checkpoint.replace(run.folder / EVALUATION, json.dumps(found.to_dict(), indent=1) + "\n")
    _write(run, measured(found) | compared(found) | common | {  # the float accuracy is the training's own
        "weight_bytes": weight_bytes(network), "sha256": hashlib.sha256(data).hexdigest(), "file_bytes": len(data)})
    return found


def measured(found: Evaluation) -> dict:
    """Return the fields of a card that an evaluation of a network's file gives."""
    return {"test_images": found.images, "golden_accuracy": found.golden_accuracy, "steps": found.steps,
            "levels": list(found.levels), "weight_bits": found.weight_bits, "parameters": found.parameters,
            "sops": found.sops, "additions": found.additions, "macs": found.macs}


def compared(found: Evaluation) -> dict:
    """Return the fields of a card that an evaluation beside the modules in PyTorch gives."""
    return {"float_accuracy": found.float_accuracy, "quantised_accuracy": found.quantised_accuracy,
            "different": len(found.different)}


def weight_bytes(network) -> int:
    """Return the bytes that a network's weights take, packed; without biases and exponents."""
    count = sum(source.weight.size for layer in network.layers for source in layer_sources(layer))
    return -(-count * network.weight_bits // 8)


def _common(run: training.Run, done: training.Finished, command: str) -> dict:
    """Return what a card says of a training, whether its network folds or not."""
    recipe = run.recipe
    options = {key: value for key, value in recipe.data.items() if key != "name"}
    return {
        "name": recipe.name, "title": recipe.about.get("title", recipe.name), "data": done.dataset.name,
        "data_options": options, "recipe": recipe.name, "command": command, "seed": recipe.train.seed,
        "train_images": len(done.dataset.train), "training_seconds": round(done.seconds, 1),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} thread(s), {run.device.type}"
                   + (f" ({torch.cuda.get_device_name()})" if run.device.type == "cuda" else ""),
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "qblif": qblif.__version__},
        "test_images": len(done.dataset.test), "float_accuracy": done.float_accuracy,
        "gammas": gen.gammas(done.module), "schema": 1}


def _write(run: training.Run, card: dict) -> None:
    checkpoint.replace(run.folder / CARD, json.dumps(card, indent=2) + "\n")


def table(folders: list[Path]) -> str:
    """Return a markdown table of finished runs: what was trained, accuracies before and after quantisation, work.

    folders: of runs, or folders that hold such. Raises CheckpointError where there are none."""
    rows = []
    for folder in folders:
        for path in sorted({*folder.glob(CARD), *folder.glob(f"*/{CARD}")}):
            rows.append((path.parent.name, json.loads(path.read_text(encoding="utf-8"))))
    if not rows:
        raise checkpoint.CheckpointError(f"no finished run in {', '.join(map(str, folders))}: none has a {CARD}")
    lines = ["| run | data | T | N | weights | float | quantised | golden | float to golden | SOPs | additions |",
             "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|"]
    notes = []
    for name, card in rows:
        start = (f"| {name} | {card['data']} | {card['steps']} | {'/'.join(map(str, card['levels']))} | ")
        if why := card.get("unfoldable"):
            lines.append(f"{start}float | {_percent(card['float_accuracy'])} | | | | | |")
            notes.append(f"{name} does not fold: {why}")
            continue
        lost = "" if card["float_accuracy"] is None else (
            f"{round(100 * (card['golden_accuracy'] - card['float_accuracy']), 2) + 0.0:+.2f}")
        lines.append(
            f"{start}{card['weight_bits']} bits | {_percent(card['float_accuracy'])} | "
            f"{_percent(card['quantised_accuracy'])} | {_percent(card['golden_accuracy'])} | {lost} | "
            f"{card['sops'] / 1e6:.2f} M | {card['additions']['double'] / 1e6:.2f} M |")
    return "\n\n".join(["\n".join(lines), *notes])


def _percent(value) -> str:
    return "" if value is None else f"{100 * value:.2f} %"
