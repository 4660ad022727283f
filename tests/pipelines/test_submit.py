"""The Kubeflow client against a stand-in over real HTTP; no Kubeflow server was at hand."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipelines.placement import Placement
from pipelines.server import Server, ServerError

ROOT = Path(__file__).parents[2]


def test_a_run_is_submitted_followed_and_its_results_fetched(submit, arrive, stand_in, tmp_path):
    server, place, out = stand_in(), arrive(), tmp_path / "out"
    (out / "flight-1" / "status").mkdir(parents=True)
    (out / "flight-1" / "report.html").write_text("<html>")
    (out / "flight-1" / "status" / "tile.json").write_text("{}")
    done = submit(
        "campaign", place / "campaign.yaml", "--out", out, "--server", server.address, "--fetch", tmp_path / "got"
    )
    assert done.returncode == 0, done.err
    assert done.out == "run-1\n"
    assert [line for line in done.err.splitlines() if line.startswith("run: ")] == [
        "run: pending",
        "run: running",
        "run: succeeded",
    ]
    assert (tmp_path / "got" / "flight-1" / "report.html").read_text() == "<html>"
    assert (tmp_path / "got" / "flight-1" / "status" / "tile.json").is_file()
    parameters = server.runs["run-1"]["runtime_config"]["parameters"]
    assert parameters["report_path"] == str(out / "flight-1" / "report.html")
    again = submit("campaign", place / "campaign.yaml", "--out", out, "--server", server.address, "--no-follow")
    assert (again.out, len(server.runs)) == ("run-1\n", 1)


def test_a_failed_run_says_what_the_server_says(submit, arrive, stand_in, tmp_path):
    server, place = stand_in(ends="FAILED", task_error="OOMKilled"), arrive()
    done = submit("training", place / "campaign.yaml", "--out", tmp_path / "out", "--server", server.address)
    assert done.returncode == 2
    assert "ended as failed: tile: OOMKilled" in done.err
    assert "Traceback" not in done.err


def test_a_season_is_submitted_with_its_list(submit, arrive, stand_in, tmp_path):
    server, place, flights = stand_in(), arrive(), tmp_path / "flights.txt"
    flights.write_text(f"{place / 'campaign.yaml'}\n")
    arguments = ["season", place / "campaign.yaml", "--out", tmp_path / "out", "--server", server.address]
    assert "'season' and --flights go together" in submit(*arguments).err
    done = submit(*arguments, "--flights", flights, "--no-follow")
    assert done.returncode == 0, done.err
    assert server.runs["run-1"]["runtime_config"]["parameters"]["flights_file"] == str(flights)


@pytest.mark.parametrize(
    ("address", "says"),
    [(None, "give --server URL or set FOCUS_KUBEFLOW"), ("http://127.0.0.1:1", "kubectl port-forward")],
)
def test_a_server_that_is_not_there_says_what_to_do(submit, arrive, tmp_path, address, says):
    place = arrive()
    server = ["--server", address] if address else []
    done = submit("campaign", place / "campaign.yaml", "--out", tmp_path / "out", *server)
    assert done.returncode == 2
    assert says in done.err
    assert "Traceback" not in done.err


def test_a_refused_token_is_said(stand_in):
    with pytest.raises(ServerError, match="your token was refused"):
        Server(stand_in(lock_out=True).address)


def test_following_outlives_a_server_that_is_away(stand_in, arrive, tmp_path):
    stood_in = stand_in()
    server = Server(stood_in.address)
    stood_in.runs["run-1"] = {"run_id": "run-1", "display_name": "x", "state": "PENDING"}
    stood_in.looks["run-1"] = 0
    real, said, calls = stood_in.get, [], []

    def away_at_first(place):
        calls.append(place)
        return (503, {"error": "restarting"}) if len(calls) < 3 else real(place)

    stood_in.get = away_at_first
    assert server.follow("run-1", said.append).state == "SUCCEEDED"
    assert "it answered 503" in said[0]
    assert said[-1] == "tile: succeeded"


def hide_until(server, count):
    """Let nobody see a run before so many have asked for one: each of them then submits its own."""
    asked, real = threading.Barrier(count, timeout=180), server.get

    def get(place):
        if place.path.endswith("/runs") and not server.looks:
            asked.wait()
            return 200, {}
        return real(place)

    server.get = get


@pytest.mark.services
def test_ten_submissions_of_a_campaign_at_once_are_one_run(arrive, stand_in, tmp_path):
    server, place = stand_in(), arrive()
    hide_until(server, 10)
    command = [sys.executable, "-m", "pipelines", "submit", "campaign", str(place / "campaign.yaml"), "--no-follow"]
    command += ["--out", str(tmp_path / "out"), "--server", server.address]
    with ThreadPoolExecutor(10) as pool:
        runs = [
            pool.submit(subprocess.run, command, cwd=ROOT, capture_output=True, text=True, check=False)
            for _ in range(10)
        ]
    done = [run.result() for run in runs]
    assert [run.returncode for run in done] == [0] * 10, [run.stderr for run in done]
    assert len(server.looks) == 10
    (first,) = server.runs
    assert {run.stdout for run in done} == {f"{first}\n"}
    assert len(server.deleted) == 9


@pytest.mark.parametrize(
    ("other", "kept"),
    [
        ({"created_at": "2026-06-12T09:00:00Z", "state": "RUNNING"}, "other"),
        ({"created_at": "2126-06-12T09:00:00Z", "state": "RUNNING"}, "run-1"),
        ({"created_at": "2026-06-12T09:00:00Z", "state": "CANCELING"}, "run-1"),
    ],
)
def test_who_submits_at_the_same_moment_keeps_the_first_run(stand_in, other, kept):
    server = stand_in()
    real = server.post

    def post(path, body):
        server.runs["other"] = {"run_id": "other", "display_name": "one name", **other}
        return real(path, {**body, "runtime_config": {"parameters": {}}})

    server.post = post
    assert Server(server.address, settle_s=0.01).submit("campaign", "one name", {}, Placement()) == kept
    assert server.deleted == ([] if kept == "run-1" else ["run-1"])
