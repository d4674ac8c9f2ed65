"""The gRPC services of PYNQ.remote, as pynq 3.1 and 4.0 call them: messages and methods, as tables.

Message types are made of these tables when the module is imported, in a pool of their own: no generated code, so any
version of protobuf will do, and pynq's own copies may be in the same process. proto3; a name that ends in ``?`` is
`optional`. Ref: PYNQ's package pynq.remote."""

from __future__ import annotations

import dataclasses

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

MESSAGES = {
    "remote_device": """
        ReadFileRequest: string file_path = 1
        ReadFileResponse: bytes data = 1
        WriteFileRequest: string file_path = 1, bytes data = 2
        WriteFileResponse:
        ExistsFileRequest: string file_path = 1
        ExistsFileResponse: bool exists = 1
        SetBitstreamAttrsRequest: string binfile_name = 1, bool partial = 2
        SetBitstreamAttrsResponse: bool status = 1
        """,
    "mmio": """
        GetMmioRequest: uint64 base_addr = 1, uint64 length = 2
        GetMmioResponse: bool status = 1, string msg? = 2, string mmio_id? = 3
        ReadRequest: string mmio_id = 1, uint64 length = 2, uint64 offset = 3, string word_order = 4
        ReadResponse: bool status = 1, string msg? = 2, uint32 data? = 3
        WriteRequest: string mmio_id = 1, uint64 offset = 2, bytes data = 3
        WriteResponse: bool status = 1, string msg? = 2
        """,
    "buffer": """
        AllocateRequest: int32 size = 1, string dtype = 2, bool cacheable = 3
        AllocateResponse: string msg? = 2, string buffer_id? = 3
        BufferWriteRequest: string buffer_id = 1, bytes data = 2, int32 start = 3, int32 end = 4
        BufferWriteResponse: string msg? = 2
        BufferReadRequest: string buffer_id = 1, int32 start = 2, int32 end = 3
        BufferReadResponse: string msg? = 2, bytes data? = 3
        FreeBufferRequest: string buffer_id = 1
        FreeBufferResponse: string msg? = 2
        FlushRequest: string buffer_id = 1
        FlushResponse: string msg? = 2
        InvalidateRequest: string buffer_id = 1
        InvalidateResponse: string msg? = 2
        AddressRequest: string buffer_id = 1
        AddressResponse: string msg? = 2, uint64 address? = 3
        CacheableRequest: string buffer_id = 1
        CacheableResponse: string msg? = 2, bool cacheable? = 3
        """,
    "gpio": """
        GetGpioRequest: int32 index = 1, string direction = 2
        GetGpioResponse: string message? = 2, string gpio_id? = 3
        GpioReadRequest: string gpio_id = 1
        GpioReadResponse: string message? = 2, int32 value? = 3
        GpioWriteRequest: string gpio_id = 1, int32 value = 2
        GpioWriteResponse:
        GpioUnexportRequest: string gpio_id = 1
        GpioUnexportResponse:
        GpioIsExportedRequest: string gpio_id = 1
        GpioIsExportedResponse: bool is_exported? = 3
        GetGpioBasePathRequest: string target_label? = 1
        GetGpioBasePathResponse: string base_path? = 3
        GetGpioNPinsRequest: string target_label? = 1
        GetGpioNPinsResponse: int32 npins? = 1
        """,
}
"""Package -> its messages, one a line: name, then type, name and number of each field."""

SERVICES = {
    "remote_device.RemoteDevice": """
        existsfile ExistsFileRequest -> ExistsFileResponse
        readfile ReadFileRequest -> stream ReadFileResponse
        writefile stream WriteFileRequest -> WriteFileResponse
        set_bitstream_attrs SetBitstreamAttrsRequest -> SetBitstreamAttrsResponse
        """,
    "mmio.Mmio": """
        get_mmio GetMmioRequest -> GetMmioResponse
        read ReadRequest -> ReadResponse
        write WriteRequest -> WriteResponse
        """,
    "buffer.RemoteBuffer": """
        allocate AllocateRequest -> AllocateResponse
        write stream BufferWriteRequest -> BufferWriteResponse
        read BufferReadRequest -> stream BufferReadResponse
        freebuffer FreeBufferRequest -> FreeBufferResponse
        flush FlushRequest -> FlushResponse
        invalidate InvalidateRequest -> InvalidateResponse
        physical_address AddressRequest -> AddressResponse
        virtual_address AddressRequest -> AddressResponse
        cacheable CacheableRequest -> CacheableResponse
        """,
    "gpio.Gpio": """
        get_gpio GetGpioRequest -> GetGpioResponse
        read GpioReadRequest -> GpioReadResponse
        write GpioWriteRequest -> GpioWriteResponse
        unexport GpioUnexportRequest -> GpioUnexportResponse
        is_exported GpioIsExportedRequest -> GpioIsExportedResponse
        get_gpio_base_path GetGpioBasePathRequest -> GetGpioBasePathResponse
        get_gpio_npins GetGpioNPinsRequest -> GetGpioNPinsResponse
        """,
}
"""Full name of a service -> its methods, one a line. Methods that no version of pynq calls are left out."""


@dataclasses.dataclass(frozen=True)
class Method:
    """A method of a service. request, response: message classes; and whether each is a stream."""

    name: str
    request: type
    response: type
    request_stream: bool
    response_stream: bool


def _file(package: str, text: str) -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name=f"qblif/{package}.proto", package=package, syntax="proto3")
    for line in filter(None, map(str.strip, text.splitlines())):
        name, _, fields = line.partition(":")
        message = file.message_type.add(name=name)
        for entry in filter(None, map(str.strip, fields.split(","))):
            kind, label, _, number = entry.split()
            field = message.field.add(name=label.rstrip("?"), number=int(number), label=1,
                                      type=getattr(descriptor_pb2.FieldDescriptorProto, f"TYPE_{kind.upper()}"))
            if label.endswith("?"):  # proto3's `optional` is a oneof of one
                field.proto3_optional, field.oneof_index = True, len(message.oneof_decl)
                message.oneof_decl.add(name=f"_{field.name}")
    return file


def _methods(package: str, text: str) -> tuple[Method, ...]:
    def message(spelled: str) -> tuple[type, bool]:
        stream, _, name = spelled.strip().rpartition(" ")
        return MESSAGE[f"{package}.{name}"], stream == "stream"

    found = []
    for line in filter(None, map(str.strip, text.splitlines())):
        name, _, rest = line.partition(" ")
        (request, request_stream), (response, response_stream) = map(message, rest.split("->"))
        found.append(Method(name, request, response, request_stream, response_stream))
    return tuple(found)


_POOL = descriptor_pool.DescriptorPool()
for _package, _text in MESSAGES.items():
    _POOL.AddSerializedFile(_file(_package, _text).SerializeToString())

MESSAGE: dict[str, type] = {
    f"{package}.{name}": message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"{package}.{name}"))
    for package, text in MESSAGES.items()
    for name in (line.partition(":")[0].strip() for line in text.splitlines() if line.strip())}
"""Full name of a message -> its class."""

METHODS: dict[str, tuple[Method, ...]] = {service: _methods(service.partition(".")[0], text)
                                          for service, text in SERVICES.items()}
"""Full name of a service -> its methods."""
