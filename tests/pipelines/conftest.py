"""A small flight as files, and a stand-in for Kubeflow."""

import sys
from collections.abc import Callable, Iterator
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
