"""The same registry behind a real MLflow server, which answers in other types and checks where models come from."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from focus_core import tracking
from focus_core.errors import RegistryError

pytestmark = pytest.mark.services


def answers(url):
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


@pytest.fixture
def server(migrated_database, registry, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{registry}", "--serve-artifacts"]
    command += ["--artifacts-destination", str(registry.parent / "served")]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (registry.parent / "server.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
    try:
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 120
        while not answers(f"{url}/health"):
            assert process.poll() is None, (registry.parent / "server.log").read_text()
            assert time.monotonic() < deadline, "the server did not come up"
            time.sleep(0.5)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
        yield url
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def test_register_promote_fetch_roll_back_and_delete_through_a_server(server, register, gate):
    for number in (1, 2):
        assert register() == number
        tracking.promote("focus", number, **gate)
    assert tracking.champion("focus") == 2
    fetched = tracking.fetch_model("models:/focus@champion")
    assert sorted(path.name for path in fetched.iterdir()) == ["focus.json", "focus.safetensors"]
    assert tracking.fetch_backbone("models:/focus-backbone/1").is_dir()
    tracking.rollback("focus", reason="tried out")
    assert tracking.champion("focus") == tracking.champions(tracking.audit("focus"))[-1] == 1
    with pytest.raises(RegistryError, match="is its champion"):
        tracking.delete_version("focus", 1)
    with pytest.raises(RegistryError, match="backbone version 1 carries models:/focus/1, models:/focus/2"):
        tracking.delete_version("focus-backbone", 1)
    tracking.delete_version("focus", 2)
