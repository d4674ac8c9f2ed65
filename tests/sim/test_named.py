"""A network is found by name or path, and gets test data that fits it or an error that says why not."""

import dataclasses
import json

import pytest

from qblif.gen import network_file, zoo
from qblif.gen.errors import ZooError
from qblif.host.errors import InputError
from qblif.sim import named
from qblif.sim.random_networks import random_network


@pytest.fixture
def saved(tmp_path):
    """Save a network with changes and return what its file is found as."""
    def save(network, **changes):
        path = tmp_path / "a.network"
        network_file.save(dataclasses.replace(network, **changes), path)
        return named.find(path)

    return save


def test_a_network_of_the_zoo_comes_with_its_card_and_its_data():
    one = named.find("digits")
    assert one.card == zoo.card("digits") and one.data == ("digits", {})
    assert len(one.test_set().test) == 360


def test_a_file_says_its_data_in_its_notes(saved):
    network = zoo.load("digits")
    one = saved(network, meta={"data": "digits", "recipe": json.dumps({"data": {"name": "digits", "seed": 3}})})
    assert one.card is None and one.data == ("digits", {"seed": 3})
    own, other = one.test_set().test, named.find("digits").test_set().test
    assert len(own) == 360 and not bool((own.x == other.x).all())          # another split, by its seed


def test_where_nothing_says_the_data_it_has_to_be_named(saved):
    one = saved(zoo.load("digits"), meta={})
    with pytest.raises(InputError, match="nothing says which data .* name it with --data, one of digits, mnist"):
        one.test_set()
    assert len(one.test_set("digits").test) == 360


def test_neither_a_name_nor_a_file_is_an_error_with_the_names():
    with pytest.raises(ZooError, match="'nothing' is neither a file nor a network of the zoo; those are: .*digits"):
        named.find("nothing")


def test_data_of_another_shape_kind_or_width_is_refused(saved):
    network = next(n for n in map(random_network, range(60)) if not n.input.static and n.input.bits < 5)
    with pytest.raises(InputError, match="does not fit .*samples of 1x8x8, the network takes .*; single images, the "
                                         "network takes one input per time step; values of 5 bits, the network takes"):
        saved(network, meta={}).test_set("digits")


@pytest.mark.datasets("mnist")
def test_pixels_have_the_bits_that_card_or_file_say_and_else_all():
    fast = named.find("mnist-fast")
    assert fast.test_set().bits == 2 and int(fast.test_set().test.x.max()) == 3
    assert dataclasses.replace(fast, card=None).test_set().bits == 2        # by the recipe in its file
    with pytest.raises(InputError, match="values of 8 bits, the network takes 2"):
        dataclasses.replace(fast, card=None, network=dataclasses.replace(fast.network, meta={})).test_set("mnist")


@pytest.mark.datasets("n-mnist")
def test_events_are_counted_in_the_steps_and_bits_of_the_network(saved):
    network = next(n for n in map(random_network, range(60)) if not n.input.static and n.input.bits < 8 and n.steps < 9)
    given = dataclasses.replace(network.input, shape=(2, 34, 34), padding=(0, 0, 0, 0), zero_point=())
    one = dataclasses.replace(named.find("digits"), card=None, network=dataclasses.replace(network, input=given))
    found = one.test_set("n-mnist")
    assert (found.steps, found.bits) == (network.steps, network.input.bits)
