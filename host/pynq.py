"""The targets `pynq`, on the board itself, and `pynq://host[:port]`, from afar (PYNQ.remote); and the overlay's driver.

    qblif.open("net.qblif", target="pynq")
    qblif.open("net.qblif", target="pynq://192.168.2.99", overlay="overlays/z2/qblif.bit", clock_mhz=100)
    pynq.Overlay("qblif.bit").qblif_0.open("net.qblif")

Works with pynq 3.0.1, 3.1 and 4.0 through their public classes; what they do wrong or leave out is put right here and
said where it is. Loaded for these targets only, or by pynq (entry point `pynq.lib`): nothing else needs pynq.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from . import abi, overlays, resident
from .accelerator import Accelerator
from .bundle import Bundle
from .errors import (
    BuildMismatch,
    ClockError,
    OutOfBoardMemory,
    OverlayError,
    PartMismatch,
    QblifError,
    Timeout,
    ToolMissing,
    TransportError,
    UnknownTarget,
)
from .hwh import VLNV
from .jobs import JobTransport
from .registers import OFFSETS
from .stats import Clock

try:
    import pynq
    from pynq import DefaultIP
except ImportError as error:  # this module can be looked at without it; opening a target says what is missing
    pynq, DefaultIP, _missing = None, object, error

PORT = 7967
"""Where PYNQ.remote's server listens."""

CLOCK_TOLERANCE = 0.01
"""How far a clock may be from what was asked for, as a part of it."""

CLOCK_EXCESS = 0.001
"""How far it may be beyond what the overlay was built for: as much as clock generators are off by rounding."""

_AFI = tuple(0xF800_8000 + 0x1000 * port + channel for port in range(4) for channel in (0x00, 0x14))
"""Zynq-7000: control registers of the HP ports' read and write channels [UG585, AXI_HP interface]; bit 0: 32-bit."""

_FILE_PATIENCE = 12
"""How many times longer than other calls the upload of a bitstream may take."""

_FPGA_STATE = "/sys/class/fpga_manager/fpga0/state"
_BOARD_NAME = "/proc/device-tree/chosen/pynq_board"
_FIRMWARE = "/lib/firmware/"


def open_transport(bundle: Bundle, target: str, timeout: float, *, overlay: str | os.PathLike | None = None,
                   clock_mhz: float | None = None, download: bool = True, device: Any = None,
                   rpc_timeout: float = 5.0) -> JobTransport:
    """Program a board, set its clock and return its transport.

    target: "pynq" or "pynq://host[:port]"
    overlay: folder or .bit of the overlay; default: the one in `overlays.folders` for this board and build
    clock_mhz: of the programmable logic; default: the fastest that board and overlay can do
    download: False: the overlay is in place already, and is not programmed again
    device: a `pynq.Device` to use instead of the target's own
    rpc_timeout: seconds that one call to a remote board may take; the upload of a file has twelve times that

    Raises ToolMissing, UnknownTarget, OverlayError, PartMismatch, BuildMismatch, ClockError, TransportError,
    Timeout."""
    if pynq is None:
        raise ToolMissing(f"the target {target!r} needs pynq: {_missing}",
                          hint="a PYNQ image has it; from afar pynq://HOST, without a board --target board"
                          if target == "pynq" else "PYNQ_REMOTE=1 pip install pynq (Python 3.10 to 3.12)")
    with contextlib.ExitStack() as undo:
        if device is None:
            with _explained(f"connect to {target}"):
                device = _device(target, rpc_timeout)
            if target != "pynq":  # ours alone
                undo.callback(device.client.channel.close)
        elif target != "pynq":
            raise UnknownTarget(f"target {target!r} and device={device!r} name two boards",
                                hint='the target of a device is "pynq"')
        else:
            _set_deadlines(device, rpc_timeout)
        board = board_of(device)
        chosen = _overlay(bundle, board, overlay)
        _check_clock(chosen, clock_mhz)
        description = _program(chosen, device, download)
        clock = _set_clock(device, chosen, clock_mhz)
        with _explained("reach the accelerator's registers"):
            mmio = pynq.MMIO(description["phys_addr"], description["addr_range"], device=device)
        bus = PynqBus(mmio, device)
        _check_programmed(bus, chosen, download)
        resident.note(device, resident.Resident(str(chosen.bit), description["phys_addr"], description["addr_range"],
                                                f"{chosen.build_hash:016x}"))
        about = {"board": board or str(getattr(device, "name", "unknown")), "overlay": str(chosen),
                 "pynq": pynq.__version__, "memory ports": _widen_ports(device)}
        transport = JobTransport(bus, clock, about)
        bus.closing = undo.pop_all()
        return transport


# The bus ----------------------------------------------------------------------------------------------------


class PynqBus:
    """A `host.jobs.JobBus` over pynq's MMIO and memory.

    device: the `pynq.Device` of both; closing: what to end with the bus, besides."""

    def __init__(self, mmio: Any, device: Any):
        self._mmio = mmio
        self._device = device
        self.closing = contextlib.ExitStack()

    def read(self, offset: int) -> int:
        """Return a register."""
        with _explained(f"read register {offset:#x}"):
            return int(self._mmio.read(offset)) & 0xFFFF_FFFF  # from afar, pynq 3.1 gives signed numbers

    def write(self, offset: int, value: int) -> None:
        """Write a register."""
        with _explained(f"write register {offset:#x}"):
            self._mmio.write(offset, int(value))  # pynq takes no numpy integers

    def allocate(self, beats: int) -> PynqMemory:
        """Return a buffer."""
        with _explained(f"allocate {4 * beats} bytes of the board's memory"):
            return PynqMemory(pynq.allocate((beats,), "u4", target=self._device))

    def close(self) -> None:
        """Let go of the board; it stays programmed."""
        self.closing.close()


class PynqMemory:
    """A `host.jobs.Buffer` over pynq's. Never sliced: slices of remote buffers write to the wrong place."""

    def __init__(self, buffer: Any):
        # a remote board that is out of memory says so by a name that is empty
        if getattr(buffer, "buffer_id", True) in ("", None):
            buffer.freed = True
            raise OutOfBoardMemory(f"the board has no room for a buffer of {buffer.nbytes} bytes",
                                   hint="free other buffers on the board, or restart its server")
        self._buffer = buffer
        self.array = np.asarray(buffer)
        self.address = int(buffer.device_address)  # on a remote board each look is a call

    def flush(self) -> None:
        """Make the host's writes visible to the board."""
        with _explained("hand a buffer to the board"):
            self._buffer.flush()

    def invalidate(self) -> None:
        """Make the board's writes visible to the host."""
        with _explained("take a buffer from the board"):
            self._buffer.invalidate()

    def free(self) -> None:
        """Give the memory back."""
        self.array = None
        with _explained("free a buffer"):
            self._buffer.freebuffer()


# Opening ----------------------------------------------------------------------------------------------------


def board_of(device: Any) -> str | None:
    """Return the name of a device's board, a key of `overlays.BOARDS`, None if it is not known."""
    names = [str(getattr(device, "name", ""))]
    if _is_local(device):
        with contextlib.suppress(OSError):
            names.insert(0, Path(_BOARD_NAME).read_text().strip("\0\n "))
        names.append(os.environ.get("BOARD", ""))
    return next(filter(None, map(overlays.board_named, names)), None)


def _check_clock(chosen: overlays.Overlay, clock_mhz: float | None) -> None:
    """Raise ClockError unless a clock that was asked for, None: the fastest, is one that an overlay was built for."""
    if clock_mhz is not None and not (isinstance(clock_mhz, (int, float))
                                      and 0 < clock_mhz <= chosen.clock_mhz * (1 + CLOCK_EXCESS)):
        raise ClockError(f"a clock of {clock_mhz} MHz was asked for; {chosen.bit} was built for up to "
                         f"{chosen.clock_mhz:g} MHz", hint="give a number above 0 and up to that as clock_mhz, or "
                         "leave it out for the fastest")


def _set_clock(device: Any, chosen: overlays.Overlay, clock_mhz: float | None) -> Clock:
    """Set clock 0 to what was asked for, None: the fastest that board and overlay can do; return what is read back."""
    _check_clock(chosen, clock_mhz)
    if clock_mhz is None:
        return set_clock_up_to(device, chosen.clock_mhz)
    return set_clock(device, clock_mhz, chosen.clock_mhz)


def set_clock(device: Any, mhz: float, limit_mhz: float = math.inf) -> Clock:
    """Set clock 0 of the programmable logic and return what is read back.

    Raises ClockError where that differs by more than CLOCK_TOLERANCE, since the board makes its clocks by dividing
    others, or is beyond `limit_mhz` by more than CLOCK_EXCESS."""
    with _clocks(device) as clocks:
        clocks.fclk0_mhz = mhz
        found = float(clocks.fclk0_mhz)
    if abs(found - mhz) > CLOCK_TOLERANCE * mhz or found > limit_mhz * (1 + CLOCK_EXCESS):
        raise ClockError(f"a clock of {mhz:g} MHz was asked for, the board makes {found:g} MHz of it",
                         hint="it divides a faster clock by whole numbers: ask for another clock_mhz, or for none")
    return Clock(found * 1e6, "set and read back")


def set_clock_up_to(device: Any, mhz: float) -> Clock:
    """Set clock 0 to the fastest that the board can make up to `mhz`, and return what is read back."""
    with _clocks(device) as clocks:
        asked = mhz
        for _ in range(8):  # pynq sets what is closest, faster or slower
            clocks.fclk0_mhz = asked
            found = float(clocks.fclk0_mhz)
            if mhz / 2 < found <= mhz * (1 + CLOCK_EXCESS):
                return Clock(found * 1e6, "set and read back")
            asked -= abs(found - asked) + mhz / 1000
    raise ClockError(f"the overlay was built for up to {mhz:g} MHz, and the board makes {found:g} MHz of it",
                     hint="give a clock_mhz that the board can make")


def read_clock(device: Any) -> Clock:
    """Return clock 0 of the programmable logic as it is."""
    with _clocks(device) as clocks:
        return Clock(float(clocks.fclk0_mhz) * 1e6, "read back")


@contextlib.contextmanager
def _clocks(device: Any) -> Iterator[Any]:
    """Give pynq's clocks of a device."""
    with _explained("set the clock"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pynq, about clocks that cannot be made: they are read back
        _forget_clocks()
        if hasattr(pynq.Clocks, "set_device"):
            pynq.Clocks.set_device(device)
        yield pynq.Clocks


def _forget_clocks() -> None:
    """Undo that pynq keeps the clock registers of the first device for ever."""
    if "_real_instance" in vars(pynq.Clocks):
        del pynq.Clocks._real_instance


def _device(target: str, rpc_timeout: float) -> Any:
    """Return the pynq device that a target names."""
    if target == "pynq":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the error tells it better
            try:
                device = pynq.Device.active_device  # a remote one where PYNQ_REMOTE_DEVICES says so
            except RuntimeError as error:
                raise TransportError(f"pynq finds no board on this machine: {error}", hint="on a board, be root and "
                                     "source /etc/profile.d/xrt_setup.sh; to reach one from afar, the target is "
                                     "pynq://host") from error
        _set_deadlines(device, rpc_timeout)
        return device
    match = re.fullmatch(r"pynq://(\[[0-9a-fA-F:.]+\]|[\w.-]+)(?::(\d{1,5}))?", target)
    if not match or int(match[2] or PORT) > 65535:
        raise UnknownTarget(f"target {target!r} is not one of pynq, pynq://host, pynq://host:port",
                            hint="for instance pynq://192.168.2.99")
    return _remote_device(match[1], int(match[2] or PORT), rpc_timeout)


def _remote_device(host: str, port: int, rpc_timeout: float) -> Any:
    """Return PYNQ.remote's device, no call of which waits for ever."""
    try:
        from pynq.pl_server.remote_device import RemoteDevice
    except ImportError as error:
        raise ToolMissing(f"pynq {pynq.__version__} cannot reach boards from afar: {error}",
                          hint="PYNQ_REMOTE=1 pip install 'pynq>=3.1' (Python 3.10 to 3.12), or work on the board "
                          "itself with target \"pynq\"") from error

    class SafeDevice(RemoteDevice):
        def get_arch(self):  # the first call that RemoteDevice makes
            _set_deadlines(self, rpc_timeout)
            return super().get_arch()

    return SafeDevice(0, host, port)


def _set_deadlines(device: Any, seconds: float) -> None:
    """Give every call to a remote board a deadline: neither its server nor pynq has any. Others are left alone."""
    if _is_local(device) and not hasattr(device, "client"):
        return
    import grpc

    class Deadline(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor,
                   grpc.StreamUnaryClientInterceptor):
        def _call(self, proceed, details, request):
            allowed = seconds * (_FILE_PATIENCE if str(details.method).endswith("/writefile") else 1)
            return proceed(details._replace(timeout=details.timeout or allowed), request)

        intercept_unary_unary = intercept_unary_stream = intercept_stream_unary = _call

    channel = grpc.intercept_channel(device.client.channel, Deadline())
    device._stub = {name: type(stub)(channel) for name, stub in device._stub.items()}


def _overlay(bundle: Bundle, board: str | None, given: str | os.PathLike | None) -> overlays.Overlay:
    """Return the overlay to load, once its files, part and build are known to be right."""
    if given is None:
        chosen = overlays.find(board, bundle.build_hash, overlays.folders(bundle.path))
    else:
        chosen = overlays.Overlay.load(given)
    _check_overlay(chosen, bundle, board, "nothing was programmed; ")
    return chosen


def _check_overlay(chosen: overlays.Overlay, bundle: Bundle, board: str | None, done: str = "") -> None:
    """Raise BuildMismatch, OverlayError or PartMismatch unless an overlay is right for a bundle and a board.

    done: what a hint begins with where the part is another one."""
    where = overlays.folders(bundle.path)
    if chosen.build_hash != bundle.build_hash:
        raise BuildMismatch(f"the overlay {chosen} is not the hardware of {bundle.path}, which is build "
                            f"{bundle.build_hash:016x}", hint=fitting(board, bundle.build_hash, where))
    try:
        chosen.verify(board)
    except PartMismatch as error:
        if board is not None and not chosen.fits(board):
            error.hint = done + fitting(board, bundle.build_hash, where)
        raise


def _in_place(device: Any) -> overlays.Overlay | None:
    """Return the overlay that pynq loaded; None, with a warning, where nothing describes it."""
    bit = str(getattr(device, "bitfile_name", None) or "the overlay in place")
    try:
        return overlays.Overlay.load(bit)
    except OverlayError as error:
        warnings.warn(f"whether clock and part are right for {bit} is not known, and the "
                      f"clock is not limited: {error.message}; copy the overlay's whole folder", RuntimeWarning,
                      stacklevel=3)
        return None


def fitting(board: str | None, build_hash: int, where: list[Path]) -> str:
    """Return what to tell a person who needs another overlay: the one that fits, or how to get it."""
    try:
        return f"the overlay that fits is {overlays.find(board, build_hash, where)}"
    except QblifError as error:
        return f"{error.message}; {error.hint}"


def _program(chosen: overlays.Overlay, device: Any, download: bool) -> dict:
    """Load an overlay, or attach to the one in place, and return pynq's description of the accelerator in it."""
    state = _state(device)
    if not download and state not in (None, "operating"):
        raise TransportError(f"the programmable logic is in the state {state!r}, not operating: reading a register "
                             "now could halt the processor", hint="open with download=True")
    with _explained(f"load {chosen.bit}"):
        if getattr(device, "arch", "") == "aarch64" or not _is_local(device):
            pynq.Device.active_device = device  # pynq sets port widths on whichever device is active
        _forget_clocks()
        loaded = pynq.Overlay(str(chosen.bit), download=False, device=device)
        found = [ip for ip in loaded.ip_dict.values() if ip.get("type") == VLNV]
        if len(found) != 1:
            raise TransportError(f"{chosen.hwh} describes {len(found)} accelerators of type {VLNV}, needed is one",
                                 hint="build the overlay again")
        for clock in loaded.clock_dict.values():
            # pynq 4.0 divides by what pynqmetadata 0.2.0 leaves None on Zynq-7000
            if clock.get("enable") and clock.get("frequency", 0) is None:
                clock["frequency"] = chosen.clock_mhz
        if download:
            if not _is_local(device):
                loaded.binfile_name = _upload(device, loaded)
            _stop_jobs(device, state)
            resident.note(device, None)
            loaded.download()
    return found[0]


def _stop_jobs(device: Any, state: str | None) -> None:
    """Stop the job that a killed process left running, where an overlay of ours is known to be in place.

    Where it does not stop the board is programmed all the same: that is what mends a bus that hangs. Where nothing
    answers, or hardware without jobs, there is nothing to stop."""
    known = resident.find(device, _last_programmed(device)) if state in (None, "operating") else None
    if known is None:
        return
    try:
        with _explained("reach the registers of the overlay in place"):
            bus = PynqBus(pynq.MMIO(known.address, known.size, device=device), device)
        if bus.read(OFFSETS["ID"]) == abi.MAGIC and f"{_build(bus):016x}" == known.build:
            JobTransport(bus).stop()
    except TransportError:
        return
    except Timeout as error:
        warnings.warn(f"before programming, the job of an earlier process could not be stopped: {error.message}; "
                      "if the memory bus still hangs afterwards, switch the board off and on", RuntimeWarning,
                      stacklevel=2)


def _last_programmed(device: Any) -> str | None:
    """Return the path of the .bit that pynq programmed last on this board; None where it does not say."""
    if not _is_local(device):
        return None  # it forgets that for boards from afar
    with contextlib.suppress(Exception):  # the module is pynq's own affair
        from pynq.pl_server import global_state

        if global_state.global_state_file_exists():
            return str(global_state.load_global_state().bitfile_name)
    return None


def _upload(device: Any, loaded: Any) -> str:
    """Bring a bitstream to a remote board and return its name there.

    pynq uploads nothing where a file of that name exists, even if it holds another bitstream or was cut off; so
    the name tells the content, and a second file tells that the first is complete."""
    data = loaded.parser.bin_data
    name = f"{Path(loaded.bitfile_name).stem}-{hashlib.sha256(data).hexdigest()[:16]}.bin"
    complete = _FIRMWARE + name + ".complete"
    if not device.exists_file(complete).exists:
        device.write_file(_FIRMWARE + name, data)
        device.write_file(complete, b"1")
    return name


def _check_programmed(bus: PynqBus, chosen: overlays.Overlay, download: bool) -> None:
    """Raise BuildMismatch unless the board now holds the chosen overlay."""
    found, build = bus.read(OFFSETS["ID"]), _build(bus)
    if found == abi.MAGIC and build == chosen.build_hash:
        return
    shows = f"build {build:016x}" if found == abi.MAGIC else f"no accelerator (register ID is {found:#010x})"
    raise BuildMismatch(f"{'after' if download else 'without'} programming {chosen} the board shows {shows}",
                        hint="the board kept another bitstream: restart it" if download else "open with download=True")


def _build(bus: PynqBus) -> int:
    return bus.read(OFFSETS["BUILD_LO"]) | bus.read(OFFSETS["BUILD_HI"]) << 32


def _state(device: Any) -> str | None:
    """Return the state of the programmable logic as Linux calls it, None where that cannot be known."""
    with contextlib.suppress(OSError):
        if _is_local(device):
            return Path(_FPGA_STATE).read_text().strip()
        with _explained("read the state of the programmable logic"):
            if device.exists_file(_FPGA_STATE).exists:
                return device.read_file(_FPGA_STATE).decode(errors="replace").strip()
    return None


def _widen_ports(device: Any) -> str:
    """Make the memory ports of a Zynq-7000 64 bits wide, which pynq does for Zynq UltraScale+ alone; say what was done.

    After power-up they are; something may have made them narrower since."""
    if getattr(device, "arch", "") != "armv7l":
        return "set by pynq"
    if not _is_local(device):
        return "not looked at from afar"
    try:
        for address in _AFI:
            port = pynq.MMIO(address, 4, device=device)
            value = int(port.read(0))
            if value & 1:
                port.write(0, value & ~1)
    except Exception as error:  # where only some addresses can be reached
        return f"not looked at: {error}"
    return "64 bits"


def _is_local(device: Any) -> bool:
    return not device.has_capability("REMOTE")


@contextlib.contextmanager
def _explained(doing: str) -> Iterator[None]:
    """Turn what pynq and gRPC raise into this package's errors."""
    try:
        yield
    except QblifError:
        raise
    except MemoryError as error:
        raise OutOfBoardMemory(f"could not {doing}: {error}",
                               hint="free other buffers, or restart the board") from error
    except Exception as error:
        code = getattr(error, "code", None)
        name = code().name if callable(code) and hasattr(code(), "name") else None  # of grpc.RpcError
        if name == "DEADLINE_EXCEEDED":
            raise Timeout(f"could not {doing}: the board did not answer in time",
                          hint="check that its server is alive; a larger rpc_timeout gives each call more "
                               "time") from error
        if name is None and not isinstance(error, (RuntimeError, OSError, ValueError, LookupError)):
            raise
        what = f"{name}: {error.details()}" if name else f"{type(error).__name__}: {error}"
        hint = None
        if "ermission" in what:
            hint = "only root may reach the hardware: use the board's Jupyter, or sudo -i"
        elif name == "UNAVAILABLE":
            hint = (f"is PYNQ.remote's server running there (port {PORT} if not given)? For trying without a board: "
                    "qblif board BUNDLE")
        raise TransportError(f"could not {doing}: {what}", hint=hint) from error


# pynq's own way ---------------------------------------------------------------------------------------------


class QblifDriver(DefaultIP):
    """What `overlay.qblif_0` is: pynq's `register_map`, `read`, `write`, and `open` for a network."""

    bindto = [VLNV]

    def open(self, bundle: str | os.PathLike | Bundle, *, timeout: float = 60.0, clock_mhz: float | None = None,
             rpc_timeout: float = 5.0) -> Accelerator:
        """Return an accelerator that runs `bundle` on this overlay, which is checked, and its clock set, as by
        `qblif.open`, going by the manifest beside its .bit. Where there is none, a warning says so, and the clock is
        left as it is unless `clock_mhz` gives one. Raises what `qblif.open` raises."""
        if not isinstance(bundle, Bundle):
            bundle = Bundle.load(bundle)
        device, mmio = self.device, self.mmio
        _set_deadlines(device, rpc_timeout)
        board, chosen = board_of(device), _in_place(device)
        if chosen is not None:
            _check_overlay(chosen, bundle, board)
            clock = _set_clock(device, chosen, clock_mhz)
        else:
            clock = read_clock(device) if clock_mhz is None else set_clock(device, clock_mhz)
        with _explained("reach the accelerator's registers"):
            bus = PynqBus(pynq.MMIO(mmio.base_addr, mmio.length, device=device), device)
        resident.note(device, resident.Resident(str(getattr(device, "bitfile_name", "")), mmio.base_addr, mmio.length,
                                                f"{_build(bus):016x}"))
        about = {"board": board or "unknown", "pynq": pynq.__version__, "memory ports": _widen_ports(device),
                 "overlay": str(chosen or "without a manifest: part and limit of the clock are not known")}
        return Accelerator(bundle, JobTransport(bus, clock, about), timeout)
