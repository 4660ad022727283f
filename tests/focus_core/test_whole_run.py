"""What a whole run leaves of its time."""

import json
import os
import time

import pytest

from focus_core.cli.whole_run import whole_run


def test_the_summary_tells_the_seconds_of_the_run_and_the_share_between_the_steps(tiny_field, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")  # the run sets them
    monkeypatch.setenv("FOCUS_RUN", "")

    def chain(files, layout, settings):
        time.sleep(0.2)
        return {"flight-1.ingest.seconds": 0.04, "flight-1.tile.seconds": 0.06, "flight-1.tile.tiles": 216.0}

    campaign = str(tiny_field / "flight-1" / "campaign.yaml")
    started = time.perf_counter()
    whole_run("a run", chain, [campaign], str(tmp_path / "run"), None, None, None, None)
    took_s = time.perf_counter() - started
    metrics = json.loads((tmp_path / "run" / "summary.json").read_text())["metrics"]
    found = {name: item["mean"] for name, item in metrics.items()}
    assert found["flight-1.tile.tiles"] == 216.0
    assert 0.2 <= found["run.seconds"] < took_s
    assert found["run.between_steps"] == pytest.approx(1 - 0.1 / found["run.seconds"])
    assert os.environ["MLFLOW_TRACKING_URI"].endswith("run/mlflow.db")
