"""Everything that goes wrong ends in its own error, in time, and the next job is right: the rows of docs/faults.md."""

from __future__ import annotations

import types

import numpy as np
import pytest

from qblif.host import abi, device, jobs
from qblif.host import open as open_accelerator
from qblif.host.accelerator import Accelerator
from qblif.host.errors import BuildMismatch, DeviceError, Timeout, TransportError
from qblif.host.jobs import JobTransport
from qblif.host.registers import OFFSETS
from qblif.hw.params import DesignParams
from qblif.sim.board.bus import BoardBus
from qblif.sim.board.faults import DECODE_ERROR, NEVER, SLAVE_ERROR, Fault
from qblif.sim.simulation import Simulation

from . import tiny
from .faults_table import attempt, check, row

TIMEOUT, STOP = 1.0, 0.3
QUICK, STUCK = "T", "T + 3 S"
SECONDS = {QUICK: TIMEOUT, STUCK: TIMEOUT + 3 * STOP}
"""What the column `within` says -> its length, in the board's own time."""

READS, WRITES = dict(writes=False), dict(reads=False)


@pytest.fixture(autouse=True)
def little_patience(monkeypatch):
    monkeypatch.setattr(jobs, "STOP_SECONDS", STOP)


@pytest.fixture
def board(monkeypatch):
    """A board whose own time is the host's, time-outs included, so that a busy machine loses nothing."""
    board = tiny.board(slow=True)
    for module in (jobs, device):
        monkeypatch.setattr(module, "time", types.SimpleNamespace(monotonic=board.seconds, sleep=board.sleep))
    return board


def right(accelerator) -> bool:
    bundle = accelerator.bundle
    return np.array_equal(accelerator.run_batch(bundle.golden_inputs), bundle.golden_logits)


def record(name, how, made, within, kind=None, code=None, after="right", stream=False):
    """Check what came of a fault, and its row. stream: the simulation as a library, whose errors have no snapshot."""
    assert made.seconds < SECONDS[within], f"{made.seconds:.2f} s"
    if kind is None:
        assert made.error is None
    else:
        assert type(made.error) is kind, repr(made.error)
        assert code is None or made.error.code == code
        assert made.error.snapshot or stream or kind not in (Timeout, DeviceError)
    check(row(name, how, made.error, within, after))


IN_MEMORY = {
    "slave error while reading": (
        Fault(first=1, response=SLAVE_ERROR, **READS), None, False, QUICK, DeviceError, abi.Error.READ_SLAVE,
        "second burst of the job's reads answers SLVERR"),
    "slave error while writing": (
        Fault(first=1, response=SLAVE_ERROR, **WRITES), None, False, QUICK, DeviceError, abi.Error.WRITE_SLAVE,
        "second burst of the job's writes answers SLVERR"),
    "decode error while reading": (
        Fault(first=1, response=DECODE_ERROR, **READS), None, False, QUICK, DeviceError, abi.Error.READ_DECODE,
        "second burst of the job's reads answers DECERR"),
    "decode error while writing": (
        Fault(first=1, response=DECODE_ERROR, **WRITES), None, False, QUICK, DeviceError, abi.Error.WRITE_DECODE,
        "second burst of the job's writes answers DECERR"),
    "read address never taken": (
        Fault(first=1, address_wait=NEVER, **READS), None, True, STUCK, DeviceError, abi.Error.BUS_TIMEOUT,
        "ARREADY stays low from the second burst on"),
    "read data never given": (
        Fault(first=1, data_wait=NEVER, **READS), None, True, STUCK, DeviceError, abi.Error.BUS_TIMEOUT,
        "RVALID stays low from the second burst on"),
    "write address never taken": (
        Fault(first=1, address_wait=NEVER, **WRITES), None, True, STUCK, DeviceError, abi.Error.BUS_TIMEOUT,
        "AWREADY stays low from the second burst on"),
    "write data never taken": (
        Fault(first=1, data_wait=NEVER, **WRITES), None, True, STUCK, DeviceError, abi.Error.BUS_TIMEOUT,
        "WREADY stays low from the second burst on"),
    "write never answered": (
        Fault(first=1, response_wait=NEVER, **WRITES), None, True, STUCK, DeviceError, abi.Error.BUS_TIMEOUT,
        "BVALID stays low from the second burst on"),
    "bus hangs, watchdog off": (
        Fault(first=1, data_wait=NEVER, **READS), 0, True, STUCK, Timeout, None,
        "RVALID stays low; another program wrote 0 to register WATCHDOG"),
    "bus hangs, watchdog set": (
        Fault(first=1, data_wait=NEVER, **READS), 2000, True, STUCK, DeviceError, abi.Error.BUS_TIMEOUT,
        "RVALID stays low; register WATCHDOG is 2000 cycles"),
    "memory answers late": (
        Fault(first=1, data_wait=20_000), None, False, QUICK, None, None,
        "second burst takes 20,000 cycles more"),
    "memory answers later than the watchdog allows": (
        Fault(first=1, data_wait=20_000), 2000, False, QUICK, DeviceError, abi.Error.BUS_TIMEOUT,
        "second burst takes 20,000 cycles more; register WATCHDOG is 2000 cycles"),
    "programmable logic is reset in mid-job": (
        Fault(first=2, reset=8, **READS), None, False, QUICK, TransportError, None,
        "port `rst` is high for 8 cycles when the third burst begins"),
}
"""Name -> fault, WATCHDOG if not the host's own, whether it has to be cleared, bound, error, code, how to say it."""


@pytest.mark.parametrize("name", IN_MEMORY)
def test_faults_between_accelerator_and_memory(name, board):
    fault, watchdog, lasting, within, kind, code, how = IN_MEMORY[name]
    with tiny.opened(board, TIMEOUT) as accelerator:
        assert right(accelerator)
        if watchdog is not None:
            board.write(board.registers + OFFSETS["WATCHDOG"], watchdog)
        board.inject(fault)
        with attempt(board.seconds) as made:
            assert right(accelerator)
        if lasting:
            with attempt(board.seconds) as still:
                right(accelerator)
            assert isinstance(still.error, Timeout)  # and not a wrong answer
            board.clear_faults()
        assert right(accelerator)
    record(name, how, made, within, kind, code, "right, once the bus moves again" if lasting else "right")


def test_a_bus_that_hangs_for_ever_is_mended_by_programming_the_board_again(board):
    with tiny.opened(board, TIMEOUT) as accelerator:
        board.inject(Fault(data_wait=NEVER))
        with attempt(board.seconds) as made:
            right(accelerator)
        assert "nor could the job be stopped" in str(made.error)
        board.program(tiny.PAYLOAD)
        assert right(accelerator)
    record("memory bus hangs for ever", "RVALID and WREADY stay low from the first burst on", made, STUCK, DeviceError,
           abi.Error.BUS_TIMEOUT, after="right, after the board was programmed again")


def test_a_program_that_is_damaged_on_its_way_is_refused(board):
    board.inject(Fault(first=1, flip=1 << 40, **READS))
    with attempt(board.seconds) as made, tiny.opened(board, TIMEOUT):
        pass
    with tiny.opened(board, TIMEOUT) as accelerator:
        assert right(accelerator)
    record("program is damaged on its way", "one bit of the program's second burst is read wrong", made, QUICK,
           DeviceError, abi.Error.BAD_CRC)


def test_a_reset_by_another_program_in_mid_job(board):
    class Meddling(BoardBus):
        """Resets the accelerator behind the host's back, 5 accesses after a job began."""

        left = -1

        def write(self, offset, value):
            super().write(offset, value)
            if offset == OFFSETS["JOB_CONTROL"] and value == 1 and Meddling.left == 0:
                Meddling.left = 5

        def read(self, offset):
            if Meddling.left > 0:
                Meddling.left -= 1
                if not Meddling.left:
                    super().write(OFFSETS["CONTROL"], 1)
                    Meddling.left = -1
            return super().read(offset)

    slow = Fault(first=1, data_wait=20_000, **READS)  # the job is still running by then
    with Accelerator(tiny.bundle(), JobTransport(Meddling(board)), TIMEOUT) as accelerator:
        board.inject(slow)
        Meddling.left = 0
        with attempt(board.seconds) as made:
            right(accelerator)
        assert right(accelerator)
    record("another program resets the accelerator in mid-job", "CONTROL is written behind the host's back", made,
           QUICK, DeviceError, abi.Error.ABORTED)


def test_another_bitstream_that_is_programmed_in_mid_job(board):
    class Programming(BoardBus):
        """Programs something else behind the host's back, 5 accesses after a job began."""

        left = 0

        def read(self, offset):
            Programming.left -= 1
            if Programming.left == 0:
                board.program(b"something else")
            return super().read(offset)

        def write(self, offset, value):
            if board.logic is None:
                written.append(offset)
            super().write(offset, value)

    written = []
    with Accelerator(tiny.bundle(), JobTransport(Programming(board)), TIMEOUT) as accelerator:
        assert right(accelerator)
        board.inject(Fault(first=1, data_wait=20_000, **READS))  # the job is still running by then
        Programming.left = 5
        with attempt(board.seconds) as made:
            right(accelerator)
        with pytest.raises(BuildMismatch, match="there is no qblif accelerator here"):
            right(accelerator)
        assert board.cut_off and set(written) == {OFFSETS["JOB_CONTROL"]}  # aborted, but not reset nor loaded
        board.program(tiny.PAYLOAD)
        assert right(accelerator)
    record("another bitstream is programmed in mid-job", "an unknown one, behind the host's back", made, QUICK,
           BuildMismatch, after="right, after the right bitstream was programmed")


class Killed(BaseException):
    """Stands for the end of the process: nothing cleans up after it."""


class DyingBus(BoardBus):
    """Stops for good after so many accesses."""

    left = 1 << 30

    def _live(self):
        if self.left <= 0:
            raise Killed
        self.left -= 1

    def read(self, offset):
        self._live()
        return super().read(offset)

    def write(self, offset, value):
        self._live()
        super().write(offset, value)


@pytest.mark.parametrize("accesses", [9, 12])  # the job was just started; it is being waited for
def test_a_host_that_died_in_mid_job_and_came_back(accesses, board):
    bus = DyingBus(board)
    accelerator = Accelerator(tiny.bundle(), JobTransport(bus), TIMEOUT)
    board.inject(Fault(data_wait=30_000, **READS))
    bus.left = accesses
    with pytest.raises(Killed):
        right(accelerator)
    assert board.read(board.registers + OFFSETS["JOB_STATUS"]) & 1  # the job goes on without its host
    with attempt(board.seconds) as made, tiny.opened(board, TIMEOUT) as again:
        assert right(again)
    record("host dies in mid-job, another one opens the board", "every access of the first host fails from then on",
           made, QUICK)


# Bitstreams ---------------------------------------------------------------------------------------------------


def test_a_bitstream_that_is_no_accelerator(board):
    board.program(b"something else")
    with attempt(board.seconds) as made, tiny.opened(board, TIMEOUT):
        pass
    board.program(tiny.PAYLOAD)
    with tiny.opened(board, TIMEOUT) as accelerator:
        assert right(accelerator)
    record("bitstream of something else", "the board is programmed with an unknown bitstream", made, QUICK,
           BuildMismatch, after="right, after the right bitstream was programmed")


def test_a_stale_bitstream_of_another_build(board):
    other = tiny.other_build()
    with attempt(board.seconds) as made, open_accelerator(other, "board", board=board, timeout=TIMEOUT):
        pass
    with tiny.opened(board, TIMEOUT) as accelerator:
        assert right(accelerator)
    record("stale bitstream of another build", "the bundle of one build is opened on the bitstream of another", made,
           QUICK, BuildMismatch)


# The stream variant -------------------------------------------------------------------------------------------


STREAMS = {
    "early TLAST on the input stream": ("input", -3, 1, abi.Error.SHORT_INPUT, "TLAST comes 3 beats early"),
    "missing TLAST on the input stream": ("input", 0, 0, abi.Error.LONG_INPUT,
                                          "TLAST of an image is missing, another image follows"),
    "early TLAST on the program stream": ("program", -3, 1, abi.Error.SHORT_PROGRAM, "TLAST comes 3 beats early"),
    "missing TLAST on the program stream": ("program", 0, 0, abi.Error.LONG_PROGRAM,
                                            "TLAST of the program is missing, more beats follow"),
}
"""Name -> stream, by how much the frame is cut, whether TLAST comes, error code, and how to say it."""


@pytest.fixture(scope="module")
def streams():
    with Simulation(DesignParams.from_dict(tiny.bundle().design), threads=1) as simulation:
        yield simulation


@pytest.mark.parametrize("name", STREAMS)
def test_broken_frames_on_the_stream_variant(name, streams):
    stream, cut, last, code, how = STREAMS[name]
    bundle = tiny.bundle()
    frames = bundle.input_layout.pack(bundle.golden_inputs)
    streams.reset()
    streams.program(bundle.program)
    frame = frames[0] if stream == "input" else bundle.program
    frame = frame[:len(frame) + cut]
    beats = frame if last else np.concatenate([frame, frame])
    ends = np.zeros(len(beats), np.uint8)
    ends[-1] = 1
    with attempt(lambda: streams.raw.now / tiny.SLOW_HZ) as made:
        streams.raw.send(stream, beats, ends)
        streams.raw.run(20_000)
        streams.infer(frames, bundle.classes)
    streams.write(OFFSETS["CONTROL"], 1)
    streams.program(bundle.program)
    assert np.array_equal(streams.infer(frames, bundle.classes).logits, bundle.golden_logits)
    record(name, how, made, QUICK, DeviceError, code, "right, after a reset", stream=True)
