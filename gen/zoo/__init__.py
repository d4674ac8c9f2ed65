"""Trained integer networks that come with qblif, each with a card: NAME.network and NAME.json in this folder.

    from qblif.gen import zoo
    network = zoo.load("digits")
    print(zoo.card("digits").golden_accuracy)

Wherever a command takes NETWORK, a name of the zoo will do (`resolve`). What needs data, training or the golden model
(adding to the zoo, evaluating again) is sim/zoo.py.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from difflib import get_close_matches
from pathlib import Path

from qblif.gen import network_file
from qblif.gen.errors import ZooError
from qblif.gen.network import Network

from .card import Card

__all__ = ["Card", "FOLDER", "LARGEST", "card", "load", "names", "path", "resolve", "sha256", "write"]

FOLDER = Path(__file__).parent
"""Where the networks and cards are."""

LARGEST = 1_000_000
"""Bytes of a network file, at most: the zoo is part of every clone."""

SUFFIX = ".network"


def names() -> list[str]:
    """Return the names of all networks, sorted."""
    return sorted(path.stem for path in FOLDER.glob(f"*{SUFFIX}"))


def path(name: str) -> Path:
    """Return the file of a network; raises ZooError for a name that is not in the zoo."""
    if name not in names():
        raise ZooError(f"there is no network {name!r} in the zoo; there are {', '.join(names())}")
    return FOLDER / f"{name}{SUFFIX}"


def card(name: str) -> Card:
    """Return the card of a network; raises ZooError."""
    file = path(name).with_suffix(".json")
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise ZooError(f"network {name!r} has no card: {file}: {error.strerror}") from error
    found = Card.from_json(text, str(file))
    if found.name != name:
        raise ZooError(f"{file} is the card of {found.name!r}")
    return found


def load(name: str) -> Network:
    """Return a network, verified, its file checked against its card, and named as in the zoo; raises ZooError,
    NetworkFileError."""
    file = path(name)
    noted = card(name).sha256
    if sha256(file) != noted:
        raise ZooError(f"{file} has the SHA-256 {sha256(file)}, its card says {noted}: one of them was changed; "
                       "restore the file, or add the network again (qblif zoo --add)")
    return dataclasses.replace(network_file.load(file), name=name)


def resolve(text: str | os.PathLike) -> Path:
    """Return the file that a name of the zoo or a path stands for; raises ZooError where it is neither.

    A name of the zoo comes first: a file of the same name is ./NAME."""
    if str(text) in names():
        return path(str(text))
    if not Path(text).is_file():
        near = get_close_matches(str(text), names(), 1)
        raise ZooError(f"{str(text)!r} is neither a file nor a network of the zoo; those are: {', '.join(names())}",
                       hint="".join(f"did you mean {name}? Or " for name in near)
                       + "give a network (qblif fold, qblif train), where it can be one a bundle (qblif compile), "
                       "or a name of the zoo")
    return Path(text)


def sha256(file: Path) -> str:
    """Return the SHA-256 of a file, hex."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def write(network: bytes, card: Card, folder: Path = FOLDER) -> Path:
    """Put a network file's bytes and its card into the zoo and return the file; raises ZooError, OSError.

    The card must name these very bytes."""
    if len(network) > LARGEST:
        raise ZooError(f"network {card.name!r} takes {len(network):,} bytes, allowed in the zoo are {LARGEST:,}: keep "
                       "it elsewhere and name its file, or train a smaller one")
    if not card.name.isascii() or not card.name.replace("-", "").isalnum():
        raise ZooError(f"{card.name!r} is no name for the zoo: letters, digits and hyphens are allowed")
    digest = hashlib.sha256(network).hexdigest()
    if (card.sha256, card.file_bytes) != (digest, len(network)):
        raise ZooError(f"the card is of another network file: {card.file_bytes} bytes with the SHA-256 {card.sha256}; "
                       f"here are {len(network)} with {digest}")
    file = folder / f"{card.name}{SUFFIX}"
    file.write_bytes(network)
    file.with_suffix(".json").write_text(card.to_json(), encoding="utf-8")
    return file
