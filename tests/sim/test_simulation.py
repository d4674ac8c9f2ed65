"""The simulation library, tried on a stand-in with the ports of the top that can also misbehave."""

import functools
import threading
import time

import numpy as np
import pytest

from qblif.host import abi
from qblif.host.errors import DeviceError, Timeout
from qblif.hw import layouts
from qblif.hw.emit import emit
from qblif.hw.params import DesignParams
from qblif.sim.bench.stand_in import REGISTER, StandIn
from qblif.sim.model import SimulationError, Stalls
from qblif.sim.simulation import BLOCK, Simulation

PARAMS = StandIn.PARAMS


@functools.cache
def verilog():
    return emit(StandIn(), "qblif_top")


def simulation(threads=2, **options):
    return Simulation(None, verilog=verilog(), threads=threads, **options)


@pytest.fixture
def sim():
    with simulation() as sim:
        yield sim


@pytest.fixture
def single():
    with simulation(threads=1) as sim:
        yield sim


def frames(count, beats=4, seed=0):
    return np.random.default_rng(seed).integers(0, 1 << 32, (count, beats), dtype=np.uint32)


def expected(frames, scratch=0):
    sums = frames.sum(axis=1, dtype=np.uint32)
    return (sums[:, None] + np.arange(3, dtype=np.uint32) + np.uint32(scratch)).view(np.int32).astype(np.int64)


def test_registers_are_read_and_written(sim):
    assert sim.read(REGISTER["ID"]) == abi.MAGIC
    sim.write(REGISTER["SCRATCH"], 0xFFFF_FFFE)
    assert sim.read(REGISTER["SCRATCH"]) == 0xFFFF_FFFE


def test_a_bus_that_does_not_answer_is_a_timeout(sim):
    sim.write(REGISTER["SCRATCH"], StandIn.DEAF)
    with pytest.raises(Timeout, match="0x1c"):
        sim.write(REGISTER["SCRATCH"], 0)


def test_programs_reach_every_instance(sim):
    sim.program(np.array([1, 2, 3], np.uint32), stalls=Stalls(program=0.7))
    assert [model.access(REGISTER["PROGRAM_LO"]) for model in sim._models] == [6, 6]


def test_a_rejected_program_raises_the_error_code(sim):
    with pytest.raises(DeviceError) as caught:
        sim.program(np.array([13], np.uint32))
    assert caught.value.code == abi.Error.BAD_MAGIC
    with pytest.raises(DeviceError):
        sim.infer(frames(1), 3)
    sim.write(REGISTER["CONTROL"], 1)
    sim.infer(frames(1), 3)


def test_a_program_that_is_never_in_place_is_a_timeout(sim):
    with pytest.raises(Timeout, match="in place"):
        sim.program(np.array([14], np.uint32), timeout_cycles=1000)


@pytest.mark.parametrize("count", [0, 1, BLOCK - 1, BLOCK, 5 * BLOCK + 1])
def test_batches_of_any_size_come_back_in_order(sim, count):
    sim.write(REGISTER["SCRATCH"], 5)
    seen = []
    result = sim.infer(frames(count), 3, progress=seen.append)
    assert np.array_equal(result.logits, expected(frames(count), 5))
    assert seen == sorted(seen) and (not count or seen[-1] == count)
    assert np.all(result.cycles == result.cycles[:1]) and np.all(result.latency >= result.cycles)


def test_counters_are_sums_over_the_instances(sim):
    sim.infer(frames(10 * BLOCK), 3)
    assert sim.counters()["cycles"] == 10 * BLOCK * 4


def test_stalls_change_the_time_and_not_the_answer(sim):
    calm = sim.infer(frames(40), 3)
    for stalls in (Stalls(input=0.6), Stalls(output=0.9), Stalls(input=0.5, output=0.5, bus=0.9, seed=7)):
        rough = sim.infer(frames(40), 3, stalls=stalls)
        assert np.array_equal(rough.logits, calm.logits)
        assert rough.cycles.sum() > calm.cycles.sum()
        again = sim.infer(frames(40), 3, stalls=stalls)
        assert np.array_equal(again.cycles, rough.cycles)


def test_cycles_do_not_depend_on_the_number_of_threads(sim, single):
    assert np.array_equal(single.infer(frames(50), 3).cycles, sim.infer(frames(50), 3).cycles)


def test_a_payload_that_changes_while_it_waits_is_reported(single):
    single.write(REGISTER["SCRATCH"], StandIn.UNSTABLE)
    single.infer(frames(2), 3)
    with pytest.raises(SimulationError, match="m_axis_output changed"):
        single.infer(frames(20), 3, stalls=Stalls(output=0.5))


def test_output_frames_of_another_length_are_reported(single):
    with pytest.raises(SimulationError, match="output beat 2 has tlast=1"):
        single.infer(frames(2), 4)
    single.write(REGISTER["SCRATCH"], StandIn.LONG)
    with pytest.raises(SimulationError, match="output beat 2 has tlast=0"):
        single.infer(frames(2), 3)


def test_silence_is_a_timeout_and_the_next_call_starts_afresh(single):
    single.write(REGISTER["SCRATCH"], StandIn.SILENT)
    with pytest.raises(Timeout, match="0 of 3 images"):
        single.infer(frames(3), 3, timeout_cycles=100_000)
    with pytest.raises(Timeout, match="seconds"):
        single.infer(frames(3), 3, timeout=0.05)
    single.write(REGISTER["SCRATCH"], 0)
    assert np.array_equal(single.infer(frames(3), 3).logits, expected(frames(3)))


def test_a_failing_assertion_of_the_design_ends_the_run(sim):
    sim.write(REGISTER["SCRATCH"], StandIn.WRONG)
    with pytest.raises(SimulationError, match="assertion"):
        sim.infer(frames(3), 3)
    sim.reset()
    sim.write(REGISTER["SCRATCH"], 0)
    assert np.array_equal(sim.infer(frames(3), 3).logits, expected(frames(3)))


def test_an_interrupt_ends_a_batch_promptly_and_loses_nothing(sim):
    sim.program(np.array([6], np.uint32))

    def interrupt(done):
        raise KeyboardInterrupt

    started = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        sim.infer(frames(200_000), 3, progress=interrupt)
    assert time.perf_counter() - started < 20  # on a busy machine; milliseconds on an idle one
    assert np.array_equal(sim.infer(frames(30), 3).logits, expected(frames(30)))
    assert sim.read(REGISTER["PROGRAM_LO"]) == 6


def test_malformed_traffic_goes_through_raw(sim):
    beats, last = np.arange(6, dtype=np.uint32), np.array([0, 1, 0, 0, 0, 0])
    sim.raw.send("input", beats, last)
    assert sim.raw.run(50) is True
    data, ends, _ = sim.raw.output()
    assert data.tolist() == [1, 2, 3] and ends.tolist() == [False, False, True]
    assert sim.raw.unsent("input") == 0


def test_two_simulations_do_not_share_state(sim, single):
    sim.write(REGISTER["SCRATCH"], 1)
    single.write(REGISTER["SCRATCH"], 2)
    assert (sim.read(REGISTER["SCRATCH"]), single.read(REGISTER["SCRATCH"])) == (1, 2)


def test_traces_are_decoded_field_by_field_and_ordered_by_image():
    with Simulation(DesignParams((PARAMS,)), verilog=verilog(), trace=True, threads=2) as sim:
        result = sim.infer(frames(30), 3)
        records = sim.traces[0, 0]
    assert records.shape == (30, 3)
    for image, row in enumerate(records):
        for beat, record in enumerate(row):
            word = int(result.logits[image, beat]) & 0xFFFF_FFFF
            bits = sum(word << 32 * i for i in range(10))
            for name, field in layouts.trace(PARAMS):
                value = bits >> field.offset
                if name in ("current", "membrane"):
                    for lane in range(PARAMS.neuron_lanes):
                        part = value >> lane * 19 & (1 << 19) - 1
                        assert record[name][lane] == part - (part >> 18 << 19)
                elif name == "level":
                    assert [value >> 5 * lane & 31 for lane in range(2)] == record[name].tolist()
                else:
                    assert record[name] == value & (1 << field.width) - 1


def test_traces_need_to_be_asked_for(sim):
    with pytest.raises(ValueError, match="trace=True"):
        sim.traces  # noqa: B018 (the property raises)
    with pytest.raises(ValueError, match="no trace ports"):
        Simulation(None, verilog=verilog().replace("trace_0_0_", "other_"), trace=True)


def test_waves_are_written(tmp_path):
    with simulation(None, waves=tmp_path / "run.vcd") as sim:
        sim.infer(frames(2), 3)
    text = (tmp_path / "run.vcd").read_text()
    assert "m_axis_output_tdata" in text and text.count("\n#") > 20
    with pytest.raises(OSError, match="missing/run.vcd"):
        simulation(None, waves=tmp_path / "missing" / "run.vcd")


def test_instances_run_in_parallel(sim):
    """The library releases the interpreter lock: another thread counts while one instance runs."""
    counted, stop = 0, threading.Event()

    def count():
        nonlocal counted
        while not stop.is_set():
            counted += 1

    thread = threading.Thread(target=count)
    thread.start()
    before = counted
    sim.raw.run(2_000_000)
    after = counted
    stop.set()
    thread.join()
    assert after - before > 1000
