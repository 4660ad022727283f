"""Lines of the log are for people or for machines, bear the ids of what they are about, and hold no secret."""

import io
import json
import logging
import os
import subprocess
import sys
import threading

import pytest

from focus_core import log
from focus_core.errors import SettingsError
from focus_core.repeat import repeated
from focus_core.steps._status import recorded


@pytest.fixture
def logged(monkeypatch):
    """Logs as a process would that was started with this format; returns what was written."""
    root, stream = logging.getLogger(), io.StringIO()

    def start(chosen):
        monkeypatch.setenv("FOCUS_LOG", chosen)
        monkeypatch.setattr(root, "handlers", [])
        monkeypatch.setattr(root, "level", logging.INFO)
        monkeypatch.setattr(sys, "stderr", stream)
        log.configure("%(levelname).1s %(name)s: %(message)s")
        return lambda: stream.getvalue().splitlines()

    return start


def test_a_line_of_json_bears_the_ids_that_are_known(logged, monkeypatch):
    monkeypatch.setenv("FOCUS_RUN", "run-7")
    lines = logged("json")
    logging.info("before")
    with log.about(campaign="flight-1"), log.about(step="tile"):
        logging.getLogger("focus_core.steps.tile").warning("%d windows\nof „plots“", 7)
    with log.about(run="run-8"):
        logging.info("another's")
    first, second, third = map(json.loads, lines())
    assert first["time"].endswith("+00:00")
    assert {key: value for key, value in first.items() if key != "time"} == {
        "level": "INFO", "logger": "root", "message": "before", "run": "run-7"
    }  # fmt: skip
    assert second["message"] == "7 windows\nof „plots“"
    assert [second[key] for key in ("level", "logger", "run", "campaign", "step")] == [
        "WARNING", "focus_core.steps.tile", "run-7", "flight-1", "tile"
    ]  # fmt: skip
    assert (third["run"], "campaign" in third) == ("run-8", False)


def test_a_traceback_stays_in_its_line(logged):
    lines = logged("json")
    logging.error("a defect", exc_info=ZeroDivisionError("by zero"))
    (line,) = map(json.loads, lines())
    assert "ZeroDivisionError: by zero" in line["traceback"]


@pytest.mark.parametrize("chosen", ["", "text"])
def test_without_being_asked_a_line_is_for_people(logged, chosen):
    lines = logged(chosen)
    with log.about(campaign="flight-1"):
        logging.getLogger("focus_core").warning("dark")
    assert lines() == ["W focus_core: dark"]


@pytest.mark.parametrize("chosen", ["json", "text"])
def test_no_secret_is_in_a_line(logged, monkeypatch, chosen):
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "hidden-word")  # pragma: allowlist secret
    monkeypatch.setenv("FOCUS_WEBHOOK", "https://hooks.example.com/hidden-path")
    lines = logged(chosen)
    logging.info("as focus with hidden-word at https://hooks.example.com/hidden-path")
    logging.info("connection to %s", "postgresql://focus:hidden-too@db:5432/focus")  # pragma: allowlist secret
    logging.error("could not", exc_info=OSError("hidden-word"))
    text = "\n".join(lines())
    assert "hidden" not in text
    assert "postgresql://focus:***@db:5432/focus" in text


def test_another_word_is_refused(monkeypatch):
    command = [sys.executable, "-m", "focus_core", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "FOCUS_LOG": "xml"})
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "focus: FOCUS_LOG is 'xml'; give json, or text for people\n"
    monkeypatch.setenv("FOCUS_LOG", "xml")
    with pytest.raises(SettingsError):
        log.configure("")


def test_an_error_of_the_user_is_a_line_too(tmp_path):
    command = [sys.executable, "-m", "focus_core", "tile", str(tmp_path / "absent.yaml"), "cube.zarr", "tiles.zarr"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "FOCUS_LOG": "json"})
    assert done.returncode == 2
    (line,) = map(json.loads, done.stderr.splitlines())
    assert line["level"] == "ERROR"
    assert "no such campaign file" in line["message"]


@recorded("tiles_uri")
def step(tiles_uri):
    said = threading.Event()

    def say():
        logging.getLogger("focus_core").warning("still at it")
        said.set()

    with repeated(say, every_s=0.01):
        assert said.wait(30)
    raise ZeroDivisionError("by zero")


def test_a_step_s_lines_bear_its_name_and_campaign_on_its_threads_too(logged, monkeypatch, tmp_path):
    monkeypatch.setenv("FOCUS_STATUS", "status")
    lines = logged("json")
    with pytest.raises(ZeroDivisionError):
        step(str(tmp_path / "flight-1" / "tiles.zarr"))
    found = [json.loads(line) for line in lines()]
    assert {(line["campaign"], line["step"]) for line in found} == {("flight-1", "step")}
    assert found[0]["message"] == "still at it"
    assert found[-1]["message"].startswith("step: failed after ")
    assert found[-1]["message"].endswith("s: ZeroDivisionError: by zero")


def test_a_run_has_an_id_of_its_own_unless_it_was_given_one(monkeypatch):
    monkeypatch.setenv("FOCUS_RUN", "")
    log.begin_run()
    first = os.environ["FOCUS_RUN"]
    assert first
    log.begin_run()
    assert os.environ["FOCUS_RUN"] == first
    log.begin_run(anew=True)
    assert os.environ["FOCUS_RUN"] != first
