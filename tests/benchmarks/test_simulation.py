"""benchmarks/simulation.py: what it measures is the simulation that gives the golden model's logits."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from qblif.gen.plan import make_plan
from qblif.hw.params import CoreParams, DesignParams
from qblif.sim import golden, verilator
from qblif.sim.random_networks import random_input, random_network
from qblif.sim.simulation import design_verilog

PATH = Path(__file__).parents[2] / "benchmarks" / "simulation.py"

ONE_CORE = DesignParams((CoreParams(map_depth=8192, weight_depth=8192, layer_depth=64, source_depth=256,
                                    channel_depth=512),))
"""As in tests/sim/designs.py, so that the simulator is there; its trace ports are not looked at."""


@pytest.fixture(scope="module")
def simulation():
    spec = importlib.util.spec_from_file_location("qblif_benchmark_simulation", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_wide_vectors_and_no_others_are_marked(simulation):
    text = ("  wire [31:0] a;\n  reg [191:0] \\b.c  = 192'h0;\n"
            "  wire [30:0] d;\n  input [63:0] e;\n  reg [63:0] f [9:0];\n")
    assert simulation.split(text) == (text.replace("a;", "a /*verilator split_var*/;")
                                      .replace("\\b.c ", "\\b.c  /*verilator split_var*/"))


def test_batches_follow_each_other_and_have_the_golden_logits(simulation):
    plan = make_plan(random_network(3), design=ONE_CORE)
    bench = simulation.Bench(verilator.build(design_verilog(ONE_CORE, trace=True)), plan.program)
    for seed in (0, 1):
        images = random_input(plan.network, seed, 3)
        logits, cycles, seconds = bench.run(plan.input_layout.pack(images), plan.network.classes)
        assert np.array_equal(logits, golden.run(plan.network, images).logits)
        assert cycles > 100 and seconds > 0


def test_every_variant_is_an_argument_of_the_build(simulation):
    for flags, change in simulation.VARIANTS.values():
        assert set(flags) <= {"verilate", "fast"} and callable(change)
    assert next(iter(simulation.VARIANTS.values())) == ({}, str), "the first is what others are compared with"
