"""New flights start by themselves and once, whatever the watchers do."""

import io
import json
import logging
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from focus_core import log
from focus_core.config import RunLayout, RunSettings
from focus_core.errors import FlightsError
from pipelines.ledger import Ledger
from pipelines.placement import Placement
from pipelines.server import Server, ServerError
from pipelines.watch import AtServer, look, serve

ROOT = Path(__file__).parents[2]


@pytest.fixture
def watching(tmp_path):
    """Opens a watcher of its own at a stand-in, as a process that is started again would."""
    books = []

    def build(server):
        books.append(Ledger(f"sqlite:///{tmp_path}/ledger.db"))
        runner = AtServer(
            Server(server.address, settle_s=0.0), RunLayout.below(tmp_path / "out"), RunSettings(), Placement()
        )
        how = {"settle_s": 0.0, "marker": None, "copies": tmp_path / "copies"}
        return lambda **more: look(tmp_path / "incoming", books[-1], runner, **how, **more)

    yield build
    for book in books:
        book.close()


def states(tmp_path):
    book = Ledger(f"sqlite:///{tmp_path}/ledger.db")
    try:
        return {entry.flight.campaign: (entry.state, entry.run, entry.reason) for entry in book.entries()}
    finally:
        book.close()


def test_each_flight_is_submitted_once_and_followed_to_its_end(arrive, stand_in, watching, tmp_path):
    server = stand_in()
    arrive("flight-1")
    arrive("flight-2")
    step = watching(server)
    assert step().started == ["flight-1", "flight-2"]
    arrive("flight-3")
    assert step().started == ["flight-3"]
    assert watching(server)().started == []  # another process, later
    step()
    assert states(tmp_path)["flight-1"] == ("done", "run-1", "")
    assert len(server.runs) == 3
    (arguments,) = {run["runtime_config"]["parameters"]["campaign_file"] for run in server.runs.values()} & {
        str(tmp_path / "incoming" / "flight-2" / "campaign.yaml")
    }
    assert arguments.endswith("flight-2/campaign.yaml")


def test_a_flight_taken_up_and_submitted_by_hand_is_one_run(arrive, stand_in, submit, watching, tmp_path):
    server, place = stand_in(), arrive("flight-1")
    by_hand = ("campaign", place / "campaign.yaml", "--out", tmp_path / "out", "--server", server.address)
    assert watching(server)().started == ["flight-1"]
    assert submit(*by_hand, "--no-follow").out == "run-1\n"
    (place / "strip.raw").write_text("raw, flown again")  # the campaign file names the header alone
    assert submit(*by_hand, "--no-follow").out == "run-2\n"


def test_what_is_taken_up_is_logged_with_campaign_and_run(arrive, stand_in, watching, monkeypatch):
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    monkeypatch.setattr(logging.getLogger("pipelines.watch"), "handlers", [handler])
    monkeypatch.setattr(logging.getLogger(), "handlers", [handler])
    monkeypatch.setattr(logging.getLogger("pipelines.watch"), "level", logging.INFO)
    monkeypatch.setenv("FOCUS_LOG", "json")
    log.adopt()
    arrive("flight-1")
    watching(stand_in())()
    line = json.loads(stream.getvalue().splitlines()[0])
    assert (line["message"], line["campaign"], line["run"]) == ("flight-1: taken up", "flight-1", "run-1")


def test_a_watcher_that_died_between_submission_and_ledger_does_not_submit_twice(
    arrive, stand_in, watching, tmp_path, monkeypatch
):
    server = stand_in()
    arrive()
    with monkeypatch.context() as patch:
        patch.setattr("pipelines.ledger.LEASE_SECONDS", -1.0)  # its claim is over at once
        patch.setattr(Ledger, "submitted", lambda *_: False)  # and it never came to write the run down
        assert watching(server)().started == ["flight-1"]
    assert states(tmp_path)["flight-1"][:2] == ("claimed", "")
    assert watching(server)().started == ["flight-1"]
    assert states(tmp_path)["flight-1"][:2] == ("submitted", "run-1")
    assert len(server.runs) == 1


def test_a_failed_run_is_on_record_with_its_reason_and_tried_again_when_asked(arrive, stand_in, watching, tmp_path):
    server = stand_in(ends="FAILED", task_error="OOMKilled")
    arrive()
    step = watching(server)
    for _ in range(4):
        step()
    assert states(tmp_path)["flight-1"] == ("failed", "run-1", "tile: OOMKilled")
    assert step().started == []
    assert step(failed_too=True).started == ["flight-1"]
    assert len(server.runs) == 2


def test_a_run_that_was_deleted_at_the_server_does_not_hold_up_the_others(arrive, stand_in, watching, tmp_path):
    server = stand_in()
    arrive()
    step = watching(server)
    step()
    real, server.get = server.get, lambda place: (404, {}) if place.path.endswith("run-1") else real(place)
    arrive("flight-2")
    assert step().started == ["flight-2"]
    assert states(tmp_path)["flight-1"][::2] == ("failed", "the server knows no such run any more; it was deleted")


def test_a_server_that_refuses_fails_the_flight_and_not_the_others(arrive, stand_in, watching):
    server = stand_in()
    step = watching(server)
    arrive("flight-1")
    server.post = lambda *_: (500, {"error": "out of pods"})
    found = step()
    assert "it answered 500: " in found.failed["flight-1"]
    assert "out of pods" in found.failed["flight-1"]


def test_flights_of_one_id_are_kept_apart(arrive, stand_in, watching):
    server = stand_in()
    step = watching(server)
    first = arrive()
    step()
    (first / "strip.raw").write_text("flown again")
    (path,) = step().waiting.items()
    assert "an earlier version of it is being processed" in path[1]
    arrive(folder="copied", content="other")
    told = " ".join(step().waiting.values())
    assert f"'flight-1' is the id of {first / 'campaign.yaml'} too" in told
    assert len(server.runs) == 1


def test_a_single_look_fails_and_a_standing_watcher_goes_on(arrive, stand_in, watching, tmp_path):
    server = stand_in()
    step = watching(server)
    arrive()
    server.post = lambda *_: (500, {"error": "out of pods"})
    with pytest.raises(FlightsError, match=r"flight-1: .*out of pods"):
        serve(step, every_s=None)
    looks = []

    def fail_twice():
        looks.append(1)
        if len(looks) > 2:
            raise KeyboardInterrupt
        raise ServerError("away")

    with pytest.raises(KeyboardInterrupt):
        serve(fail_twice, every_s=0.01)


@pytest.mark.services
def test_ten_watchers_at_once_submit_a_flight_once(arrive, stand_in, tmp_path):
    server = stand_in()
    arrive()
    command = [sys.executable, "-m", "pipelines", "watch", str(tmp_path / "incoming"), "--out", str(tmp_path / "out")]
    command += ["--once", "--settle", "0", "--server", server.address, "--ledger", f"sqlite:///{tmp_path}/ledger.db"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with ThreadPoolExecutor(10) as pool:
        runs = [
            pool.submit(subprocess.run, command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
            for _ in range(10)
        ]
    done = [run.result() for run in runs]
    assert [run.returncode for run in done] == [0] * 10, [run.stderr for run in done]
    assert sum("flight-1: taken up" in run.stderr for run in done) == 1
    assert len(server.runs) == 1


def test_mlflow_behind_a_server_needs_a_ledger_of_its_own(tmp_path):
    command = [sys.executable, "-m", "pipelines", "watch", str(tmp_path), "--out", str(tmp_path / "out"), "--once"]
    command += ["--tracking", "http://mlflow:5000"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "give --ledger URL or set FOCUS_LEDGER" in done.stderr
