"""Networks of the zoo and their cards: what is there is valid, and what is not valid is refused."""

import dataclasses
import hashlib
import json

import pytest

from qblif.gen import network_file, zoo
from qblif.gen.errors import ZooError
from qblif.gen.network import NeuronLayer
from qblif.gen.sizes import parameters


@pytest.mark.parametrize("name", zoo.names())
def test_every_network_is_as_its_card_tells(name):
    card, network = zoo.card(name), zoo.load(name)
    assert zoo.path(name).stat().st_size == card.file_bytes <= zoo.LARGEST
    assert card.steps == network.steps and card.weight_bits == network.weight_bits
    assert card.levels == sorted({layer.neuron.levels for layer in network.layers if isinstance(layer, NeuronLayer)})
    assert card.parameters == sum(map(parameters, network.layers))
    assert card.different == 0 and card.quantised_accuracy == card.golden_accuracy
    assert network.meta["data"] == card.data
    assert card.command.startswith("qblif train ")


def test_digits_are_in_the_zoo():
    assert "digits" in zoo.names()
    assert zoo.card("digits").golden_accuracy >= 0.985


def test_a_name_that_is_not_there_is_answered_with_those_that_are():
    with pytest.raises(ZooError, match="there is no network 'digit' in the zoo; there are .*digits"):
        zoo.load("digit")


def test_names_and_paths_are_resolved(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").write_bytes(b"")
    assert zoo.resolve("digits") == zoo.path("digits")                 # the name comes first
    assert zoo.resolve("./digits").samefile(tmp_path / "digits")
    with pytest.raises(ZooError, match="'none.network' is neither a file nor a network of the zoo; .*digits"):
        zoo.resolve("none.network")


CARD = dataclasses.asdict(zoo.card("digits"))

WRONG = {
    "unknown field 'accuracy'": CARD | {"accuracy": 0.99},
    "field 'seed' is missing": {name: value for name, value in CARD.items() if name != "seed"},
    "seed is '0', needed is an integer": CARD | {"seed": "0"},
    "seed is True, needed is an integer": CARD | {"seed": True},
    "golden_accuracy is None, needed is a number": CARD | {"golden_accuracy": None},
    "float_accuracy is 'high', needed is a number or null": CARD | {"float_accuracy": "high"},
    "schema is 2, this version reads 1": CARD | {"schema": 2},
    "holds a list, needed is an object": [CARD],
}


@pytest.mark.parametrize("message, card", WRONG.items(), ids=WRONG)
def test_a_card_with_other_fields_is_refused(message, card):
    with pytest.raises(ZooError, match=message):
        zoo.Card.from_json(json.dumps(card))


def test_a_card_that_is_no_json_is_refused():
    with pytest.raises(ZooError, match="the card is no JSON"):
        zoo.Card.from_json("{")


def test_a_card_survives_being_written():
    card = zoo.card("digits")
    assert zoo.Card.from_json(card.to_json()) == card


def written(tmp_path, data: bytes, **changes):
    facts = {"sha256": hashlib.sha256(data).hexdigest(), "file_bytes": len(data), "name": "digits"}
    return zoo.write(data, dataclasses.replace(zoo.card("digits"), **facts | changes), tmp_path)


def test_what_is_written_is_what_is_read(tmp_path, monkeypatch):
    data = zoo.path("digits").read_bytes()
    written(tmp_path, data)
    monkeypatch.setattr(zoo, "FOLDER", tmp_path)
    assert zoo.names() == ["digits"]
    assert network_file.dumps(zoo.load("digits")) == data


def test_files_of_more_than_a_megabyte_odd_names_and_foreign_cards_are_refused(tmp_path):
    with pytest.raises(ZooError, match="takes 1,000,001 bytes, allowed in the zoo are 1,000,000"):
        written(tmp_path, bytes(1_000_001))
    with pytest.raises(ZooError, match="'a/b' is no name for the zoo: letters, digits and hyphens"):
        written(tmp_path, b"x", name="a/b")
    with pytest.raises(ZooError, match="the card is of another network file"):
        written(tmp_path, b"x", file_bytes=2)
    assert list(tmp_path.iterdir()) == []


def test_a_card_of_another_name_or_none_at_all_is_an_error(tmp_path, monkeypatch):
    file = written(tmp_path, zoo.path("digits").read_bytes())
    monkeypatch.setattr(zoo, "FOLDER", tmp_path)
    file.rename(tmp_path / "other.network")
    with pytest.raises(ZooError, match="network 'other' has no card"):
        zoo.card("other")
    (tmp_path / "digits.json").rename(tmp_path / "other.json")
    with pytest.raises(ZooError, match="other.json is the card of 'digits'"):
        zoo.card("other")
