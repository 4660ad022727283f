"""A small flight as files, a stand-in for Kubeflow, and a channel that hears how runs ended."""

import json
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from focus_core.cli.exits import run_app
from pipelines.__main__ import app
from tests.pipelines.kubeflow import StandIn

CAMPAIGN = """
campaign: {name}
date: 2026-06-12
sensor: simulated sensor
quantity: reflectance
simulated: true
cubes:
  - image: strip.hdr
plots:
  file: plots.geojson
classes: [control, drought]
"""


@pytest.fixture
def arrive(tmp_path: Path) -> Callable[..., Path]:
    """Puts the files of a flight into a folder; nothing in them can be read as a cube."""

    def build(name: str = "flight-1", content: str = "raw", folder: str | None = None) -> Path:
        place = tmp_path / "incoming" / (folder or name)
        place.mkdir(parents=True)
        (place / "strip.raw").write_text(content)
        (place / "strip.hdr").write_text("ENVI\n")
        (place / "plots.geojson").write_text("{}")
        (place / "campaign.yaml").write_text(CAMPAIGN.format(name=name))
        return place

    return build


@pytest.fixture
def stand_in() -> Iterator[Callable[..., StandIn]]:
    """Starts stand-ins of a Kubeflow server."""
    started = []

    def build(**how: object) -> StandIn:
        started.append(StandIn(**how))
        return started[-1]

    yield build
    for server in started:
        server.close()


@pytest.fixture
def submit(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., SimpleNamespace]:
    """Runs the command in this process, as ``run_app`` does; returns status, output and messages."""
    monkeypatch.delenv("FOCUS_KUBEFLOW", raising=False)

    def call(*arguments: object) -> SimpleNamespace:
        monkeypatch.setattr(sys, "argv", ["pipelines", "submit", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            run_app(app, "pipelines")
        return SimpleNamespace(returncode=ended.value.code, **capfd.readouterr()._asdict())

    return call


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, str]]]:
    """What runs send to a webhook."""
    got = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("FOCUS_WEBHOOK", f"http://127.0.0.1:{server.server_port}")
    yield got
    server.shutdown()
    server.server_close()
