"""Checks of what users feed to a network, before any of it is converted (no silent wrap)."""

from __future__ import annotations

import numpy as np

from qblif.gen.network import Network
from qblif.host.errors import InputError


def check_input(network: Network, x) -> np.ndarray:
    """Return x as contiguous int32, shaped as given: (B, C, H, W) if the input is static, else (T, B, C, H, W).

    x: array, tensor or nested lists of integers 0 .. 2**bits - 1, B >= 1; strides do not matter.
    Raises InputError for floats (NaN among them), negative or too large values, a wrong shape or T, an empty batch.
    """
    given = network.input
    x = np.asarray(x)
    if x.dtype.kind not in "iub":
        what = " with NaN or infinite values" if x.dtype.kind == "f" and not np.isfinite(x).all() else ""
        raise InputError(f"the input has dtype {x.dtype}{what}, allowed are integers 0 to {(1 << given.bits) - 1}: "
                         "scale and round the data to the integers the network was trained on")
    lead = ("B",) if given.static else (network.steps, "B")
    shape = (*lead, *given.shape)
    if x.ndim != len(shape) or any(isinstance(want, int) and size != want
                                   for size, want in zip(x.shape, shape, strict=True)):
        text = ", ".join(map(str, shape))
        kind = "a static input is (B, C, H, W)" if given.static else "a sequence is (T, B, C, H, W)"
        raise InputError(f"the input has shape {x.shape}, allowed is ({text}): {kind}")
    if x.size == 0:
        raise InputError(f"the input has shape {x.shape}, an empty batch; allowed is a batch of at least one image")
    low, high = int(x.min()), int(x.max())
    if low < 0 or high >= 1 << given.bits:
        raise InputError(f"the input ranges from {low} to {high}, allowed is 0 to {(1 << given.bits) - 1} "
                         f"({given.bits} bits)")
    return np.ascontiguousarray(x, dtype=np.int32)
