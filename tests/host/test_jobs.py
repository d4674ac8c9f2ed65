"""Jobs: what is computed, in which order registers and memory are touched, and how a board comes back."""

import gc
import itertools
import threading
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qblif.host import (
    Accelerator,
    AddressOutOfReach,
    DeviceError,
    OutOfBoardMemory,
    QblifError,
    SelfTestFailed,
    Timeout,
    TransportError,
    abi,
    accelerator,
    device,
    jobs,
)
from qblif.host.jobs import JobTransport
from qblif.host.stats import Clock

from .fake_board import FakeBoard, FakeTime


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    clock = FakeTime()
    for module in (jobs, device):
        monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(jobs, "_kept", {})
    return clock


@pytest.fixture
def opened(fakes):
    def open_board(*script, timeout=0.1, **options):
        board = FakeBoard(fakes.transport(fakes.bundle), script, **options)
        return Accelerator(fakes.bundle, JobTransport(board, Clock(100e6, "set and read back")), timeout), board
    return open_board


def expected(fakes, x):
    return fakes.logits(fakes.bundle.input_layout.pack(x))


def images(count, seed=1):
    return np.random.default_rng(seed).integers(0, 16, (count, 2, 3, 5), np.uint8)


def small_jobs(fakes, monkeypatch, images_each):
    monkeypatch.setattr(jobs, "JOB_BYTES", 4 * images_each * fakes.bundle.input_layout.beats)


def what_matters(events):
    """Return the events without the looks at an idle status, runs of equal ones told once."""
    return [event for event, _ in itertools.groupby(events) if event != "status idle"]


# --- the right way ----------------------------------------------------------------------------------------------

def test_opening_stops_whatever_runs_before_it_resets_and_loads_the_program(opened):
    _, board = opened()
    assert what_matters(board.events) == ["abort", "reset", "allocate", "flush", "start program", "status busy"]
    assert board.violations == []


@settings(max_examples=40)
@given(counts=st.lists(st.integers(1, 40), min_size=1, max_size=4), each=st.integers(1, 12), ticks=st.integers(1, 5))
def test_batches_of_any_size_come_back_right_and_in_order(fakes_once, counts, each, ticks):
    fakes, patch = fakes_once
    board = FakeBoard(fakes.transport(fakes.bundle), ticks=ticks)
    with patch.context() as context:
        small_jobs(fakes, context, each)
        with Accelerator(fakes.bundle, JobTransport(board), 1.0) as acc:
            for seed, count in enumerate(counts):
                x = images(count, seed)
                assert np.array_equal(acc.run_batch(x), expected(fakes, x))
            assert acc.stats().jobs.jobs == sum(-(-count // each) for count in counts)
    assert board.violations == [] and board.alive == [] and board.closed == 1


@pytest.fixture(scope="module")
def fakes_once(tmp_path_factory):
    import types

    from qblif.host import Bundle

    from . import conftest
    bundle = Bundle.write(tmp_path_factory.mktemp("jobs") / "tiny.qblif", **conftest.bundle_parts())
    with pytest.MonkeyPatch.context() as patch:
        yield types.SimpleNamespace(bundle=bundle, transport=conftest.FakeTransport, logits=conftest.fake_logits), patch


def test_the_next_buffer_is_filled_and_the_last_one_read_while_a_job_runs(fakes, opened, monkeypatch):
    small_jobs(fakes, monkeypatch, 4)
    acc, board = opened()
    del board.events[:]
    acc.run_batch(images(12))
    order = [event for event in what_matters(board.events) if event in ("flush", "start images", "invalidate")]
    assert order == ["flush", "start images", "flush",   # the second is filled while the first runs
                     "start images", "invalidate", "flush",  # results of the first are read while the second runs
                     "start images", "invalidate", "invalidate"]


def test_buffers_are_kept_and_grow(fakes, opened, monkeypatch):
    acc, board = opened()
    for count in (1, 3, 2, 1):
        acc.run_batch(images(count))
    first = len(board.buffers)
    assert first <= 4 and all(4 * buffer.array.size >= 8 << 10 for buffer in board.buffers)
    acc.run_batch(images(2000))
    assert len(board.buffers) > first and len(board.alive) <= 4
    acc.close()
    assert board.alive == []


def test_a_job_takes_few_register_writes(fakes, opened, monkeypatch):
    small_jobs(fakes, monkeypatch, 2)
    acc, board = opened()
    written = []
    write = board.write
    monkeypatch.setattr(board, "write", lambda offset, value: (written.append(offset), write(offset, value)))
    acc.run_batch(images(20))
    # tag, source, target and start; what stays the same is written once
    assert len(written) <= 4 * 10 + 8


def test_progress_rises_over_all_jobs(fakes, opened, monkeypatch):
    small_jobs(fakes, monkeypatch, 6)
    acc, _ = opened()
    seen = []
    acc.run_batch(images(18), progress=lambda done, total: seen.append((done, total)))
    assert seen == sorted(set(seen)) and seen[-1] == (18, 18) and len(seen) > 3


def test_statistics_tell_core_and_end_to_end_rates_apart(fakes, opened):
    acc, _ = opened()
    acc.run_batch(images(50))
    acc.run_batch(images(50))
    stats = acc.stats()
    assert (stats.jobs.images, stats.jobs.jobs, stats.jobs.cycles, stats.batches) == (100, 2, 10_000, 2)
    assert stats.job_rate == pytest.approx(1e6)  # 100 cycles each at 100 MHz
    assert stats.end_to_end_rate == 100 / stats.seconds < stats.job_rate
    assert 0 < stats.pack_seconds < stats.seconds and stats.jobs.copy_seconds > 0 and stats.jobs.wait_seconds > 0
    text = str(stats)
    assert "at 100 MHz (set and read back)" in text and "jobs: 1000000.0 images/s" in text and "end to end: " in text


# --- what goes wrong --------------------------------------------------------------------------------------------

RECOVERY = ["abort", "reset", "flush", "start program", "status busy"]


def after_failure(board):
    """Return what happened since the last start of images."""
    matter = what_matters(board.events)
    last = len(matter) - matter[::-1].index("start images")
    return [event for event in matter[last:] if event not in ("status busy", "allocate")]


@pytest.mark.parametrize("code", [code for code in abi.Error if 32 <= code < abi.Error.CORE])
def test_every_error_of_a_job_is_raised_with_address_and_registers_and_the_next_job_works(fakes, opened, code):
    acc, board = opened(code)
    x = images(4)
    with pytest.raises(DeviceError, match=code.name) as caught:
        acc.run_batch(x)
    error = caught.value
    assert error.code is code and error.snapshot["JOB_STATUS"] >> 8 == code and error.snapshot["ID"] == abi.MAGIC
    assert (error.address == 0x1234_5678) == (code in jobs._WITH_ADDRESS)
    assert after_failure(board) == ["abort", "abort", "reset", "flush", "start program"]
    assert np.array_equal(acc.run_batch(x), expected(fakes, x)) and board.violations == []


@pytest.mark.parametrize("code", [code for code in abi.Error if 0 < code < 32])
def test_an_error_of_the_core_is_told_by_its_own_code(fakes, opened, code):
    acc, board = opened((abi.Error.CORE, code))
    x = images(4)
    with pytest.raises(DeviceError) as caught:
        acc.run_batch(x)
    assert (caught.value.code, caught.value.info) == (code, 5)
    assert np.array_equal(acc.run_batch(x), expected(fakes, x)) and board.violations == []


def test_a_job_without_progress_is_a_timeout_and_is_aborted_before_the_reset(fakes, opened, clock):
    acc, board = opened("hang")
    x = images(4)
    began = clock.now
    late = "no image was finished for 0.1 s: 0 of the 4 results of this job are in memory"
    with pytest.raises(Timeout, match=late) as got:
        acc.run_batch(x)
    assert clock.now - began < 0.15
    assert got.value.snapshot["JOB_STATUS"] & 1 == 1, "the registers are those from before the abort"
    assert after_failure(board) == ["abort", "abort", "reset", "flush", "start program"]
    assert np.array_equal(acc.run_batch(x), expected(fakes, x)) and board.violations == []


def test_the_board_gives_up_at_half_of_the_time_out_as_its_clock_counts_it(fakes, opened):
    for timeout, cycles in ((0.1, 5_000_000), (30.0, 1_500_000_000), (1000.0, 0xFFFF_FFFF),
                            (float("inf"), 0xFFFF_FFFF)):  # at 100 MHz, in a register of 32 bits
        _, board = opened(timeout=timeout)
        assert board.accelerator.watchdog == cycles


def test_the_clock_that_hardware_knows_itself_sets_the_watchdog_and_without_one_it_is_left_alone(fakes):
    for hz, cycles in ((0, 0), (80_000_000, 40_000_000)):
        board = FakeBoard(fakes.transport(fakes.bundle, CLOCK_HZ=hz))
        Accelerator(fakes.bundle, JobTransport(board), 1.0)
        assert board.accelerator.watchdog == cycles


def test_a_watchdog_that_does_not_keep_what_was_written_is_an_error(fakes):
    board = FakeBoard(fakes.transport(fakes.bundle, WATCHDOG=7))
    with pytest.raises(TransportError, match="register WATCHDOG was written 0x02faf080 and reads 0x00000007"):
        Accelerator(fakes.bundle, JobTransport(board, Clock(100e6, "set and read back")), 1.0)


def test_a_time_out_of_the_link_says_what_it_was_and_nothing_about_images(fakes, opened):
    acc, board = opened(timeout=60)

    def late(*_):
        board.touch = touch
        raise Timeout("could not hand a buffer to the board: the board did not answer in time", hint="check the server")
    touch, board.touch = board.touch, late
    with pytest.raises(Timeout) as caught:
        acc.run_batch(images(4))
    assert str(caught.value).startswith("could not hand a buffer to the board: the board did not answer in time\n"
                                        "  hint: check the server\n  registers: ID=")
    assert np.array_equal(acc.run_batch(images(4)), expected(fakes, images(4)))


def test_slow_is_not_hung_as_long_as_results_come(fakes, opened, clock):
    acc, board = opened(timeout=0.1)
    board.ticks, advance = 60, board._advance
    board._advance = lambda: (clock.sleep(0.05), advance())
    x, began = images(60), clock.now
    assert np.array_equal(acc.run_batch(x), expected(fakes, x))
    assert clock.now - began > 10 * 0.1, "many time-outs long in all"


def test_while_the_memory_bus_hangs_no_buffer_is_freed_and_no_reset_sent(fakes, opened):
    acc, board = opened("stuck")
    with pytest.raises(Timeout, match="still under way .* its buffers stay allocated") as caught:
        acc.run_batch(images(4))
    assert "nor could the job be stopped" in str(caught.value) and "larger `timeout`" in str(caught.value)
    assert str(caught.value).count("hint: the memory bus hangs: program the board again") == 1
    with pytest.raises(Timeout, match="still under way"):
        acc.run_batch(images(4))
    assert set(after_failure(board)) == {"abort"} and board.violations == []
    alive = list(board.alive)
    with pytest.warns(RuntimeWarning, match="buffer.s. stay allocated"):
        acc.close()
    (kept,) = jobs._kept.values()
    assert board.alive == alive == kept and board.closed == 1


def weakly(board):
    """Return weak references to the buffers that are in use, the board's own references to them gone."""
    refs = [weakref.ref(buffer) for buffer in board.alive]
    board.buffers.clear()
    return refs


@pytest.mark.parametrize("dropped", ["after the time-out", "in mid-job"])
def test_buffers_outlive_an_accelerator_that_is_dropped_while_the_board_may_write_to_them(fakes, opened, dropped):
    acc, board = opened("stuck")
    if dropped == "in mid-job":  # whatever ends it there, nothing else was done yet
        acc._transport._wait = acc._transport.stop = lambda *_: None
        acc._transport.infer(fakes.bundle.input_layout.pack(images(4)), fakes.bundle.classes, 1)
        del acc._transport._wait, acc._transport.stop
    else:
        with pytest.raises(Timeout):
            acc.run_batch(images(4))
    refs = weakly(board)
    del acc
    gc.collect()
    assert board.busy and len(refs) >= 2 and None not in [ref() for ref in refs]


def test_buffers_of_a_board_that_is_idle_go_with_their_accelerator(fakes, opened):
    acc, board = opened("stuck")
    with pytest.raises(Timeout):
        acc.run_batch(images(4))
    board.fault = None  # the bus moves again
    acc.run_batch(images(4))
    refs = weakly(board)
    del acc
    gc.collect()
    assert jobs._kept == {} and [ref() for ref in refs] == [None] * len(refs)


def test_a_memory_bus_that_comes_back_makes_the_board_usable_again(fakes, opened):
    acc, board = opened("stuck")
    with pytest.raises(Timeout):
        acc.run_batch(images(4))
    board.fault = None
    x = images(4)
    assert np.array_equal(acc.run_batch(x), expected(fakes, x)) and board.violations == []


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit, LookupError("of the user's own")])
def test_an_interrupt_stops_the_board_at_once_and_the_next_job_works(fakes, opened, interrupt):
    acc, board = opened()
    x = images(40)

    def stop(done, total):
        raise interrupt
    with pytest.raises(interrupt if isinstance(interrupt, type) else LookupError) as caught:
        acc.run_batch(x, progress=stop)
    assert not board.busy and caught.value.snapshot["ID"] == abi.MAGIC
    assert np.array_equal(acc.run_batch(x), expected(fakes, x)) and board.violations == []


def test_a_job_left_by_a_killed_process_is_stopped_first(fakes):
    board = FakeBoard(fakes.transport(fakes.bundle))
    board.regs["JOB_FRAMES"] = 1000
    board._start()
    board.fault = "hang"
    acc = Accelerator(fakes.bundle, JobTransport(board), 0.5)
    assert what_matters(board.events)[:3] == ["start images", "abort", "reset"]
    x = images(4)
    assert np.array_equal(acc.run_batch(x), expected(fakes, x)) and board.violations == []


@pytest.mark.parametrize("fault, words", [("vanish", "the job is gone"), ("foreign", "does another program use")])
def test_somebody_else_at_the_board_is_noticed(fakes, opened, fault, words):
    acc, board = opened(fault, timeout=5)
    x = images(4)
    with pytest.raises(TransportError, match=words):
        acc.run_batch(x)
    assert np.array_equal(acc.run_batch(x), expected(fakes, x)) and board.violations == []


def test_a_damaged_program_is_told_by_the_cores_code(fakes):
    board = FakeBoard(fakes.transport(fakes.bundle))
    transport = JobTransport(board)
    fakes.bundle.program.setflags(write=False)
    wrong = fakes.bundle.program.copy()
    wrong[-1] ^= 1
    with pytest.raises(DeviceError, match="BAD_CRC"):
        transport.program(wrong, 1)


def test_hardware_without_jobs_is_refused(fakes):
    caps = {"front_end": 0, "baked": 0, "address_bits": 0, "data_bits": 0}
    with pytest.raises(TransportError, match="not driven by jobs"):
        JobTransport(FakeBoard(fakes.transport(fakes.bundle), caps=caps))


@pytest.mark.parametrize("base", [0xFFFF_F000, 0x1_0000_0000, 0x1000_0004])
def test_buffers_out_of_reach_or_misaligned_are_refused_and_given_back(fakes, base):
    board = FakeBoard(fakes.transport(fakes.bundle), base=base)
    with pytest.raises(AddressOutOfReach, match="multiples of 8 below 0x100000000"):
        Accelerator(fakes.bundle, JobTransport(board), 0.5)
    assert board.alive == [] and board.closed == 1


def test_a_board_out_of_memory_says_so_and_works_with_smaller_batches(fakes, opened):
    acc, board = opened(room=1 << 14)
    with pytest.raises(OutOfBoardMemory):
        acc.run_batch(images(2000))
    x = images(10)
    assert np.array_equal(acc.run_batch(x), expected(fakes, x)) and board.violations == []


@settings(max_examples=100)
@given(at=st.integers(0, 250), script=st.lists(st.sampled_from([None, "hang", abi.Error.READ_SLAVE]), max_size=2))
def test_a_link_that_fails_at_any_access_gives_a_typed_error_and_the_next_job_is_right(fakes_once, at, script):
    fakes, patch = fakes_once
    board = FakeBoard(fakes.transport(fakes.bundle), script)
    with patch.context() as context:
        small_jobs(fakes, context, 3)
        acc = Accelerator(fakes.bundle, JobTransport(board), 0.05)
        board.fail_at = at
        x = images(9)
        for _ in range(4):
            try:
                logits = acc.run_batch(x)
            except QblifError:
                continue
            assert np.array_equal(logits, expected(fakes, x))
        board.fail_at = None
        assert np.array_equal(acc.run_batch(x), expected(fakes, x))
        acc.close()
    assert board.violations == [] and board.alive == []


# --- the test of memory -----------------------------------------------------------------------------------------

def test_the_memory_test_finds_memory_that_does_not_keep_what_was_written(fakes):
    board = FakeBoard(fakes.transport(fakes.bundle))
    transport = JobTransport(board)
    assert transport.memory_test() == 4 * 4 * jobs.JOB_BYTES
    board.incoherent = True
    with pytest.raises(SelfTestFailed, match="memory at 0x1000.*: expected 0x.*, got 0x.* words differ"):
        transport.memory_test()
    transport.close()
    assert board.alive == []


# --- packing beside the accelerator's work ----------------------------------------------------------------------

def test_frames_of_the_next_part_are_made_while_the_accelerator_works(fakes, monkeypatch):
    layout, transport = fakes.bundle.input_layout, fakes.transport(fakes.bundle)
    monkeypatch.setattr(accelerator, "FRAME_BYTES", 4 * 5 * layout.beats)
    acc = Accelerator(fakes.bundle, transport, 1.0)
    infer, pack = transport.infer, type(layout).pack
    made = [threading.Event() for _ in range(3)]
    packs, works = itertools.count(), itertools.count()

    def packing(self, x):
        frames = pack(self, x)
        made[next(packs)].set()
        return frames

    def working(*args):
        following = next(works) + 1
        if following < len(made):
            assert made[following].wait(20), f"part {following} is not packed while part {following - 1} is worked on"
        return infer(*args)
    monkeypatch.setattr(type(layout), "pack", packing)
    monkeypatch.setattr(transport, "infer", working)
    x = images(15)
    assert np.array_equal(acc.run_batch(x), fakes.logits(pack(layout, x)))
