"""A virtual board behind the gRPC services of PYNQ.remote, for a pynq in another process or on another machine.

What arrives is bytes for memory, registers and a store of files that is a dictionary: nothing is unpickled, evaluated
or written to disk, and everything has a limit. There is no authentication, as on a real board, so it listens on
loopback unless told otherwise.
"""

from __future__ import annotations

import contextlib
import threading
import time
from concurrent import futures

import grpc

from qblif.host.errors import OutOfBoardMemory, QblifError

from .board import Board
from .protocol import MESSAGE, METHODS
from .rtl import BusError

PORT = 7967
"""Where pynq looks for a board."""

LOOPBACK = "127.0.0.1"

LARGEST_FILE, LARGEST_STORE, MOST_FILES, LONGEST_PATH = 64 << 20, 256 << 20, 256, 1024
"""Of the store of files: bytes of one, bytes of all, their number, characters of a path."""

MOST_HANDLES = 4096
"""Register windows, and GPIO pins, that clients may ask for."""

FILE_CHUNK, BUFFER_CHUNK = 1 << 10, 1 << 20
"""Bytes of a message in which files and buffers are sent; as on real boards."""

STREAM_SECONDS = 60.0
"""A stream, from a client or to one, is cut off after this."""

FIRMWARE, MANAGER = "/lib/firmware/", "/sys/class/fpga_manager/fpga0/"
"""Where bitstreams are put, and where one is chosen: writing its name to MANAGER + "firmware" programs the board."""


class Refused(QblifError):
    """A request that the board does not follow. code: the gRPC status that says so."""

    def __init__(self, code: grpc.StatusCode, message: str):
        super().__init__(message)
        self.code = code


class Server:
    """A board that is served from construction to `stop`.

    Parameters
    ----------
    board: what is served; it stays the caller's
    host, port: where to listen; port 0 takes a free one; host may also be ``unix:PATH``, then without port
    delay: seconds by which every answer is late; may be changed at any time

    Members
    -------
    address: where it listens, as gRPC writes it; port: the port, 0 for a socket file
    calls: number of calls so far, by method

    Raises OSError where it cannot listen there.
    """

    def __init__(self, board: Board, host: str = LOOPBACK, port: int = PORT, delay: float = 0.0):
        self.board, self.delay = board, delay
        self.calls: dict[str, int] = {}
        self._lock = threading.RLock()
        self._windows: list[tuple[int, int]] = []
        self._buffers: dict[str, tuple[int, int]] = {}
        self._names = 0
        self._pins: dict[str, int] = {}
        self._files = {"/proc/version": f"Linux version 6.6.0 (virtual {board.kind.arch})\n".encode(),
                       "/proc/device-tree/chosen/pynq_board": board.kind.pynq_name.encode() + b"\0",
                       f"{MANAGER}state": b"operating\n", f"{MANAGER}flags": b"0\n", f"{MANAGER}firmware": b""}
        # Without so_reuseport=0 a second server on the same port would get a part of the calls
        self._server = grpc.server(futures.ThreadPoolExecutor(8, thread_name_prefix="qblif-board"),
                                   options=(("grpc.so_reuseport", 0),), maximum_concurrent_rpcs=64)
        for service, methods in METHODS.items():
            package = service.partition(".")[0]
            self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(
                service, {method.name: self._handler(package, method) for method in methods}),))
        unix = host.startswith("unix:")
        wanted = host if unix else f"{f'[{host}]' if ':' in host else host}:{port}"
        try:
            bound = self._server.add_insecure_port(wanted)
        except RuntimeError as error:
            bound, cause = 0, error
        else:
            cause = None
        if not bound:
            raise OSError(f"the virtual board cannot listen on {wanted}; does another board, or program, use it?"
                          ) from cause
        self.port = 0 if unix else bound
        self.address = host if unix else f"{host}:{bound}"
        self._server.start()

    def stop(self, grace: float | None = None) -> None:
        """Stop serving: at once, as a board without power does, or let calls under way end in `grace` seconds."""
        self._server.stop(grace).wait(10)

    def put(self, path: str, data: bytes) -> None:
        """Put a file into the board's store."""
        with self._lock:
            self._files[path] = bytes(data)

    def wait(self) -> None:
        """Return when the server was stopped."""
        self._server.wait_for_termination()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_):
        self.stop()

    # Calls --------------------------------------------------------------------------------------------------------

    def _handler(self, package: str, method) -> grpc.RpcMethodHandler:
        function = getattr(self, f"_{package}_{method.name}")

        def enter(context: grpc.ServicerContext) -> None:
            with self._lock:
                self.calls[method.name] = self.calls.get(method.name, 0) + 1
            end = time.monotonic() + self.delay
            while context.is_active() and time.monotonic() < end:  # not longer than the caller waits
                time.sleep(min(0.02, self.delay))

        @contextlib.contextmanager
        def answered(context: grpc.ServicerContext):
            try:
                yield
            except Refused as error:
                context.abort(error.code, error.message)
            except QblifError as error:
                context.abort(grpc.StatusCode.INTERNAL, str(error))

        @contextlib.contextmanager
        def limited(context: grpc.ServicerContext):
            """Let go of a client that neither goes on with its stream nor takes ours."""
            timer = threading.Timer(STREAM_SECONDS, context.cancel)
            timer.start()
            try:
                yield
            finally:
                timer.cancel()

        def unary(request, context):
            enter(context)
            with answered(context), limited(context) if method.request_stream else contextlib.nullcontext():
                return function(request)

        def stream(request, context):
            enter(context)
            with answered(context), limited(context):
                yield from function(request)

        if method.response_stream:
            make, behaviour = grpc.unary_stream_rpc_method_handler, stream
        elif method.request_stream:
            make, behaviour = grpc.stream_unary_rpc_method_handler, unary
        else:
            make, behaviour = grpc.unary_unary_rpc_method_handler, unary
        return make(behaviour, request_deserializer=method.request.FromString,
                    response_serializer=lambda message: message.SerializeToString())

    # Files and bitstreams -------------------------------------------------------------------------------------------

    def _remote_device_existsfile(self, request):
        return _new("remote_device.ExistsFileResponse", exists=request.file_path in self._files)

    def _remote_device_readfile(self, request):
        data = self._files.get(request.file_path)
        if data is None:
            raise Refused(grpc.StatusCode.NOT_FOUND, f"there is no file {request.file_path!r} on the virtual board")
        for at in range(0, max(len(data), 1), FILE_CHUNK):
            yield _new("remote_device.ReadFileResponse", data=data[at:at + FILE_CHUNK])

    def _remote_device_writefile(self, requests):
        path, data = "", bytearray()
        for request in requests:
            path = path or request.file_path
            data += request.data
            if len(data) > LARGEST_FILE:
                raise Refused(grpc.StatusCode.RESOURCE_EXHAUSTED, f"a file has more than {LARGEST_FILE} bytes")
        if not path or len(path) > LONGEST_PATH:
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, f"a path has {len(path)} characters, allowed is 1 to "
                                                            f"{LONGEST_PATH}")
        with self._lock:
            others = sum(len(content) for name, content in self._files.items() if name != path)
            if others + len(data) > LARGEST_STORE or len(self._files) >= MOST_FILES and path not in self._files:
                raise Refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "the virtual board's store of files is full")
            self._files[path] = bytes(data)
        if path == f"{MANAGER}firmware":
            self._program(bytes(data))
        return _new("remote_device.WriteFileResponse")

    def _program(self, name: bytes) -> None:
        payload = self._files.get(FIRMWARE + name.decode("utf-8", "replace").strip("\n\0"))
        if payload is None:
            raise Refused(grpc.StatusCode.NOT_FOUND, f"there is no bitstream {name[:100]!r} in {FIRMWARE}")
        self.board.program(payload)

    def _remote_device_set_bitstream_attrs(self, request):
        return _new("remote_device.SetBitstreamAttrsResponse", status=True)

    # Registers --------------------------------------------------------------------------------------------------

    def _mmio_get_mmio(self, request):
        with self._lock:
            if len(self._windows) >= MOST_HANDLES:
                return _new("mmio.GetMmioResponse", status=False, msg=f"more than {MOST_HANDLES} windows")
            self._windows.append((request.base_addr, request.length))
            return _new("mmio.GetMmioResponse", status=True, mmio_id=str(len(self._windows) - 1))

    def _address(self, request, length: int) -> int:
        """Return the physical address of an access; raises BusError outside of the window."""
        number = int(request.mmio_id) if request.mmio_id.isascii() and request.mmio_id.isdigit() else MOST_HANDLES
        if number >= len(self._windows):
            raise Refused(grpc.StatusCode.NOT_FOUND, f"there is no register window {request.mmio_id[:20]!r}")
        base, size = self._windows[number]
        if request.offset + length > size:
            raise BusError(f"offset {request.offset:#x} is outside of the window of {size:#x} bytes at {base:#x}")
        return base + request.offset

    def _mmio_read(self, request):
        try:
            value = self.board.read(self._address(request, 4))
        except BusError as error:
            return _new("mmio.ReadResponse", status=False, msg=error.message)
        if request.length in (1, 2):
            value &= (1 << 8 * request.length) - 1
        return _new("mmio.ReadResponse", status=True, data=value)

    def _mmio_write(self, request):
        try:
            # The server of real boards takes the first word only, whatever the length
            self.board.write(self._address(request, 4), int.from_bytes(request.data[:4], "little"))
        except BusError as error:
            return _new("mmio.WriteResponse", status=False, msg=error.message)
        return _new("mmio.WriteResponse", status=True)

    # Buffers ----------------------------------------------------------------------------------------------------

    def _find(self, name: str) -> tuple[int, int]:
        buffer = self._buffers.get(name)
        if buffer is None:
            raise Refused(grpc.StatusCode.NOT_FOUND, f"there is no buffer {name[:40]!r}")
        return buffer

    def _buffer_allocate(self, request):
        with self._lock:
            try:
                address = self.board.dram.allocate(request.size)
            except (OutOfBoardMemory, ValueError) as error:  # pynq looks at neither: it goes on with an empty name
                return _new("buffer.AllocateResponse", msg=str(error))
            self._names += 1
            name = f"buffer{self._names}"
            self._buffers[name] = (address, request.size)
        return _new("buffer.AllocateResponse", buffer_id=name)

    def _buffer_write(self, requests):
        at = None
        for request in requests:
            address, size = self._find(request.buffer_id)
            at = request.start if at is None else at
            count = len(request.data)
            if at < 0 or at + count > size:
                return _new("buffer.BufferWriteResponse", msg=f"{count} bytes at {at} of a buffer of {size}")
            self.board.dram.view(address + at, count)[:] = bytearray(request.data)
            at += count
        return _new("buffer.BufferWriteResponse")

    def _buffer_read(self, request):
        address, size = self._find(request.buffer_id)
        for at in range(0, size, BUFFER_CHUNK):
            data = self.board.dram.view(address + at, min(BUFFER_CHUNK, size - at)).tobytes()
            yield _new("buffer.BufferReadResponse", data=data)

    def _buffer_flush(self, request):
        self.board.dram.flush(*self._find(request.buffer_id))
        return _new("buffer.FlushResponse")

    def _buffer_invalidate(self, request):
        self.board.dram.invalidate(*self._find(request.buffer_id))
        return _new("buffer.InvalidateResponse")

    def _buffer_physical_address(self, request):
        return _new("buffer.AddressResponse", address=self._find(request.buffer_id)[0])

    def _buffer_virtual_address(self, request):
        return _new("buffer.AddressResponse", address=self._find(request.buffer_id)[0])

    def _buffer_cacheable(self, request):
        self._find(request.buffer_id)
        return _new("buffer.CacheableResponse", cacheable=True)

    def _buffer_freebuffer(self, request):
        with self._lock:
            address, _ = self._find(request.buffer_id)
            del self._buffers[request.buffer_id]
            self.board.dram.free(address)
        return _new("buffer.FreeBufferResponse")

    # Pins -------------------------------------------------------------------------------------------------------

    def _gpio_get_gpio(self, request):
        with self._lock:
            name = f"{request.direction[:8]}{request.index}"
            if len(self._pins) >= MOST_HANDLES:
                return _new("gpio.GetGpioResponse", message=f"more than {MOST_HANDLES} pins")
            self._pins.setdefault(name, 0)
        return _new("gpio.GetGpioResponse", gpio_id=name)

    def _pin(self, name: str) -> int:
        if name not in self._pins:
            raise Refused(grpc.StatusCode.NOT_FOUND, f"there is no pin {name[:40]!r}")
        return self._pins[name]

    def _gpio_read(self, request):
        return _new("gpio.GpioReadResponse", value=self._pin(request.gpio_id))

    def _gpio_write(self, request):
        self._pin(request.gpio_id)
        self._pins[request.gpio_id] = request.value & 1
        return _new("gpio.GpioWriteResponse")

    def _gpio_unexport(self, request):
        self._pins.pop(request.gpio_id, None)
        return _new("gpio.GpioUnexportResponse")

    def _gpio_is_exported(self, request):
        return _new("gpio.GpioIsExportedResponse", is_exported=request.gpio_id in self._pins)

    def _gpio_get_gpio_base_path(self, request):
        return _new("gpio.GetGpioBasePathResponse", base_path="/sys/class/gpio/gpiochip0")

    def _gpio_get_gpio_npins(self, request):
        return _new("gpio.GetGpioNPinsResponse", npins=118)


def _new(name: str, **fields):
    """Return a message by its full name."""
    return MESSAGE[name](**fields)
