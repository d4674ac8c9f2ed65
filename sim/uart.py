"""A simulated board on a serial port: UartTop, clocked by C++, its line driven bit by bit, behind a pseudo-terminal.

    with UartBoard(design) as board:
        accelerator = qblif.open(bundle, target=board.target)

The host's own code talks to it down to the bits of the line. Between the two a wire can be disturbed (`inject`).
"""

from __future__ import annotations

import contextlib
import enum
import errno
import os
import pty
import select
import threading
import tty
from ctypes import POINTER, c_char_p, c_double, c_int, c_uint8, c_uint32, c_uint64, c_void_p
from pathlib import Path

from qblif.host import framing
from qblif.hw import emit
from qblif.hw.params import DesignParams

from . import emission, verilator
from .model import SimulationError, load, with_source

CLOCK_HZ = 24_000_000
BAUD = 3_000_000
CYCLES_PER_BIT = CLOCK_HZ // BAUD
"""Few clock cycles per bit make few cycles to simulate."""

NOMINAL_BAUD = 115_200
"""What the host is told. It sets nothing but how long the host waits, and the simulation is slower than a board."""

HARNESS = Path(__file__).with_name("uart.cpp")

CHUNK = 1_000
"""Clock cycles between looks at the pseudo-terminal."""

REST = 4_000
"""Quiet clock cycles after which the clock stops until bytes come; longer than any request takes."""

PAUSE = 0.02
"""Seconds between looks at the pseudo-terminal while the clock stops."""

SIGNATURES = {
    "uart_new": (c_void_p, c_double), "uart_free": (None, c_void_p), "uart_problem": (c_char_p, c_void_p),
    "uart_now": (c_uint64, c_void_p), "uart_quiet": (c_uint64, c_void_p), "uart_reset": (None, c_void_p),
    "uart_host_rate": (None, c_void_p, c_double), "uart_run": (c_int, c_void_p, c_uint64),
    "uart_send": (None, c_void_p, c_char_p, c_uint64), "uart_unsent": (c_uint64, c_void_p),
    "uart_receive": (c_uint64, c_void_p, POINTER(c_uint8), c_uint64), "uart_bytes": (c_uint64, c_void_p, c_int),
    "uart_fault": (None, c_void_p, c_int, c_int, c_uint64, c_uint32, c_uint32),
    "uart_forget_faults": (c_uint64, c_void_p, c_int),
    "uart_error_rate": (None, c_void_p, c_int, c_double, c_uint64),
    "uart_applied": (c_uint64, c_void_p, c_int, c_int),
}


class Direction(enum.IntEnum):
    """Ways of the line."""

    TO_BOARD = 0
    FROM_BOARD = 1


class Fault(enum.IntEnum):
    """What can happen to a byte on the line.

    FLIP: bits are inverted, a = mask of the ten bits, start bit first; LOSE: it is lost; EXTRA: byte a comes before it;
    NOISE: a bits of noise, seed b, come before it; BREAK: the line is low for a bits before it; GLITCH: the line is
    inverted for b clock cycles, from cycle a of the byte on."""

    FLIP = 0
    LOSE = 1
    EXTRA = 2
    NOISE = 3
    BREAK = 4
    GLITCH = 5


def emitted(design: DesignParams) -> str:
    """Return the SystemVerilog of UartTop around `design`, from the cache where nothing has changed."""
    return emission.emitted(f"uart {CLOCK_HZ} {BAUD}", design, lambda: emit.emit_uart_top(design, CLOCK_HZ, BAUD))


class UartBoard:
    """A board that runs in a thread until it is closed; a context manager.

    Parameters
    ----------
    design: what to simulate; may be None where `verilog` is given
    verilog: module qblif_uart for CYCLES_PER_BIT, instead of what `design` elaborates to

    `path` is its serial port, `target` what `qblif.open` takes. Raises ToolMissing and CacheError where the simulator
    cannot be built.
    """

    def __init__(self, design: DesignParams | None, *, verilog: str | None = None):
        path = verilator.build(verilog or emitted(design), top="qblif_uart", harness=HARNESS)
        self._library = load(path, SIGNATURES)
        self._handle = self._library.uart_new(CYCLES_PER_BIT)
        self._lock = threading.Lock()
        self._problem: str | None = None
        self._rested = 0.0
        self._master, slave = pty.openpty()
        tty.setraw(slave)
        os.set_blocking(self._master, False)
        self.path = os.ttyname(slave)
        # Not kept open, so that the port is free again when its user is killed, as a real one is.
        os.close(slave)
        self._wake, self._waker = os.pipe()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="qblif-uart", daemon=True)
        self._thread.start()

    @property
    def target(self) -> str:
        """The target's name for `qblif.open`."""
        return f"serial:{self.path}?baud={NOMINAL_BAUD}"

    def __enter__(self) -> UartBoard:
        return self

    def __exit__(self, *_):
        self.close()

    def close(self) -> None:
        """Switch the board off. Raises SimulationError where the design broke one of its own assertions."""
        if self._handle is None:
            return
        self._closing.set()
        os.write(self._waker, b".")
        self._thread.join()
        for fd in (self._master, self._wake, self._waker):
            os.close(fd)
        self._library.uart_free(self._handle)
        self._handle = None
        if self._problem:
            raise SimulationError(self._problem)

    # The line -----------------------------------------------------------------------------------------------

    def inject(self, direction: Direction, kind: Fault, after: int, a: int = 0, b: int = 0) -> None:
        """Schedule a fault for the byte that comes `after` more bytes; a, b: see Fault."""
        with self._lock:
            self._library.uart_fault(self._handle, direction, kind, after, a, b)

    def forget_faults(self) -> int:
        """Withdraw what is scheduled and did not happen yet; return the number."""
        with self._lock:
            return sum(self._library.uart_forget_faults(self._handle, direction) for direction in Direction)

    def error_rate(self, direction: Direction, rate: float, seed: int = 1) -> None:
        """Invert every bit with probability `rate` from now on."""
        with self._lock:
            self._library.uart_error_rate(self._handle, direction, rate, seed)

    def host_rate(self, factor: float) -> None:
        """Let the host's bits be longer by this factor than the board's."""
        with self._lock:
            self._library.uart_host_rate(self._handle, CYCLES_PER_BIT * factor)

    def power_cycle(self) -> None:
        """Reset the whole design, as after switching it on."""
        with self._lock:
            self._library.uart_reset(self._handle)

    def applied(self) -> dict[tuple[Direction, Fault], int]:
        """Return how many faults of each kind happened so far."""
        with self._lock:
            return {(direction, kind): self._library.uart_applied(self._handle, direction, kind)
                    for direction in Direction for kind in Fault}

    def inverted(self) -> int:
        """Return the number of bits that `error_rate` inverted."""
        with self._lock:
            return sum(self._library.uart_applied(self._handle, direction, len(Fault)) for direction in Direction)

    def bytes_passed(self, direction: Direction) -> int:
        """Return the number of bytes that went that way."""
        with self._lock:
            return self._library.uart_bytes(self._handle, direction)

    def seconds(self) -> float:
        """Return the board's time: cycles simulated at CLOCK_HZ, and real seconds at rest, when there is nothing to
        simulate. A host that measures time-outs with it meets the same board on fast and slow machines."""
        with self._lock:
            return self._library.uart_now(self._handle) / CLOCK_HZ + self._rested

    # The thread ---------------------------------------------------------------------------------------------

    def _run(self) -> None:
        buffer = (c_uint8 * 4096)()
        waiting = b""     # for the host, whose terminal is full
        hung_up = True
        while not self._closing.is_set():
            with self._lock:
                rest = self._library.uart_quiet(self._handle) > REST and not waiting
            data, hung_up = self._from_host(PAUSE if rest else 0, hung_up)
            if rest and not data:
                self._rested += PAUSE
                continue
            with self._lock:
                self._library.uart_send(self._handle, data, len(data))
                failed = self._library.uart_run(self._handle, CHUNK)
                count = self._library.uart_receive(self._handle, buffer, len(buffer))
                if failed:
                    self._problem = with_source(self._library.uart_problem(self._handle).decode(), self._library.folder)
                    return
            waiting = self._to_host(waiting + bytes(buffer[:count]))

    def _from_host(self, seconds: float, hung_up: bool) -> tuple[bytes, bool]:
        """Return what the host sent within `seconds`, and whether nobody has the port open."""
        if hung_up:  # then the master is always readable
            select.select([self._wake], [], [], seconds)
        else:
            select.select([self._master, self._wake], [], [], seconds)
        try:
            return os.read(self._master, 4 * framing.REQUEST_WORDS), False
        except BlockingIOError:
            return b"", False
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return b"", True

    def _to_host(self, data: bytes) -> bytes:
        """Hand bytes over; return those that wait for room. Without a host, or with one that never reads, they are
        lost."""
        with contextlib.suppress(OSError):
            return data[os.write(self._master, data):][-(1 << 16):] if data else b""
        return data[-(1 << 16):]
