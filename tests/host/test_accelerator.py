"""The accelerator over a transport that does what the test says."""

import threading

import numpy as np
import pytest

from qblif.host import (
    Accelerator,
    BuildMismatch,
    ClosedError,
    DeviceError,
    InputError,
    SelfTestFailed,
    Timeout,
    TransportError,
    abi,
    accelerator,
)


def opened(fakes, *script, **registers):
    transport = fakes.transport(fakes.bundle, script, **registers)
    return Accelerator(fakes.bundle, transport, timeout=0.5), transport


def images_at_once(fakes, monkeypatch, count):
    monkeypatch.setattr(accelerator, "FRAME_BYTES", 4 * count * fakes.bundle.input_layout.beats)


def expected(fakes, x):
    return fakes.logits(fakes.bundle.input_layout.pack(x))


# --- opening --------------------------------------------------------------------------------------------------

def test_opening_resets_and_loads_the_program(fakes):
    _, transport = opened(fakes)
    assert transport.events == ["reset", "program"]


def test_a_program_that_is_built_in_is_not_loaded_again(fakes):
    transport = fakes.transport(fakes.bundle)
    write = transport.write

    def reset_leaves_the_program(offset, value):
        write(offset, value)
        transport.loaded = True
    transport.write = reset_leaves_the_program
    acc = Accelerator(fakes.bundle, transport, 0.5)
    assert transport.events == ["reset"]
    assert np.array_equal(acc.run_batch(fakes.bundle.golden_inputs), expected(fakes, fakes.bundle.golden_inputs))


def test_another_program_that_is_built_in_is_replaced(fakes):
    transport = fakes.transport(fakes.bundle, PROGRAM_LO=7)
    transport.loaded = True
    transport.program_script = [lambda transport: transport.overrides.clear()]
    Accelerator(fakes.bundle, transport, 0.5)
    assert transport.events == ["reset", "program"]


def test_another_build_is_refused_with_both_hashes_and_the_file_that_fits(fakes):
    with pytest.raises(BuildMismatch) as caught:
        opened(fakes, BUILD_LO=0x1111_2222, BUILD_HI=0x3333_4444)
    text = str(caught.value)
    assert "qblif compile NETWORK --design <folder of that bitstream>/manifest.json" in text
    assert "3333444411112222" in text and f"{fakes.bundle.build_hash:016x}" in text
    assert "verilog/top.sv" in text and str(fakes.bundle.path) in text


@pytest.mark.parametrize("register, value, words", [
    ("ID", 0xFFFF_FFFF, "no qblif accelerator here: register ID is 0xffffffff"),
    ("ABI", abi.ABI_VERSION + 1, f"ABI version {abi.ABI_VERSION + 1}"),
])
def test_what_is_no_accelerator_of_this_abi_is_refused(fakes, register, value, words):
    transport = fakes.transport(fakes.bundle, **{register: value})
    with pytest.raises(BuildMismatch, match=words):
        Accelerator(fakes.bundle, transport, 0.5)
    assert transport.events == [] and transport.closed == 1


@pytest.mark.parametrize("registers", [{"SCRATCH": 0}, {"PROGRAM_LO": 7}, {"STATUS": 0}])
def test_registers_that_do_not_read_back_are_refused(fakes, registers):
    transport = fakes.transport(fakes.bundle, **registers)
    with pytest.raises(TransportError):
        Accelerator(fakes.bundle, transport, 0.5)
    assert transport.closed == 1


def test_a_program_that_the_hardware_refuses_is_reported_with_its_code(fakes):
    transport = fakes.transport(fakes.bundle)
    transport.program_script = [abi.Error.BAD_CRC]
    with pytest.raises(DeviceError, match="BAD_CRC") as caught:
        Accelerator(fakes.bundle, transport, 0.5)
    assert caught.value.code is abi.Error.BAD_CRC and caught.value.info == 5
    assert transport.closed == 1


def test_hardware_that_stays_busy_after_a_reset_is_a_timeout(fakes):
    with pytest.raises(Timeout, match="still busy"):
        opened(fakes, STATUS=abi.pack(abi.STATUS_FIELDS, {"loaded": 0, "busy": 1, "loading": 0, "error": 0}))


# --- running --------------------------------------------------------------------------------------------------

def test_one_image_gives_its_logits(fakes):
    acc, _ = opened(fakes)
    x = fakes.bundle.golden_inputs
    logits = acc.run(x[2])
    assert logits.dtype == np.int64 and logits.shape == (3,)
    assert np.array_equal(logits, expected(fakes, x)[2])
    assert acc.scale == 0.25


def test_a_batch_goes_out_in_parts_and_comes_back_in_order(fakes, monkeypatch):
    images_at_once(fakes, monkeypatch, 3)
    acc, transport = opened(fakes)
    x = np.random.default_rng(1).integers(0, 16, (8, 2, 3, 5))
    assert np.array_equal(acc.run_batch(x), expected(fakes, x))
    assert transport.events[2:] == ["infer 3", "infer 3", "infer 2"]
    assert acc.last_cycles.tolist() == [100] * 8


def test_an_input_that_changes_in_time_has_the_time_axis_first(fakes, tmp_path):
    from qblif.host import Bundle
    fakes.bundle = Bundle.write(tmp_path / "timed.qblif", **fakes.parts(static=False))
    acc, _ = opened(fakes)
    x = np.random.default_rng(1).integers(0, 16, (2, 70, 2, 3, 5))
    logits = acc.run_batch(x)
    assert np.array_equal(logits, expected(fakes, x))
    assert np.array_equal(acc.run(x[:, 69]), logits[69])


def test_ties_go_to_the_lowest_class(fakes, monkeypatch):
    acc, _ = opened(fakes)
    monkeypatch.setattr(acc, "run_batch", lambda xs, progress: np.array([[5, 9, 9], [4, 4, 4]]))
    assert acc.predict(None).tolist() == [1, 0]


def test_progress_counts_every_image_once_and_ends_at_all(fakes, monkeypatch, capsys):
    images_at_once(fakes, monkeypatch, 2)
    acc, _ = opened(fakes)
    x = np.zeros((5, 2, 3, 5), np.uint8)
    seen = []
    acc.run_batch(x, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]
    acc.run_batch(x, progress=True)
    assert capsys.readouterr().err == "\r5/5 images\n"
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    acc.run_batch(x, progress=True)
    assert capsys.readouterr().err == "".join(f"\r{i}/5 images" for i in range(1, 6)) + "\n"


def test_bad_data_is_refused_before_anything_is_sent(fakes, monkeypatch):
    images_at_once(fakes, monkeypatch, 2)
    acc, transport = opened(fakes)
    x = np.zeros((5, 2, 3, 5), np.int64)
    x[4, 1, 2, 3] = 16
    with pytest.raises(InputError, match=r"16 at index \(4, 1, 2, 3\)"):
        acc.run_batch(x)
    with pytest.raises(InputError, match="run takes one image"):
        acc.run(x)
    with pytest.raises(InputError, match="run_batch takes a batch"):
        acc.run_batch(x[0])
    assert transport.events == ["reset", "program"]


@pytest.mark.parametrize("bad", [np.zeros((1, 4), np.int64), np.zeros((1, 3), np.float64)])
def test_a_result_that_cannot_be_is_not_passed_on(fakes, monkeypatch, bad):
    acc, transport = opened(fakes)
    monkeypatch.setattr(transport, "infer", lambda *_: (bad, None))
    with pytest.raises(TransportError, match="the transport returned"):
        acc.run(fakes.bundle.golden_inputs[0])


def test_the_self_test_counts_the_golden_vectors_and_names_the_first_difference(fakes, monkeypatch):
    acc, transport = opened(fakes)
    assert acc.self_test() == 4
    right = transport.infer

    def wrong(frames, *rest):
        logits, cycles = right(frames, *rest)
        logits[2, 1] += 1
        return logits, cycles
    monkeypatch.setattr(transport, "infer", wrong)
    with pytest.raises(SelfTestFailed, match="golden image 2, logit 1: expected .* .1 of 12 logits differ"):
        acc.self_test()


# --- failing and coming back ----------------------------------------------------------------------------------

def test_a_timeout_tells_the_registers_and_leaves_the_accelerator_usable(fakes):
    acc, transport = opened(fakes, "hang")
    x = fakes.bundle.golden_inputs
    with pytest.raises(Timeout, match="no image was finished for 0.5 s: nothing came") as caught:
        acc.run_batch(x)
    assert caught.value.snapshot["ID"] == abi.MAGIC and "STATUS=0x1" in str(caught.value)
    assert isinstance(caught.value, TimeoutError)
    assert transport.events[2:] == ["infer 4", "reset", "program"]
    assert np.array_equal(acc.run_batch(x), expected(fakes, x))


@pytest.mark.parametrize("code", [code for code in abi.Error if code])
def test_every_error_code_is_raised_with_its_meaning_and_costs_one_job(fakes, code):
    acc, _ = opened(fakes, code)
    x = fakes.bundle.golden_inputs
    with pytest.raises(DeviceError) as caught:
        acc.run_batch(x)
    error = caught.value
    assert (error.code, error.meaning, error.info) == (code, code.meaning, 5)
    assert code.name in str(error) and error.snapshot["ERROR_INFO"] == 5
    assert np.array_equal(acc.run_batch(x), expected(fakes, x))


def test_an_error_code_that_shows_only_after_the_job_is_noticed(fakes):
    acc, _ = opened(fakes, lambda transport: setattr(transport, "error", int(abi.Error.LONG_INPUT)))
    with pytest.raises(DeviceError, match="LONG_INPUT"):
        acc.run_batch(fakes.bundle.golden_inputs)


def test_an_unknown_error_code_is_still_an_error(fakes):
    acc, _ = opened(fakes, lambda transport: setattr(transport, "error", 200))
    with pytest.raises(DeviceError, match="error 200 .unknown."):
        acc.run_batch(fakes.bundle.golden_inputs)


def test_an_interrupt_is_not_delayed_and_the_next_job_works(fakes):
    acc, transport = opened(fakes, KeyboardInterrupt())
    x = fakes.bundle.golden_inputs
    with pytest.raises(KeyboardInterrupt):
        acc.run_batch(x)
    assert transport.events[2:] == ["infer 4"]
    assert np.array_equal(acc.run_batch(x), expected(fakes, x))
    assert transport.events[3:] == ["reset", "program", "infer 4"]


def test_a_second_interrupt_while_recovering_changes_nothing(fakes):
    acc, transport = opened(fakes, KeyboardInterrupt())
    x = fakes.bundle.golden_inputs
    with pytest.raises(KeyboardInterrupt):
        acc.run_batch(x)
    transport.program_script = [KeyboardInterrupt()]
    with pytest.raises(KeyboardInterrupt):
        acc.run_batch(x)
    assert np.array_equal(acc.run_batch(x), expected(fakes, x))


def test_a_failed_recovery_is_told_and_tried_again(fakes):
    acc, transport = opened(fakes, "hang")
    transport.program_script = ["hang", "hang"]
    x = fakes.bundle.golden_inputs
    with pytest.raises(Timeout, match="no image was finished") as caught:
        acc.run_batch(x)
    assert "nor could the accelerator be reset" in str(caught.value)
    with pytest.raises(Timeout, match="the program was not taken"):
        acc.run_batch(x)
    assert np.array_equal(acc.run_batch(x), expected(fakes, x))


def test_an_error_of_the_users_progress_function_is_passed_on_unchanged(fakes):
    acc, _ = opened(fakes)
    x = fakes.bundle.golden_inputs

    def stop(done, total):
        raise LookupError("enough")
    with pytest.raises(LookupError, match="enough"):
        acc.run_batch(x, progress=stop)
    assert np.array_equal(acc.run_batch(x), expected(fakes, x))


def test_a_broken_link_is_a_transport_error_even_if_no_register_can_be_read(fakes, monkeypatch):
    acc, transport = opened(fakes, TransportError("the cable is gone"))

    def gone(_):
        raise TransportError("the cable is gone")
    monkeypatch.setattr(transport, "read", gone)
    with pytest.raises(TransportError, match="the cable is gone") as caught:
        acc.run_batch(fakes.bundle.golden_inputs)
    assert caught.value.snapshot == {}


# --- statistics, threads, closing -------------------------------------------------------------------------------

def test_statistics_show_64_bit_counters_of_every_core(fakes):
    acc, _ = opened(fakes)
    acc.run_batch(fakes.bundle.golden_inputs)
    stats = acc.stats()
    counters = stats.cores[0].counters
    assert list(counters) == [name for name, _ in abi.COUNTERS]
    assert counters["cycles"] == (1 << 33) + 4000 and counters["adds"] == (2 << 33) + 4000
    assert (stats.images, stats.host_images) == (4, 4) and stats.seconds > 0
    assert stats.cores[0].cluster_cycles == 2 * counters["cycles"]
    assert stats.scan_efficiency == (counters["set_bits"] + counters["masks"]) / (2 * counters["cycles"])
    assert stats.cycles_per_image == (counters["cycles"] - counters["input_stalls"] / 2) / 4
    assert "core 0: cycles=" in str(stats)


def test_the_breakdown_accounts_for_every_cycle_of_every_cluster():
    from qblif.host import CoreStats
    counters = {"cycles": 100, "adds": 120, "set_bits": 90, "masks": 30, "doublings": 10, "starved": 20,
                "neuron_stalls": 6, "turnaround": 16, "output_stalls": 5, "input_stalls": 8}
    core = CoreStats(2, counters)
    assert core.scan_efficiency == 0.6
    assert core.breakdown == pytest.approx({"adds": 0.6, "doublings": 0.05, "starved": 0.1, "neuron_stalls": 0.03,
                                            "turnaround": 0.08, "input_stalls": 0.04, "other": 0.1,
                                            "output_stalls": 0.05})
    assert core.worked == 96


def test_statistics_before_any_work_are_zero_not_an_error(fakes, monkeypatch):
    from qblif.host import CoreStats, Stats
    idle = CoreStats(1, dict.fromkeys((name for name, _ in abi.COUNTERS), 0))
    assert (idle.scan_efficiency, idle.breakdown, Stats((idle,), 0, 0, 0.0).cycles_per_image) == (0.0, {}, 0.0)


def test_reset_starts_the_counters_again(fakes):
    acc, transport = opened(fakes)
    acc.run_batch(fakes.bundle.golden_inputs)
    acc.reset()
    assert acc.stats().images == 0
    assert transport.events[-2:] == ["reset", "program"]


def test_a_clock_that_nobody_knows_gives_cycles_and_no_rate_of_the_core(fakes):
    acc, _ = opened(fakes)
    acc.run_batch(fakes.bundle.golden_inputs)
    stats = acc.stats()
    assert stats.clock is None and stats.core_rate is None and stats.job_rate is None
    assert "core: the clock is unknown" in str(stats) and stats.end_to_end_rate > 0 and "end to end: " in str(stats)


def test_a_clock_that_the_hardware_makes_itself_is_read_from_it(fakes):
    acc, _ = opened(fakes, CLOCK_HZ=25_000_000)
    acc.run_batch(fakes.bundle.golden_inputs)
    stats = acc.stats()
    assert str(stats.clock) == "25 MHz (register CLOCK_HZ)"
    assert stats.core_rate == 25e6 / stats.cycles_per_image


def test_a_snapshot_has_every_register_that_can_be_read(fakes):
    acc, _ = opened(fakes)
    assert set(acc.snapshot()) == {name for name, _, access, _ in abi.REGISTERS if access != "wo"}


def test_threads_take_turns(fakes, monkeypatch):
    acc, transport = opened(fakes)
    inside, most, right = [], [], transport.infer

    def watched(*args):
        inside.append(1)
        most.append(len(inside))
        threading.Event().wait(0.005)
        inside.pop()
        return right(*args)
    monkeypatch.setattr(transport, "infer", watched)
    x = np.random.default_rng(2).integers(0, 16, (6, 2, 3, 5))
    results = {}
    threads = [threading.Thread(target=lambda i=i: results.update({i: acc.run(x[i])})) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1
    assert np.array_equal(np.stack([results[i] for i in range(6)]), expected(fakes, x))


def test_a_closed_accelerator_says_so_and_closing_twice_is_harmless(fakes):
    acc, transport = opened(fakes)
    with acc as same:
        assert same is acc
    acc.close()
    assert transport.closed == 1
    x = fakes.bundle.golden_inputs
    for use in (lambda: acc.run(x[0]), lambda: acc.run_batch(x), lambda: acc.predict(x), acc.stats, acc.reset,
                acc.snapshot, acc.self_test, acc.__enter__):
        with pytest.raises(ClosedError, match="the accelerator is closed"):
            use()
