"""Finding a transport by the name of the target."""

import importlib.metadata
import sys
import types

import numpy as np
import pytest

import qblif
from qblif.host import BundleError, ToolMissing, UnknownTarget, transport


@pytest.fixture
def points(monkeypatch):
    """Entry points in place of those installed: name -> "module:factory"."""
    def install(**values):
        found = [importlib.metadata.EntryPoint(name, value, transport.GROUP) for name, value in values.items()]
        monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: found if group == transport.GROUP else [])
    install()
    return install


@pytest.fixture
def module(monkeypatch, fakes):
    """A module that holds a factory; remembers what it was called with."""
    calls = []

    def open_transport(*args, **options):
        calls.append((args, options))
        return fakes.transport(args[0])
    made = types.ModuleType("some_transport")
    made.open_transport, made.calls = open_transport, calls
    monkeypatch.setitem(sys.modules, "some_transport", made)
    return made


@pytest.mark.parametrize("target", ["board", "board:1", "board://host/x"])
def test_an_entry_point_is_found_and_given_the_whole_target_and_the_options(bundle, points, module, target):
    points(board="some_transport:open_transport")
    with qblif.open(bundle.path, target, timeout=2, speed=9) as acc:
        assert acc.self_test() == 4
    (args, options), = module.calls
    assert args[0].program_hash == bundle.program_hash and args[1:] == (target, 2) and options == {"speed": 9}


def test_an_opened_bundle_can_be_opened_too(bundle, points, module):
    points(board="some_transport:open_transport")
    with qblif.open(bundle, "board") as acc:
        assert acc.bundle is bundle


@pytest.mark.parametrize("target", ["pynqq", "", "simulator", None, 3])
def test_an_unknown_target_is_refused_with_those_that_exist(bundle, points, target):
    points(board="some_transport:open_transport")
    with pytest.raises(UnknownTarget, match="there are: sim, board, pynq, pynq://HOST.*serial:PATH"):
        qblif.open(bundle, target)


def test_a_bit_rate_given_as_an_option_is_told_its_place(bundle, points):
    with pytest.raises(UnknownTarget, match=r"\n.*the bit rate is part of the target: serial:/dev/ttyUSB0\?baud="):
        qblif.open(bundle, "serial:/dev/ttyUSB0", baud=115200)


def test_a_transport_of_this_package_is_found_without_metadata(bundle, points, module, monkeypatch):
    monkeypatch.setattr(transport, "OWN", {"sim": ("some_transport", "open_transport", "")})
    with qblif.open(bundle) as acc:
        assert np.array_equal(acc.run_batch(bundle.golden_inputs), bundle.golden_logits)


def test_a_known_target_that_is_not_installed_says_what_installs_it(bundle, points, monkeypatch):
    monkeypatch.setitem(sys.modules, "qblif.sim.transport", None)
    with pytest.raises(ToolMissing, match=r"'sim' is not installed.*\n.*in a clone of qblif: pip install '\.\[sim\]'"):
        qblif.open(bundle)
    points(board="no_such_module:open_transport")
    with pytest.raises(ToolMissing, match="'board' is not installed"):
        qblif.open(bundle, "board")


@pytest.mark.parametrize("timeout", [0, -1, float("nan")])
def test_a_timeout_that_is_none_is_refused(bundle, timeout):
    with pytest.raises(ValueError, match="allowed is a positive number of seconds"):
        qblif.open(bundle, timeout=timeout)


def test_the_bundle_is_checked_before_any_transport_is_looked_for(tmp_path, points):
    with pytest.raises(BundleError):
        qblif.open(tmp_path / "none.qblif", "nowhere")
