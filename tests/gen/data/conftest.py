"""What the tests of data sets share."""

import pytest


@pytest.fixture
def own_cache(monkeypatch, tmp_path):
    """An empty cache folder, so that nothing is found that another test has left."""
    monkeypatch.setenv("QBLIF_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
