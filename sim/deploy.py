"""From a network to a bundle in one call: plan, golden vectors, hardware (whose Verilog is kept in the cache)."""

from __future__ import annotations

import os

import numpy as np

from qblif.gen.build import build
from qblif.gen.network import Network
from qblif.gen.plan import Plan, make_plan
from qblif.host.bundle import Bundle
from qblif.hw import emit

from . import golden
from .simulation import design_verilog

VECTORS = 4
"""Golden vectors of a bundle for which no images were given."""


def deploy(network: Network, path: str | os.PathLike, vectors=None, **planning) -> Bundle:
    """Plan a network, write its bundle to `path`, and return it.

    vectors: images to keep as golden vectors, shaped as for golden.run; default: a few random ones;
    planning: arguments of make_plan: lanes, cores, design ...

    Raises PlanError when it does not fit, InputError for vectors that the network does not take, BundleError when the
    file cannot be written."""
    return deploy_plan(make_plan(network, **planning), path, vectors)


def deploy_plan(plan: Plan, path: str | os.PathLike, vectors=None) -> Bundle:
    """Write the bundle of a plan; as `deploy`."""
    vectors = random_images(plan.network, VECTORS) if vectors is None else vectors
    return build(plan, path, golden_inputs=vectors, golden_logits=golden.run(plan.network, vectors).logits,
                 verilog=design_verilog(plan.design, trace=False), tools={"emitted by": emit.tool_versions()})


def random_images(network: Network, count: int, seed: int = 0) -> np.ndarray:
    """Return `count` images of uniformly random integers, shaped as the network takes them."""
    lead = (count,) if network.input.static else (network.steps, count)
    return np.random.default_rng(seed).integers(0, 1 << network.input.bits, (*lead, *network.input.shape), np.uint8)
