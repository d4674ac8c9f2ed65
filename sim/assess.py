"""`qblif eval`: networks of the zoo, files and runs on their test sets, as one table or as JSON."""

from __future__ import annotations

import json
from pathlib import Path

from qblif.gen.data import DataSet
from qblif.host.errors import InputError

from . import named, runs, tables
from .console import Progress
from .evaluation import Evaluation, evaluate_network


def assess(networks: list[str], folders: list[Path] = (), *, data: str | None = None, root: Path | None = None,
           limit: int | None = None, steps: int | None = None) -> list[Evaluation]:
    """Evaluate networks, and runs with their float and quantised modules; a bar shows how far it is.

    networks: names of the zoo, files, or folders of runs; folders: of runs; data, root: another data set, or place;
    limit: of test images; steps: another T, for networks with static input (runs are as they were trained)

    Raises InputError, ZooError, RunError, NetworkFileError, DataError.
    """
    if not networks and not folders:
        raise InputError("nothing to evaluate: name a network of the zoo, a network's file or a run's folder")
    found = []
    for text in networks:
        if runs.is_run(text):
            found.append(_run(Path(text), root, limit))
            continue
        one = named.find(text)
        dataset = one.test_set(data, root)
        with Progress(one.network.name, unit="images") as bar:
            found.append(evaluate_network(one.network, dataset.test, limit, data=dataset.name, steps=steps,
                                          progress=bar))
    return found + [_run(folder, root, limit) for folder in folders]


def _run(folder: Path, root: Path | None, limit: int | None) -> Evaluation:
    trained = runs.load(folder)
    dataset = trained.dataset(root)
    with Progress(trained.network.name, unit="images") as bar:
        return evaluate_network(trained.network, dataset.test, limit, data=dataset.name,
                                quantised=trained.quantised(dataset), module=trained.module(dataset), progress=bar)


def text(found: list[Evaluation], as_json: bool = False) -> str:
    """Return evaluations as tables, or as JSON, one object each in a list."""
    if as_json:
        return json.dumps([one.to_dict() for one in found], indent=1)
    return tables.evaluations(found)


def clipped(dataset: DataSet) -> str:
    """Return what was lost when events were counted, or nothing."""
    if not dataset.events:
        return ""
    return (f"{dataset.name}: {dataset.events:,} events, {dataset.clipped:,} clipped at {2 ** dataset.bits - 1} a "
            f"pixel and step, {dataset.dropped:,} behind the last window")
