"""The bundle file: what is written comes back, and nothing else is accepted."""

import hashlib
import io
import json
import os
import random
import stat
import zipfile

import numpy as np
import pytest

from qblif.host import Bundle, BundleError, abi, archive
from qblif.host import bundle as bundle_module


def members_of(bundle) -> dict[str, bytes]:
    with zipfile.ZipFile(bundle.path) as file:
        return {name: file.read(name) for name in file.namelist()}


def repack(path, members, compression=zipfile.ZIP_STORED):
    """Write members as they are, with whatever names, like somebody with a zip tool."""
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return path


def signed(members, change=None, **replaced) -> dict[str, bytes]:
    """Return members whose manifest's hashes fit: a forger who knows the format."""
    members = {**members, **replaced}
    manifest = json.loads(members.pop("manifest.json"))
    manifest["members"] = {name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
                           for name, data in members.items()}
    if change:
        change(manifest)
    manifest["sha256"] = bundle_module._manifest_digest(manifest)
    return {"manifest.json": json.dumps(manifest).encode(), **members}


def npy(array) -> bytes:
    return archive.array_to_bytes(array)


# --- writing --------------------------------------------------------------------------------------------------

def test_what_is_written_comes_back(bundle, parts):
    loaded = Bundle.load(bundle.path)
    for name in ("name", "scale", "input_layout", "design", "verilog", "network", "tools", "about"):
        assert getattr(loaded, name) == parts[name] == getattr(bundle, name)
    for name in ("program", "golden_inputs", "golden_logits"):
        assert np.array_equal(getattr(loaded, name), parts[name])
        assert getattr(loaded, name).dtype == parts[name].dtype
    assert (loaded.steps, loaded.classes) == (2, 3)
    assert loaded.build_hash == abi.build_hash(parts["design"])
    assert loaded.program_hash == 0x0123_4567_89AB_CDEF
    assert "tiny: input 2x3x5 (4 bits), T=2, 3 classes" in str(loaded)


def test_its_arrays_cannot_be_written_to(bundle):
    for array in (bundle.program, bundle.golden_inputs, bundle.golden_logits):
        with pytest.raises(ValueError, match="read-only"):
            array.reshape(-1)[0] = 1


def test_equal_contents_give_equal_bytes(tmp_path, parts):
    first = Bundle.write(tmp_path / "a.qblif", **parts).path.read_bytes()
    parts["golden_inputs"] = np.asfortranarray(parts["golden_inputs"])
    assert Bundle.write(tmp_path / "b.qblif", **parts).path.read_bytes() == first


def test_writing_makes_the_folder_and_leaves_no_other_file(tmp_path, parts):
    bundle = Bundle.write(tmp_path / "new" / "folder" / "a.qblif", **parts)
    assert os.listdir(bundle.path.parent) == ["a.qblif"]
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(bundle.path.stat().st_mode) == 0o666 & ~umask


def test_the_build_hash_is_the_hardwares_own():
    params = pytest.importorskip("qblif.hw.params", reason="amaranth is not installed")
    design = params.DesignParams((params.CoreParams(), params.CoreParams(trace=True)))
    untraced = params.DesignParams((params.CoreParams(), params.CoreParams()))
    assert abi.build_hash(design.to_dict()) == design.build_hash == untraced.build_hash


@pytest.mark.parametrize("change, words", [
    ({"program": np.zeros(9, np.uint32)}, "begins with 0x00000000"),
    ({"program": np.zeros(9, np.int64)}, "a vector of uint32, not int64"),
    ({"design": {"abi": abi.ABI_VERSION, "cores": [{"lanes": 32}]}}, "the build hash of the program"),
    ({"golden_logits": np.zeros((3, 3), np.int64)}, "the shape of the golden logits"),
    ({"golden_logits": np.zeros((4, 3), np.int32)}, "it holds '<i4', allowed is '<i8'"),
    ({"golden_inputs": np.full((4, 2, 3, 5), 16, np.uint8)}, "golden/inputs.npy does not fit the network"),
    ({"golden_inputs": np.array([None])}, "pickle|Object arrays"),
    ({"scale": float("nan")}, "'scale'"),
    ({"tools": {"numpy": 2}}, "'tools'"),
])
def test_parts_that_contradict_each_other_are_not_written(tmp_path, parts, change, words):
    path = Bundle.write(tmp_path / "a.qblif", **parts).path
    before = path.read_bytes()
    with pytest.raises((BundleError, ValueError), match=words):
        Bundle.write(path, **{**parts, **change})
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["a.qblif"]


def test_a_bundle_that_cannot_be_written_leaves_the_old_one(bundle, parts, monkeypatch):
    before = bundle.path.read_bytes()

    def full(_):
        raise OSError(28, "No space left on device")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BundleError, match="cannot write the bundle .*: No space left on device"):
        Bundle.write(bundle.path, **{**parts, "name": "other"})
    assert bundle.path.read_bytes() == before and os.listdir(bundle.path.parent) == [bundle.path.name]


def test_a_path_below_a_file_is_a_clear_error(bundle, parts):
    with pytest.raises(BundleError, match="cannot write the bundle"):
        Bundle.write(bundle.path / "a.qblif", **parts)


# --- damage ---------------------------------------------------------------------------------------------------

def test_no_file_a_folder_and_other_files_are_no_bundles(tmp_path):
    with pytest.raises(BundleError, match="cannot read the bundle .*: No such file"):
        Bundle.load(tmp_path / "none.qblif")
    with pytest.raises(BundleError, match="cannot read the bundle .*: Is a directory"):
        Bundle.load(tmp_path)
    for data in (b"", b"PK", b"not a zip file" * 100, bytes(1000)):
        (tmp_path / "a.qblif").write_bytes(data)
        with pytest.raises(BundleError, match="is not a bundle, or is damaged or truncated"):
            Bundle.load(tmp_path / "a.qblif")
    with pytest.raises(BundleError, match="it has no manifest.json"):
        Bundle.load(repack(tmp_path / "b.qblif", {"readme.txt": b"hello"}))


def test_every_truncation_is_noticed(bundle):
    data = bundle.path.read_bytes()
    for length in random.Random(1).sample(range(len(data)), 150):
        bundle.path.write_bytes(data[:length])
        with pytest.raises(BundleError):
            Bundle.load(bundle.path)


def test_every_changed_byte_is_noticed_or_means_nothing(bundle, parts):
    data = bundle.path.read_bytes()
    noticed = 0
    generator = random.Random(2)
    for at in generator.sample(range(len(data)), 400):
        changed = bytearray(data)
        changed[at] ^= 1 << generator.randrange(8)
        bundle.path.write_bytes(changed)
        try:
            loaded = Bundle.load(bundle.path)
        except BundleError:
            noticed += 1
        else:  # a date, an attribute: the contents are what they were
            assert np.array_equal(loaded.program, parts["program"]) and loaded.network == parts["network"]
            assert loaded.input_layout == parts["input_layout"] and loaded.verilog == parts["verilog"]
            assert np.array_equal(loaded.golden_logits, parts["golden_logits"])
    assert noticed > 250


@pytest.mark.parametrize("name", ["program.npy", "verilog/top.sv", "golden/inputs.npy", "golden/logits.npy",
                                  "network.safetensors"])
def test_missing_and_altered_members_are_named(bundle, name):
    members = members_of(bundle)
    data = members.pop(name)
    with pytest.raises(BundleError, match=f"lacks {name}"):
        Bundle.load(repack(bundle.path, members))
    with pytest.raises(BundleError, match=f"{name} was altered"):
        Bundle.load(repack(bundle.path, {**members, name: data[:-1] + bytes([data[-1] ^ 1])}))


def test_a_manifest_that_was_edited_is_noticed(bundle):
    members = members_of(bundle)
    members["manifest.json"] = members["manifest.json"].replace(b'"scale": 0.25', b'"scale": 0.50')
    with pytest.raises(BundleError, match="manifest.json was altered"):
        Bundle.load(repack(bundle.path, members))


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"format": "zip"}'])
def test_manifests_that_are_no_manifest_are_refused(bundle, text):
    with pytest.raises(BundleError, match=r"manifest\.json"):
        Bundle.load(repack(bundle.path, {**members_of(bundle), "manifest.json": text}))


# --- what a forger could write --------------------------------------------------------------------------------

def set_key(key, value):
    return lambda manifest: manifest.update({key: value})


@pytest.mark.parametrize("change, words", [
    (set_key("schema", 2), "has bundle schema 2, this package reads up to 1\n.*upgrade"),
    (set_key("schema", "1"), "'schema' in manifest.json is '1', allowed is a int"),
    (set_key("schema", True), "'schema'"),
    (set_key("abi", 7), f"for ABI version 7, this package has {abi.ABI_VERSION}"),
    (set_key("steps", 3), "the number of time steps is stated as 3 and is 2"),
    (set_key("classes", 10), "the shape of the golden logits"),
    (set_key("classes", 10**30), "'classes'"),
    (set_key("scale", float("inf")), "'scale'"),
    (set_key("scale", -1.0), "'scale'"),
    (set_key("name", 3), "'name'"),
    (set_key("build_hash", "00"), "the build hash of the design is stated as 00"),
    (set_key("program_hash", "00"), "the program hash is stated as 00"),
    (set_key("design", {}), "'design' in manifest.json has no list of cores"),
    (set_key("design", {"abi": abi.ABI_VERSION, "cores": [3]}), "no list of cores"),
    (set_key("design", {"abi": abi.ABI_VERSION, "cores": [{"lanes": 32, "trace": False}]}),
     "the build hash of the design"),
    (set_key("input", {}), "an input layout has the fields"),
    (set_key("members", {}), "has members that its manifest.json does not list"),
    (set_key("members", []), "'members'"),
    (set_key("tools", ["numpy"]), "'tools'"),
    (lambda manifest: manifest["input"].update(shape=[2, 60000, 60000]), "a frame would have .* beats"),
    (lambda manifest: manifest["input"].update(shape=[2, 5, 3]), "golden/inputs.npy does not fit the network"),
    (lambda manifest: manifest["members"].update(other={"size": 1, "sha256": ""}), "lacks other"),
    (lambda manifest: manifest.pop("scale"), "'scale' in manifest.json is None"),
])
def test_manifests_that_contradict_the_rest_are_refused(bundle, change, words):
    with pytest.raises(BundleError, match=words):
        Bundle.load(repack(bundle.path, signed(members_of(bundle), change)))


def test_a_program_for_another_build_is_refused(bundle, fakes):
    other = fakes.image({"abi": abi.ABI_VERSION, "cores": [{"lanes": 32}]})
    with pytest.raises(BundleError, match="the build hash of the program"):
        Bundle.load(repack(bundle.path, signed(members_of(bundle), **{"program.npy": npy(other)})))


def crc_wrong(image):
    image[-1] ^= 1


def version_wrong(image):
    image[1] = 9


@pytest.mark.parametrize("damage, words", [(crc_wrong, "checksum"), (version_wrong, "ABI version 9")])
def test_damaged_programs_are_refused(bundle, fakes, damage, words):
    image = fakes.image()
    damage(image)
    with pytest.raises(BundleError, match=words):
        Bundle.load(repack(bundle.path, signed(members_of(bundle), **{"program.npy": npy(image)})))


def npy_header(text: bytes, payload=b"") -> bytes:
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + payload


@pytest.mark.parametrize("data", [
    b"", b"\x93NUMPY", b"\x93NUMPY\x02\x00" + bytes(20),
    npy_header(b"{'descr': '<u4', 'fortran_order': False, 'shape': (1000000000000000,), }\n", bytes(36)),
    npy_header(b"{'descr': '<u4', 'fortran_order': False, 'shape': (99999999999999999999, 99999999999999999999), }\n"),
    npy_header(b"{'descr': '<u4', 'fortran_order': False, 'shape': (-9,), }\n", bytes(36)),
    npy_header(b"{'descr': '<u4', 'fortran_order': False, 'shape': (-3, -3), }\n", bytes(36)),
    npy_header(b"{'descr': '<u4', 'fortran_order': True, 'shape': (3, 3), }\n", bytes(36)),
    npy_header(b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n", b"\x80\x04N."),
    npy_header(b"{'descr': '>u4', 'fortran_order': False, 'shape': (9,), }\n", bytes(36)),
    npy_header(b"{'descr': '<f8', 'fortran_order': False, 'shape': (9,), }\n", bytes(72)),
    npy_header(b"__import__('os').system('true')\n"), npy_header(b"(" * 5000), npy_header(b"\xff\n"),
    npy_header(b"{'descr': '<u4', 'fortran_order': False, 'shape': (9,), }\n", bytes(36))[:8] + bytes(2)
    + b"{'descr': '<u4', 'fortran_order': False, 'shape': (9,), }\n" + bytes(36),
    npy_header(b"{'descr': ('<u4', (2,) * 9), 'fortran_order': False, 'shape': (9,), }\n"),
])
def test_arrays_that_are_not_what_they_say_are_refused(bundle, data):
    with pytest.raises(BundleError, match="program.npy cannot be used"):
        Bundle.load(repack(bundle.path, signed(members_of(bundle), **{"program.npy": data})))


@pytest.mark.parametrize("name", ["../evil.sh", "/etc/passwd", "golden/../../evil", "C:/evil.exe", "C:evil",
                                  "a\\..\\..\\b", "golden//x", "./x", ".hidden", "x/", "a b", "\u00e9", "~/x"])
def test_members_that_could_land_outside_are_refused(bundle, name):
    with pytest.raises(BundleError, match="unsafe name"):
        Bundle.load(repack(bundle.path, {**members_of(bundle), name: b"x"}))


def test_a_member_that_stands_twice_is_refused(bundle):
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(bundle.path, "a") as file:
        file.writestr("program.npy", b"other")
    with pytest.raises(BundleError, match="has the member 'program.npy' twice"):
        Bundle.load(bundle.path)


def test_a_zip_bomb_is_refused_unread(bundle, monkeypatch):
    members = {**members_of(bundle), "network.safetensors": bytes(50_000_000)}
    repack(bundle.path, signed(members), zipfile.ZIP_DEFLATED)
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda *_: pytest.fail("was read"))
    with pytest.raises(BundleError, match="compressed or encrypted"):
        Bundle.load(bundle.path)


def test_sizes_beyond_the_file_are_refused_unread(bundle, monkeypatch):
    data = bytearray(bundle.path.read_bytes())
    at = data.rfind(b"PK\x01\x02")
    for field in (20, 24):  # compressed and uncompressed size of the last central directory entry
        data[at + field:at + field + 4] = (0xF000_0000).to_bytes(4, "little")
    bundle.path.write_bytes(data)
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda *_: pytest.fail("was read"))
    with pytest.raises(BundleError, match="declares .* bytes of contents, but has only"):
        Bundle.load(bundle.path)


def test_too_many_members_are_refused(tmp_path):
    path = repack(tmp_path / "a.qblif", {f"m{i}": b"" for i in range(1000)})
    with pytest.raises(BundleError, match="1000 members, allowed is 256"):
        Bundle.load(path)


def test_an_encrypted_member_is_refused(bundle):
    data = bytearray(bundle.path.read_bytes())
    data[data.rfind(b"PK\x01\x02") + 8] |= 1
    bundle.path.write_bytes(data)
    with pytest.raises(BundleError, match="compressed or encrypted"):
        Bundle.load(bundle.path)


def test_a_manifest_of_absurd_size_is_refused(bundle):
    with pytest.raises(BundleError, match="allowed is 4194304"):
        Bundle.load(repack(bundle.path, {**members_of(bundle), "manifest.json": b" " * 5_000_000}))


def test_arrays_survive_the_archive_whatever_their_order():
    array = np.arange(24).reshape(2, 3, 4).transpose(2, 0, 1)
    assert np.array_equal(archive.array_from_bytes(npy(array), np.int64), array)
    assert np.array_equal(np.load(io.BytesIO(npy(array)), allow_pickle=False), array)
