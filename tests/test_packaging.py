"""The package as users install it: what it contains, and that the host part needs numpy alone."""

from __future__ import annotations

import ast
import pathlib
import subprocess
import sys
import zipfile

import pytest
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
FOLDERS = PROJECT["tool"]["setuptools"]["package-dir"]

FOLDER_OF_HOST = ROOT / FOLDERS["qblif.host"]

ALSO_ALLOWED = {"selftest.py": {"qblif"}, "serial.py": {"serial"}}
"""File of the host part -> what it may import besides: its own version, and the serial port it drives."""

PACKAGES = {name: ROOT / FOLDERS[name] if name in FOLDERS else
            ROOT / FOLDERS[name.rpartition(".")[0]] / name.rpartition(".")[2]
            for name in PROJECT["tool"]["setuptools"]["packages"]}
"""Name of a package -> its folder."""

HEAVY = ("torch", "amaranth", "rich", "tqdm", "sklearn", "safetensors", "cocotb", "scipy", "pynq", "grpc", "serial")
"""What a board does not have."""

IMPORT_ALL_OF_HOST = f"""
import importlib, importlib.abc, pathlib, pkgutil, sys

class Block(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {HEAVY!r} or name.startswith(("qblif.hw", "qblif.gen", "qblif.sim")):
            raise ModuleNotFoundError(f"{{name}} is not part of the host")

sys.meta_path.insert(0, Block())
import qblif, qblif.cli, qblif.host
names = [info.name for info in pkgutil.iter_modules(qblif.host.__path__)]
for name in names:
    importlib.import_module("qblif.host." + name)
print(len(names), "modules")
"""


def test_every_source_file_belongs_to_a_declared_package():
    for folder in FOLDERS.values():
        for path in (ROOT / folder).rglob("*.py"):
            assert path.parent in PACKAGES.values(), f"{path.parent} is missing in pyproject.toml's packages"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> pathlib.Path:
    """A wheel of the tree, built without the network."""
    out = tmp_path_factory.mktemp("wheel")
    # A build folder of its own: files deleted since the last build stay in the shared one
    build = ("import setuptools.build_meta as b, sys; "
             "b.build_wheel(sys.argv[1], {'--build-option': ['build', '--build-base', sys.argv[1] + '/build']})")
    subprocess.run([sys.executable, "-c", build, str(out)], cwd=ROOT, check=True, capture_output=True)
    return next(out.glob("*.whl"))


def test_the_wheel_contains_every_module_and_data_file(wheel):
    inside = set(zipfile.ZipFile(wheel).namelist())
    for name, folder in PACKAGES.items():
        for path in folder.iterdir():
            if path.suffix in (".py", ".cpp", ".vlt", ".h", ".sv", ".v"):
                assert f"{name.replace('.', '/')}/{path.name}" in inside


def test_the_host_part_imports_with_numpy_alone():
    done = subprocess.run([sys.executable, "-c", IMPORT_ALL_OF_HOST], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


NUMPY = {"oldest": "numpy==1.21.2", "kria": "numpy==1.26.4", "newest": "numpy"}
"""numpy on boards: the first 1.21 with a wheel for Python 3.10, what Kria-PYNQ installs, and what pip takes today."""

USED_BY_TESTS = ("pytest", "hypothesis")
"""What the tests of the host part need beside it."""


def test_the_oldest_numpy_that_is_tested_is_the_oldest_that_is_promised():
    assert PROJECT["project"]["dependencies"] == ["numpy>=1.21"]
    assert PROJECT["project"]["requires-python"] == ">=3.10"
    assert NUMPY["oldest"].startswith("numpy==1.21.")


@pytest.mark.parametrize("numpy", [pytest.param("oldest", marks=pytest.mark.long),
                                   pytest.param("kria", marks=pytest.mark.long), "newest"])
def test_the_host_part_works_and_passes_its_tests_on_python_3_10(python310, tmp_path, wheel, numpy):
    """A wheel in an environment with numpy and nothing else of ours; beside it only what the tests themselves need."""
    subprocess.run([python310, "-m", "venv", tmp_path], check=True)
    programs = tmp_path / "bin"
    install = subprocess.run([programs / "pip", "install", "--quiet", "--no-compile", "--only-binary", ":all:", wheel,
                              NUMPY[numpy], *USED_BY_TESTS], capture_output=True, text=True, check=False)
    if install.returncode:
        pytest.skip(f"python3.10: numpy cannot be installed here: {install.stderr.strip().splitlines()[-1]}")

    def run(*command) -> str:
        # Not in the repository's root, whose own qblif folder would come first
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    found = run(programs / "python", "-c", "import numpy; print(numpy.__version__)").strip()
    assert "==" not in NUMPY[numpy] or found == NUMPY[numpy].partition("==")[2]
    run(programs / "python", "-c", IMPORT_ALL_OF_HOST)
    assert run(programs / "qblif", "version").startswith("qblif ")
    assert "bug report" in run(programs / "qblif", "selftest", "--help")
    # a stub of a board's transport runs images there, and so does the self-test
    passed = run(programs / "pytest", "-q", "-c", "/dev/null", "--rootdir", ROOT, "--import-mode=importlib",
                 "-p", "no:cacheprovider", ROOT / "tests" / "host")
    assert " passed" in passed
    assert " failed" not in passed


def test_the_host_part_imports_the_standard_library_numpy_and_itself_and_pynq_in_one_file_only():
    for path in FOLDER_OF_HOST.rglob("*.py"):
        found = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 10))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                found.add(node.module.partition(".")[0])
        allowed = {"numpy"} | ({"pynq", "grpc"} if path == FOLDER_OF_HOST / "pynq.py" else set())
        allowed |= ALSO_ALLOWED.get(path.name, set())
        assert found - allowed <= set(sys.stdlib_module_names), path
