"""One accelerator behind a transport: is it the right one, is its program loaded, how does it come back to life.

Not for users: `Accelerator` is. Not safe for threads: `Accelerator` locks.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from . import abi, registers
from .bundle import VERILOG, Bundle
from .errors import BuildMismatch, DeviceError, QblifError, Timeout, TransportError
from .registers import OFFSETS
from .stats import Clock
from .transport import Transport

_SCRATCH_PATTERN = 0x5AC3_0F96

_MEMORY = "qblif selftest tests the memory; if it fails too, restart the board"
_DAMAGED = "the program was damaged on its way to the accelerator: qblif selftest tests that way"

_HINTS = {
    abi.Error.WATCHDOG: "give a larger `timeout`; register WATCHDOG holds the cycles allowed, which targets with DMA "
                        "set to half of the time-out",
    **dict.fromkeys((abi.Error.BAD_MAGIC, abi.Error.BAD_SECTION, abi.Error.SHORT_PROGRAM, abi.Error.LONG_PROGRAM,
                     abi.Error.BAD_CRC), _DAMAGED),
    **dict.fromkeys((abi.Error.BAD_VERSION, abi.Error.WRONG_BUILD), "open a bundle that was made for this hardware"),
    **dict.fromkeys((abi.Error.READ_SLAVE, abi.Error.READ_DECODE, abi.Error.WRITE_SLAVE, abi.Error.WRITE_DECODE),
                    _MEMORY),
    abi.Error.BUS_TIMEOUT: "the memory bus hangs, or is slower than half of `timeout`: program the board again (open "
                           "with download=True), or give a larger `timeout`",
    abi.Error.ABORTED: "another program aborted the job or reset the accelerator: close it; two cannot share one",
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
            reason = self._explain(error, f"no image was finished for {self._timeout:g} s",
                                   "give a larger `timeout` if the network needs longer")
            try:
                self.reset()
            except BuildMismatch as other:  # explains it: the board was programmed by somebody else
                raise other from reason
            except QblifError as failed:  # the next job tries again
                if isinstance(reason, QblifError):
                    reason.followed_by("nor could the accelerator be reset", failed)
            if reason is error:
                raise
            raise reason from error
        self._clean = True
        return self._checked(logits, len(frames)), cycles

    def reset(self):
        """Reset everything, the counters too, and load the program, unless the hardware has it built in.

        Before anything is reset, identity, ABI version and build are checked: since the last time somebody may have
        programmed the board with something else."""
        self._clean = False
        self._check_identity()
        self.write("CONTROL", registers.RESET)
        self._await_idle()
        wanted = self._bundle.program_hash
        if self.program_in_place() != wanted:
            try:
                self._transport.program(self._bundle.program, self._timeout)
                self._await_idle()
            except Exception as error:
                reason = self._explain(error, f"the program was not taken for {self._timeout:g} s",
                                       "give a larger `timeout` if the link is that slow")
                if reason is error:
                    raise
                raise reason from error
            found = self.program_in_place()
            if found != wanted:
                raise TransportError(f"after loading program {wanted:016x} the accelerator shows "
                                     + ("no program" if found is None else f"program {found:016x}"),
                                     hint=_DAMAGED, snapshot=self.snapshot())
        self._clean = True

    def program_in_place(self) -> int | None:
        """Return the hash of the program that the accelerator would run, or None."""
        if not self.status()["loaded"]:
            return None
        return self.read("PROGRAM_LO") | self.read("PROGRAM_HI") << 32

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
        """Return all registers that can be read, for error messages."""
        return registers.snapshot(self._transport.read)

    @property
    def clock(self) -> Clock | None:
        """What the accelerator runs at, as the transport or else the hardware itself says; None: nobody knows."""
        clock = getattr(self._transport, "clock", None)
        if clock is None:
            hz = self.read("CLOCK_HZ")
            clock = Clock(float(hz), "register CLOCK_HZ") if hz else None
        return clock

    # Inside -------------------------------------------------------------------------------------------------

    def _check_identity(self):
        bundle = self._bundle
        found = self.read("ID")
        if found != abi.MAGIC:
            raise BuildMismatch(f"there is no qblif accelerator here: register ID is {found:#010x}, "
                                f"not {abi.MAGIC:#010x}", hint="program the board with a bitstream of qblif "
                                "(make bitstream), and check the target's name")
        version = self.read("ABI")
        if version != abi.ABI_VERSION:
            raise BuildMismatch(f"the hardware has ABI version {version}, this package and {bundle.path} have "
                                f"{abi.ABI_VERSION}", hint=f"build the hardware again from {VERILOG} in {bundle.path}")
        build = self.read("BUILD_LO") | self.read("BUILD_HI") << 32
        if build != bundle.build_hash:
            raise BuildMismatch(f"the hardware is build {build:016x}, the bundle {bundle.path} is for build "
                                f"{bundle.build_hash:016x}",
                                hint=f"the hardware that fits is made of {VERILOG} in {bundle.path}; or plan the "
                                f"network for build {build:016x}: qblif compile NETWORK --design <folder of that "
                                "bitstream>/manifest.json")
        self.write("SCRATCH", _SCRATCH_PATTERN)
        echo = self.read("SCRATCH")
        if echo != _SCRATCH_PATTERN:
            raise TransportError(f"register SCRATCH was written {_SCRATCH_PATTERN:#010x} and reads {echo:#010x}: "
                                 "the register bus does not work",
                                 hint="restart the board; if it stays, report the output of qblif selftest")

    def _await_idle(self):
        """Wait until neither a program nor an image is under way; raise DeviceError on an error code."""
        deadline = time.monotonic() + self._timeout
        while True:
            status = self._raise_error_code()
            if not status["busy"] and not status["loading"]:
                return
            if time.monotonic() > deadline:
                raise Timeout(f"the accelerator is still busy {self._timeout:g} s after a reset or program",
                              hint="program the board again, or switch it off and on", snapshot=self.snapshot())
            time.sleep(0.0005)

    def _raise_error_code(self) -> dict[str, int]:
        status = self.status()
        if status["error"]:
            raise _device_error(self.snapshot())
        return status

    def _explain(self, error: Exception, late: str, patience: str) -> Exception:
        """Return what to raise for `error`: an error code explains more than the time-out that it led to.

        late, patience: what a time-out means, and what to do about it, where it does not say so itself: one of the link
        does, and has nothing to do with how long the accelerator takes."""
        if isinstance(error, DeviceError) and error.snapshot is not None:
            error.hint = error.hint or _HINTS.get(error.code)
            return error
        snapshot = getattr(error, "snapshot", None)  # taken when it happened, where the transport could
        if snapshot is None:
            snapshot = self.snapshot()
        reason = error
        if abi.unpack(abi.STATUS_FIELDS, snapshot.get("STATUS", 0))["error"]:
            reason = _device_error(snapshot)
        elif isinstance(error, TimeoutError) and not getattr(error, "hint", None):
            reason = Timeout(f"{late}: {getattr(error, 'message', error)}", hint=patience, snapshot=snapshot)
        if isinstance(reason, QblifError):
            reason.besides = getattr(error, "besides", [])
            if reason.snapshot is None:
                reason.snapshot = snapshot
        return reason

    def _checked(self, logits: np.ndarray, images: int) -> np.ndarray:
        logits = np.asarray(logits)
        if logits.shape != (images, self._bundle.classes) or logits.dtype.kind != "i":
            raise TransportError(f"the transport returned {logits.dtype} logits of shape {logits.shape} for {images} "
                                 f"image(s) of {self._bundle.classes} classes",
                                 hint="the transport of this target is at fault: report the output of qblif selftest")
        return logits.astype(np.int64, copy=False)


def _device_error(snapshot: dict[str, int]) -> DeviceError:
    code = abi.unpack(abi.STATUS_FIELDS, snapshot["STATUS"])["error"]
    return DeviceError(code, snapshot.get("ERROR_INFO"), hint=_HINTS.get(code), snapshot=snapshot)
