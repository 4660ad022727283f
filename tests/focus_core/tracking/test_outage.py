"""MLflow, or the database behind it, away for half a minute while a model is trained and another promoted."""

import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from focus_core import tracking
from focus_core.steps.pretrain import pretrain
from focus_core.steps.train import train
from focus_core.tracking.server import client
from tests.focus_core.steps.planted import PRETRAIN, TRAIN, write_stores
from tests.focus_core.tracking.real_server import Line, Server

pytestmark = pytest.mark.services

_AWAY_S = 30.0
_START_S = 10.0
"""What an MLflow server takes to answer again."""


@pytest.fixture
def server(postgres, registry):
    running = Server(registry.parent, postgres)
    try:
        running.start()
        yield running
    finally:
        running.stop()


@pytest.fixture
def line(server, monkeypatch):
    between = Line(server.url)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", between.address)
    # Asked again after 0, 2, 6, 14, 30 and 62 s; by default after 0, 4, 12, 28 and 60 s.
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_JITTER", "0")
    yield between
    between.close()


def trained_runs():
    api = client()
    experiment = api.get_experiment_by_name("trained")
    return api.search_runs([experiment.experiment_id]) if experiment else []


def away(what, server, postgres_server):
    if what == "mlflow":
        server.stop()
        time.sleep(_AWAY_S - _START_S)
        server.start()
    else:
        postgres_server.stop()
        time.sleep(_AWAY_S - 1)
        postgres_server.start()


@pytest.mark.timeout(400)
@pytest.mark.parametrize("what", ["mlflow", "postgresql"])
def test_half_a_minute_without_it_in_the_middle_of_training_and_promotion_loses_nothing(
    what, server, line, postgres_server, register, gate, tmp_path, caplog
):
    for _ in range(2):
        register()
    tracking.promote("focus", 1, **gate)
    tiles, _ = write_stores(tmp_path)
    pretrain(tiles, str(tmp_path / "backbone-of-planted"), settings=PRETRAIN)
    settings = TRAIN.model_copy(update={"model_name": "trained"})
    with ThreadPoolExecutor(2) as pool:
        training = pool.submit(
            train, tiles, str(tmp_path / "backbone-of-planted"), str(tmp_path / "trained"), settings=settings
        )
        while not (trained_runs() and trained_runs()[0].data.params):
            time.sleep(0.05)
        line.cut_after = "runs/create"  # the audit record is written, the alias not moved
        promotion = pool.submit(tracking.promote, "focus", 2, **gate)
        while not line.cut:
            time.sleep(0.001)
        assert not training.done()
        line.cut, line.cut_after = False, None
        started = time.monotonic()
        away(what, server, postgres_server)
        assert not training.done()
        assert not promotion.done()
        assert time.monotonic() - started > _AWAY_S - _START_S
        record, metrics = promotion.result(), training.result()
    assert record.moved
    trail = tracking.audit("focus")
    assert [(item.to_version, item.state) for item in trail] == [(1, "done"), (2, "done")]
    assert tracking.champion("focus") == tracking.champions(trail)[-1] == 2

    (run,) = trained_runs()
    assert run.info.status == "FINISHED"
    assert run.data.params["seed"] == str(settings.seed)
    assert {name: run.data.metrics[name] for name in metrics if name != "version"} == pytest.approx(
        {name: value for name, value in metrics.items() if name != "version"}
    )
    assert metrics["version"] == 1
    assert tracking.find_version(str(tmp_path / "trained"), name="trained").number == 1
    assert tracking.fetch_model("models:/trained/1").is_dir()
    # Which of the two is heard first depends on where each was; that one waits is said, and for what.
    assert re.search(r"trying to .* for \d+ s; while it does not answer it is asked again", caplog.text)
