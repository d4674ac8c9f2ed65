"""Depths are known before tables are written, and are those that the tables take."""

import pytest

from qblif.gen.needs import join, layer_needs
from qblif.gen.plan import depth

from .planned import SEEDS, planned


@pytest.mark.parametrize(("seed", "option"), SEEDS)
def test_a_core_is_as_deep_as_its_layers_need(seed, option):
    plan = planned(seed, option)
    for segment, core in zip(plan.segments, plan.design.cores, strict=True):
        need = join([layer_needs(plan.network, index, plan.packing, core.clusters, core.chunks)
                     for index in range(segment.first, segment.last + 1)])
        assert {name: depth(name, rows) for name, rows in need.items()} == {name: getattr(core, name) for name in need}
