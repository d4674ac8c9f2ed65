"""Everything that can go wrong for a user, as exceptions: what was found, what is allowed, what to do.

    QblifError                    catches them all
    ├── InputError (ValueError)   the data given to an accelerator
    ├── BundleError               the bundle file
    ├── UnknownTarget             the target named to `open`
    ├── ToolMissing               a package or program that the target needs
    ├── CacheError                the folder of built simulators
    ├── OverlayError              a folder with a bitstream
    │   ├── OverlayNotFound       none holds what the bundle needs on this board
    │   └── PartMismatch          it is for another chip
    ├── ClockError                the board cannot give the clock, or the bitstream cannot run at it
    ├── TransportError            the link to the hardware
    │   ├── OutOfBoardMemory (MemoryError)   the board has no buffer of that size left
    │   └── AddressOutOfReach     a buffer lies where the hardware cannot reach it
    ├── BuildMismatch             the hardware is another one than the bundle was planned for
    ├── DeviceError               the hardware reports an error code
    ├── Timeout (TimeoutError)    the hardware does not answer
    ├── SelfTestFailed            the hardware computes other integers than the golden vectors
    └── ClosedError               the accelerator was closed
"""

from __future__ import annotations

from . import abi


def install(extra: str) -> str:
    """Return the command that brings an extra of this package, which is not on PyPI: out of a clone of it."""
    return f"in a clone of qblif: pip install '.[{extra}]'"


class QblifError(Exception):
    """Base of all errors of this package.

    message: what was found and what is allowed; hint: what to do about it;
    snapshot: register name -> value when the error was noticed, for errors of the hardware;
    besides: what else went wrong while the error was dealt with, a line or more each.
    """

    def __init__(self, message: str, *, hint: str | None = None, snapshot: dict[str, int] | None = None):
        self.message = message
        self.hint = hint
        self.snapshot = snapshot
        self.besides: list[str] = []
        self.args = (message,)

    def __str__(self) -> str:
        text = self.message
        if self.hint:
            text += f"\n  hint: {self.hint}"
        for line in self.besides:
            text += f"\n  {line}"
        if self.snapshot:
            text += "\n  registers: " + " ".join(f"{name}={value:#x}" for name, value in self.snapshot.items())
        return text

    def followed_by(self, what: str, other: QblifError) -> None:
        """Tell besides that `what` failed because of `other`, and what to do about that; the same reason only once."""
        if any(other.message in line for line in self.besides):
            return
        self.besides.append(f"{what}: {other.message}" + (f"\n  hint: {other.hint}" if other.hint else ""))
        self.besides += other.besides


class InputError(QblifError, ValueError):
    """The data does not fit the network's input. Nothing was sent."""


class BundleError(QblifError):
    """The bundle file is damaged, inconsistent, unsafe, or newer than this package."""


class UnknownTarget(QblifError):
    """No transport has the name given as target."""


class ToolMissing(QblifError):
    """The target is known, but a package or program that it needs is not installed."""


class CacheError(QblifError):
    """The cache folder cannot be used: read-only, full, or damaged."""


class OverlayError(QblifError):
    """A folder with a bitstream is incomplete, damaged, or does not say what it is for."""


class OverlayNotFound(OverlayError):
    """No folder that was searched holds a bitstream for this board and this build."""


class PartMismatch(OverlayError):
    """The bitstream is for another chip than the board's. Nothing was programmed."""


class ClockError(QblifError):
    """The clock that was asked for is faster than the bitstream allows, or the board cannot make it."""


class TransportError(QblifError):
    """The link to the hardware failed or returned something that cannot be."""


class OutOfBoardMemory(TransportError, MemoryError):
    """The board has no physically contiguous memory of that size left."""


class AddressOutOfReach(TransportError):
    """The board's memory gave a buffer that the hardware's address bits or alignment do not allow."""


class BuildMismatch(QblifError):
    """The hardware found is not the one that the bundle was planned for."""


class DeviceError(QblifError):
    """STATUS, or the status of a job, shows an error code.

    code: value of the field; meaning: a sentence; info: beat index within the frame (ERROR_INFO), None where there is
    no such place; address: of the burst that failed, for bus responses to a job, else None.
    """

    def __init__(self, code: int, info: int | None = None, *, address: int | None = None, hint: str | None = None,
                 snapshot: dict[str, int] | None = None):
        try:
            self.code = abi.Error(code)
            name, self.meaning = self.code.name, self.code.meaning
        except ValueError:
            self.code, name, self.meaning = code, "unknown", "this version knows no such error code"
        self.info = info
        self.address = address
        in_frame = info is not None and self.code is not abi.Error.WATCHDOG  # which is about no beat, and leaves 0
        where = f" at address {address:#x}" if address is not None else f" at beat {info}" if in_frame else ""
        super().__init__(f"the accelerator reports error {int(code)} ({name}){where}: {self.meaning}",
                         hint=hint, snapshot=snapshot)
        self.args = (code, info)


class Timeout(QblifError, TimeoutError):
    """Something that has a time-out did not come in time: an image, the end of a program, an answer of the link."""


class SelfTestFailed(QblifError):
    """The logits of the bundle's golden vectors are not reproduced."""


class ClosedError(QblifError):
    """The accelerator was used after `close`."""
