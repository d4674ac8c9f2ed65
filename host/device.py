"""One accelerator behind a transport: is it the right one, is its program loaded, how does it come back to life.

Not for users: `Accelerator` is. Not safe for threads: `Accelerator` locks.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

import numpy as np

from . import abi
from .bundle import VERILOG, Bundle
from .errors import BuildMismatch, DeviceError, QblifError, Timeout, TransportError
from .transport import Transport

OFFSETS = {name: offset for name, offset, _, _ in abi.REGISTERS}
_READABLE = [name for name, _, access, _ in abi.REGISTERS if access != "wo"]
_RESET = 1
_SCRATCH_PATTERN = 0x5AC3_0F96

_HINTS = {
    abi.Error.WATCHDOG: "the WATCHDOG register holds the cycles allowed without progress; 0 allows any number",
    abi.Error.BAD_CRC: "the program was damaged on its way to the accelerator",
}


class Device:
    """An accelerator that runs the program of `bundle`.

    Construction checks identity, ABI version and build, resets the accelerator and loads the program. Raises
    BuildMismatch, DeviceError, Timeout, TransportError; so does every job."""

    def __init__(self, transport: Transport, bundle: Bundle, timeout: float):
        self._transport = transport
        self._bundle = bundle
        self._timeout = timeout
        self._clean = False
        self._check_identity()
        self.reset()

    # Jobs ---------------------------------------------------------------------------------------------------

    def infer(self, frames: np.ndarray, report: Callable[[int], None] | None) -> tuple[np.ndarray, np.ndarray | None]:
        """Return (logits (B, K), cycles (B,) or None) of input frames, uint32 (B, beats).

        When the job fails, or failed before by an interrupt, the accelerator is reset and its program loaded again."""
        if not self._clean:
            self.reset()
        self._clean = False  # stays so if an interrupt comes: whoever presses Ctrl-C does not wait for a reset
        try:
            logits, cycles = self._transport.infer(frames, self._bundle.classes, self._timeout, report)
            self._raise_error_code()
        except Exception as error:
            reason = self._explain(error, f"no image was finished for {self._timeout:g} s")
            try:
                self.reset()
            except QblifError as failed:  # the next job tries again
                if isinstance(reason, QblifError):
                    reason.hint = f"nor could the accelerator be reset: {failed.message}"
            if reason is error:
                raise
            raise reason from error
        self._clean = True
        return self._checked(logits, len(frames)), cycles

    def reset(self):
        """Reset everything, the counters too, and load the program."""
        self._clean = False
        self.write("CONTROL", _RESET)
        self._await_idle()
        try:
            self._transport.program(self._bundle.program, self._timeout)
            self._await_idle()
        except Exception as error:
            raise self._explain(error, f"the program was not taken within {self._timeout:g} s") from error
        loaded = self.status()["loaded"]
        found = self.read("PROGRAM_LO") | self.read("PROGRAM_HI") << 32
        if not loaded or found != self._bundle.program_hash:
            raise TransportError(f"after loading program {self._bundle.program_hash:016x} the accelerator shows "
                                 f"program {found:016x}, loaded={loaded}", snapshot=self.snapshot())
        self._clean = True

    # Registers ----------------------------------------------------------------------------------------------

    def read(self, name: str) -> int:
        """Return a register."""
        return self._transport.read(OFFSETS[name])

    def write(self, name: str, value: int):
        """Write a register."""
        self._transport.write(OFFSETS[name], value)

    def status(self) -> dict[str, int]:
        """Return the fields of STATUS."""
        return abi.unpack(abi.STATUS_FIELDS, self.read("STATUS"))

    def counters(self, core: int) -> dict[str, int]:
        """Return abi.COUNTERS of a core."""
        self.write("CORE_SELECT", core)
        read, base = self._transport.read, abi.COUNTER_BASE
        # the low word first: it latches the high one
        return {name: read(base + 8 * i) | read(base + 8 * i + 4) << 32 for i, (name, _) in enumerate(abi.COUNTERS)}

    def snapshot(self) -> dict[str, int]:
        """Return all registers that can be read, for error messages; what cannot is left out."""
        values = {}
        for name in _READABLE:
            with contextlib.suppress(Exception):  # the link itself may be what failed
                values[name] = self.read(name)
        return values

    # Inside -------------------------------------------------------------------------------------------------

    def _check_identity(self):
        bundle = self._bundle
        found = self.read("ID")
        if found != abi.MAGIC:
            raise BuildMismatch(f"there is no qblif accelerator here: register ID is {found:#010x}, "
                                f"not {abi.MAGIC:#010x}", hint="check the bitstream and the address")
        version = self.read("ABI")
        if version != abi.ABI_VERSION:
            raise BuildMismatch(f"the hardware has ABI version {version}, this package and {bundle.path} have "
                                f"{abi.ABI_VERSION}", hint=f"build the hardware again from {VERILOG} in {bundle.path}")
        build = self.read("BUILD_LO") | self.read("BUILD_HI") << 32
        if build != bundle.build_hash:
            raise BuildMismatch(f"the hardware is build {build:016x}, the bundle {bundle.path} is for build "
                                f"{bundle.build_hash:016x}",
                                hint=f"the hardware that fits is made of {VERILOG} in {bundle.path}; or plan the "
                                f"network for build {build:016x}")
        self.write("SCRATCH", _SCRATCH_PATTERN)
        echo = self.read("SCRATCH")
        if echo != _SCRATCH_PATTERN:
            raise TransportError(f"register SCRATCH was written {_SCRATCH_PATTERN:#010x} and reads {echo:#010x}: "
                                 "the register bus does not work")

    def _await_idle(self):
        """Wait until neither a program nor an image is under way; raise DeviceError on an error code."""
        deadline = time.monotonic() + self._timeout
        while True:
            status = self._raise_error_code()
            if not status["busy"] and not status["loading"]:
                return
            if time.monotonic() > deadline:
                raise Timeout(f"the accelerator is still busy {self._timeout:g} s after a reset or program",
                              snapshot=self.snapshot())
            time.sleep(0.0005)

    def _raise_error_code(self) -> dict[str, int]:
        status = self.status()
        if status["error"]:
            raise _device_error(self.snapshot())
        return status

    def _explain(self, error: Exception, late: str) -> Exception:
        """Return what to raise for `error`: an error code explains more than the time-out that it led to."""
        if isinstance(error, DeviceError) and error.snapshot is not None:
            return error
        snapshot = self.snapshot()
        if abi.unpack(abi.STATUS_FIELDS, snapshot.get("STATUS", 0))["error"]:
            return _device_error(snapshot)
        if isinstance(error, TimeoutError):
            return Timeout(f"{late}: {getattr(error, 'message', error)}",
                           hint="give a larger `timeout` if the network needs longer", snapshot=snapshot)
        if isinstance(error, QblifError) and error.snapshot is None:
            error.snapshot = snapshot
        return error

    def _checked(self, logits: np.ndarray, images: int) -> np.ndarray:
        logits = np.asarray(logits)
        if logits.shape != (images, self._bundle.classes) or logits.dtype.kind != "i":
            raise TransportError(f"the transport returned {logits.dtype} logits of shape {logits.shape} for {images} "
                                 f"image(s) of {self._bundle.classes} classes")
        return logits.astype(np.int64, copy=False)


def _device_error(snapshot: dict[str, int]) -> DeviceError:
    code = abi.unpack(abi.STATUS_FIELDS, snapshot["STATUS"])["error"]
    return DeviceError(code, snapshot.get("ERROR_INFO", 0), hint=_HINTS.get(code), snapshot=snapshot)
