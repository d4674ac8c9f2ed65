"""Unmodified pynq 3.0.1, 3.1.2 and 4.0.0 drive a virtual board: the checks beside this file, in their environments.

`make test-pynq` makes the environments. Where one is missing its tests are skipped.
"""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

from . import environments
from .case import make_case

HERE = pathlib.Path(__file__).parent
LIMIT = 900
"""Seconds for the checks of one version, on a busy machine."""


def run_checks(version: str, checks: str, least: int) -> None:
    """Run a file of checks in an environment; at least so many have to pass, and none may be skipped."""
    if not environments.ready(version):
        pytest.skip(f"pynq {version} is missing: `make test-pynq` makes {environments.FOLDER / version}")
    environment = os.environ | {
        "QBLIF_PYNQ_CASE": str(make_case()), "QBLIF_PYNQ_VERSION": version,
        "QBLIF_PYNQ_SERVE": json.dumps([sys.executable, str(HERE / "serve.py")])}
    environment.pop("PYNQ_REMOTE_DEVICES", None)
    done = subprocess.run(
        # A root of its own: from the repository's, the checks would be imported as part of pynq's package `tests`
        [environments.python(version), "-m", "pytest", "-q", "--import-mode=importlib", "-p", "no:cacheprovider",
         "-W", "ignore", "-c", os.devnull, "--rootdir", HERE, "--confcutdir", HERE, HERE / checks],
        cwd=environments.FOLDER, env=environment, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert done.returncode == 0, f"{done.stdout[-6000:]}\n{done.stderr[-3000:]}"
    counts = {what: int(count) for count, what in re.findall(r"(\d+) (passed|skipped|failed)", done.stdout)}
    assert counts.get("passed", 0) >= least and set(counts) == {"passed"}, done.stdout[-3000:]


@pytest.mark.pynq
@pytest.mark.parametrize("version", [
    pytest.param("3.0.1", marks=pytest.mark.long), pytest.param("3.1.2", marks=pytest.mark.long), "4.0.0"])
def test_pynq_drives_a_board_in_its_process(version):
    run_checks(version, "checks_device.py", 19)


@pytest.mark.pynq
@pytest.mark.parametrize("version", [pytest.param("3.1.2", marks=pytest.mark.long), "4.0.0"])
def test_pynq_drives_a_board_over_grpc(version):
    run_checks(version, "checks_remote.py", 11)
