"""Files that a user names: whatever is wrong with them is a ModelError that says where."""

import pytest

from qblif.gen import ModelError
from qblif.gen.user_module import load_module


@pytest.mark.parametrize(("text", "message"), [
    ("def f(:", r"cannot be run: SyntaxError: .*line 1"),
    ("x = 1\nimport no_such_module_at_all", r"cannot be run: ModuleNotFoundError: .*mine.py, line 2"),
    ("def f():\n    return 1 / 0", r"f of .*mine.py cannot be run: ZeroDivisionError: .*mine.py, line 2"),
    ("g = 1", "has no function 'f'"),
    ("def f(): return 3", "returned a int, needed is a torch.nn.Module"),
])
def test_files_that_give_no_module_are_refused(tmp_path, text, message):
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(ModelError, match=message):
        load_module(f"{tmp_path / 'mine.py'}:f")
