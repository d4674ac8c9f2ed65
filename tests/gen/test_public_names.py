"""`from qblif import gen` offers every public name, and says what there is."""

import subprocess
import sys

from qblif import gen


def test_all_public_names_exist_and_have_docstrings():
    for name in gen.__all__:
        assert getattr(gen, name).__doc__, name


def test_the_docstring_lists_all_public_names():
    words = set(gen.__doc__.replace(",", " ").replace(";", " ").replace(":", " ").split())
    assert set(gen.__all__) <= words


def test_torch_is_not_imported_before_it_is_used():
    code = "import sys; from qblif import gen; gen.make_plan; gen.Network; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
