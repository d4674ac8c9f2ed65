"""docs/data.md lists what there is, and its examples run."""

import re
import runpy
from pathlib import Path

from qblif.gen import data
from qblif.gen.data import augment
from qblif.gen.data.events import Binning

TEXT = (Path(__file__).parents[3] / "docs" / "data.md").read_text(encoding="utf-8")


def test_every_set_stands_in_the_table_with_its_folders_and_options():
    binning = set(Binning.__dataclass_fields__)
    for name, about in data.DATASETS.items():
        row = re.search(rf"^\| `{name}` \|.*$", TEXT, re.M)[0]
        for folder in about.folders:
            assert f"`{folder}`" in row or Path(folder).name in row, (name, folder)
        options = set(about.options())
        assert all(f"`{option}`" in row for option in options - binning), name
        assert ("binning" in row) == (binning <= options)
    assert all(f"| `{option}` |" in TEXT for option in binning)


def test_every_augmentation_stands_in_the_table():
    for name in augment.AUGMENTATIONS:
        assert f"| `{name}` |" in TEXT


def test_the_examples_run(capsys, tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", TEXT, re.S)
    assert len(blocks) == 2
    for block in blocks:
        (tmp_path / "example.py").write_text(block)
        runpy.run_path(str(tmp_path / "example.py"))
    assert "DataSet(digits: 1437 to train" in capsys.readouterr().out
