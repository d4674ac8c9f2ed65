"""What all tests share: the environment they run in, and what happens where a tool is missing.

A test that needs Icarus Verilog carries `@pytest.mark.icarus`, one that needs tclsh `@pytest.mark.tcl`, one that needs
real data `@pytest.mark.datasets("mnist")` (a set of `qblif.gen.data`, looked for in $QBLIF_DATA), one that needs
Python 3.10 takes the fixture `python310`; without the tool they are skipped and say why. Continuous integration sets
``QBLIF_REQUIRE=icarus,python3.10``: a skip for the want of one of these is then a failure.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess

import hypothesis
import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Several test processes share the machine: one thread each. Set before anything imports torch.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Builds of simulators are kept in the repository's own cache, as `make sim` does.
os.environ.setdefault("QBLIF_CACHE", str(ROOT / "build" / "cache"))

# No deadline: how long an example takes says more about the machine. A failure prints what reproduces it.
hypothesis.settings.register_profile("qblif", deadline=None, print_blob=True,
                                     suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("qblif")

MARKERS = {"icarus": "icarus", "python310": "python3.10", "tcl": "tcl", "pynq": "pynq", "datasets": "datasets"}
"""Marker -> the name of what it needs, as QBLIF_REQUIRE spells it."""


def required() -> set[str]:
    """Return what must not be missing on this machine."""
    return {name.strip() for name in os.environ.get("QBLIF_REQUIRE", "").split(",") if name.strip()}


def pytest_configure(config):
    unknown = required() - set(MARKERS.values())
    if unknown:
        raise pytest.UsageError(f"QBLIF_REQUIRE names {sorted(unknown)}; known are {sorted(MARKERS.values())}")


def pytest_collection_modifyitems(items):
    for item in items:
        if "python310" in getattr(item, "fixturenames", ()):
            item.add_marker("python310")


def pytest_runtest_setup(item):
    if item.get_closest_marker("icarus") and shutil.which("iverilog") is None:
        pytest.skip("icarus is missing: no iverilog on PATH (Debian: apt install iverilog)")
    for name in getattr(item.get_closest_marker("datasets"), "args", ()):
        if not _has_data_set(name):
            pytest.skip(f"datasets are missing: no {name} in QBLIF_DATA={os.environ.get('QBLIF_DATA', '')}")
    if item.get_closest_marker("tcl") and shutil.which("tclsh") is None:
        pytest.skip("tcl is missing: no tclsh on PATH (Debian: apt install tcl)")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = str(report.longrepr[2])
        missing = {name for name in required() if name in reason.lower()}
        missing |= {name for marker, name in MARKERS.items() if item.get_closest_marker(marker)} & required()
        if missing:
            report.outcome = "failed"
            report.longrepr = f"QBLIF_REQUIRE asks for {', '.join(sorted(missing))}, but: {reason}"
    return report


def _has_data_set(name: str) -> bool:
    """Return whether the folder of a data set is in $QBLIF_DATA."""
    from qblif.gen.data import DATASETS

    root = os.environ.get("QBLIF_DATA")
    return bool(root) and any((pathlib.Path(root) / folder).is_dir() for folder in DATASETS[name].folders)


def _find_python310() -> str | None:
    """Return a Python 3.10 that starts; version managers leave commands that do not."""
    versions = sorted(pathlib.Path(os.environ.get("PYENV_ROOT", pathlib.Path.home() / ".pyenv")).glob(
        "versions/3.10*/bin/python3.10"))
    for candidate in ("python3.10", *map(str, versions)):
        found = shutil.which(candidate)
        if found and subprocess.run([found, "--version"], capture_output=True, check=False).returncode == 0:
            return found
    return None


@pytest.fixture(scope="session")
def python310() -> str:
    """Path of a working Python 3.10 interpreter; numpy may be missing there."""
    found = _find_python310()
    if found is None:
        pytest.skip("python3.10 is missing: none on PATH, none of pyenv's")
    return found
