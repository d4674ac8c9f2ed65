"""The self-test: what it tells, and that each of its steps can fail."""

import threading
import time

import numpy as np
import pytest

from qblif import cli
from qblif.host import InputLayout, TransportError, abi, device, jobs, selftest, transport
from qblif.host.jobs import JobTransport
from qblif.host.registers import OFFSETS
from qblif.host.stats import Clock

from .fake_board import FakeBoard, FakeTime


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(selftest, "SPEED_SECONDS", 0.05)
    monkeypatch.setattr(jobs, "JOB_BYTES", 1 << 14)
    clock = FakeTime()
    for module in (jobs, device):
        monkeypatch.setattr(module, "time", clock)


@pytest.fixture
def tested(fakes, monkeypatch):
    """Runs the self-test on a board, and returns whether it passed, its lines and the board."""
    def test(prepare=lambda board: None, timeout=20.0):
        board = FakeBoard(fakes.transport(fakes.bundle))
        prepare(board)
        monkeypatch.setattr(selftest, "open_transport", lambda *_: JobTransport(
            board, Clock(50e6, "set and read back"), {"board": "pynq-z2", "pynq": "3.0.1"}))
        lines = []
        passed = selftest.SelfTest(fakes.bundle.path, "pynq", timeout=timeout, say=lines.append).run()
        return passed, lines, board
    return test


def test_a_board_that_works_passes_every_step_and_is_closed(tested, fakes):
    passed, lines, board = tested()
    assert passed and lines[-1] == "result: passed"
    told = [line.split(":")[0].removeprefix("ok   ") for line in lines if line.startswith("ok ")]
    assert told == ["bundle", "open", "bus", "identity", "memory", "program", "golden vectors", "speed"]
    text = "\n".join(lines)
    for part in (f"numpy {np.__version__}", "Python 3.", "qblif ", "board pynq-z2", "clock 50 MHz (set and read back)",
                 f"build {fakes.bundle.build_hash:016x}", f"hash {fakes.bundle.program_hash:016x} read back",
                 "images/s end to end, in one batch of", "images/s of the core alone", "within jobs, memory included"):
        assert part in text
    assert board.closed == 1 and board.alive == [] and board.violations == []


def register(name, value):
    def prepare(board):
        board.accelerator.overrides[name] = value
    return prepare


def scratch_bit_stuck(board):
    write = board.accelerator.write
    board.accelerator.write = lambda at, value: write(at, value & ~0x400 if at == OFFSETS["SCRATCH"] else value)


def incoherent(board):
    board.incoherent = True


def damaged(board):
    board.accelerator.program_script = [lambda accelerator: setattr(accelerator, "loaded", False)]
    board._program = lambda: board._end()


def wrong_logits(board):
    infer = board.accelerator.infer

    def wrong(*args):
        logits, cycles = infer(*args)
        logits[1, 2] += 1
        return logits, cycles
    board.accelerator.infer = wrong


def wrong_in_large_batches(board):
    infer = board.accelerator.infer

    def wrong(frames, *rest):
        logits, cycles = infer(frames, *rest)
        logits[-1, 0] ^= len(frames) > 4
        return logits, cycles
    board.accelerator.infer = wrong


def hangs(board):
    board.script = ["hang"] * 9


@pytest.mark.parametrize("prepare, step, words", [
    (scratch_bit_stuck, "bus", "register SCRATCH: expected 0x.*, got 0x.* .bits 0x00000400 differ"),
    (register("SCRATCH", 7), "bus", "expected 0x00000000, got 0x00000007"),
    (register("ABI", 9), "identity", f"register ABI: expected 0x{abi.ABI_VERSION:08x}, got 0x00000009"),
    (register("BUILD_HI", 5), "identity", "register BUILD_HI: expected 0x.*, got 0x00000005"),
    (incoherent, "memory", "memory at 0x1000.*: expected 0x.*, got 0x"),
    (damaged, "program", "after loading program 0123456789abcdef the accelerator shows no program"),
    (wrong_logits, "golden vectors", "golden image 1, logit 2: expected -?\\d+, got -?\\d+"),
    (wrong_in_large_batches, "speed", "of a batch of .*, logit 0: expected -?\\d+, got"),
    (hangs, "golden vectors", "Timeout: no image was finished for"),
])
def test_each_step_can_fail_and_says_what_was_expected_and_found(tested, prepare, step, words):
    import re
    passed, lines, board = tested(prepare)
    assert not passed and lines[-1] == f"result: FAILED at {step}"
    (failed,) = [line for line in lines if line.startswith("FAIL")]
    assert failed.startswith(f"FAIL {step}: ") and re.search(words, failed)
    assert board.closed == 1


def test_a_step_that_never_comes_back_ends_in_its_time_out(tested):
    release = threading.Event()

    def prepare(board):
        def never(offset):
            if offset == OFFSETS["SCRATCH"]:
                release.wait(60)
            return read(offset)
        read, board.read = board.read, never
    began = time.monotonic()
    passed, lines, _ = tested(prepare, timeout=1.0)
    release.set()
    assert time.monotonic() - began < 50
    assert not passed and "no answer within 2 s" in "\n".join(lines) and lines[-1] == "result: FAILED at bus"


def test_what_is_no_bundle_and_no_target_is_told_like_any_other_failure(tmp_path, fakes):
    lines = []
    assert not selftest.SelfTest(tmp_path / "none.qblif", "sim", say=lines.append).run()
    assert not selftest.SelfTest(fakes.bundle, "nowhere", say=lines.append).run()
    assert "result: FAILED at bundle" in lines and "result: FAILED at open" in lines


def test_the_command_passes_options_on_and_its_exit_code_tells_the_outcome(fakes, monkeypatch, capsys):
    given = []

    def factory(bundle, target, timeout, *, overlay=None, clock_mhz=None, download=True):
        given.append((target, timeout, overlay, clock_mhz, download))
        return fakes.transport(bundle)
    monkeypatch.setattr(transport, "_factory", lambda name: factory)
    path = str(fakes.bundle.path)
    assert cli.main(["selftest", path, "--target", "pynq", "--timeout", "3", "--option", "overlay=/x/y",
                     "--option", "clock_mhz=87.5", "--option", "download=false"]) == 0
    assert given == [("pynq", 3.0, "/x/y", 87.5, False)] and "result: passed" in capsys.readouterr().out
    assert cli.main(["selftest", path, "--target", "pynq", "--option", "clok=1"]) == 1
    assert "does not take these options" in capsys.readouterr().out
    assert cli.main(["run", path, "--target", "pynq", "--option", "clok=1"]) == 2
    assert "its options: overlay, clock_mhz, download" in capsys.readouterr().err


def test_a_failing_close_does_not_hide_the_result(tested):
    def prepare(board):
        def close():
            raise TransportError("the cable is gone")
        board.close = close
    passed, lines, _ = tested(prepare)
    assert passed and "closing: the cable is gone" in "\n".join(lines)


def test_a_batch_of_inputs_that_change_in_time_is_repeated_along_the_right_axis(fakes, monkeypatch, tmp_path):
    from qblif.host import Bundle
    bundle = Bundle.write(tmp_path / "timed.qblif", **fakes.parts(static=False))
    assert isinstance(bundle.input_layout, InputLayout) and not bundle.input_layout.static
    monkeypatch.setattr(selftest, "open_transport", lambda *_: fakes.transport(bundle))
    lines = []
    assert selftest.SelfTest(bundle, "sim", timeout=20, say=lines.append).run(), lines
    assert "clock unknown" in "\n".join(lines) and abi.MAGIC


def test_a_failure_shows_the_registers_and_where_a_bug_of_ours_is(tested):
    _, lines, _ = tested(register("ABI", 9))
    assert any(line.startswith("       registers: ID=0x464c4251 ABI=0x9 ") for line in lines)

    _, lines, _ = tested(lambda board: setattr(board.accelerator, "write", lambda *_: 1 / 0))
    assert "FAIL bus: ZeroDivisionError: division by zero" in lines
    assert any("fake_board.py" in line for line in lines) and any("registers: ID=" in line for line in lines)


def test_the_options_and_the_bundles_file_are_told(fakes, monkeypatch):
    monkeypatch.setattr(selftest, "open_transport", lambda *_, **__: fakes.transport(fakes.bundle))
    lines = []
    assert selftest.SelfTest(fakes.bundle.path, "pynq", timeout=20, say=lines.append, clock_mhz=50).run()
    assert "     options: timeout 20 s, clock_mhz 50" in lines
    assert any(line.startswith("ok   bundle: ") and f"made with qblif 0.1.0; file {fakes.bundle.path} (" in line
               for line in lines)
