"""Boards on a serial line: the target ``serial:/dev/ttyUSB0`` or ``serial:/dev/ttyUSB0?baud=115200``.

Needs nothing but a POSIX system. What goes over the line is told by host/framing.py, why by docs/serial.md.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import errno
import fcntl
import glob
import os
import secrets
import select
import struct
import termios
import time
import tty
from collections.abc import Callable, Iterator

import numpy as np

from . import abi, framing
from .bundle import Bundle
from .errors import Timeout, TransportError, UnknownTarget
from .framing import Command, Status

BAUD = 3_000_000
"""Bits per second where the target does not say."""

RESPONSE_TIMEOUT = 0.1
"""Seconds that a response may take beyond its time on the line, before the request is sent again. USB bridges hold
received bytes back for up to 16 ms."""

ATTEMPTS = 8
"""Times that a request is sent before the link counts as broken."""

LONGEST_WAIT = 8
"""The time allowed doubles with every attempt up to this many times the first, so that repeating does not choke a slow
machine."""

_CONTROL = next(offset for name, offset, _, _ in abi.REGISTERS if name == "CONTROL")

PORTS = ("/dev/serial/by-id/*", "/dev/ttyUSB*", "/dev/ttyACM*", "/dev/cu.usb*")
"""Where serial ports are found."""


def available() -> list[str]:
    """Return the paths of the serial ports that there are."""
    return [path for pattern in PORTS for path in sorted(glob.glob(pattern))]


def _found() -> str:
    return f"serial ports found: {', '.join(available()) or 'none; is the board connected?'}"


# The port ---------------------------------------------------------------------------------------------------

class Port:
    """A serial port: raw bytes, 8N1, without flow control, for this process alone.

    path: of the port; baud: bits per second. Raises TransportError, saying what is there instead or who has it."""

    def __init__(self, path: str, baud: int):
        self.path = path
        speed = getattr(termios, f"B{baud}", None)
        if speed is None:
            rates = sorted(int(name[1:]) for name in dir(termios) if name[:1] == "B" and name[1:].isdigit())
            raise TransportError(f"this system has no {baud} baud; it has {', '.join(map(str, filter(None, rates)))}",
                                 hint="build the hardware for one of these and give it as ?baud=...")
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise self._unusable(error) from error
        try:
            self._set_up(speed)
        except BaseException as error:
            os.close(self._fd)
            if isinstance(error, (OSError, termios.error)):
                raise self._unusable(error) from error
            raise

    def _unusable(self, error: Exception) -> TransportError:
        code = error.args[0] if error.args else None
        if code in (errno.EBUSY, errno.EAGAIN, errno.EWOULDBLOCK):
            return TransportError(f"the serial port {self.path} is in use by another process",
                                  hint="close the program that has it (`fuser -v` shows which), or wait for its end")
        if code in (errno.EACCES, errno.EPERM):
            return TransportError(f"the serial port {self.path} may not be opened by this user",
                                  hint="on most Linux systems: sudo usermod -aG dialout $USER, then log in again")
        if code in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
            return TransportError(f"there is no serial port {self.path}", hint=_found())
        if code in (errno.ENOTTY, errno.EINVAL, errno.EISDIR):
            return TransportError(f"{self.path} is no serial port", hint=_found())
        return TransportError(f"the serial port {self.path} cannot be used: {error}", hint=_found())

    def _set_up(self, speed: int):
        if not os.isatty(self._fd):
            raise OSError(errno.ENOTTY, "not a terminal")
        fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.ioctl(self._fd, termios.TIOCEXCL)  # for those who do not ask for the lock
        tty.setraw(self._fd, termios.TCSANOW)
        mode = termios.tcgetattr(self._fd)
        mode[2] &= ~(termios.CSTOPB | termios.PARENB | termios.HUPCL | getattr(termios, "CRTSCTS", 0))
        mode[2] |= termios.CLOCAL | termios.CREAD | termios.CS8
        mode[4] = mode[5] = speed
        termios.tcsetattr(self._fd, termios.TCSANOW, mode)
        termios.tcflush(self._fd, termios.TCIOFLUSH)
        with contextlib.suppress(OSError, AttributeError):
            _ask_for_low_latency(self._fd)

    def write(self, data: bytes, deadline: float):
        """Send all of `data`; raises TransportError where the port does not take it by `deadline` (monotonic)."""
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._fd, view):]
                continue
            except BlockingIOError:
                pass
            except OSError as error:
                raise self._gone(error) from error
            _, ready, _ = select.select((), (self._fd,), (), max(0.0, deadline - time.monotonic()))
            if not ready:
                raise TransportError(f"the serial port {self.path} takes no more bytes",
                                     hint="the USB bridge may hang: unplug it and plug it in again")

    def read(self, deadline: float) -> bytes:
        """Return what has come, at the latest at `deadline` (monotonic), b"" then."""
        try:
            ready, _, _ = select.select((self._fd,), (), (), max(0.0, deadline - time.monotonic()))
            if not ready:
                return b""
            data = os.read(self._fd, 1 << 16)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise self._gone(error) from error
        if not data:
            raise self._gone(OSError(errno.EIO, "hung up"))
        return data

    def _gone(self, error: OSError) -> TransportError:
        return TransportError(f"the serial port {self.path} went away: {error}",
                              hint="connect the board again, then open the bundle again")

    def close(self):
        """Let go of the port."""
        with contextlib.suppress(OSError):
            fcntl.ioctl(self._fd, termios.TIOCNXCL)
        os.close(self._fd)


def _ask_for_low_latency(fd: int):
    """Ask the driver to hand over received bytes at once; FTDI's waits for up to 16 ms otherwise. Linux only."""
    get, put, flag = 0x541E, 0x541F, 1 << 13  # TIOCGSERIAL, TIOCSSERIAL, ASYNC_LOW_LATENCY
    if not os.path.exists("/sys/class/tty"):
        return
    settings = bytearray(128)  # struct serial_struct; `flags` is its fifth int
    fcntl.ioctl(fd, get, settings)
    flags, = struct.unpack_from("i", settings, 16)
    struct.pack_into("i", settings, 16, flags | flag)
    fcntl.ioctl(fd, put, bytes(settings))


# Requests ---------------------------------------------------------------------------------------------------

@dataclasses.dataclass(frozen=True)
class Response:
    """What the hardware answered. data: uint32; the rest as in framing.STATE_FIELDS and QUEUE_FIELDS."""

    status: Status
    data: np.ndarray
    last: bool
    drained: bool
    error: bool
    place: int
    room: int
    waiting: int

    @classmethod
    def parse(cls, values: np.ndarray) -> Response:
        """Return the response of these words; raises ValueError for a status that there is not."""
        state = abi.unpack(framing.STATE_FIELDS, int(values[-2]))
        queue = abi.unpack(framing.QUEUE_FIELDS, int(values[-1]))
        return cls(Status(state["status"]), values[1:-2], bool(state["last"]), bool(state["drained"]),
                   bool(state["error"]), state["place"], queue["room"], queue["waiting"])


@dataclasses.dataclass(eq=False)
class Request:
    """A request under way. wire: its bytes; beats: that it brings; response: None until it has come."""

    command: Command
    sequence: int
    wire: bytes
    beats: int
    response: Response | None = None


@dataclasses.dataclass
class LinkCounts:
    """What a link did.

    data: bytes of beats and register values, both ways; sent, received: bytes on the wire; retries: requests sent
    again; damaged: pieces received that were no frame; stale: responses to nothing that waits for one; syncs: sessions.
    """

    data: int = 0
    sent: int = 0
    received: int = 0
    requests: int = 0
    retries: int = 0
    damaged: int = 0
    stale: int = 0
    syncs: int = 0

    @property
    def efficiency(self) -> float:
        """Bytes of data per byte on the wire, both ways; 0 before the first. Leaving beats of value 0 out raises it."""
        wire = self.sent + self.received
        return self.data / wire if wire else 0.0


class Link:
    """Requests and responses over a port, each request executed once whatever the line does.

    Up to `window` requests may be under way; they are executed in order. What is not answered in time is sent again
    with all that followed it, `attempts` times at most, 2 where nothing answered before. Use it as a context manager
    around whatever must not end halfway: after an exception in there the next request begins a new session.

    baud: bits per second; session: its number, another one after every exception.

    Raises Timeout where nothing answers, TransportError where answers stay damaged or make no sense.
    """

    def __init__(self, port: Port, baud: int, response_timeout: float = RESPONSE_TIMEOUT, attempts: int = ATTEMPTS):
        self._port, self.baud, self._byte_seconds = port, baud, framing.BYTE_BITS / baud
        self._response_timeout, self._attempts = response_timeout, attempts
        self._deframer = framing.Deframer()
        self._under_way: collections.deque[Request] = collections.deque()
        self.session = self._sequence = 0
        self._synchronised = False
        self._silent = False  # nothing answered the last time
        self.request_data, self.response_data = framing.REQUEST_DATA, framing.RESPONSE_DATA
        self.window = framing.WINDOW
        self.counts = LinkCounts()

    def __enter__(self) -> Link:
        if not self._synchronised:
            self._synchronise()
        return self

    def __exit__(self, kind, error, trace):
        if kind is not None:
            self._forget()

    def _forget(self):
        self._under_way.clear()
        self._synchronised = False

    def call(self, command: Command, data: bytes = b"", **fields: int) -> Response:
        """Send a request and return its response; as `submit` and `result`."""
        return self.result(self.submit(command, data, **fields))

    def submit(self, command: Command, data: bytes = b"", *, place: int = 0, count: int = 0,
               flags: int = 0, beats: int = 0) -> Request:
        """Send a request; data: bytes of whole words; beats: that it brings; the others: framing.ARGUMENT_FIELDS."""
        header = {"command": command, "sequence": self._sequence, "session": self.session}
        argument = {"place": place & 0xFFFF, "count": count, "flags": flags}
        words = struct.pack("<II", abi.pack(framing.HEADER_FIELDS, header),
                            abi.pack(framing.ARGUMENT_FIELDS, argument)) + data
        request = Request(command, self._sequence, framing.encode(words), beats)
        self._sequence = self._sequence + 1 & 0xFF
        self._under_way.append(request)
        self.counts.requests += 1
        self.counts.data += 4 * beats or len(data)
        self._send(request)
        return request

    def result(self, request: Request) -> Response:
        """Return the response to the oldest request under way."""
        damaged, attempts, limit = self._deframer.damaged, 1, min(2, self._attempts) if self._silent else self._attempts
        deadline, hurried = self._patience(), False
        while request.response is None:
            self._receive(deadline)
            # Responses come in order: when a later one is here, this one was lost. It is kept over there.
            lost = not hurried and any(other.response is not None for other in self._under_way)
            if request.response is not None or not lost and time.monotonic() < deadline:
                continue
            hurried |= lost
            if attempts == limit:
                self._silent = True
                self._fail(attempts, self._deframer.damaged - damaged)
            attempts += 1
            for other in self._under_way:
                if other.response is None:
                    self.counts.retries += 1
                    self._send(other)
            deadline = self._patience(min(1 << attempts - 1, LONGEST_WAIT))
        self._silent = False
        self._under_way.remove(request)
        response = request.response
        self.counts.data += 4 * len(response.data)
        if response.status in (Status.NO_SESSION, Status.BAD_REQUEST):
            raise TransportError(f"the board answers {response.status.name} to request {request.command.name}: "
                                 f"{response.status.meaning}", hint="open the bundle again")
        return response

    def _patience(self, factor: int = 1) -> float:
        """Return when what is under way ought to be answered (monotonic); `factor` times the usual time."""
        ways = sum(len(request.wire) + 4 * framing.RESPONSE_WORDS for request in self._under_way)
        return time.monotonic() + factor * (self._response_timeout + 2 * ways * self._byte_seconds)

    def _fail(self, attempts: int, damaged: int):
        port, tried = self._port.path, f"{attempts} attempt{'s' if attempts > 1 else ''}"
        if damaged:
            raise TransportError(f"after {tried} there is no whole answer on {port}; {damaged} came damaged",
                                 hint="the line is noisy, or its bit rate is not the board's: try ?baud=...")
        raise Timeout(f"after {tried} there is no answer on {port}",
                      hint="is the board on, its bitstream loaded, and the bit rate the board's (?baud=...)?")

    def _send(self, request: Request):
        self.counts.sent += len(request.wire)
        self._port.write(request.wire, self._patience() + 1.0)

    def _receive(self, deadline: float):
        data = self._port.read(deadline)
        self.counts.received += len(data)
        for words in self._deframer.feed(data):
            self._accept(np.frombuffer(words, "<u4").astype(np.uint32))
        self.counts.damaged = self._deframer.damaged

    def _accept(self, values: np.ndarray):
        """Give a response to the request that it answers; one that answers none is an old one, or a repeated one."""
        header = abi.unpack(framing.HEADER_FIELDS, int(values[0]))
        for request in self._under_way:
            if (header["session"], header["sequence"], header["command"]) == (self.session, request.sequence,
                                                                              request.command):
                if len(values) < 3:
                    break
                if request.response is None:
                    request.response = Response.parse(values)
                return
        self.counts.stale += 1

    def _synchronise(self):
        self._forget()
        self.session, self._sequence = 1 + secrets.randbelow(0xFFFF), secrets.randbelow(0x100)
        self.counts.syncs += 1
        try:
            response = self.call(Command.SYNC)
        except BaseException:
            self._forget()
            raise
        if len(response.data) != len(framing.SYNC_DATA) or response.data[0] != framing.LINK_VERSION:
            found = response.data[0] if len(response.data) else "none"
            raise TransportError(f"the board has version {found} of the serial link, this package has "
                                 f"{framing.LINK_VERSION}", hint="build the bitstream with this version of qblif")
        _, self.request_data, self.response_data, _, self.window = map(int, response.data)
        self._synchronised = True


# The transport ----------------------------------------------------------------------------------------------

class SerialTransport:
    """A `host.transport.Transport` over a serial link.

    The hardware tells with every response how many beats it has room for, so none is sent in vain, and registers
    stay within reach whatever the accelerator does."""

    def __init__(self, port: Port, link: Link):
        self._port, self._link = port, link
        self._reset_session: int | None = None  # in which the accelerator was reset
        self.about = {"serial port": port.path, "baud": f"{link.baud}"}

    @property
    def counts(self) -> LinkCounts:
        """What the link did since it was opened."""
        return self._link.counts

    def read(self, offset: int) -> int:
        """Return the 32-bit register at a byte offset."""
        with self._link as link:
            data = link.call(Command.READ, place=offset, count=1).data
            if len(data) != 1:
                raise TransportError(f"the board answers {len(data)} words for one register",
                                     hint="build the bitstream with this version of qblif")
            return int(data[0])

    def write(self, offset: int, value: int) -> None:
        """Write a 32-bit register."""
        with self._link as link:
            link.call(Command.WRITE, struct.pack("<I", value), place=offset)
            if offset == _CONTROL and value & 1:
                self._reset_session = link.session

    def program(self, image: np.ndarray, timeout: float) -> None:
        """Send one program frame, uint32 (beats,), and return once it was taken.

        Raises Timeout after `timeout` seconds in which no beat was taken: a slow line may need longer for all."""
        until, place = time.monotonic() + timeout, None
        with self._link:
            for response, complete in self._stream(Command.PROGRAM, np.atleast_2d(image)):
                if complete and response.drained:
                    return
                if response.place != place:
                    until, place = time.monotonic() + timeout, response.place
                elif time.monotonic() > until:
                    raise Timeout(f"no beat of the program is taken; the board has room for {response.room} and waits "
                                  "for the accelerator")

    def infer(self, frames: np.ndarray, classes: int, timeout: float,
              progress: Callable[[int], None] | None = None) -> tuple[np.ndarray, None]:
        """Send input frames, uint32 (B, beats), and return (logits int32 (B, classes), None).

        Raises Timeout after `timeout` seconds without an image, or as soon as STATUS shows an error."""
        logits, row, done = np.empty((len(frames), classes), np.int32), [], 0
        if not len(frames):
            return logits, None
        until = time.monotonic() + timeout
        with self._link:
            for response, _ in self._stream(Command.INPUT, frames):
                row += response.data.tolist()
                if response.last and len(row) == classes:
                    logits[done] = np.array(row, np.uint32).view(np.int32)
                    row, done = [], done + 1
                    if progress is not None:
                        progress(done)
                    if done == len(frames):
                        return logits, None
                    until = time.monotonic() + timeout
                elif response.last or len(row) >= classes:
                    more = "" if response.last else " or more"
                    raise TransportError(f"output frame {done} has {len(row)} beats{more}, and not {classes}",
                                         hint="the next job begins with a reset of the accelerator; if it fails too, "
                                              "report the output of qblif selftest")
                if response.error:
                    raise Timeout(f"the accelerator halted with {done} of {len(frames)} images done; STATUS tells why",
                                  hint="the next job begins with a reset of the accelerator")
                if time.monotonic() > until:
                    raise Timeout(f"{done} of {len(frames)} images are done")
        raise AssertionError("the stream of responses has no end")

    def close(self) -> None:
        """Let go of the port."""
        self._port.close()

    def _stream(self, command: Command, frames: np.ndarray) -> Iterator[tuple[Response, bool]]:
        """Send frames, uint32 (B, beats), and yield (response, all frames were taken in) for ever.

        Asks for output with every request, and keeps asking when there is nothing to send or no room for it."""
        link = self._link
        if link.session != self._reset_session:
            raise TransportError("the link failed since the accelerator's last reset: the board may have been switched "
                                 "off and hold another program", hint="reset the accelerator; after a failed job the "
                                 "next one finds that done")
        pieces = cut(frames, link.request_data)
        response = link.call(command)
        place, room, under_way = response.place, response.room, collections.deque()
        piece = next(pieces, None)
        while True:
            while piece is not None and len(under_way) < link.window and piece.beats <= room:
                under_way.append(link.submit(command, piece.data, beats=piece.beats, place=place, flags=piece.flags,
                                             count=link.response_data))
                place, room, piece = place + piece.beats, room - piece.beats, next(pieces, None)
            if not under_way:
                under_way.append(link.submit(command, count=link.response_data))
            response = link.result(under_way.popleft())
            if response.status is Status.REFUSED:
                raise TransportError(f"the board took {response.place} beats modulo 65536 and refuses more: "
                                     f"{response.status.meaning}", hint="reset the accelerator")
            room = response.room - sum(request.beats for request in under_way)
            yield response, piece is None and not under_way


@dataclasses.dataclass(frozen=True)
class Piece:
    """Part of a frame that goes into one request. beats: their number; data: bytes; flags: of framing."""

    beats: int
    data: bytes
    flags: int


LARGEST_PIECE = framing.QUEUE_BEATS // framing.WINDOW
"""Beats in one request at most, so that the requests under way all find room."""


def cut(frames: np.ndarray, longest: int = framing.REQUEST_DATA) -> Iterator[Piece]:
    """Yield the pieces of frames, uint32 (B, beats), each of at most `longest` data words, packed where it helps."""
    for frame in np.ascontiguousarray(frames, "<u4"):
        at = 0
        while at < len(frame):
            for size in (LARGEST_PIECE, longest):
                beats = frame[at:at + size]
                words, flags = np.array(framing.pack_beats(beats.tolist()), "<u4"), framing.PACKED
                if len(words) < len(beats) and len(words) <= longest:
                    break
                words, flags = beats, 0
            at += len(beats)
            yield Piece(len(beats), words.tobytes(), flags | framing.LAST * (at == len(frame)))


def images_per_second(frames: np.ndarray, classes: int, baud: int = BAUD) -> float:
    """Return how many images a second the line carries, computed: no faults, and neither host nor accelerator slow.

    frames: uint32 (B, beats), as InputLayout.pack makes them; classes: beats of an output frame. The two directions of
    the line work at the same time, and WINDOW requests are under way, so the slower direction counts."""
    out = back = 0
    for frame in frames:
        words = [len(piece.data) // 4 for piece in cut(frame[None])]
        words += [0] * (-(-classes // framing.RESPONSE_DATA) - len(words))   # requests for nothing but output
        out += sum(framing.wire_bytes(2 + count) for count in words)
        back += len(words) * framing.wire_bytes(3) + 4 * classes
    return len(frames) * baud / framing.BYTE_BITS / max(out, back)


def open_transport(bundle: Bundle, target: str, timeout: float, *, response_timeout: float = RESPONSE_TIMEOUT,
                   attempts: int = ATTEMPTS) -> SerialTransport:
    """Open a serial port. target: ``serial:PATH`` or ``serial:PATH?baud=N``.

    response_timeout: seconds beyond its time on the line after which a request is sent again; attempts: how often.

    Raises UnknownTarget, TransportError; Timeout where nothing answers."""
    del bundle, timeout
    name, _, rest = target.partition(":")
    path, _, options = rest.partition("?")
    if name != "serial" or not path:
        raise UnknownTarget(f"target {target!r} names no serial port; it is written serial:PATH or "
                            f"serial:PATH?baud={BAUD}", hint=_found())
    baud = BAUD
    for option in filter(None, options.split("&")):
        key, _, value = option.partition("=")
        if key == "baud" and not (value.isascii() and value.isdigit() and int(value)):
            raise UnknownTarget(f"baud is {value!r} in target {target!r}, a whole number above 0 is needed",
                                hint=f"for instance serial:{path}?baud={BAUD}")
        if key != "baud":
            raise UnknownTarget(f"option {option!r} in target {target!r} is not known; there is baud=N",
                                hint=f"for instance serial:{path}?baud={BAUD}")
        baud = int(value)
    if attempts < 1 or not response_timeout > 0:
        raise ValueError(f"attempts is {attempts} and response_timeout is {response_timeout}; allowed are 1 or more "
                         f"and a positive number of seconds")
    port = Port(path, baud)
    try:
        link = Link(port, baud, response_timeout, attempts)
        with link:
            pass
    except BaseException:
        port.close()
        raise
    return SerialTransport(port, link)
