"""What the tests share that run cocotb benches."""

import pytest

from qblif.sim.random_networks import Limits

BOTH = ["verilator", pytest.param("icarus", marks=pytest.mark.icarus)]
"""Values of a parameter `simulator`."""

SMALL = Limits(layers=2, side=4, channels=8, steps=2, levels=15, input_bits=4, lanes=4, row_adds=400, weight_rows=200,
               map_words=100)
"""Random networks that take an event-driven simulator seconds."""
