"""PYNQ.remote's services: what they answer, what they refuse, and where they listen. A plain gRPC client asks."""

import contextlib
import re
import time

import grpc
import pytest

from qblif import cli
from qblif.host import abi
from qblif.host.registers import OFFSETS
from qblif.sim.board import command, server
from qblif.sim.board.protocol import MESSAGE, MESSAGES, METHODS
from qblif.sim.board.server import MANAGER, Server

from . import tiny


class Client:
    """Calls methods by their names: client("mmio.Mmio.read", mmio_id=..., ...)."""

    def __init__(self, address):
        self.channel = grpc.insecure_channel(address)

    def __call__(self, name, *requests, timeout=10, **fields):
        service, _, method = name.rpartition(".")
        found = next(m for m in METHODS[service] if m.name == method)
        kind = f"{'stream' if found.request_stream else 'unary'}_{'stream' if found.response_stream else 'unary'}"
        call = getattr(self.channel, kind)(f"/{service}/{method}", lambda message: message.SerializeToString(),
                                           found.response.FromString)
        request = iter(requests) if found.request_stream else found.request(**fields)
        answer = call(request, timeout=timeout)
        return list(answer) if found.response_stream else answer


@pytest.fixture
def served():
    with Server(tiny.board(program=False), port=0) as made:
        yield made


@pytest.fixture
def client(served):
    made = Client(served.address)
    yield made
    made.channel.close()


@contextlib.contextmanager
def refused(code):
    with pytest.raises(grpc.RpcError) as caught:
        yield
    assert caught.value.code().name == code


def write_file(client, path, *parts):
    new = MESSAGE["remote_device.WriteFileRequest"]
    return client("remote_device.RemoteDevice.writefile", *(new(file_path=path, data=part) for part in parts))


def test_messages_have_the_numbers_and_types_of_pynqs():
    read = MESSAGE["mmio.ReadResponse"].DESCRIPTOR.fields_by_name
    assert {name: field.number for name, field in read.items()} == {"status": 1, "msg": 2, "data": 3}
    assert read["msg"].has_presence and not read["status"].has_presence
    assert MESSAGE["mmio.ReadResponse"](status=True, data=5).SerializeToString() == b"\x08\x01\x18\x05"
    assert set(MESSAGES) == {service.partition(".")[0] for service in METHODS}


def test_a_bitstream_is_uploaded_and_programmed(client, served):
    assert not client("remote_device.RemoteDevice.existsfile", file_path="/lib/firmware/x.bin").exists
    write_file(client, "/lib/firmware/x.bin", tiny.PAYLOAD[:2], tiny.PAYLOAD[2:])
    assert client("remote_device.RemoteDevice.existsfile", file_path="/lib/firmware/x.bin").exists
    write_file(client, f"{MANAGER}firmware", b"x.bin")
    window = client("mmio.Mmio.get_mmio", base_addr=served.board.registers, length=0x10000).mmio_id
    assert client("mmio.Mmio.read", mmio_id=window, offset=OFFSETS["ID"], length=4).data == abi.MAGIC
    client("mmio.Mmio.write", mmio_id=window, offset=OFFSETS["SCRATCH"], data=b"\1\2\3\4ignored")
    assert client("mmio.Mmio.read", mmio_id=window, offset=OFFSETS["SCRATCH"], length=2).data == 0x0201
    with refused("NOT_FOUND"):
        write_file(client, f"{MANAGER}firmware", b"y.bin")


def test_registers_of_nothing_are_an_answer_that_says_so(client, served):
    window = client("mmio.Mmio.get_mmio", base_addr=served.board.registers, length=0x1000).mmio_id
    for offset, what in ((0, "not programmed"), (0x1000, "outside"), (1 << 40, "outside")):
        answer = client("mmio.Mmio.read", mmio_id=window, offset=offset, length=4)
        assert not answer.status and what in answer.msg
        assert what in client("mmio.Mmio.write", mmio_id=window, offset=offset, data=b"\0" * 4).msg
    for name in ("7", "", "-1", "x" * 100, "²"):
        with refused("NOT_FOUND"):
            client("mmio.Mmio.read", mmio_id=name, offset=0, length=4)


def test_buffers_are_written_flushed_invalidated_and_read(client, served):
    buffer = "buffer.RemoteBuffer."
    name = client(buffer + "allocate", size=3 << 20, dtype="u1", cacheable=True).buffer_id
    address = client(buffer + "physical_address", buffer_id=name).address
    new, data = MESSAGE["buffer.BufferWriteRequest"], bytes(range(256)) * (3 << 12)
    client(buffer + "write", new(buffer_id=name, data=data[:1 << 20]), new(buffer_id=name, data=data[1 << 20:]))
    memory = served.board.dram.memory[address - served.board.dram.base:][:len(data)]
    assert memory.tobytes() != data
    client(buffer + "flush", buffer_id=name)
    assert memory.tobytes() == data
    memory[5] = 77
    client(buffer + "invalidate", buffer_id=name)
    parts = client(buffer + "read", buffer_id=name)
    assert len(parts) == 3 and b"".join(part.data for part in parts)[:6] == bytes([0, 1, 2, 3, 4, 77])
    whole = new(buffer_id=name, data=data)
    for wrong in ((whole, new(buffer_id=name, data=b"x")), (new(buffer_id=name, data=b"x", start=-5),)):
        assert "of a buffer of" in client(buffer + "write", *wrong).msg
    client(buffer + "freebuffer", buffer_id=name)
    assert served.board.dram.free_bytes == served.board.dram.size
    for method in ("flush", "read", "freebuffer", "physical_address"):
        with refused("NOT_FOUND"):
            client(buffer + method, buffer_id=name)


def test_a_board_out_of_memory_gives_no_name(client):
    for size in (1 << 30, 0, -4):
        answer = client("buffer.RemoteBuffer.allocate", size=size, dtype="u1", cacheable=True)
        assert not answer.buffer_id and answer.msg


def test_files_are_limited_and_stay_in_memory(client, served, monkeypatch, tmp_path):
    write_file(client, str(tmp_path / "x"), b"data")
    assert not (tmp_path / "x").exists()
    assert client("remote_device.RemoteDevice.readfile", file_path=str(tmp_path / "x"))[0].data == b"data"
    with refused("NOT_FOUND"):
        client("remote_device.RemoteDevice.readfile", file_path=__file__)
    monkeypatch.setattr(server, "LARGEST_FILE", 10)
    with refused("RESOURCE_EXHAUSTED"):
        write_file(client, "/a", b"123456", b"123456")
    monkeypatch.setattr(server, "MOST_FILES", len(served._files))
    with refused("RESOURCE_EXHAUSTED"):
        write_file(client, "/b", b"1")
    for path in ("", "/" * 2000):
        with refused("INVALID_ARGUMENT"):
            write_file(client, path, b"1")


def test_pins_and_windows_are_limited(client, monkeypatch):
    assert client("gpio.Gpio.get_gpio", index=3, direction="out").gpio_id == "out3"
    client("gpio.Gpio.write", gpio_id="out3", value=1)
    assert client("gpio.Gpio.read", gpio_id="out3").value == 1
    client("gpio.Gpio.unexport", gpio_id="out3")
    assert not client("gpio.Gpio.is_exported", gpio_id="out3").is_exported
    with refused("NOT_FOUND"):
        client("gpio.Gpio.read", gpio_id="out3")
    monkeypatch.setattr(server, "MOST_HANDLES", 0)
    assert "more than" in client("gpio.Gpio.get_gpio", index=3, direction="out").message
    assert "more than" in client("mmio.Mmio.get_mmio", base_addr=0, length=4).msg


def test_a_method_that_no_client_calls_is_not_there(client):
    call = client.channel.unary_unary("/remote_device.RemoteDevice/shutdown")
    with refused("UNIMPLEMENTED"):
        call(b"", timeout=10)


def test_bytes_that_are_no_message_are_an_error_of_that_call_alone(client):
    with refused("INTERNAL"):
        client.channel.unary_unary("/mmio.Mmio/read")(b"\xff" * 40, timeout=10)
    assert client("remote_device.RemoteDevice.existsfile", file_path="/proc/version").exists


def test_a_client_that_stops_amid_a_stream_is_cut_off(client, monkeypatch):
    monkeypatch.setattr(server, "STREAM_SECONDS", 0.3)

    def stalls():
        yield MESSAGE["remote_device.WriteFileRequest"](file_path="/x", data=b"1")
        time.sleep(3)

    began = time.monotonic()
    with refused("CANCELLED"):
        client.channel.stream_unary("/remote_device.RemoteDevice/writefile",
                                    lambda message: message.SerializeToString())(stalls(), timeout=10)
    assert time.monotonic() - began < 3


def test_a_slow_board_is_slow(client, served):
    served.delay = 5
    with refused("DEADLINE_EXCEEDED"):
        client("remote_device.RemoteDevice.existsfile", file_path="/", timeout=0.2)


def test_it_listens_on_loopback_and_two_do_not_share_a_port(served):
    assert served.address == f"127.0.0.1:{served.port}"
    with pytest.raises(OSError, match="does another board"):
        Server(tiny.board(program=False), port=served.port)


def test_the_command_says_what_to_type_and_warns_about_other_addresses(tmp_path, monkeypatch, capsys):
    path = tmp_path / "tiny.qblif"
    path.write_bytes(tiny.bundle().path.read_bytes())
    monkeypatch.setattr(Server, "wait", lambda self: None)
    assert cli.main(["board", str(path), "--port", "0"]) == 0
    told = capsys.readouterr()
    assert "virtual Pynq-Z2 listens on 127.0.0.1:" in told.out and 'target="pynq://127.0.0.1:' in told.out
    assert "warning" not in told.err
    folder = tmp_path / "tiny.pynq-z2"
    assert f"its overlay is in {folder}\n" in told.out
    assert re.search(rf"qblif selftest {path} --target pynq://127.0.0.1:\d+ --option overlay={folder}\n", told.out)
    assert cli.main(["board", str(path), "--overlay", str(folder), "--host", "0.0.0.0", "--port", "0"]) == 0
    assert "can be reached by others" in capsys.readouterr().err
    assert cli.main(["board", str(path), "--overlay", str(folder), "--board", "kv260", "--port", "0"]) == 2
    assert "nothing was programmed" in capsys.readouterr().err
    assert cli.main(["board", str(tmp_path / "none.qblif")]) == 2
    assert "building" not in capsys.readouterr().err  # a wrong path is said before anything is built
    other = tiny.other_build().path
    assert cli.main(["board", str(other), "--overlay", str(folder), "--port", "0"]) == 2
    assert "is not the hardware" in capsys.readouterr().err
    assert command._is_loopback("localhost") and command._is_loopback("::1") and not command._is_loopback("board.lan")
