"""The same registry behind a real MLflow server, which answers in other types and checks where models come from."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest
import requests
from mlflow.exceptions import MlflowException

from focus_core import tracking
from focus_core.errors import RegistryError
from focus_core.tracking.server import client

pytestmark = pytest.mark.services


def answers(url):
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextmanager
def mlflow_server(folder, database, *options, **variables):
    """A real MLflow server in front of a database; yields its address."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", database, "--serve-artifacts", *options]
    command += ["--artifacts-destination", str(folder / "served")]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (folder / "server.log").open("a") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env={**environment, **variables}, start_new_session=True
        )
    try:
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 240
        while not answers(f"{url}/health"):
            assert process.poll() is None, (folder / "server.log").read_text()
            assert time.monotonic() < deadline, "the server did not come up"
            time.sleep(0.5)
        yield url
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


@pytest.fixture
def server(migrated_database, registry, monkeypatch):
    with mlflow_server(registry.parent, f"sqlite:///{registry}") as url:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
        yield url


class Line:
    """What lies between a client and MLflow: hands requests on, and can be cut."""

    def __init__(self, server):
        self.requests, self.lose_answer_of, self.cut, self.cut_after = 0, None, False, None
        target, owner = urlsplit(server), self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def hand_on(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if owner.cut:
                    self.close_connection = True
                    return
                owner.requests += 1
                number = owner.requests
                behind = http.client.HTTPConnection(target.hostname, target.port, timeout=60)
                kept = {key: value for key, value in self.headers.items() if key.lower() not in ("host", "connection")}
                behind.request(self.command, self.path, body=body or None, headers=kept)
                answer = behind.getresponse()
                content = answer.read()
                behind.close()
                if owner.cut_after and self.path.endswith(owner.cut_after):
                    owner.cut = True
                if number == owner.lose_answer_of:  # the server has done it, nobody hears of it
                    self.close_connection = True
                    return
                self.send_response(answer.status)
                for key, value in answer.getheaders():
                    if key.lower() not in ("transfer-encoding", "content-length", "connection", "date", "server"):
                        self.send_header(key, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = hand_on

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def line(server, monkeypatch):
    between = Line(server)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", between.address)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_JITTER", "0")
    yield between
    between.close()


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


@pytest.mark.timeout(900)
def test_an_answer_lost_at_any_moment_of_a_promotion_leaves_one_promotion(line, register, gate):
    """MLflow's client sends again what the server has done already, the audit record among it."""
    for _ in range(2):
        register()
    gate["not_below_champion_by"] = {}
    tracking.promote("focus", 1, **gate)
    line.requests = 0
    tracking.promote("focus", 2, **gate)
    needed, promoted = line.requests, 2
    for number in range(1, needed + 1):
        line.requests, line.lose_answer_of = 0, number
        challenger = 1 if promoted % 2 == 0 else 2
        assert tracking.promote("focus", challenger, **gate).to_version == challenger
        assert line.requests > needed, "nothing was sent again: the answer was not lost"
        promoted += 1
        line.lose_answer_of = None
        trail = tracking.audit("focus")
        assert tracking.champion("focus") == tracking.champions(trail)[-1] == challenger
        assert [item.sequence for item in trail] == list(range(1, promoted + 1))
        assert all(item.moved for item in trail)


@pytest.mark.timeout(600)
def test_mlflow_away_in_the_middle_of_a_promotion_is_waited_for(line, register, gate):
    """Shortened to three seconds; MLflow's client asks seven times, which bridges half a minute and more."""
    number = register()
    line.requests = 0

    def cut_in_the_middle():
        while line.requests < 4:
            time.sleep(0.001)
        line.cut = True
        time.sleep(3)
        line.cut = False

    with ThreadPoolExecutor(1) as pool:
        cutting = pool.submit(cut_in_the_middle)
        record = tracking.promote("focus", number, **gate)
        cutting.result()
    assert record.moved
    assert tracking.audit("focus") == [record]
    assert tracking.champion("focus") == number


@pytest.mark.timeout(600)
def test_mlflow_that_stays_away_is_said_and_a_second_attempt_promotes_once(line, register, gate, monkeypatch):
    for _ in range(2):
        register()
    tracking.promote("focus", 1, **gate)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    line.cut_after = "runs/create"  # the audit record is written, the alias not moved
    with pytest.raises(
        RegistryError, match=r"(?s)MLflow at http.* could not make version 2.*check that it runs"
    ) as told:
        tracking.promote("focus", 2, **gate)
    assert "MLFLOW_TRACKING_URI names it" in str(told.value)
    line.cut, line.cut_after = False, None
    assert tracking.champion("focus") == 1
    tracking.promote("focus", 2, **gate)
    assert [item.state for item in tracking.audit("focus")] == ["done", "interrupted", "done"]
    assert tracking.champion("focus") == tracking.champions(tracking.audit("focus"))[-1] == 2
    assert sum(item.moved and item.to_version == 2 for item in tracking.audit("focus")) == 1


@pytest.mark.timeout(1200)
def test_a_hundred_promotions_and_rollbacks_at_once_on_postgresql_replay_to_the_champion(
    postgres, registry, register, gate, monkeypatch
):
    with mlflow_server(registry.parent, postgres) as url:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
        gate["not_below_champion_by"] = {}
        numbers = [register() for _ in range(3)]
        tracking.promote("focus", numbers[0], **gate)
        tracking.promote("focus", numbers[1], **gate)

        def act(index):
            if index % 4 == 3:
                with suppress(RegistryError):  # no earlier champion at this moment
                    tracking.rollback("focus", reason="turn and turn about")
            else:
                tracking.promote("focus", numbers[index % 3], **gate)

        with ThreadPoolExecutor(10) as pool:
            list(pool.map(act, range(100)))
        trail = tracking.audit("focus")
        assert [item.sequence for item in trail] == list(range(1, len(trail) + 1))
        assert all(item.state == "done" for item in trail)
        assert [item.from_version for item in trail[1:]] == [item.to_version for item in trail[:-1]]
        assert tracking.champion("focus") == tracking.champions(trail)[-1]


@pytest.mark.timeout(600)
def test_who_is_not_known_or_may_only_read_neither_promotes_nor_deletes(registry, register, gate, monkeypatch):
    pytest.importorskip("flask_wtf", reason="MLflow's basic-auth needs Flask-WTF, which is not installed")
    folder = registry.parent
    (folder / "basic_auth.ini").write_text(
        f"[mlflow]\ndefault_permission = READ\ndatabase_uri = sqlite:///{folder}/auth.db\nadmin_username = admin\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
    )
    variables = {
        "MLFLOW_AUTH_CONFIG_PATH": str(folder / "basic_auth.ini"),
        "MLFLOW_AUTH_ADMIN_PASSWORD": "word-of-the-admin",
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "key-of-this-test",
    }
    with mlflow_server(folder, f"sqlite:///{registry}", "--app-name", "basic-auth", **variables) as url:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", url)

        def become(name, password):
            monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", name)
            monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", password)

        for name in ("trainer", "reader"):
            person = {"username": name, "password": f"word-of-the-{name}"}
            made = requests.post(f"{url}/api/2.0/mlflow/users/create", json=person, auth=("admin", "word-of-the-admin"))
            made.raise_for_status()
        become("trainer", "word-of-the-trainer")
        for _ in range(2):
            register()
        tracking.promote("focus", 1, **gate)

        become("reader", "word-of-the-reader")
        assert tracking.champion("focus") == 1
        for attempt in (
            lambda: tracking.promote("focus", 2, **gate),
            lambda: tracking.rollback("focus", reason="would like another"),
            lambda: tracking.delete_version("focus", 2),
            lambda: client().set_registered_model_alias("focus", "champion", "2"),
            lambda: client().delete_registered_model_alias("focus", "champion"),
        ):
            with pytest.raises((RegistryError, MlflowException)) as refusal:
                attempt()
            assert "ermission denied" in str(refusal.value) or "no earlier champion" in str(refusal.value)
        become("nobody", "guessed")
        for attempt in (
            lambda: tracking.promote("focus", 2, **gate),
            lambda: tracking.delete_version("focus", 2),
            lambda: tracking.audit("focus"),
        ):
            with pytest.raises(RegistryError, match=r"not authenticated|401"):
                attempt()
        become("trainer", "word-of-the-trainer")
        assert [(item.who, item.to_version) for item in tracking.audit("focus")] == [("trainer", 1)]
        assert tracking.champion("focus") == 1
        assert tracking.find_version("models:/focus/2", name="focus").number == 2
