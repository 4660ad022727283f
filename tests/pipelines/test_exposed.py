"""What Prometheus reads of a standing watcher."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from focus_core.errors import MissingInputError, SettingsError
from pipelines.exposed import Exposed
from pipelines.ledger import LedgerError
from pipelines.watch import Round

ROOT = Path(__file__).parents[2]


def shown(port):
    """Values by name, as a scrape reads them."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    found = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name.removeprefix("focus_watch_"): float(value) for name, value in found.items() if "_created" not in name}


def raising(error):
    def look():
        raise error

    return look


def test_looks_are_counted_by_what_they_came_to():
    exposed = Exposed()
    port = exposed.serve(0)
    before = time.time()
    exposed.counted(lambda: Round(started=["a", "b"], failed={"c": "no"}, waiting={"d": "", "e": ""}, seen=4))()
    ended = shown(port).pop("last_scan_timestamp_seconds")
    for error in (LedgerError("away"), MissingInputError("no folder")):
        with pytest.raises(type(error)):
            exposed.counted(raising(error))()
    found = shown(port)
    assert before <= ended <= time.time()
    assert found == {
        "scans_total": 3.0,
        "scan_errors_total": 2.0,
        "ledger_errors_total": 1.0,
        "campaigns_seen_total": 4.0,
        "campaigns_started_total": 2.0,
        "campaigns_failed_total": 1.0,
        "campaigns_waiting": 2.0,
        "last_scan_timestamp_seconds": ended,  # of the look that went well
    }


def test_a_port_that_is_taken_is_said():
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        with pytest.raises(SettingsError, match=r"--metrics-port \d+ cannot be opened.*choose another"):
            Exposed().serve(taken.getsockname()[1])


def test_a_standing_watcher_is_scraped(arrive, stand_in, tmp_path):
    server = stand_in()
    arrive()
    command = [sys.executable, "-m", "pipelines", "watch", str(tmp_path / "incoming"), "--out", str(tmp_path / "out")]
    command += ["--settle", "0", "--server", server.address, "--ledger", f"sqlite:///{tmp_path}/ledger.db"]
    command += ["--metrics-port", "0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True) as watcher:
        try:
            port = int(next(line for line in watcher.stderr if "metrics are shown" in line).split()[-1])
            assert any("flight-1: taken up" in line for line in watcher.stderr)
            deadline = time.monotonic() + 60
            while shown(port)["campaigns_started_total"] != 1.0:  # the line comes before the look has ended
                assert time.monotonic() < deadline
                time.sleep(0.05)
        finally:
            watcher.terminate()
    assert len(server.runs) == 1
