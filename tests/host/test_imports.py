"""The host runs on a board: numpy and the standard library must do, on Python 3.10 too."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import qblif

LIST = """
import sys, {module}
own = {{'qblif', 'numpy'}}
tops = {{name.partition('.')[0] for name in sys.modules}}
print(sorted(top for top in tops if top not in own and top not in sys.stdlib_module_names and top != '__main__'))
print(sorted(name for name in sys.modules if name.startswith('qblif.') and not name.startswith('qblif.host')))
"""


def run(python, code):
    # the folder that holds the package, as this process found it: installed or not
    path = str(Path(qblif.__file__).parent.parent)
    known = os.pathsep.join([path, *(entry for entry in sys.path if entry and "site-packages" not in entry
                                     and entry.endswith(".shim"))])
    return subprocess.run([python, "-c", code], text=True, capture_output=True, timeout=120,
                          env={**os.environ, "PYTHONPATH": known})


def test_the_host_imports_nothing_but_numpy_and_the_standard_library():
    before = run(sys.executable, LIST.format(module="numpy"))
    after = run(sys.executable, LIST.format(module="qblif.host"))
    assert after.returncode == 0, after.stderr
    # site hooks of the environment may import things of their own: numpy alone shows which
    assert after.stdout == before.stdout


def test_importing_the_package_imports_no_numpy():
    done = run(sys.executable, "import sys, qblif; print('numpy' in sys.modules); qblif.open; print('ok')")
    assert done.stdout.split() == ["False", "ok"], done.stderr


def test_an_attribute_that_does_not_exist_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'opne'"):
        _ = qblif.opne
