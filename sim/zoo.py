"""What the zoo (gen/zoo) needs data and the golden model for: to add a network, to evaluate it again, to list."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

from qblif.gen import network_file, zoo
from qblif.gen.errors import DataMissing, ZooError
from qblif.gen.training import sanity
from qblif.gen.zoo import Card
from qblif.host.errors import QblifError

from . import named, runs
from .console import Progress, table
from .evaluation import Evaluation, evaluate_network
from .tables import percent
from .trained import compared, measured, weight_bytes


def add(folder: Path, name: str | None = None, where: Path = zoo.FOLDER, root: Path | None = None) -> Card:
    """Evaluate a finished training on its whole test set and put its network into the zoo, with a card.

    folder: of the run; name: in the zoo, default: the recipe's. What is measured is measured now, on the file that goes
    in; what only the training knows is taken from the run's card.

    Raises ZooError where predictions differ, the test set was not whole, or the file is too large; RunError."""
    trained = runs.load(folder)
    dataset = trained.dataset(root)
    data = trained.path.read_bytes()
    network = network_file.loads(data)
    with Progress(network.name, unit="images") as bar:
        found = evaluate_network(network, dataset.test, data=dataset.name, quantised=trained.quantised(dataset),
                                 module=trained.module(dataset), progress=bar)
    if found.different:
        raise ZooError(f"{len(found.different)} of {found.images} predictions of the golden model are not those of "
                       f"quantised PyTorch, first image {found.different[0][0]}: such a network is not taken")
    if trained.card["test_images"] != found.images:
        raise ZooError(f"{folder} was trained with {trained.card['test_images']:,} of {found.images:,} test images "
                       "(--limit): train it whole")
    kept = {field.name: trained.card[field.name] for field in dataclasses.fields(Card)
            if field.name in trained.card}
    card = Card(**kept | measured(found) | compared(found) | {
        "name": name or trained.recipe.name, "gammas": trained.gammas, "sha256": zoo.sha256(trained.path),
        "weight_bytes": weight_bytes(network), "file_bytes": len(data)})
    zoo.write(data, Card.from_json(card.to_json()), where)
    return card


@dataclasses.dataclass(frozen=True)
class Verified:
    """What evaluating the zoo again gave.

    rows: name, file, accuracy by card, accuracy now, SOPs now, verdict; right: all is as the cards say"""

    rows: tuple[tuple, ...]
    right: bool

    def __str__(self) -> str:
        """Return the table."""
        return table(self.rows, ("network", "file", "golden, card", "golden, now", "SOPs, now", "verdict"))


def differing(card: Card, found: Evaluation, network) -> list[str]:
    """Return the fields of a card that are not what an evaluation of the network's file gives.

    Means are compared to twelve digits."""
    now = measured(found) | {"weight_bytes": weight_bytes(network)}
    return [name for name, value in now.items() if not _equal(getattr(card, name), value)]


def _equal(told, now) -> bool:
    if isinstance(now, dict):
        return told.keys() == now.keys() and all(_equal(told[key], now[key]) for key in now)
    return math.isclose(told, now, rel_tol=1e-12) if isinstance(now, float) else told == now


def verify(names: list[str], limit: int | None = None, root: Path | None = None) -> Verified:
    """Hash networks of the zoo again and, where their data is, evaluate them again on the whole test set.

    limit: fewer images, too few to compare with the card. Without the data a network counts as right by its hash."""
    rows, right = [], True
    for name in names:
        try:
            one = named.find(name)
        except QblifError as error:
            rows.append((name, "differs", "", "", "", str(error)))
            right = False
            continue
        told = one.card
        try:
            dataset = one.test_set(root=root)
        except DataMissing as error:
            rows.append((name, "as told", percent(told.golden_accuracy), "-", "-", str(error).splitlines()[0]))
            continue
        with Progress(name, unit="images") as bar:
            now = evaluate_network(one.network, dataset.test, limit, data=dataset.name, progress=bar)
        whole = now.images == told.test_images
        wrong = differing(told, now, one.network) if limit is None or whole else []
        verdict = (f"differs from its card: {', '.join(wrong)}" if wrong else
                   "as told" if whole else f"{now.images} images, not compared")
        right = right and not wrong
        rows.append((name, "as told", percent(told.golden_accuracy), percent(now.golden_accuracy), round(now.sops),
                     verdict))
    return Verified(tuple(rows), right)


def listing() -> str:
    """Return the zoo as a table, one line a network, from the cards, and whether it fits the smallest board."""
    rows = [_row(zoo.card(name), sanity.fitting(zoo.load(name))[0]) for name in zoo.names()]
    notes = ("  accuracies on all the test images there were; SOPs, additions: per image, means\n"
             "  ULX3S: whether it fits that board as `qblif bitstream` builds it; another layout: `qblif plan NAME "
             "--board ulx3s`\n  `qblif zoo NAME` prints a card, `qblif plan NAME` what a network needs")
    return table(rows, ("network", "data", "test images", "T", "N", "weights", "kB", "float", "quantised", "golden",
                        "SOPs", "additions", "dense MACs", "ULX3S", "what")) + "\n" + notes


def _row(card: Card, fits: bool) -> tuple:
    return (card.name, card.data, card.test_images, card.steps, ",".join(map(str, card.levels)),
            f"{card.weight_bits} bits", round(card.weight_bytes / 1000), percent(card.float_accuracy),
            percent(card.quantised_accuracy), percent(card.golden_accuracy), round(card.sops),
            round(card.additions["double"]), card.macs,
            "fits" if fits else "not as built", card.title)
