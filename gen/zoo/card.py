"""The card of a trained network: where it is from, what it reaches and what it costs, as a JSON file beside it."""

from __future__ import annotations

import dataclasses
import json
import types
import typing

from qblif.gen.errors import ZooError

SCHEMA = 1
"""Incremented whenever the meaning of a card changes."""


@dataclasses.dataclass(frozen=True)
class Card:
    """What is known of a network; every field has to be there and nothing else may be.

    name: in the zoo; title: one line for people
    data: name of the data set (qblif.gen.data) and data_options, what it was loaded with
    recipe: name of the recipe; command: what trains it again; seed: of that training; train_images: in its training set
    training_seconds: wall time of the training; machine: where; versions: package -> version, with Python
    test_images: in the whole test set, on which all accuracies (0 to 1) are; float_accuracy: before quantisation, None
        where it was not kept; quantised_accuracy: of the module in integers; golden_accuracy: of the golden model on
        the file beside this card; different: predictions in which those two differ
    steps: T; levels: the N of its layers, one for all of them or one for each; weight_bits; parameters: weights and
        biases; weight_bytes: what the weights alone take, packed
    gammas: layer -> learned scale, {} where it was not kept
    sops, additions (by fan-out strategy), macs: per image, means over the test set (docs/numerics.md defines them)
    sha256, file_bytes: of the network file
    """

    name: str
    title: str
    data: str
    data_options: dict
    recipe: str
    command: str
    seed: int
    train_images: int
    training_seconds: float
    machine: str
    versions: dict
    test_images: int
    float_accuracy: float | None
    quantised_accuracy: float
    golden_accuracy: float
    different: int
    steps: int
    levels: list
    weight_bits: int
    parameters: int
    weight_bytes: int
    gammas: dict
    sops: float
    additions: dict
    macs: int
    sha256: str
    file_bytes: int
    schema: int = SCHEMA

    @classmethod
    def from_json(cls, text: str, where: str = "the card") -> Card:
        """Return the card in a JSON text; raises ZooError with everything that is wrong with it."""
        try:
            found = json.loads(text)
        except ValueError as error:
            raise ZooError(f"{where} is no JSON: {error}") from error
        if not isinstance(found, dict):
            raise ZooError(f"{where} holds a {type(found).__name__}, needed is an object with the fields of a card")
        fields = {field.name for field in dataclasses.fields(cls)}
        problems = [f"unknown field {name!r}" for name in found if name not in fields]
        problems += [f"field {name!r} is missing" for name in sorted(fields - set(found))]
        kinds = typing.get_type_hints(cls)
        for name in fields & set(found):
            if not _is(found[name], kinds[name]):
                problems.append(f"{name} is {found[name]!r}, needed is {_spelled(kinds[name])}")
        if not problems and found["schema"] != SCHEMA:
            problems.append(f"schema is {found['schema']}, this version reads {SCHEMA}")
        if problems:
            raise ZooError(f"{where} is not valid: {'; '.join(problems)}")
        return cls(**found)

    def to_json(self) -> str:
        """Return the card as JSON for people, one field a line."""
        lines = [f"  {json.dumps(name)}: {json.dumps(value, sort_keys=True)}"
                 for name, value in dataclasses.asdict(self).items()]
        return "{\n" + ",\n".join(lines) + "\n}\n"


def _is(value, kind) -> bool:
    """Return whether a JSON value is of an annotated type; an int will do as float, a bool as neither."""
    if isinstance(kind, types.UnionType):
        return any(_is(value, one) for one in typing.get_args(kind))
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, (int, float) if kind is float else kind)


def _spelled(kind) -> str:
    names = {str: "a text", int: "an integer", float: "a number", dict: "an object", list: "a list",
             type(None): "null"}
    return " or ".join(names[one] for one in (typing.get_args(kind) or (kind,)))
