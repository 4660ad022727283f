import platform
from importlib import metadata
from pathlib import Path

from focus_core import tracking
from focus_core.tracking.environment import commit_of


def test_it_names_what_decides_the_numbers():
    found = tracking.environment()
    assert found["torch"] == metadata.version("torch")
    assert found["python"] == platform.python_version()


def test_a_package_that_no_checkout_tracks_has_nocommit_of(tmp_path: Path):
    (tmp_path / "__init__.py").touch()
    assert commit_of(tmp_path) is None
