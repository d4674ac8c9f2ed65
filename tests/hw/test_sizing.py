"""Cores apart from their shell are what they are in it; approximate sizes are near the exact ones."""

import dataclasses

import pytest

from qblif.hw import boards, resources
from qblif.hw.params import CoreParams, DesignParams
from qblif.hw.parts import PARTS
from qblif.hw.sizing import Size, Sizes
from qblif.hw.structure import modules
from qblif.hw.uart_top import UartTop

SMALL = CoreParams(lanes=4, word_bits=32, neuron_lanes=2, acc_bits=20, map_depth=256, weight_depth=256)


def test_every_board_has_a_part():
    assert {board.part for board in boards.BOARDS.values()} == set(PARTS)


def test_a_design_is_its_shell_and_its_cores():
    design = DesignParams((SMALL, dataclasses.replace(SMALL, clusters=2, map_depth=512)))
    whole = modules(UartTop(design, resources.CLOCK_HZ))
    assert sorted(map(repr, resources.parts(design))) == sorted(map(repr, whole))


@pytest.fixture(scope="module")
def sizes():
    return Sizes()


@pytest.mark.parametrize("design", [
    DesignParams((dataclasses.replace(SMALL, clusters=2, weight_depth=2048),)),
    DesignParams((dataclasses.replace(SMALL, clusters=4), dataclasses.replace(SMALL, channel_depth=1024))),
], ids=("two clusters", "two cores"))
def test_approximate_sizes_are_near_those_of_the_whole(sizes, design):
    near = sum((sizes.core(core) for core in design.cores), sizes.shell(len(design.cores)))
    exact = Size.of(resources.estimate(design, sizes.by))
    assert near.lut == pytest.approx(exact.lut, rel=0.03) and near.ff == pytest.approx(exact.ff, rel=0.05)
    assert abs(near.block_ram - exact.block_ram) <= 2 * sum(-(-core.clusters // 2) for core in design.cores)


def test_what_was_kept_is_not_elaborated_again(sizes, monkeypatch):
    kept = {}

    def keep(name, make):
        return kept.setdefault(name, None) or kept.__setitem__(name, make()) or kept[name]

    first = Sizes(keep).core(SMALL)
    monkeypatch.setattr(resources, "of_core", None)
    assert Sizes(keep).core(SMALL) == first == sizes.core(SMALL)


def test_a_size_fits_where_nothing_of_it_is_larger():
    room = Size(100, 100, 10)
    assert Size(100, 100, 10).within(room)
    for name in ("lut", "ff", "block_ram"):
        assert not dataclasses.replace(room, **{name: getattr(room, name) + 1}).within(room)
