"""Both pipelines run end to end on this machine, a process for each task, and write what `focus run` writes."""

import json
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import yaml

from focus_core import tracking
from focus_core.config import RunLayout, read_campaigns
from focus_core.cubes.record import digest
from focus_core.steps.run import run
from tests.pipelines.tasks import kill_once, runs

ROOT = Path(__file__).parents[2]
STORES = ("cube", "reference", "tiles")


def pipelines(*arguments):
    command = [sys.executable, "-m", "pipelines", "run", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment.pop("MLFLOW_TRACKING_URI", None)
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)


def summary(layout):
    metrics = json.loads(Path(layout.summary).read_text())["metrics"]
    return {name: item["mean"] for name, item in metrics.items()}


def stated(metrics):
    """Metrics of a run without measured time and the number of the registered version."""
    return {
        name: value
        for name, value in metrics.items()
        if not name.endswith((".seconds", ".version")) and not name.startswith("run.") and ".cost." not in name
    }


def check_time(metrics, took_s, layout):
    """The run is its tasks and what lies between them; a task is its step and its start."""
    tasks = sum(value for name, value in metrics.items() if name.endswith(".seconds") and name != "run.seconds")
    steps = sum(json.loads(path.read_text())["seconds"] for path in Path(layout.out).glob("**/status/*.json"))
    assert tasks < metrics["run.seconds"] < took_s
    assert metrics["run.between_steps"] == pytest.approx(1 - tasks / metrics["run.seconds"])
    # The training's `ingest`, `tile` and `evaluate` are followed by the campaign's in the same files.
    assert 0.0 < metrics["run.starting_s"] <= tasks - steps


@pytest.mark.timeout(900)
def test_pipelines_and_focus_run_write_the_same(tiny_field, tiny_settings, registry, tmp_path):
    campaign = tiny_field / "flight-1" / "campaign.yaml"
    settings = tmp_path / "settings.yaml"
    settings.write_text(yaml.safe_dump(tiny_settings.model_dump(mode="json", exclude_defaults=True)))
    ours, theirs = RunLayout.below(tmp_path / "kubeflow"), RunLayout.below(tmp_path / "library")

    started = time.monotonic()
    done = pipelines(campaign, "--out", ours.out, "--settings", settings)
    took_s = time.monotonic() - started
    assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]
    assert done.stdout == ""
    last = done.stderr.strip().splitlines()[-2:]
    (file,) = read_campaigns([str(campaign)])
    own, other = ours.campaign(file), theirs.campaign(file)
    assert last == [ours.importance, own.report]
    assert "<html" in Path(own.report).read_text(encoding="utf-8")

    expected = run([file], theirs, tiny_settings)
    found = summary(ours)
    assert stated(found) == pytest.approx(stated(expected), rel=1e-4, abs=1e-6)
    check_time(found, took_s, ours)
    for store in STORES:
        assert digest(getattr(own, store)) == digest(getattr(other, store))
    ours_open, theirs_open = (xr.open_zarr(layout.importance, consolidated=False) for layout in (ours, theirs))
    np.testing.assert_allclose(ours_open["importance"], theirs_open["importance"], rtol=1e-4, atol=1e-5)
    identity = ours_open["importance"].sum("band") + ours_open["bias"] - ours_open["logit"]
    assert float(abs(identity.where(ours_open["present"])).max()) < 1e-4

    tracking.configure(ours.tracking)
    assert tracking.champion("focus") == 1


@pytest.mark.timeout(300)
def test_a_failing_task_ends_the_run_with_its_reason(tiny_field, tmp_path):
    done = pipelines(tiny_field / "flight-1" / "campaign.yaml", "--out", tmp_path / "run", "--no-train")
    assert done.returncode == 2
    # Both need the champion and neither waits for the other, so Kubeflow may start with either.
    assert re.search(r"Task '(explain|evaluate)' finished with status FAILURE", done.stderr)
    last = done.stderr.strip().splitlines()[-1]
    assert re.match(r"pipelines: (explain|evaluate): the model 'focus' has no champion", last)
    assert "Traceback" not in done.stderr
    assert "champion" in (tmp_path / "run" / "kubeflow" / "log.txt").read_text(encoding="utf-8")
    assert not (tmp_path / "run" / "importance.zarr").exists()


@pytest.mark.timeout(900)
@pytest.mark.services
def test_a_run_logs_json_with_the_ids_of_run_campaign_and_step(tiny_field, tmp_path, monkeypatch):
    monkeypatch.setenv("FOCUS_LOG", "json")
    monkeypatch.setenv("FOCUS_RUN", "run-7")
    done = pipelines(tiny_field / "flight-1" / "campaign.yaml", "--out", tmp_path / "run", "--no-train")
    assert done.returncode == 2
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert {line["run"] for line in lines} == {"run-7"}
    (name,) = {line["campaign"] for line in lines if "campaign" in line}
    assert (tmp_path / "run" / name / "cube.zarr").is_dir()
    ended = {line["step"]: line for line in lines if " after " in line["message"]}
    assert ended["ingest"]["message"].startswith("ingest: done after")
    failed = ended.get("explain") or ended["evaluate"]
    assert (failed["level"], failed["campaign"]) == ("ERROR", name)
    assert "the model 'focus' has no champion" in failed["message"]
    assert re.match(r"pipelines: (explain|evaluate): the model 'focus' has no champion", lines[-1]["message"])


def test_a_wrong_campaign_is_refused_before_the_first_task(tmp_path):
    done = pipelines(tmp_path / "none.yaml", "--out", tmp_path / "run")
    assert done.returncode == 2
    assert "no such campaign file" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_kubeflow_would_rewrite_is_refused(tiny_field, tmp_path):
    done = pipelines(tiny_field / "flight-1" / "campaign.yaml", "--out", tmp_path / "python3")
    assert done.returncode == 2
    assert "rewrites 'python3' in paths; use another folder" in done.stderr


@pytest.mark.timeout(600)
@pytest.mark.services
def test_a_killed_task_is_tried_again_and_what_fails_is_told(tiny_field, tmp_path, told):
    """``ingest`` is killed and its retry goes through; ``explain`` finds no champion, and the webhook hears of it."""
    campaign, placement, out = tiny_field / "flight-1" / "campaign.yaml", tmp_path / "placement.yaml", tmp_path / "run"
    placement.write_text("tasks: {ingest: {retries: 1, retry_after_s: 0}}")
    (file,) = read_campaigns([str(campaign)])
    own = RunLayout.below(out).campaign(file)
    with ThreadPoolExecutor(1) as pool:
        killed = pool.submit(kill_once, "ingest", own.cube, runs(own.folder, "ingest"))
        done = pipelines(campaign, "--out", out, "--no-train", "--placement", placement)
        assert killed.result()
    assert done.returncode == 2
    # The one that was killed said nothing more.
    assert done.stderr.count("ingest: done after") == 1
    states = {path.stem: json.loads(path.read_text())["state"] for path in out.glob("*/status/*.json")}
    assert states["ingest"] == states["tile"] == "done"
    assert "failed" in (states.get("explain"), states.get("evaluate"))
    (message,) = told
    assert message["title"].endswith("campaign.yaml: failed")
    assert "the model 'focus' has no champion" in message["text"]
