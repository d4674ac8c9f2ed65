"""The serial transport against a board written in Python, over a line that loses and damages what it likes."""

import collections
import os
import random
import struct
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qblif.host import QblifError, Timeout, TransportError, UnknownTarget, abi, framing, serial
from qblif.host.framing import Command, Status
from qblif.host.serial import Link, SerialTransport, images_per_second

CLASSES = 3


def logits(frame):
    """Return what the board computes."""
    total = sum(map(int, frame)) & 0xFFFF_FFFF
    return [(total + label) & 0xFFFF_FFFF for label in range(CLASSES)]


def unpack_beats(words):
    """Return the beats that were packed."""
    words = iter(words)
    missing, beats = next(words), []
    while len(beats) < missing:
        mask = next(words)
        for bit in range(min(32, missing - len(beats))):
            beats.append(next(words) if mask >> bit & 1 else 0)
    assert next(words, None) is None
    return beats


class Board:
    """What docs/serial.md says of the hardware, with registers that are storage; takes beats when asked to."""

    def __init__(self, slow=False):
        self.session = self.expected = self.place = 0
        self.stored, self.executed, self.registers = {}, [], collections.Counter()
        self.beats, self.output, self.frame, self.slow = [], [], [], slow

    def restart(self):
        self.__init__(self.slow)

    def answer(self, words):
        """Return the response to a request, or None."""
        values = [value for value, in struct.iter_unpack("<I", words)]
        header = abi.unpack(framing.HEADER_FIELDS, values[0])
        argument = abi.unpack(framing.ARGUMENT_FIELDS, values[1])
        sequence, command = header["sequence"], header["command"]
        if command == Command.SYNC:
            self.session, self.expected, self.stored = header["session"], sequence, {}
        elif header["session"] != self.session:
            return self.response(values[0], Status.NO_SESSION, [], False)
        overdue = self.expected - sequence & 0xFF
        if overdue:
            return self.stored.get(sequence) if overdue <= framing.STORED else None
        self.expected = self.expected + 1 & 0xFF
        self.stored[sequence] = self.execute(values[0], command, argument, values[2:])
        return self.stored[sequence]

    def response(self, first, status, data, last):
        state = {"status": status, "last": last, "drained": not self.beats, "error": 0, "reserved": 0,
                 "place": self.place & 0xFFFF}
        queue = {"room": framing.QUEUE_BEATS - len(self.beats), "waiting": len(self.output)}
        return struct.pack(f"<{len(data) + 3}I", first, *data, abi.pack(framing.STATE_FIELDS, state),
                           abi.pack(framing.QUEUE_FIELDS, queue))

    def execute(self, first, command, argument, data):
        place, status, out, last = argument["place"], Status.OK, [], False
        self.executed.append((command, place, tuple(data)))
        if command == Command.SYNC:
            out = list(framing.SYNC_DATA)
        elif command == Command.READ:
            out = [self.registers[place + 4 * index] for index in range(argument["count"])]
        elif command == Command.WRITE:
            for index, value in enumerate(data):
                self.registers[place + 4 * index] = value
        else:
            if argument["flags"] & framing.PACKED:
                data = unpack_beats(data)
            if len(data) <= framing.QUEUE_BEATS - len(self.beats) and place == self.place & 0xFFFF or not data:
                marks = [argument["flags"] & framing.LAST and index == len(data) - 1 for index in range(len(data))]
                self.beats += zip(data, marks, strict=True)
                self.place += len(data)
            else:
                status = Status.REFUSED
            while self.output and len(out) < argument["count"] and not last:
                value, last = self.output.pop(0)
                out.append(value)
            taken, self.beats = (self.beats[:40], self.beats[40:]) if self.slow else (self.beats, [])
            for value, mark in taken:
                self.frame.append(value)
                if mark:
                    self.output += zip(logits(self.frame), [False, False, True], strict=True)
                    self.frame = []
        return self.response(first, status, out, last)


class BadPort:
    """A port with a Board behind it, and its own clock. Faults: one per frame that passes, then none."""

    path = "/dev/pretended"

    def __init__(self, board, to_board=(), from_board=(), seed=0):
        self.board, self.to_board, self.from_board = board, list(to_board), list(from_board)
        self.rng, self.now, self.coming, self.held = random.Random(seed), 0.0, b"", b""
        self.deframer, self.closed = framing.Deframer(), False

    def monotonic(self):
        return self.now

    def disturb(self, wire, fault):
        """Return what becomes of a frame's bytes."""
        wire = bytearray(wire)
        at = self.rng.randrange(len(wire))
        if fault == "lose":
            return b""
        if fault == "flip":
            wire[at] ^= 1 << self.rng.randrange(8)
        elif fault == "drop":
            del wire[at]
        elif fault == "extra":
            wire.insert(at, self.rng.randrange(256))
        elif fault == "cut":
            del wire[at:]
        elif fault == "noise":
            wire[:0] = self.rng.randbytes(20)
        elif fault == "twice":
            wire *= 2
        return bytes(wire)

    def write(self, data, deadline):
        data = self.disturb(data, self.to_board.pop(0) if self.to_board else None)
        for words in self.deframer.feed(data):
            answer = self.board.answer(words)
            if answer is not None:
                fault = self.from_board.pop(0) if self.from_board else None
                wire, self.held = self.held + self.disturb(framing.encode(answer), fault), b""
                if fault == "late":
                    self.held, wire = wire, b""
                self.coming += wire
        self.now += 0.001

    def read(self, deadline):
        if not self.coming:
            self.now = max(self.now, deadline)
            self.coming, self.held = self.held, b""   # what was late comes now
        size = self.rng.choice([1, 7, 1000])
        data, self.coming = self.coming[:size], self.coming[size:]
        return data

    def close(self):
        self.closed = True


@pytest.fixture
def connect(monkeypatch):
    """A function that returns a link over a BadPort."""
    def connect(board, to_board=(), from_board=(), seed=0, **options):
        port = BadPort(board, to_board, from_board, seed)
        monkeypatch.setattr(serial, "time", port)
        return Link(port, 3_000_000, **options), port
    return connect


FAULTS = st.lists(st.sampled_from([None, None, None, "lose", "flip", "drop", "extra", "cut", "noise", "twice", "late"]),
                  max_size=40)


@settings(max_examples=200)
@given(FAULTS, FAULTS, st.integers(0, 1 << 20))
def test_every_request_is_executed_at_most_once_in_order_and_answered_ones_once(to_board, from_board, seed):
    with pytest.MonkeyPatch.context() as patch:
        board = Board()
        port = BadPort(board, to_board, from_board, seed)
        patch.setattr(serial, "time", port)
        link, answered = Link(port, 3_000_000, attempts=5), []
        try:
            with link:
                for number in range(30):
                    link.call(Command.WRITE, struct.pack("<I", number), place=0x1C)
                    answered.append(number)
                    assert link.call(Command.READ, place=0x1C, count=1).data.tolist() == [number]
        except (Timeout, TransportError):
            pass
        written = [data[0] for command, _, data in board.executed if command == Command.WRITE]
        assert written[:len(answered)] == answered
        assert written == list(range(len(written))) and len(written) <= len(answered) + 1


@settings(max_examples=200)
@given(FAULTS, FAULTS, st.integers(0, 1 << 20), st.booleans(), st.sampled_from([1, 5, 253, 254, 600]))
def test_images_give_the_right_logits_or_a_typed_error(to_board, from_board, seed, slow, beats):
    with pytest.MonkeyPatch.context() as patch:
        board = Board(slow)
        port = BadPort(board, to_board, from_board, seed)
        patch.setattr(serial, "time", port)
        transport = SerialTransport(port, Link(port, 3_000_000, attempts=5))
        rng = np.random.default_rng(seed)
        frames = rng.integers(0, 1 << 32, (7, beats), np.uint32) * (rng.random((7, beats)) < rng.random((7, 1)))
        frames = frames.astype(np.uint32)
        wanted = np.array([logits(frame) for frame in frames], np.uint32).view(np.int32)
        for _ in range(2):
            try:
                transport.write(serial._CONTROL, 1)
                board.beats, board.output, board.frame, board.place = [], [], [], 0   # what a reset does
                found, cycles = transport.infer(frames, CLASSES, 1e6)
            except (Timeout, TransportError):
                continue
            assert np.array_equal(found, wanted) and cycles is None


def test_two_requests_are_under_way_at_once(connect):
    link, port = connect(Board())
    frames = np.arange(20 * 9, dtype=np.uint32).reshape(20, 9)
    transport = SerialTransport(port, link)
    transport.write(serial._CONTROL, 1)
    depths, submit = [], link.submit

    def spy(*args, **fields):
        depths.append(len(link._under_way))
        return submit(*args, **fields)

    link.submit = spy
    transport.infer(frames, CLASSES, 1.0)
    assert max(depths) == framing.WINDOW - 1
    assert link.counts.retries == 0 and link.counts.requests <= 20 + 5


def test_progress_rises_one_by_one(connect):
    link, port = connect(Board())
    transport, seen = SerialTransport(port, link), []
    transport.write(serial._CONTROL, 1)
    transport.infer(np.ones((4, 3), np.uint32), CLASSES, 1.0, seen.append)
    assert seen == [1, 2, 3, 4]
    assert transport.infer(np.ones((0, 3), np.uint32), CLASSES, 1.0)[0].shape == (0, CLASSES)


def test_a_silent_line_is_a_timeout_and_the_second_time_sooner(connect):
    link, port = connect(Board(), ["lose"] * 1000, attempts=6)
    for attempts, seconds in ((6, 4), (2, 0.5)):
        before = port.now
        with pytest.raises(Timeout, match=f"after {attempts} attempt"), link:
            pass
        assert port.now - before < seconds
    port.to_board.clear()
    with link:
        assert link.call(Command.READ, count=1).data.tolist() == [0]


def test_a_line_that_damages_everything_is_a_transport_error(connect):
    link, _ = connect(Board(), (), ["flip"] * 1000, attempts=6)
    with pytest.raises(TransportError, match="came damaged"), link:
        pass


def test_a_board_that_restarted_is_noticed_and_needs_a_reset(connect):
    board = Board()
    link, port = connect(board)
    transport = SerialTransport(port, link)
    transport.write(serial._CONTROL, 1)
    frames = np.ones((2, 3), np.uint32)
    transport.infer(frames, CLASSES, 1.0)
    board.restart()
    with pytest.raises(TransportError, match="NO_SESSION.*restarted"):
        transport.read(0)
    assert transport.read(0) == 0, "a new session"
    for job in (lambda: transport.infer(frames, CLASSES, 1.0), lambda: transport.program(frames[0], 1.0)):
        with pytest.raises(TransportError, match="since the accelerator's last reset"):
            job()
    transport.write(serial._CONTROL, 1)
    transport.infer(frames, CLASSES, 1.0)


def test_a_board_of_another_version_is_refused(connect, monkeypatch):
    link, _ = connect(Board())
    monkeypatch.setattr(framing, "SYNC_DATA", (99, *framing.SYNC_DATA[1:]))
    with pytest.raises(TransportError, match="version 99 of the serial link"), link:
        pass


def test_an_output_frame_of_another_length_is_an_error(connect):
    for classes in (CLASSES - 1, CLASSES + 1):
        link, port = connect(Board())
        transport = SerialTransport(port, link)
        transport.write(serial._CONTROL, 1)
        with pytest.raises(TransportError, match=f"output frame 0 has .* not {classes}"):
            transport.infer(np.ones((2, 3), np.uint32), classes, 1.0)


# Ports ------------------------------------------------------------------------------------------------------

def open_port(target, **options):
    return serial.open_transport(None, target, 1.0, **options)


def test_targets_that_name_no_port_or_no_option_say_what_there_is():
    for target in ("serial", "serial:", "serial:?baud=9600"):
        with pytest.raises(UnknownTarget, match="serial:PATH") as caught:
            open_port(target)
        assert "serial ports found" in str(caught.value)
    for option, says in (("baud=fast", "baud is 'fast' .* a whole number above 0 is needed"),
                         ("baud=0", "baud is '0' .* a whole number above 0 is needed"),
                         ("parity=odd", "there is baud=N")):
        with pytest.raises(UnknownTarget, match=says):
            open_port(f"serial:/dev/ttyUSB0?{option}")
    for options in ({"attempts": 0}, {"response_timeout": 0.0}):
        with pytest.raises(ValueError, match="attempts is"):
            open_port("serial:/dev/null", **options)


def test_paths_that_are_no_port_say_why(tmp_path):
    (tmp_path / "file").write_text("no port")
    with pytest.raises(TransportError, match="there is no serial port") as caught:
        open_port(f"serial:{tmp_path}/missing")
    assert "serial ports found" in str(caught.value)
    for path in (tmp_path / "file", tmp_path, "/dev/null"):
        with pytest.raises(TransportError, match="no serial port"):
            open_port(f"serial:{path}")


@pytest.fixture
def terminal():
    """A pseudo-terminal: (master, path of the slave)."""
    master, slave = os.openpty()
    yield master, os.ttyname(slave)
    os.close(slave)
    os.close(master)


def test_a_bit_rate_that_the_system_lacks_is_refused_with_those_it_has(terminal):
    with pytest.raises(TransportError, match="has no 12345 baud; it has 50, .*115200"):
        open_port(f"serial:{terminal[1]}?baud=12345")


def test_a_port_belongs_to_one_process_and_is_free_afterwards(terminal):
    port = serial.Port(terminal[1], 115_200)
    with pytest.raises(TransportError, match="in use by another process"):
        serial.Port(terminal[1], 115_200)
    port.close()
    serial.Port(terminal[1], 115_200).close()


def test_a_failed_opening_leaves_the_port_free(terminal):
    for _ in range(2):
        started = time.monotonic()
        with pytest.raises(Timeout, match="is the board on"):
            open_port(f"serial:{terminal[1]}", response_timeout=0.01, attempts=2)
        assert time.monotonic() - started < 5


def test_all_bytes_pass_the_port_as_they_are(terminal):
    port = serial.Port(terminal[1], 115_200)
    port.write(bytes(range(256)), time.monotonic() + 1)
    got = b""
    while len(got) < 256:
        got += os.read(terminal[0], 256)
    assert got == bytes(range(256))
    os.write(terminal[0], bytes(range(256)))
    got = b""
    while len(got) < 256:
        got += port.read(time.monotonic() + 1)
    assert got == bytes(range(256))
    port.close()


def test_a_port_that_takes_nothing_or_goes_away_is_an_error():
    master, slave = os.openpty()
    port = serial.Port(os.ttyname(slave), 115_200)
    with pytest.raises(TransportError, match="takes no more bytes"):
        port.write(bytes(1 << 20), time.monotonic() + 0.05)
    os.close(master)
    for use in (lambda: port.read(time.monotonic() + 1), lambda: port.write(b"x", time.monotonic() + 1)):
        with pytest.raises(TransportError, match="went away"):
            use()
    port.close()
    os.close(slave)


def test_the_transport_is_found_by_its_name():
    with pytest.raises(QblifError, match="there is no serial port"):
        from qblif.host.transport import open_transport

        open_transport(None, "serial:/dev/there-is-none", 1.0)


def test_the_rate_of_the_line_is_that_of_its_slower_direction():
    # one request of 1 word: header, argument, word, CRC, and overhead; response: header, state, queue, CRC, 1 logit
    one = np.ones((4, 1), np.uint32)
    assert framing.wire_bytes(3) == 16 + 1 + 2 and images_per_second(one, 1, 1_900) == pytest.approx(1_900 / 10 / 23)
    many = np.ones((4, 1000), np.uint32)
    assert images_per_second(many, 10, 3_000_000) == pytest.approx(300_000 / (3 * 1031 + 982), rel=0.01)
    assert images_per_second(0 * many, 10, 3_000_000) > 1000


@given(st.lists(st.sampled_from([0, 0, 0, 1, 0xFFFF_FFFF]), min_size=1, max_size=1500), st.integers(4, 253))
def test_pieces_are_whole_in_order_and_never_too_long(beats, longest):
    found = []
    pieces = list(serial.cut(np.array([beats, beats], np.uint32), longest))
    for piece in pieces:
        words = np.frombuffer(piece.data, "<u4").tolist()
        assert len(words) <= longest and piece.beats <= serial.LARGEST_PIECE
        got = unpack_beats(words) if piece.flags & framing.PACKED else words
        assert len(got) == piece.beats and len(words) <= piece.beats
        found += got
    assert found == beats + beats
    assert [piece.flags & framing.LAST for piece in pieces].count(framing.LAST) == 2
    assert pieces[-1].flags & framing.LAST
