"""The whole way on simulated hardware: plan, bundle, open, run, fail, go on. One design, two cores in a chain."""

import dataclasses

import numpy as np
import pytest

pytest.importorskip("torch", reason="the golden model needs torch")
pytest.importorskip("qblif.sim.transport", reason="the target 'sim' is not installed")

import qblif
from qblif import cli
from qblif.gen.build import build
from qblif.gen.errors import PlanError
from qblif.gen.plan import make_plan
from qblif.host import BuildMismatch, Bundle, DeviceError, InputLayout, abi, selftest
from qblif.sim import golden
from qblif.sim.random_networks import random_network

IMAGES = 30


def first_plan():
    """Return the plan of the first random network that can be cut in two."""
    for seed in range(100):
        try:
            return make_plan(random_network(seed), cores=2, lanes=8, word_bits=32, neuron_lanes=2)
        except PlanError:
            continue
    raise AssertionError("none of 100 random networks can be cut in two")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Bundle:
    plan = first_plan()
    layout = plan.input_layout
    x = np.random.default_rng(5).integers(0, 1 << layout.bits, layout.array_shape(IMAGES), dtype=np.uint8)
    return build(plan, tmp_path_factory.mktemp("bundle") / "random.qblif", golden_inputs=x,
                 golden_logits=golden.run(plan.network, x).logits)


@pytest.fixture
def acc(bundle):
    with qblif.open(bundle.path, target="sim", timeout=60) as acc:
        yield acc


def image_of(x, layout, index):
    return x[index] if layout.static else x[:, index]


def test_all_logits_are_the_golden_models_in_a_batch_and_alone(acc, bundle):
    assert acc.self_test() == IMAGES
    x, layout = bundle.golden_inputs, bundle.input_layout
    for index in (0, IMAGES - 1):
        assert np.array_equal(acc.run(image_of(x, layout, index)), bundle.golden_logits[index])
    assert np.array_equal(acc.predict(x), bundle.golden_logits.argmax(axis=1))
    assert acc.last_cycles.shape == (IMAGES,) and acc.last_cycles.min() > 0


def test_statistics_come_from_both_cores(acc, bundle):
    acc.self_test()
    stats = acc.stats()
    assert stats.images == stats.host_images == IMAGES and len(stats.cores) == 2
    for core in stats.cores:
        assert 0 < core.counters["adds"] <= core.cluster_cycles and 0 < core.scan_efficiency <= 1
        assert core.breakdown["other"] == pytest.approx(0, abs=0.05)
    acc.reset()
    assert acc.stats().images == 0 and acc.self_test() == IMAGES


def test_progress_comes_while_the_simulation_runs(acc, bundle):
    seen = []
    acc.run_batch(bundle.golden_inputs, progress=lambda done, total: seen.append(done))
    assert seen == sorted(set(seen)) and seen[-1] == IMAGES and len(seen) > 1


@pytest.mark.parametrize("code, change", [
    (abi.Error.SHORT_INPUT, lambda frames: frames[:, :-1]),
    (abi.Error.LONG_INPUT, lambda frames: np.concatenate([frames, frames[:, :1]], axis=1)),
])
def test_frames_of_a_wrong_length_are_an_error_code_and_the_next_job_works(acc, bundle, monkeypatch, code, change):
    pack = InputLayout.pack
    with monkeypatch.context() as patch:
        patch.setattr(InputLayout, "pack", lambda self, x: np.ascontiguousarray(change(pack(self, x))))
        with pytest.raises(DeviceError) as caught:
            acc.run_batch(bundle.golden_inputs)
    assert caught.value.code is code and caught.value.snapshot["ID"] == abi.MAGIC
    assert acc.self_test() == IMAGES


def test_the_self_test_passes_on_simulated_hardware(bundle, capsys, monkeypatch):
    monkeypatch.setattr(selftest, "SPEED_SECONDS", 0.2)
    assert cli.main(["selftest", str(bundle.path), "--target", "sim"]) == 0
    told = capsys.readouterr().out
    assert f"{IMAGES} images, every logit equal" in told and "clock unknown" in told and "result: passed" in told


def test_an_interrupt_leaves_it_usable(acc, bundle):
    def interrupt(done, total):
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        acc.run_batch(bundle.golden_inputs, progress=interrupt)
    assert acc.self_test() == IMAGES


def test_a_damaged_program_is_refused_by_the_hardware(bundle):
    program = bundle.program.copy()
    program[-2] ^= 1
    with pytest.raises(DeviceError, match="BAD_CRC"):
        qblif.open(dataclasses.replace(bundle, program=program))


def test_hardware_of_another_build_is_refused(bundle):
    with pytest.raises(BuildMismatch, match=f"{bundle.build_hash:016x}"):
        qblif.open(dataclasses.replace(bundle, build_hash=1))
