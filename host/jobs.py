"""The transport of boards whose accelerator fetches frames and writes results by itself: one job, a few registers.

A job names a source and a target in memory that board and host share; the board's DMA does the rest. While it works,
the host fills the buffers of the next job and empties those of the last one. How registers and memory are reached is
the `JobBus`'s business: host/pynq.py has one for PYNQ boards.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np

from . import abi, registers
from .errors import AddressOutOfReach, DeviceError, QblifError, SelfTestFailed, Timeout, TransportError
from .registers import OFFSETS
from .stats import Clock, JobStats

JOB_BYTES = 1 << 18
"""Most bytes of frames, or of results, in one job: small enough to overlap, large enough to be worth starting."""

LEAST_BYTES = 8 << 10
"""Smallest buffer. Some versions of the board's memory manager place smaller ones out of the DMA's reach."""

STOP_SECONDS = 2.0
"""How long a board may take to end its transfers after an abort."""

START, ABORT = 1, 2
IMAGES, PROGRAM = 0, 1

_LONGEST_PAUSE = 0.005
_VANISHED = 0.2
_WITH_ADDRESS = (abi.Error.READ_SLAVE, abi.Error.READ_DECODE, abi.Error.WRITE_SLAVE, abi.Error.WRITE_DECODE)
_LONGEST_WATCH = (1 << 32) - 1

_kept: dict[object, list] = {}
"""Transport's own key -> buffers that its board may still write to: nothing may free them, the garbage collector
included, which takes a transport that somebody drops without closing it, in mid-job or while the memory bus hangs."""


class Buffer(Protocol):
    """Physically contiguous memory that board and host share."""

    array: np.ndarray
    """uint32 (beats,), the host's view."""

    address: int
    """For the board; a multiple of 8."""

    def flush(self) -> None:
        """Make the host's writes visible to the board."""

    def invalidate(self) -> None:
        """Make the board's writes visible to the host."""

    def free(self) -> None:
        """Give the memory back; `array` is not used afterwards."""


class JobBus(Protocol):
    """Registers and memory of a board that runs jobs. Raises TransportError or Timeout when it cannot be reached."""

    def read(self, offset: int) -> int:
        """Return the 32-bit register at a byte offset."""

    def write(self, offset: int, value: int) -> None:
        """Write a 32-bit register."""

    def allocate(self, beats: int) -> Buffer:
        """Return a buffer of so many 32-bit beats; raises OutOfBoardMemory."""

    def close(self) -> None:
        """Let go of the board."""


class JobTransport:
    """A `host.transport.Transport` over a JobBus.

    Whatever makes `program` or `infer` raise: the registers are read first, then the job is aborted, and only when
    the board says that no transfer is under way are its buffers used again. A reset never reaches a board with a job
    under way, be it one of a process that was killed: `write` aborts it first.

    The board itself gives up where nothing moved for half of a job's `timeout`: its error code tells what stands still.

    clock: what the accelerator runs at; about: what to tell a person about the board, by key.
    Raises TransportError where the accelerator has no jobs."""

    def __init__(self, bus: JobBus, clock: Clock | None = None, about: dict[str, str] | None = None):
        self._bus = bus
        self.clock = clock
        self.about = about or {}
        self.jobs = JobStats()
        self._sources: list[Buffer | None] = [None, None]
        self._targets: list[Buffer | None] = [None, None]
        self._written: dict[str, int] = {}
        self._active = True  # until a stop has shown otherwise
        self._key = object()
        self._tag = random.getrandbits(32)
        caps = self._read("CAPS")
        self._reach = 1 << registers.fields(abi.CAPS_FIELDS, caps)["address_bits"]
        # what is no accelerator at all is left to Device's checks
        if self._read("ID") == abi.MAGIC and not registers.has_jobs(caps):
            raise TransportError(f"the accelerator is not driven by jobs: register CAPS is {caps:#010x}",
                                 hint="this target needs a bitstream with the front-end dma: make bitstream "
                                      "BOARD=pynq-z2, for instance")

    # Transport ----------------------------------------------------------------------------------------------

    def read(self, offset: int) -> int:
        """Return a register."""
        return self._bus.read(offset)

    def write(self, offset: int, value: int) -> None:
        """Write a register; before a reset any job is stopped, and Timeout raised if it does not stop."""
        if offset == OFFSETS["CONTROL"] and value & registers.RESET:
            self.stop()
            self._written.clear()
        self._bus.write(offset, value)

    def program(self, image: np.ndarray, timeout: float) -> None:
        """Send one program frame, uint32 (beats,), as one job."""
        with self._recovering():
            self._watch(timeout)
            self._fill(0, image)
            self._start(KIND=PROGRAM, SOURCE=self._sources[0].address, FRAMES=1, IN_BEATS=image.size)
            self._wait(0, timeout, None)

    def infer(self, frames: np.ndarray, classes: int, timeout: float,
              progress: Callable[[int], None] | None = None) -> tuple[np.ndarray, None]:
        """Return (logits, None): int32 (B, classes) of frames, uint32 (B, beats). `jobs` has the cycles of all."""
        count, beats = frames.shape
        step = max(1, min(count, JOB_BYTES // (4 * max(beats, classes))))
        parts = [slice(at, min(at + step, count)) for at in range(0, count, step)]
        logits = np.empty((count, classes), np.int32)

        def fill(index: int) -> None:
            part = frames[parts[index]]
            self._fill(index % 2, part.reshape(-1))
            self._targets[index % 2] = self._sized(self._targets, index % 2, len(part) * classes)

        def start(index: int) -> None:
            self._start(KIND=IMAGES, SOURCE=self._sources[index % 2].address, TARGET=self._targets[index % 2].address,
                        FRAMES=parts[index].stop - parts[index].start, IN_BEATS=beats, OUT_BEATS=classes)

        def collect(index: int) -> None:
            with _timed(self.jobs, "copy_seconds"):
                rows = logits[parts[index]]
                target = self._targets[index % 2]
                target.invalidate()
                rows[:] = target.array[:rows.size].view(np.int32).reshape(rows.shape)

        with self._recovering():
            self._watch(timeout)
            if parts:
                fill(0)
                start(0)
            for index, part in enumerate(parts):
                more = index + 1 < len(parts)
                if more:
                    fill(index + 1)  # while this job runs
                report = None if progress is None else lambda done, first=part.start: progress(first + done)
                self._wait(part.stop - part.start, timeout, report)
                if more:
                    start(index + 1)
                collect(index)  # while the next one runs
        return logits, None

    def close(self) -> None:
        """Stop the board, free the buffers and let go of the bus."""
        try:
            self.stop()
        except QblifError as error:
            buffers = self._keep()
            if buffers:
                warnings.warn(f"{len(buffers)} buffer(s) stay allocated, since the board may still write to them: "
                              f"{error.message}", RuntimeWarning, stacklevel=2)
        else:
            for slots in (self._sources, self._targets):
                for slot in range(2):
                    self._free(slots, slot)
        self._bus.close()

    # Further ------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Abort the job under way, if any, and return once no transfer is; Timeout after STOP_SECONDS."""
        self._active = True
        self._write("JOB_CONTROL", ABORT)
        deadline = time.monotonic() + STOP_SECONDS
        while self._status()["busy"]:
            if time.monotonic() > deadline:
                raise Timeout(f"transfers of the board are still under way {STOP_SECONDS:g} s after the job was "
                              "aborted; its buffers stay allocated",
                              hint="the memory bus hangs: program the board again (open with download=True), or switch "
                                   "it off and on",
                              snapshot=registers.snapshot(self.read))
            time.sleep(0.001)
        self._idle()

    def memory_test(self) -> int:
        """Write patterns to the shared buffers, read them back through memory, and return the number of bytes.

        Raises SelfTestFailed, naming the first difference."""
        if self._active:
            self.stop()
        tested = 0
        generator = np.random.default_rng(0)
        for slots, slot in itertools.product((self._sources, self._targets), range(2)):
            buffer = slots[slot] = self._sized(slots, slot, JOB_BYTES // 4)
            beats = buffer.array.size
            addresses = (np.arange(beats, dtype=np.uint64) * 4 + buffer.address).astype(np.uint32)
            noise = generator.integers(0, 1 << 32, beats, np.uint32)
            for words in (addresses, ~addresses, noise, ~noise):
                _check_memory(buffer, words)
                tested += 4 * beats
        return tested

    # Inside -------------------------------------------------------------------------------------------------

    def _read(self, name: str) -> int:
        return self._bus.read(OFFSETS[name])

    def _write(self, name: str, value: int) -> None:
        self._bus.write(OFFSETS[name], value)

    def _status(self) -> dict[str, int]:
        return registers.fields(abi.JOB_STATUS_FIELDS, self._read("JOB_STATUS"))

    def _fill(self, slot: int, words: np.ndarray) -> None:
        """Put words into a source buffer and make the board see them."""
        with _timed(self.jobs, "copy_seconds"):
            buffer = self._sources[slot] = self._sized(self._sources, slot, words.size)
            buffer.array[:words.size] = words
            buffer.flush()

    def _sized(self, slots: list, slot: int, beats: int) -> Buffer:
        """Return the slot's buffer if it has room for `beats` and is not far too large, else another one."""
        beats = max(beats + beats % 2, LEAST_BYTES // 4)  # the board fetches pairs of beats
        buffer = slots[slot]
        if buffer is not None and beats <= buffer.array.size <= 4 * beats:
            return buffer
        self._free(slots, slot)
        buffer = self._bus.allocate(beats)
        end = buffer.address + 4 * beats
        if buffer.address % abi.JOB_BUFFER_ALIGN or end > self._reach:
            at = buffer.address
            buffer.free()
            raise AddressOutOfReach(f"the board's memory gave a buffer at {at:#x} to {end:#x}; the accelerator takes "
                                    f"multiples of {abi.JOB_BUFFER_ALIGN} below {self._reach:#x}",
                                    hint="free other buffers, or restart the board")
        return buffer

    def _free(self, slots: list, slot: int) -> None:
        buffer, slots[slot] = slots[slot], None
        if buffer is not None:
            buffer.free()

    def _keep(self) -> list[Buffer]:
        """Hold on to the buffers until no transfer can be under way, and return them."""
        _kept[self._key] = [buffer for buffer in (*self._sources, *self._targets) if buffer is not None]
        return _kept[self._key]

    def _idle(self) -> None:
        """Note that the board was seen without a transfer under way."""
        self._active = False
        _kept.pop(self._key, None)

    def _watch(self, timeout: float) -> None:
        """Set WATCHDOG to half of a time-out, where the clock is known, so that the board's verdict comes before ours.

        Half, since the board counts from the last thing that moved, and we from the last result, which came later."""
        hz = self.clock.hz if self.clock is not None else self._read("CLOCK_HZ")
        if not hz:
            return
        cycles = int(min(max(1, hz * timeout / 2), _LONGEST_WATCH))
        if self._written.get("WATCHDOG") == cycles:
            return
        self._write("WATCHDOG", cycles)
        found = self._read("WATCHDOG")
        if found != cycles:
            raise TransportError(f"register WATCHDOG was written {cycles:#010x} and reads {found:#010x}",
                                 hint="the register bus does not work: qblif selftest tells more")
        self._written["WATCHDOG"] = cycles

    def _start(self, **job: int) -> None:
        """Start a job, writing the registers that changed."""
        self._tag = self._tag + 1 & 0xFFFF_FFFF
        values = {"JOB_TAG": self._tag}
        for name, value in job.items():
            if name in ("SOURCE", "TARGET"):
                values[f"JOB_{name}_LO"], values[f"JOB_{name}_HI"] = value & 0xFFFF_FFFF, value >> 32
            else:
                values[f"JOB_{name}"] = value
        for name, value in values.items():
            if self._written.get(name) != value:
                self._written.pop(name, None)
                self._write(name, value)
                self._written[name] = value
        self._active = True
        self._keep()
        self._write("JOB_CONTROL", START)

    def _wait(self, frames: int, timeout: float, report: Callable[[int], None] | None) -> None:
        """Return when the job is done, all of its `frames` results in memory (0: it is a program)."""
        began = moved = time.monotonic()
        seen, idle_since = 0, None
        while True:
            now = time.monotonic()  # before looking: whoever was suspended meanwhile is not late
            status = self._status()
            if status["error"]:
                raise self._job_error(status["error"])
            if status["done"] and not status["busy"]:
                break
            if frames:
                done = self._read("JOB_DONE")
                if done != seen:
                    seen, moved = done, now
                    if report is not None:
                        report(min(done, frames))
            if now - moved > timeout:
                raise Timeout(f"{seen} of the {frames} results of this job are in memory" if frames else
                              "the board did not read all of it from memory")
            idle_since = None if status["busy"] else idle_since or now
            if idle_since is not None and now - idle_since > _VANISHED:
                raise TransportError("the job is gone: the board neither works on it nor says that it ended",
                                     hint="the board was reset or programmed by another program: close that one")
            time.sleep(min(_LONGEST_PAUSE, (now - began) / 8))
        self._idle()
        if frames:
            self.jobs.wait_seconds += time.monotonic() - began
        self._account(frames)

    def _account(self, frames: int) -> None:
        """Check that the job that ended is ours and complete, and add up what the board counted."""
        tag = self._read("JOB_TAG")
        done = self._read("JOB_DONE") if frames else 0
        if tag != self._tag or done != frames:
            self._written.clear()
            raise TransportError(f"job {self._tag:#010x} was started for {frames} results; the board ended job "
                                 f"{tag:#010x} with {done}",
                                 hint="does another program use this board? close it: two cannot share one")
        if frames:
            self.jobs.jobs += 1
            self.jobs.images += frames
            self.jobs.cycles += self._read("JOB_CYCLES_LO") | self._read("JOB_CYCLES_HI") << 32
            self.jobs.read_stalls += self._read("JOB_READ_STALLS")
            self.jobs.write_stalls += self._read("JOB_WRITE_STALLS")

    def _job_error(self, code: int) -> DeviceError:
        if code == abi.Error.CORE:
            status = registers.fields(abi.STATUS_FIELDS, self._read("STATUS"))
            return DeviceError(status["error"] or code, self._read("ERROR_INFO"))
        if code in _WITH_ADDRESS:
            return DeviceError(code, address=self._read("JOB_ERROR_LO") | self._read("JOB_ERROR_HI") << 32)
        return DeviceError(code)

    @contextlib.contextmanager
    def _recovering(self) -> Iterator[None]:
        """Begin with a board that is idle; if anything goes wrong, keep what it shows and stop it."""
        if self._active:
            self.stop()
        try:
            yield
        except BaseException as error:
            snapshot = registers.snapshot(self.read)
            if getattr(error, "snapshot", None) is None:
                error.snapshot = snapshot
            try:
                self.stop()
            except QblifError as stuck:
                if isinstance(error, QblifError):
                    error.followed_by("nor could the job be stopped", stuck)
            raise


def _check_memory(buffer: Buffer, words: np.ndarray) -> None:
    """Raise SelfTestFailed unless words that were written come back from memory."""
    buffer.array[:] = words
    buffer.flush()
    buffer.invalidate()
    wrong = np.flatnonzero(buffer.array != words)
    if len(wrong):
        at = int(wrong[0])
        raise SelfTestFailed(f"memory at {buffer.address + 4 * at:#x}: expected {int(words[at]):#010x}, got "
                             f"{int(buffer.array[at]):#010x} ({len(wrong)} of {len(words)} words differ)",
                             hint="host and board do not see the same memory: restart the board; if it stays, report "
                                  "the output of qblif selftest")


@contextlib.contextmanager
def _timed(stats: JobStats, name: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    setattr(stats, name, getattr(stats, name) + time.monotonic() - began)
