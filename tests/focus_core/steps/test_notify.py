import json
import socketserver
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from focus_core.config import NotifySettings
from focus_core.errors import NotifyError, SettingsError
from focus_core.steps.notify import notify
from focus_core.tracking.server import client

FAILED = {"verb": "explain", "state": "failed", "started": 2.0, "seconds": 1.0, "reason": "the model has no champion"}
KILLED = {"verb": "tile", "state": "running", "started": 1.0}
DONE = {"verb": "ingest", "state": "done", "started": 0.0}
MAIL = NotifySettings(mail_to=("night@example.org", "day@example.org"), mail_from="focus@example.org")


@pytest.fixture
def flight(tmp_path):
    def build(*statuses):
        folder = tmp_path / "flight-1"
        (folder / "status").mkdir(parents=True, exist_ok=True)
        for status in statuses:
            (folder / "status" / f"{status['verb']}.json").write_text(json.dumps(status))
        return str(folder)

    return build


def serving(server):
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


@pytest.fixture
def webhook(monkeypatch):
    """What a real web server was sent; answers what ``answer`` holds."""
    got = []

    class Handler(BaseHTTPRequestHandler):
        answer = 200

        def do_POST(self):
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(Handler.answer)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    monkeypatch.setenv("FOCUS_WEBHOOK", f"http://127.0.0.1:{serving(server)}/hook-with-a-secret-in-it")
    yield got, Handler
    server.shutdown()
    server.server_close()


@pytest.fixture
def mailbox(monkeypatch):
    """What a real mail server took."""
    got = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self):
            self.wfile.write(b"220 ready\r\n")
            data = None
            for line in self.rfile:
                if data is not None:
                    if line == b".\r\n":
                        got.append(b"".join(data).decode())
                        data = None
                        self.wfile.write(b"250 taken\r\n")
                    else:
                        data.append(line)
                elif line.upper().startswith(b"DATA"):
                    data = []
                    self.wfile.write(b"354 go on\r\n")
                elif line.upper().startswith(b"QUIT"):
                    self.wfile.write(b"221 bye\r\n")
                    return
                else:
                    self.wfile.write(b"250 fine\r\n")

    server = socketserver.TCPServer(("127.0.0.1", 0), Handler)
    monkeypatch.setenv("FOCUS_SMTP", f"smtp://127.0.0.1:{serving(server)}")
    yield got
    server.shutdown()
    server.server_close()


def test_what_failed_and_why_reaches_webhook_and_mail(flight, webhook, mailbox):
    folder = flight(DONE, FAILED, KILLED)
    assert notify("campaign.yaml", [folder, folder], settings=MAIL) == {"failed": 2.0, "told": 2.0}
    ((message,), _), (mail,) = webhook, mailbox
    assert message["title"] == "FOCUS: campaign.yaml: failed"
    assert message["failures"] == [
        "flight-1: tile: was killed or lost its machine; no reason was left, see its pod",
        "flight-1: explain: the model has no champion",
    ]
    assert "To: night@example.org, day@example.org" in mail
    assert "flight-1: explain: the model has no champion" in mail


def test_a_run_that_went_well_is_told_of_only_where_asked(flight, webhook):
    folder = flight(DONE)
    assert notify("campaign.yaml", [folder], settings=NotifySettings()) == {"failed": 0.0, "told": 0.0}
    assert webhook[0] == []
    assert notify("campaign.yaml", [folder], settings=NotifySettings(on_success=True))["told"] == 1.0
    assert webhook[0][0]["title"] == "FOCUS: campaign.yaml: done"


def test_a_run_that_left_damaged_cubes_out_is_told_of(flight, webhook):
    folder = flight({**DONE, "metrics": {"cubes_left_out": 2.0}})
    assert notify("campaign.yaml", [folder], settings=NotifySettings()) == {"failed": 0.0, "told": 1.0}
    ((message,), _) = webhook
    assert message["title"] == "FOCUS: campaign.yaml: done in part"
    assert message["failures"] == []
    assert "flight-1: ingest: damaged cubes left out: 2; the log and the reports name them" in message["text"]
    assert notify("campaign.yaml", [flight(FAILED)], settings=NotifySettings())["failed"] == 1.0
    assert webhook[0][1]["title"].endswith(": failed")
    assert "damaged cubes left out: 2" in webhook[0][1]["text"]


def test_a_run_that_never_began_is_told_of(tmp_path, webhook):
    assert notify("campaign.yaml", [str(tmp_path)], settings=NotifySettings())["failed"] == 1.0
    assert "ended before its first step began" in webhook[0][0]["text"]


def test_without_a_channel_the_log_holds_the_message(flight, caplog, monkeypatch):
    monkeypatch.delenv("FOCUS_WEBHOOK", raising=False)
    monkeypatch.delenv("FOCUS_SMTP", raising=False)
    assert notify("campaign.yaml", [flight(FAILED)], settings=MAIL) == {"failed": 1.0, "told": 0.0}
    assert "flight-1: explain: the model has no champion" in caplog.text


def test_a_subject_cannot_add_a_header(flight, mailbox, webhook):
    notify("campaign.yaml\r\nBcc: other@example.org", [flight(FAILED)], settings=MAIL)
    assert "Subject: FOCUS: campaign.yaml Bcc: other@example.org: failed" in mailbox[0].replace("\r\n ", " ")
    assert "\nBcc:" not in mailbox[0]


def test_a_channel_that_refuses_is_named_without_its_secret(flight, webhook, monkeypatch):
    webhook[1].answer = 500
    with pytest.raises(NotifyError, match=r"the webhook at 127\.0\.0\.1 did not take the message") as told:
        notify("campaign.yaml", [flight(FAILED)], settings=NotifySettings())
    assert "secret" not in str(told.value)
    monkeypatch.delenv("FOCUS_WEBHOOK")
    monkeypatch.setenv("FOCUS_SMTP", "smtp://focus:hidden-word@127.0.0.1:1")
    with pytest.raises(NotifyError, match="the mail server 127") as told:
        notify("campaign.yaml", [flight(FAILED)], settings=MAIL)
    assert "hidden-word" not in str(told.value)


@pytest.mark.parametrize("address", ["file:///etc/passwd", "hooks.example.org", "ftp://x/y"])
def test_an_address_of_another_kind_is_refused(flight, monkeypatch, address):
    monkeypatch.setenv("FOCUS_WEBHOOK", address)
    with pytest.raises(SettingsError, match=r"FOCUS_WEBHOOK holds no http"):
        notify("campaign.yaml", [flight(FAILED)], settings=NotifySettings())


def test_the_figures_of_every_finished_step_are_a_run_of_mlflow(flight, registry, webhook, monkeypatch, caplog):
    monkeypatch.setenv("FOCUS_RUN", "run-7")
    measured = {**DONE, "seconds": 2.5, "metrics": {"good_bands": 37.0}}
    folder = flight(measured, FAILED)
    assert notify("flight-1/campaign.yaml", [folder], settings=NotifySettings()) == {"failed": 1.0, "told": 1.0}
    api = client()
    (run,) = api.search_runs([api.get_experiment_by_name("pipelines").experiment_id])
    assert run.data.metrics == {"flight-1.ingest.good_bands": 37.0, "flight-1.ingest.seconds": 2.5}
    assert run.data.tags["focus.subject"] == "flight-1/campaign.yaml"
    assert run.data.tags["focus.run"] == "run-7"

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    assert notify("flight-1/campaign.yaml", [folder], settings=NotifySettings())["told"] == 1.0
    assert "the figures of the steps are not in MLflow: MLflow at http://127.0.0.1:1 could not" in caplog.text
