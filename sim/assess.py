"""`qblif eval`: networks of the zoo, files and runs on their test sets, as one table or as JSON."""

from __future__ import annotations

import json
from pathlib import Path

from qblif.host.errors import InputError

from . import named, runs, tables
from .console import Progress
from .evaluation import Evaluation, evaluate_network, with_steps


def assess(networks: list[str], folders: list[Path] = (), *, data: str | None = None, root: Path | None = None,
           limit: int | None = None, steps: int | None = None) -> list[Evaluation]:
    """Evaluate networks, and runs with their float and quantised modules; a bar shows how far it is.

    networks: names of the zoo, files, or folders of runs; folders: of runs; data, root: another data set, or place;
    limit: of test images; steps: another T, for networks with static input. A run is evaluated on its own data alone

    Raises InputError, ZooError, RunError, NetworkFileError, DataError.
    """
    if not networks and not folders:
        raise InputError("nothing to evaluate: name a network of the zoo, a network's file or a run's folder")
    found = []
    for text in networks:
        if runs.is_run(text):
            found.append(_run(Path(text), data, root, limit, steps))
            continue
        one = named.find(text)
        dataset = one.test_set(data, root)
        with Progress(one.network.name, unit="images") as bar:
            found.append(evaluate_network(one.network, dataset.test, limit, data=dataset.name, lost=dataset.lost,
                                          steps=steps, progress=bar))
    return found + [_run(folder, data, root, limit, steps) for folder in folders]


def _run(folder: Path, data: str | None, root: Path | None, limit: int | None, steps: int | None) -> Evaluation:
    trained = runs.load(folder)
    if data not in (None, own := trained.recipe.data["name"]):
        raise InputError(f"--data is {data!r}, and the run in {folder} was trained on {own!r}, which is what its float "
                         "and quantised modules are evaluated on",
                         hint=f"its network of integers takes other data: {trained.path} in place of the folder")
    network = with_steps(trained.network, steps)
    dataset = trained.dataset(root)
    with Progress(network.name, unit="images") as bar:
        return evaluate_network(network, dataset.test, limit, data=dataset.name, lost=dataset.lost,
                                quantised=trained.quantised(dataset, steps), module=trained.module(dataset, steps),
                                progress=bar)


def text(found: list[Evaluation], as_json: bool = False) -> str:
    """Return evaluations as tables, or as JSON, one object each in a list."""
    if as_json:
        return json.dumps([one.to_dict() for one in found], indent=1)
    return tables.evaluations(found)
