"""Overlay folders: written, found by board and build, and refused when anything about them is wrong."""

import json

import pytest

from qblif.host import OverlayError, OverlayNotFound, PartMismatch, bitfile, overlays

BUILD = 0x0123_4567_89AB_CDEF


@pytest.fixture
def make(tmp_path):
    """Writes an overlay into a folder and returns it."""
    def overlay(name="z2", board="pynq-z2", build=BUILD, part=None, mhz=100.0):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        (folder / "qblif.bit").write_bytes(bitfile.Bitfile("qblif", part or overlays.BOARDS[board].part, "2026/01/01",
                                                           "00:00:00", name.encode().ljust(16, b"\0")).to_bytes())
        (folder / "qblif.hwh").write_text("<EDKSYSTEM/>")
        return overlays.write_manifest(folder / "qblif.bit", board, build, mhz, {"tools": "none"})
    return overlay


def test_what_was_written_is_read_back_from_the_folder_the_bit_and_the_folder_of_the_build(make, tmp_path):
    overlay = make("build/overlay")
    for path in (overlay.folder, overlay.bit, tmp_path / "build"):
        assert overlays.Overlay.load(path) == overlay
    assert (overlay.board, overlay.build_hash, overlay.clock_mhz) == ("pynq-z2", BUILD, 100.0)
    assert "0123456789abcdef" in str(overlay) and overlay.about == {"tools": "none"}
    overlay.verify("pynq-z2")
    overlay.verify("pynq-z1")  # the same chip, and no pins of the board are used


@pytest.mark.parametrize(("board", "says"), [
    ("pynq-z2", r"is a project folder for pynq-z2, and no bitstream has been made in it yet\n.*README.txt.*overlay"),
    ("ulx3s", r"holds a bitstream for 'ulx3s', which takes no overlay\n.*overlays are made for pynq-z1")])
def test_the_folder_of_a_build_without_an_overlay_is_told_from_an_overlay(tmp_path, board, says):
    (tmp_path / "manifest.json").write_text(json.dumps({"format": overlays.BUILT, "board": board}))
    with pytest.raises(OverlayError, match=says):
        overlays.Overlay.load(tmp_path)


@pytest.mark.parametrize("name", ["qblif.bit", "qblif.hwh"])
def test_files_that_were_altered_or_are_missing_are_noticed(make, name):
    overlay = make()
    path = overlay.folder / name
    path.write_bytes(path.read_bytes() + b"\0\0\0\0")
    with pytest.raises(OverlayError, match=f"{name} was altered: its SHA-256 is"):
        overlay.verify()
    path.unlink()
    with pytest.raises(OverlayError, match=f"{name} cannot be read"):
        overlay.verify()


def test_another_chip_is_refused_by_manifest_and_by_bit_header(make):
    with pytest.raises(PartMismatch, match="this board, zcu104, has xczu7ev"):
        make().verify("zcu104")
    with pytest.raises(PartMismatch, match="is for part xczu7ev-ffvc1156-2-e, manifest.json beside it says xc7z020"):
        make("lies", part=overlays.BOARDS["zcu104"].part)


@pytest.mark.parametrize("change, words", [
    (lambda values: values.update(format="zip"), "does not say"),
    (lambda values: values.update(schema=2), "has schema 2, this package reads 1"),
    (lambda values: values.update(build_hash="0x12"), "'build_hash' is '0x12'"),
    (lambda values: values.update(build_hash=5), "'build_hash'"),
    (lambda values: values.update(bit="../../etc/passwd"), "'bit' is '../../etc/passwd'"),
    (lambda values: values.update(hwh="/etc/passwd"), "'hwh'"),
    (lambda values: values.update(clock_mhz=True), "'clock_mhz'"),
    (lambda values: values.update(clock_mhz=float("nan")), "'clock_mhz'"),
    (lambda values: values.update(sha256=[]), "'sha256'"),
    (lambda values: values.update(sha256={"qblif.bit": 1}), "'sha256'"),
    (lambda values: values.pop("board"), "'board' is 'None'"),
    (lambda values: values.update(about={"tools": 3}), "'about'"),
])
def test_manifests_that_say_what_cannot_be_are_refused(make, change, words):
    file = make().folder / overlays.MANIFEST
    values = json.loads(file.read_text())
    change(values)
    file.write_text(json.dumps(values))
    with pytest.raises(OverlayError, match=words):
        overlays.Overlay.load(file.parent)


@pytest.mark.parametrize("text", ["", "[", "[]", "null", "[" * 100_000, "x" * (2 << 20)])
def test_what_is_no_manifest_is_refused(make, text):
    file = make().folder / overlays.MANIFEST
    file.write_text(text)
    with pytest.raises(OverlayError, match="damaged|larger|does not say"):
        overlays.Overlay.load(file.parent)


def test_a_folder_without_manifest_and_a_bit_of_another_name_are_refused(make, tmp_path):
    with pytest.raises(OverlayError, match="is no overlay: manifest.json cannot be read"):
        overlays.Overlay.load(tmp_path)
    with pytest.raises(OverlayError, match="describes qblif.bit, not other.bit"):
        overlays.Overlay.load(make().folder / "other.bit")


def test_the_overlay_for_board_and_build_is_found_and_one_of_that_very_board_comes_first(make, tmp_path):
    make("a", build=1)
    z1, z2, zcu = make("b", "pynq-z1"), make("c/overlay", "pynq-z2"), make("d", "zcu104")
    make("broken").folder.joinpath(overlays.MANIFEST).write_text("{")
    assert overlays.find("pynq-z2", BUILD, [tmp_path]) == z2
    assert overlays.find("pynq-z1", BUILD, [tmp_path]) == z1
    assert overlays.find("zcu104", BUILD, [tmp_path / "nowhere", tmp_path]) == zcu
    with pytest.raises(OverlayNotFound) as caught:
        overlays.find("kv260", BUILD, [tmp_path])
    text = str(caught.value)
    assert "no overlay for kv260 has build 0123456789abcdef" in text and str(z2) in text and "BOARD=kv260" in text


def test_the_folders_searched_are_those_named_the_bundles_and_the_installed_one(monkeypatch, tmp_path):
    monkeypatch.setenv(overlays.VARIABLE, f"{tmp_path / 'x'}:{tmp_path / 'y'}")
    found = overlays.folders(tmp_path / "z" / "net.qblif")
    assert found[:3] == [tmp_path / "x", tmp_path / "y", tmp_path / "z"] and found[3].name == "overlays"


@pytest.mark.parametrize("name, board", [("Pynq-Z2", "pynq-z2"), ("PYNQ-Z1", "pynq-z1"), ("pynqz2", "pynq-z2"),
                                         ("ZCU104", "zcu104"), ("KV260", "kv260"), ("RFSoC4x2", None), ("", None)])
def test_boards_are_known_by_the_names_of_their_images(name, board):
    assert overlays.board_named(name) == board
