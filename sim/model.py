"""One instance of a simulated top: the C functions of sim/harness.cpp, typed.

The functions run whole batches without Python and release the interpreter lock, so instances in several
threads run in parallel. An instance itself is not for several threads at a time.
"""

from __future__ import annotations

import ctypes
import dataclasses
import enum
import re
from ctypes import POINTER, c_char_p, c_double, c_int, c_uint8, c_uint32, c_uint64, c_void_p
from pathlib import Path

import numpy as np

from qblif.host.errors import QblifError, Timeout

BUS_TIMEOUT = 10_000
"""Clock cycles that an AXI4-Lite access may take."""


class SimulationError(QblifError):
    """The simulated hardware broke a rule of its interfaces, or one of its own assertions."""


class Status(enum.IntEnum):
    """What the C functions return."""

    DONE = 0
    AGAIN = 1
    TIMEOUT = 2
    BROKEN = 3
    STOPPED = 4


@dataclasses.dataclass(frozen=True)
class Stalls:
    """Random stalls: per cycle, the probability (0 to 1) that a beat that could be offered or taken has to wait.

    program, input: tvalid of the two input streams; output: tready of the output stream; bus: readiness of the
    bus master for responses. seed: equal seeds give equal stalls.
    """

    program: float = 0.0
    input: float = 0.0
    output: float = 0.0
    bus: float = 0.0
    seed: int = 1

    def __post_init__(self):
        for name in ("program", "input", "output", "bus"):
            if not 0 <= getattr(self, name) <= 0.99:
                raise ValueError(f"stall probability {name} is {getattr(self, name)}, allowed is 0 to 0.99")


SIGNATURES = {
    "sim_new": (c_void_p,), "sim_free": (None, c_void_p), "sim_now": (c_uint64, c_void_p),
    "sim_problem": (c_char_p, c_void_p), "sim_reset": (c_int, c_void_p, c_uint64),
    "sim_access": (c_int, c_void_p, c_int, c_uint32, POINTER(c_uint32), POINTER(c_uint32), c_uint64),
    "sim_stalls": (None, c_void_p, c_uint64, c_double, c_double, c_double, c_double),
    "sim_send": (None, c_void_p, c_int, POINTER(c_uint32), POINTER(c_uint8), c_uint64),
    "sim_unsent": (c_uint64, c_void_p, c_int), "sim_clear": (None, c_void_p),
    "sim_run": (c_int, c_void_p, c_uint64, c_uint64), "sim_run_program": (c_int, c_void_p, c_uint64),
    "sim_output_size": (c_uint64, c_void_p),
    "sim_output": (None, c_void_p, POINTER(c_uint32), POINTER(c_uint8), POINTER(c_uint64)),
    "sim_starts_size": (c_uint64, c_void_p), "sim_starts": (None, c_void_p, POINTER(c_uint64)),
    "sim_tracing": (None, c_void_p, c_int), "sim_trace_size": (c_uint64, c_void_p, c_int),
    "sim_trace": (None, c_void_p, c_int, POINTER(c_uint32), POINTER(c_uint64)),
    "sim_waves": (c_int, c_void_p, c_char_p),
}


def load(path: Path, signatures: dict[str, tuple] = SIGNATURES) -> ctypes.CDLL:
    """Return the library `path` with its functions' types declared: name -> (result, arguments ...)."""
    library = ctypes.CDLL(str(path))
    library.folder = path.parent
    for name, (result, *arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def with_source(problem: str, folder: Path) -> str:
    """Return a model's message with the line of Verilog that it names, which lies in `folder`, behind it."""
    found = re.search(r" at (\w+\.sv):(\d+)$", problem)
    try:
        lines = (folder / found[1]).read_text().splitlines() if found else []
    except OSError:
        lines = []
    number = int(found[2]) if found else 0
    return f"{problem}: {lines[number - 1].strip()}" if 0 < number <= len(lines) else problem


def _pointer(array: np.ndarray, kind):
    return array.ctypes.data_as(POINTER(kind))


class Model:
    """One simulated top, out of reset. waves: path of a VCD file to write, for libraries built with waves."""

    def __init__(self, library: ctypes.CDLL, waves: Path | None = None):
        self._library, self._handle = library, library.sim_new()
        if waves is not None and library.sim_waves(self._handle, str(waves).encode()):
            self.close()
            raise OSError(f"the waveform file {waves} cannot be written")
        self.reset()

    def close(self) -> None:
        """Free the instance and finish its waveform file."""
        if self._handle:
            self._library.sim_free(self._handle)
            self._handle = None

    def __del__(self):
        self.close()

    def _check(self, status: int) -> Status:
        if status in (Status.BROKEN, Status.STOPPED):
            raise SimulationError(f"cycle {self.now}: "
                                  + with_source(self._library.sim_problem(self._handle).decode(), self._library.folder))
        return Status(status)

    @property
    def now(self) -> int:
        """Clock cycles simulated so far."""
        return self._library.sim_now(self._handle)

    def reset(self, cycles: int = 4) -> None:
        """Hold `rst` for some cycles; forget all beats that were queued or collected."""
        self._check(self._library.sim_reset(self._handle, cycles))

    def stalls(self, stalls: Stalls | None, salt: int = 0) -> None:
        """Stall at random from now on; None: no more. salt: changes the seed."""
        s = stalls or Stalls()
        seed = s.seed * 1_000_003 + salt & 0x3FFF_FFFF_FFFF_FFFF
        self._library.sim_stalls(self._handle, seed, s.program, s.input, s.output, s.bus)

    def access(self, offset: int, value: int | None = None) -> int:
        """Read the register at `offset`, or write `value` to it; return what was read. Raises Timeout."""
        data, response = c_uint32(value or 0), c_uint32(0)
        status = self._library.sim_access(self._handle, value is not None, offset, data, response, BUS_TIMEOUT)
        if self._check(status) is Status.TIMEOUT:
            raise Timeout(f"no answer on the register bus for {BUS_TIMEOUT} cycles at offset {offset:#x}")
        if response.value:
            raise SimulationError(f"the register bus answers {response.value} (not OKAY) at offset {offset:#x}")
        return data.value

    def send(self, stream: str, beats: np.ndarray, last: np.ndarray) -> None:
        """Queue beats (uint32 [n]) with their tlast (n) on stream "program" or "input"; nothing runs yet."""
        beats, last = np.ascontiguousarray(beats, np.uint32), np.ascontiguousarray(last, np.uint8)
        if beats.ndim != 1 or beats.shape != last.shape:
            raise ValueError(f"beats {beats.shape} and last {last.shape} have to be one-dimensional and of one length")
        self._library.sim_send(self._handle, ("program", "input").index(stream), _pointer(beats, c_uint32),
                               _pointer(last, c_uint8), beats.size)

    def unsent(self, stream: str) -> int:
        """Return the number of queued beats that were not taken yet."""
        return self._library.sim_unsent(self._handle, ("program", "input").index(stream))

    def clear(self) -> None:
        """Forget all beats that are queued or were collected."""
        self._library.sim_clear(self._handle)

    def run(self, cycles: int, beats: int = 0) -> bool:
        """Run `cycles` cycles, fewer where `beats` output beats are in and all input is taken: True then."""
        return self._check(self._library.sim_run(self._handle, cycles, beats)) is Status.DONE

    def run_program(self, cycles: int) -> bool:
        """Run until the program stream's queue is empty (True), at most `cycles` cycles."""
        return self._check(self._library.sim_run_program(self._handle, cycles)) is Status.DONE

    @property
    def collected(self) -> int:
        """Output beats collected since `clear`."""
        return self._library.sim_output_size(self._handle)

    def output(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the collected beats: data (uint32), tlast (bool) and the cycle each was taken in (int64)."""
        count = self.collected
        data, last, cycles = np.empty(count, np.uint32), np.empty(count, np.uint8), np.empty(count, np.uint64)
        self._library.sim_output(self._handle, _pointer(data, c_uint32), _pointer(last, c_uint8),
                                 _pointer(cycles, c_uint64))
        return data, last.astype(bool), cycles.astype(np.int64)

    def starts(self) -> np.ndarray:
        """Return the cycle in which the first beat of each input frame was taken (int64), since `clear`."""
        cycles = np.empty(self._library.sim_starts_size(self._handle), np.uint64)
        self._library.sim_starts(self._handle, _pointer(cycles, c_uint64))
        return cycles.astype(np.int64)

    def tracing(self, on: bool) -> None:
        """Capture records of the trace ports from now on, or no more."""
        self._library.sim_tracing(self._handle, on)

    def trace(self, port: int, words: int) -> tuple[np.ndarray, np.ndarray]:
        """Take the captured records of trace port number `port`: uint32 [records, words], and their cycles (int64)."""
        records = np.empty((self._library.sim_trace_size(self._handle, port) // words, words), np.uint32)
        cycles = np.empty(len(records), np.uint64)
        self._library.sim_trace(self._handle, port, _pointer(records, c_uint32), _pointer(cycles, c_uint64))
        return records, cycles.astype(np.int64)
