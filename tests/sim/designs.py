"""Designs that several tests simulate, so that each is built once."""

from qblif.hw.params import CoreParams, DesignParams

CORE = CoreParams(map_depth=8192, weight_depth=8192, layer_depth=64, source_depth=256, channel_depth=512)
"""The default core with memories that every random network and the digits networks fit."""

ONE_CORE = DesignParams((CORE,))
"""Build it with ``Simulation(ONE_CORE, trace=True)``: another value of `trace` is another build."""
