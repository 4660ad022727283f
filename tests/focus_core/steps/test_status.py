import os
import signal
import subprocess
import sys

import pytest

from focus_core.config import TileSettings
from focus_core.errors import MissingInputError
from focus_core.steps._status import recorded, statuses
from focus_core.steps.tile import tile

KILLED = """
import os, signal
from focus_core.steps._status import recorded
@recorded("target_uri")
def step(target_uri):
    os.kill(os.getpid(), signal.SIGKILL)
step({target!r})
"""


@pytest.fixture
def asked(monkeypatch):
    monkeypatch.setenv("FOCUS_STATUS", "status")


@recorded("target_uri")
def write(target_uri, *, settings=None):
    if settings == "defect":
        raise ZeroDivisionError("by zero")
    return {"written": 1.0, "undefined": float("nan")}


def test_a_step_that_fails_leaves_its_reason_and_the_next_success_takes_it_away(asked, tmp_path):
    with pytest.raises(MissingInputError, match="no such campaign file"):
        tile(str(tmp_path / "absent.yaml"), "cube.zarr", str(tmp_path / "tiles.zarr"), settings=TileSettings())
    (status,) = statuses(tmp_path)
    assert (status.verb, status.state) == ("tile", "failed")
    assert status.reason == f"{tmp_path}/absent.yaml: no such campaign file; check the path"
    with pytest.raises(ZeroDivisionError):
        write(str(tmp_path / "target"), settings="defect")
    assert [(item.verb, item.reason) for item in statuses(tmp_path)][1] == ("write", "ZeroDivisionError: by zero")
    assert write(str(tmp_path / "target"))["written"] == 1.0
    done = statuses(tmp_path)[1]
    assert (done.state, done.reason, done.metrics) == ("done", "", {"written": 1.0})


def test_a_killed_step_still_says_that_it_runs(asked, tmp_path):
    code = KILLED.format(target=str(tmp_path / "target"))
    assert subprocess.run([sys.executable, "-c", code], env=os.environ, check=False).returncode == -signal.SIGKILL
    assert [(item.verb, item.state) for item in statuses(tmp_path)] == [("step", "running")]


def test_nothing_is_left_unless_asked_nor_beside_the_registry(tmp_path, monkeypatch):
    monkeypatch.delenv("FOCUS_STATUS", raising=False)
    write(str(tmp_path / "target"))
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv("FOCUS_STATUS", "status")
    monkeypatch.chdir(tmp_path)
    write("models:/focus@champion")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_status_is_passed_over(asked, tmp_path, caplog):
    write(str(tmp_path / "target"))
    (tmp_path / "status" / "other.json").write_text("[")
    assert [item.verb for item in statuses(tmp_path)] == ["write"]
    assert "other.json' is no status of a step" in caplog.text
