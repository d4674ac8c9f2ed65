"""A plan becomes a bundle that says everything the plan and the network do."""

import dataclasses

import numpy as np
import pytest

from qblif.gen import network_file
from qblif.gen.build import build
from qblif.gen.network import Input, Network, Neuron, NeuronLayer, Readout, Source
from qblif.gen.plan import make_plan
from qblif.host import Bundle, InputError
from qblif.hw import emit


def small_network(static=True) -> Network:
    """Return a 3x3 convolution and a read-out over 2x4x4 inputs of 3 bits."""
    rng = np.random.default_rng(0)

    def frozen(array, dtype):
        array = np.asarray(array).astype(dtype)
        array.setflags(write=False)
        return array
    kernel = frozen(rng.integers(-20, 20, (5, 2, 3, 3)), np.int8)
    dense = frozen(rng.integers(-20, 20, (3, 5, 4, 4)), np.int8)
    hidden = NeuronLayer("conv", (Source(0, kernel, padding=(1, 1)),), frozen(range(5), np.int32),
                         frozen([6] * 5, np.uint8), Neuron(levels=5), (5, 4, 4))
    return Network("small", 2, Input((2, 4, 4), 3, static=static),
                   (hidden, Readout("out", (Source(1, dense),), frozen([0] * 3, np.int32), scale=0.125)),
                   meta={"recipe": "random"})


@pytest.fixture(scope="module")
def plan():
    return make_plan(small_network())


def vectors(count=4, static=True):
    shape = (count, 2, 4, 4) if static else (2, count, 2, 4, 4)
    return {"golden_inputs": np.random.default_rng(1).integers(0, 8, shape),
            "golden_logits": np.arange(3 * count, dtype=np.int32).reshape(count, 3)}


def test_the_bundle_says_what_plan_and_network_say(plan, tmp_path):
    built = build(plan, tmp_path / "a.qblif", **vectors(), verilog="module t; endmodule", tools={"sim": "1"})
    loaded = Bundle.load(tmp_path / "a.qblif")
    assert loaded.name == "small" and (loaded.steps, loaded.classes, loaded.scale) == (2, 3, 0.125)
    assert loaded.build_hash == plan.design.build_hash and loaded.program_hash == plan.program_hash
    assert np.array_equal(loaded.program, plan.program) and loaded.input_layout == plan.input_layout
    assert np.array_equal(loaded.golden_inputs, vectors()["golden_inputs"])
    assert np.array_equal(loaded.golden_logits, vectors()["golden_logits"])
    assert loaded.verilog == "module t; endmodule"
    assert loaded.about == {"recipe": "random", "plan": plan.describe()}
    assert {"qblif", "numpy", "python", "sim"} <= set(loaded.tools)
    assert network_file.network_hash(network_file.loads(loaded.network)) == network_file.network_hash(plan.network)
    assert built.path == loaded.path


def test_the_same_plan_gives_the_same_bytes(plan, tmp_path):
    for name in ("a", "b"):
        build(plan, tmp_path / name, **vectors(), verilog="module t; endmodule")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_hardware_is_emitted_where_none_is_given_and_has_no_trace_ports(tmp_path, monkeypatch):
    designs = []
    monkeypatch.setattr(emit, "emit_top", lambda design: designs.append(design) or "module emitted; endmodule")
    monkeypatch.setattr(emit, "tool_versions", lambda: "yosys 0.50")
    traced = make_plan(small_network(), trace=True)
    bundle = build(traced, tmp_path / "a.qblif", **vectors())
    assert bundle.verilog == "module emitted; endmodule" and bundle.tools["emitted by"] == "yosys 0.50"
    assert not any(core.trace for core in designs[0].cores) and bundle.design == designs[0].to_dict()
    assert bundle.build_hash == traced.design.build_hash


def test_inputs_in_time_have_the_time_axis_first(tmp_path):
    plan = make_plan(small_network(static=False))
    bundle = build(plan, tmp_path / "a.qblif", **vectors(static=False), verilog="")
    assert bundle.golden_inputs.shape == (2, 4, 2, 4, 4)


@pytest.mark.parametrize("change, words", [
    ({"golden_logits": np.zeros((4, 2), np.int64)}, r"of shape \(4, 2\), allowed are integers of shape \(4, 3\)"),
    ({"golden_logits": np.zeros((3, 3), np.int64)}, r"of shape \(3, 3\)"),
    ({"golden_logits": np.zeros((4, 3))}, "float64"),
    ({"golden_inputs": np.full((4, 2, 4, 4), 8)}, "the input is 8 at index"),
    ({"golden_inputs": np.zeros((0, 2, 4, 4), int)}, "an empty batch"),
])
def test_golden_vectors_that_do_not_fit_are_refused(plan, tmp_path, change, words):
    with pytest.raises(InputError, match=words):
        build(plan, tmp_path / "a.qblif", **{**vectors(), **change}, verilog="")
    assert not (tmp_path / "a.qblif").exists()


def test_a_network_that_is_not_valid_is_not_bundled(plan, tmp_path):
    from qblif.gen.errors import VerifyError
    broken = dataclasses.replace(plan, network=dataclasses.replace(plan.network, steps=0))
    with pytest.raises(VerifyError):
        build(broken, tmp_path / "a.qblif", **vectors(), verilog="")
