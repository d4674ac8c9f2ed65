"""The host runs on a board: numpy and the standard library must do, on Python 3.10 too."""

import subprocess
import sys

import pytest

import qblif

LIST = """
import sys, {module}
own = {{'qblif', 'numpy'}}
tops = {{name.partition('.')[0] for name in sys.modules}}
print(sorted(top for top in tops if top not in own and top not in sys.stdlib_module_names and top != '__main__'))
print(sorted(name for name in sys.modules if name.startswith('qblif.') and not name.startswith('qblif.host')))
"""


@pytest.fixture
def run(tmp_path):
    """Runs code in a fresh interpreter, away from the repository's root, whose qblif folder is not the package."""
    def run_code(code):
        done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, timeout=120, cwd=tmp_path,
                              check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout
    return run_code


def test_the_host_imports_nothing_but_numpy_and_the_standard_library(run):
    # site hooks of the environment may import things of their own: numpy alone shows which
    assert run(LIST.format(module="qblif.host")) == run(LIST.format(module="numpy"))


def test_importing_the_package_imports_no_numpy(run):
    assert run("import sys, qblif; print('numpy' in sys.modules); qblif.open; print('ok')").split() == ["False", "ok"]


def test_an_attribute_that_does_not_exist_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'opne'"):
        _ = qblif.opne
