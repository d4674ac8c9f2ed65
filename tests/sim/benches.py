"""What the tests share that run cocotb benches."""

import pytest

BOTH = ["verilator", pytest.param("icarus", marks=pytest.mark.icarus)]
"""Values of a parameter `simulator`."""
