"""A small field for each test."""

from pathlib import Path

import pytest

from tests.focus_core.cubes.small_campaign import Field, make_field


@pytest.fixture
def field(tmp_path: Path) -> Field:
    return make_field(tmp_path / "field")
