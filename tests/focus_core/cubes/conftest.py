"""A small field for each test, and the folder of real data."""

import os
from pathlib import Path

import pytest

from tests.focus_core.cubes.small_campaign import Field, make_field


@pytest.fixture
def field(tmp_path: Path) -> Field:
    return make_field(tmp_path / "field")


@pytest.fixture
def real_data(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of real data, also set for the campaign files; skips where it is absent."""
    default = Path(__file__).parents[4] / "shared" / "data"
    folder = Path(os.environ.get("FOCUS_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no real data in {folder}; set FOCUS_DATA")
    monkeypatch.setenv("FOCUS_DATA", str(folder))
    return folder
