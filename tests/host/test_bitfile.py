""".bit files: what is written is read back, and nothing damaged is accepted."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qblif.host.bitfile import Bitfile, BitfileError, parse, read, same_part

FILE = Bitfile("qblif_ps7;UserID=0XFFFFFFFF", "7z020clg400", "2026/11/21", "22:45:00", bytes(range(64)))

texts = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40)


@given(design=texts, part=texts.filter(bool), date=texts, time=texts,
       data=st.binary(min_size=4, max_size=200).map(lambda data: data[:len(data) // 4 * 4]))
def test_what_is_written_is_read_back(design, part, date, time, data):
    file = Bitfile(design, part, date, time, data)
    assert parse(file.to_bytes()) == file


def test_the_bytes_are_those_that_vivado_writes():
    assert Bitfile("top", "7z020clg400", "2026/11/21", "22:45:00", b"\xaa\x99\x55\x66").to_bytes() == (
        b"\x00\x09\x0f\xf0\x0f\xf0\x0f\xf0\x0f\xf0\x00\x00\x01"
        b"a\x00\x04top\x00b\x00\x0c7z020clg400\x00c\x00\x0b2026/11/21\x00d\x00\x0922:45:00\x00"
        b"e\x00\x00\x00\x04\xaa\x99\x55\x66")


@pytest.mark.parametrize("cut", range(len(FILE.to_bytes())))
def test_a_file_cut_off_anywhere_is_refused(cut):
    with pytest.raises(BitfileError):
        parse(FILE.to_bytes()[:cut])


@pytest.mark.parametrize(("change", "says"), [
    (lambda content: b"\x00" + content, "no .bit file: it begins with 00 00 09"),
    (lambda content: content[13:], "no .bit file"),
    (lambda content: content.replace(b"b\x00\x0c7z", b"x\x00\x0c7z"), "is b'x', where the part field begins with b'b'"),
    (lambda content: content.replace(b"clg400\x00", b"clg4000"), "the part field is b'7z020clg4000'"),
    (lambda content: content.replace(b"7z020", b"7z\xe920"[:5]), "printable ASCII"),
    (lambda content: content + b"\x00", "1 bytes follow the configuration data"),
    (lambda content: content[:-65] + b"\x00" + content[-64:], "the .bit file is b'.*', where|bytes follow|ends amid"),
])
def test_a_changed_header_is_refused_with_what_was_found(change, says):
    with pytest.raises(BitfileError, match=says):
        parse(change(FILE.to_bytes()))


@pytest.mark.parametrize("data", [b"", b"abc"])
def test_configuration_data_is_whole_words(data):
    with pytest.raises(BitfileError, match=f"{len(data)} bytes of configuration data"):
        Bitfile("top", "7z020clg400", "", "", data)
    content = FILE.to_bytes()[:-68] + struct.pack(">I", len(data)) + data
    with pytest.raises(BitfileError, match="a multiple of 4"):
        parse(content)


def test_an_error_names_the_file(tmp_path):
    path = tmp_path / "qblif.bit"
    path.write_bytes(b"not a bitstream")
    with pytest.raises(BitfileError, match="qblif.bit: this is no .bit file"):
        read(path)


@pytest.mark.parametrize(("found", "wanted", "same"), [
    ("7z020clg400", "xc7z020clg400-1", True),       # Vivado, 7-series
    ("xc7z020clg400-1", "xc7z020clg400-1", True),   # xc7frames2bit
    ("xczu7ev-ffvc1156-2-e", "xczu7ev-ffvc1156-2-e", True),
    ("xck26-sfvc784-2LV-c", "xck26-sfvc784-2lv-c", True),
    ("7z010clg400", "xc7z020clg400-1", False),
    ("7z020clg484", "xc7z020clg400-1", False),
    ("xczu7ev-ffvf1517-2-e", "xczu7ev-ffvc1156-2-e", False),
    ("7z020", "xc7z020clg400-1", False),
    ("", "xc7z020clg400-1", False),
])
def test_a_part_is_recognised_in_every_tools_spelling(found, wanted, same):
    assert same_part(found, wanted) is same_part(wanted, found) is same
