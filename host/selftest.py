"""The self-test: bus, identity, memory, program, golden vectors and speed of an accelerator, told line by line.

Its output is what belongs into a bug report. Each step has a time-out of its own and says what was expected and what
was found; the first that fails ends the test.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import os
import platform
import random
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np

from . import abi, registers
from .accelerator import Accelerator
from .bundle import Bundle
from .errors import QblifError, SelfTestFailed, Timeout
from .registers import OFFSETS
from .transport import Transport, open_transport

OPENING = 900.0
"""Seconds that opening may take: a simulation is compiled then, a bitstream uploaded."""

SPEED_SECONDS = 2.0
"""How long the measurement of speed should take, about."""

_MOST_IMAGES = 100_000


class SelfTest:
    """One run of the self-test.

    bundle: a bundle, or its path; target, options: as for `open`; timeout: seconds without a finished image, and
    twice that for a step; say: called with each line of the report; default: print.
    """

    def __init__(self, bundle: str | os.PathLike | Bundle, target: str = "sim", *, timeout: float = 60.0,
                 say: Callable[[str], None] | None = None, **options: Any):
        self._given = bundle
        self._target = target
        self._timeout = timeout
        self._say = say or functools.partial(print, flush=True)
        self._options = options
        self._stop: Callable[[], None] = lambda: None
        self._bundle: Bundle | None = None
        self._transport: Transport | None = None
        self._opened: Transport | None = None  # the same, also while the accelerator has it
        self._accelerator: Accelerator | None = None

    def run(self) -> bool:
        """Run all steps and return whether all passed. Raises nothing but KeyboardInterrupt and the like."""
        self._say(f"qblif self-test of {self._target!r}, {time.strftime('%Y-%m-%d %H:%M:%S %z')}")
        self._say(f"     {versions()}")
        given = {"timeout": f"{self._timeout:g} s", **self._options}
        self._say(f"     options: {', '.join(f'{name} {value}' for name, value in given.items())}")
        steps = (("bundle", self._load, self._timeout), ("open", self._open, OPENING), ("bus", self._bus, None),
                 ("identity", self._identity, None), ("memory", self._memory, None), ("program", self._program, None),
                 ("golden vectors", self._golden, None), ("speed", self._speed, None))
        inside = False
        try:
            for name, step, limit in steps:
                began = time.monotonic()
                inside = True
                try:
                    told = _within(limit or 2 * self._timeout, step)
                    inside = False
                except Exception as error:
                    inside = isinstance(error, _Stuck)
                    self._say(f"FAIL {name}: {type(error).__name__}: {_indented(error)}")
                    self._tell_more(error, inside)
                    self._say(f"result: FAILED at {name}")
                    return False
                if told is not None:
                    self._say(f"ok   {name}: {told} ({time.monotonic() - began:.3f} s)")
            self._say("result: passed")
            return True
        finally:
            if inside:  # a step still uses the accelerator, and closing would wait for it
                with contextlib.suppress(Exception):
                    self._stop()
            else:
                self._close()

    # Steps: each returns what to tell, or None where it does not apply ------------------------------------------

    def _load(self) -> str:
        self._bundle = self._given if isinstance(self._given, Bundle) else Bundle.load(self._given)
        return f"{self._bundle}, made with qblif {self._bundle.tools.get('qblif', 'unknown')}; file {self._bundle.path}"

    def _open(self) -> str:
        self._transport = open_transport(self._bundle, self._target, self._timeout, **self._options)
        self._opened = self._transport
        self._stop = getattr(self._transport, "stop", self._stop)
        about = getattr(self._transport, "about", None) or {}
        clock = getattr(self._transport, "clock", None)
        told = {**about, **({"clock": str(clock)} if clock is not None else {})}
        return "; ".join(f"{key} {value}" for key, value in told.items()) or "opened"

    def _bus(self) -> str:
        read, write, at = self._transport.read, self._transport.write, OFFSETS["SCRATCH"]
        walking = [1 << bit for bit in range(32)]
        patterns = [0, 0xFFFF_FFFF, 0x5555_5555, 0xAAAA_AAAA, *walking, *(~word & 0xFFFF_FFFF for word in walking)]
        generator = random.Random(0)
        patterns += [generator.getrandbits(32) for _ in range(12)]
        for index, pattern in enumerate(patterns):
            write(at, pattern)
            if index % 8 == 0:
                read(OFFSETS["ABI"])  # so that no word that is still on the bus passes for the register
            found = read(at)
            if found != pattern:
                raise SelfTestFailed(f"register SCRATCH: expected {pattern:#010x}, got {found:#010x} (bits "
                                     f"{found ^ pattern:#010x} differ)", hint="the register bus does not work")
        return f"{len(patterns)} patterns through register SCRATCH"

    def _identity(self) -> str:
        read = self._transport.read
        expected = {"ID": abi.MAGIC, "ABI": abi.ABI_VERSION, "BUILD_LO": self._bundle.build_hash & 0xFFFF_FFFF,
                    "BUILD_HI": self._bundle.build_hash >> 32}
        for name, value in expected.items():
            found = read(OFFSETS[name])
            if found != value:
                raise SelfTestFailed(f"register {name}: expected {value:#010x}, got {found:#010x}",
                                     hint="the hardware is not the one that the bundle is for")
        caps = registers.fields(abi.CAPS_FIELDS, read(OFFSETS["CAPS"]))
        front_end = dict(enumerate(abi.FRONT_ENDS)).get(caps["front_end"], f"number {caps['front_end']}")
        return (f"ABI {abi.ABI_VERSION}, build {self._bundle.build_hash:016x}, front-end {front_end}"
                + (", program baked in" if caps["baked"] else ""))

    def _memory(self) -> str | None:
        test = getattr(self._transport, "memory_test", None)
        return f"{test() / 1e6:.1f} MB of patterns through shared memory" if test is not None else None

    def _program(self) -> str:
        transport, self._transport = self._transport, None  # the accelerator closes it, also when this fails
        self._accelerator = Accelerator(self._bundle, transport, self._timeout)
        values = self._accelerator.snapshot()
        found = values["PROGRAM_LO"] | values["PROGRAM_HI"] << 32
        if found != self._bundle.program_hash:
            raise SelfTestFailed(f"program: expected {self._bundle.program_hash:016x}, got {found:016x}")
        return f"{self._bundle.program.nbytes} bytes, hash {found:016x} read back"

    def _golden(self) -> str:
        return f"{self._accelerator.self_test()} images, every logit equal"

    def _speed(self) -> str:
        """Run the golden images again and again, in one batch, long enough to measure."""
        layout, expected = self._bundle.input_layout, self._bundle.golden_logits
        axis = 0 if layout.static else 1
        have = len(expected)
        began = time.monotonic()
        self._accelerator.run_batch(self._bundle.golden_inputs)
        once = max(time.monotonic() - began, 1e-4)
        times = max(1, min(int(SPEED_SECONDS / once), _MOST_IMAGES // have))
        self._accelerator.reset()
        before = self._accelerator.stats()
        inputs = np.concatenate([self._bundle.golden_inputs] * times, axis)
        began = time.monotonic()
        logits = self._accelerator.run_batch(inputs)
        seconds = time.monotonic() - began
        wrong = np.argwhere(logits != np.tile(expected, (times, 1)))
        if len(wrong):
            image, label = (int(i) for i in wrong[0])
            raise SelfTestFailed(f"image {image} of a batch of {times * have}, logit {label}: expected "
                                 f"{expected[image % have, label]}, got {logits[image, label]}")
        stats = self._accelerator.stats()
        told = [f"{times * have / seconds:.1f} images/s end to end, in one batch of {times * have}"]
        if stats.core_rate is not None:
            told.append(f"{stats.core_rate:.1f} images/s of the core alone, {stats.cycles_per_image:.0f} cycles each "
                        f"at {stats.clock}")
        else:
            told.append(f"{stats.cycles_per_image:.0f} cycles of the core each, clock unknown")
        if stats.jobs is not None and stats.clock is not None:
            images = stats.jobs.images - before.jobs.images
            cycles = stats.jobs.cycles - before.jobs.cycles
            told.append(f"{stats.clock.hz * images / cycles:.1f} images/s within jobs, memory included")
        counts = getattr(self._opened, "counts", None)
        if counts is not None:
            told.append(f"{counts.requests} requests since opening, {counts.retries} sent again, {counts.damaged} "
                        "damaged pieces received")
        return "; ".join(told)

    # Inside -------------------------------------------------------------------------------------------------

    def _tell_more(self, error: Exception, stuck: bool) -> None:
        """Say what a bug report needs beyond an error's own words: where a bug of ours is, and the registers."""
        if not isinstance(error, QblifError):
            for line in "".join(traceback.format_exception(error)).rstrip().splitlines():
                self._say(f"       {line}")
        if self._opened is None or stuck or getattr(error, "snapshot", None):
            return
        with contextlib.suppress(Exception):  # the link itself may be what failed
            values = _within(self._timeout, lambda: registers.snapshot(self._opened.read))
            if values:
                self._say("       registers: " + " ".join(f"{name}={value:#x}" for name, value in values.items()))

    def _close(self) -> None:
        for opened in (self._accelerator, self._transport):
            if opened is not None:
                try:
                    opened.close()
                except QblifError as error:
                    self._say(f"     closing: {_indented(error)}")
        self._accelerator = self._transport = None


def versions() -> str:
    """Return what runs here: this package, Python, numpy, pynq where there is one, and the machine."""
    from qblif import __version__

    names = [f"qblif {__version__}", f"Python {platform.python_version()}", f"numpy {np.__version__}"]
    try:
        names.append(f"pynq {importlib.metadata.version('pynq')}")
    except importlib.metadata.PackageNotFoundError:
        pass
    return ", ".join([*names, f"{platform.system()} {platform.release()} {platform.machine()}",
                      f"{os.cpu_count()} processors", f"{sys.byteorder}-endian"])


class _Stuck(Timeout):
    """A step that did not come back."""


def _within(seconds: float, step: Callable[[], Any]) -> Any:
    """Return step(), or raise Timeout when it takes longer; it is then left to itself."""
    outcome: list = []

    def work() -> None:
        try:
            outcome.append((step(), None))
        except BaseException as error:
            outcome.append((None, error))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    if not outcome:
        raise _Stuck(f"no answer within {seconds:g} s", hint="give a larger time-out if the target is that slow")
    told, error = outcome[0]
    if error is not None:
        raise error
    return told


def _indented(error: Exception) -> str:
    return str(error).replace("\n", "\n     ")
