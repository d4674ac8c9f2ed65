"""A run becomes a network of the zoo with a card of what was measured; what a card tells can be proven again."""

import dataclasses
import json

import pytest

from qblif.gen import network_file, zoo
from qblif.gen.errors import PlanError, ZooError
from qblif.gen.training import sanity
from qblif.sim import named
from qblif.sim import zoo as tools
from qblif.sim.evaluation import evaluate_network


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """An empty zoo."""
    folder = tmp_path / "zoo"
    folder.mkdir()
    monkeypatch.setattr(zoo, "FOLDER", folder)
    return folder


@pytest.fixture
def one(empty, small_run):
    """A zoo with one network, "small-one"."""
    tools.add(small_run, "small-one", empty)
    return empty


def test_a_run_is_added_with_what_was_measured_on_the_whole_test_set(one, small_run):
    card = zoo.card("small-one")
    network = zoo.load("small-one")
    told = json.loads((small_run / "card.json").read_text())
    assert card.test_images == 360 and card.different == 0
    assert card.golden_accuracy == card.quantised_accuracy == told["golden_accuracy"]
    assert card.title == "digits, one hidden layer, to be tested with"
    assert card.command == "qblif train small.toml --out small"
    assert card.steps == network.steps == 2 and card.levels == [5]
    assert card.weight_bytes == 64 * 16 + 16 * 10
    assert set(card.gammas) == {network.layers[0].name}
    assert card.file_bytes == zoo.path("small-one").stat().st_size


def test_the_zoo_is_listed_and_verified(one):
    listing = tools.listing()
    assert "small-one" in listing and "digits, one hidden layer" in listing
    assert "test images" in listing and " 360 " in listing and " fits " in listing
    found = tools.verify(["small-one"])
    assert found.right and str(found).count("as told") == 2
    assert "50 images, not compared" in str(tools.verify(["small-one"], limit=50))


def test_a_card_that_tells_too_much_is_found_out(one):
    card = zoo.card("small-one")
    better = dataclasses.replace(card, golden_accuracy=card.golden_accuracy + 1 / 360)
    (one / "small-one.json").write_text(better.to_json())
    found = tools.verify(["small-one"])
    assert not found.right and "differs from its card: golden_accuracy" in str(found)


@pytest.mark.parametrize("name", ["steps", "levels", "weight_bits", "parameters", "weight_bytes", "sops", "additions",
                                  "macs"])
def test_a_false_field_of_a_card_is_found_out_whichever_it_is(one, name):
    card = zoo.card("small-one")
    false = {"levels": [31], "additions": card.additions | {"double": 1.0}}
    if name not in false:
        false[name] = getattr(card, name) + 1
    found = evaluate_network(zoo.load("small-one"), named.find("small-one").test_set().test, data="digits")
    assert tools.differing(card, found, zoo.load("small-one")) == []
    wrong = dataclasses.replace(card, **{name: false[name]})
    assert tools.differing(wrong, found, zoo.load("small-one")) == [name]


def test_what_does_not_fit_the_board_is_listed_so(one, monkeypatch):
    def none(network, design):
        raise PlanError("too large")

    monkeypatch.setattr(sanity, "make_plan", none)
    assert " not as built " in tools.listing() and " fits " not in tools.listing().partition("\n  accuracies")[0]


def test_a_changed_file_is_found_out_by_its_hash(one):
    network = zoo.load("small-one")
    network_file.save(dataclasses.replace(network, name="other"), one / "small-one.network")
    found = tools.verify(["small-one"])
    assert not found.right and "its card says" in str(found)


def test_without_the_data_the_hash_alone_is_verified(one, tmp_path, monkeypatch):
    card = dataclasses.replace(zoo.card("small-one"), data="mnist")
    (one / "small-one.json").write_text(card.to_json())
    monkeypatch.delenv("QBLIF_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    found = tools.verify(["small-one"])
    assert found.right and "the data set 'mnist' was not found" in str(found)


def test_a_run_on_a_part_of_the_test_set_is_not_taken(empty, small_run):
    card = json.loads((small_run / "card.json").read_text())
    (small_run / "card.json").write_text(json.dumps(card | {"test_images": 100}))
    with pytest.raises(ZooError, match="trained with 100 of 360 test images"):
        tools.add(small_run, "part", empty)
    assert zoo.names() == []


def test_a_network_that_is_not_the_one_that_was_trained_is_not_taken(empty, small_run):
    network = network_file.load(small_run / "small.network")
    readout = network.layers[-1]
    bias = readout.bias.copy()
    bias[3] += 1 << 20
    bias.setflags(write=False)
    wrong = dataclasses.replace(network, layers=(*network.layers[:-1], dataclasses.replace(readout, bias=bias)))
    network_file.save(wrong, small_run / "small.network")
    with pytest.raises(ZooError, match="predictions of the golden model are not those of quantised PyTorch"):
        tools.add(small_run, "wrong", empty)
