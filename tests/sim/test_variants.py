"""`qblif variants`: what a network is run on, and what the columns say, on two small cores."""

import re

import pytest

from qblif.sim import variants


@pytest.fixture(scope="module")
def rows():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(variants, "SHAPES", ({"lanes": 4}, {"lanes": 4, "fanout": "unary"}))
        text = variants.run("digits", 2)
    found = (re.split(r"\s{2,}", line.strip()) for line in text.splitlines())
    return {row[0]: [float(field.replace(",", "")) for field in row[1:]] for row in found if "lanes, " in row[0]}


def test_any_network_is_run_on_both_fan_out_strategies_with_few_and_with_many_lanes(monkeypatch):
    ran = []
    monkeypatch.setattr(variants, "_plan", lambda network, variant, designs: variant)
    monkeypatch.setattr(variants, "_row", lambda plan, x, count, name: ran.append(name) or ("",) * 7)
    variants.run("digits", 1)
    assert {f"{lanes} lanes, {fanout}" for lanes in (16, 64) for fanout in ("double", "unary")} <= set(ran)


@pytest.mark.long
def test_unary_adds_more_rows_in_more_cycles_on_as_much_logic(rows):
    double, unary = rows["4 lanes, double"], rows["4 lanes, unary"]
    assert unary[0] > 2 * double[0]
    assert unary[1] > 1.2 * double[1]
    assert abs(unary[4] / double[4] - 1) < 0.1


@pytest.mark.long
def test_scan_efficiency_is_needed_rows_per_cycle_and_the_product_is_cycles_by_luts(rows):
    for cycles, added, efficiency, utilisation, lut, product in rows.values():
        assert 0 < utilisation <= efficiency <= 1
        assert abs(cycles * lut / 1e6 - product) <= 1
        if efficiency > 0.5:        # `double`: every row added was needed
            assert efficiency == pytest.approx(added / cycles, rel=0.02)
