import os
import subprocess
import sys

import pytest

from focus_core import tracking
from focus_core.errors import SettingsError, TargetError
from focus_core.tracking.server import client, experiment_id


def test_importing_tracking_loads_neither_mlflow_nor_torch():
    code = "import sys, focus_core.tracking; print(*({'mlflow', 'torch', 'xarray'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""


@pytest.mark.parametrize("uri", ["./mlruns", "file:///tmp/mlruns", "sqlite://", "sqlite:///:memory:", "databricks"])
def test_other_stores_are_refused(uri, registry):
    with pytest.raises(SettingsError, match="is not supported: give sqlite:///"):
        tracking.configure(uri)


def test_a_missing_folder_is_refused_at_once(registry, tmp_path):
    with pytest.raises(TargetError, match="cannot be written"):
        tracking.configure(f"sqlite:///{tmp_path}/absent/mlflow.db")


def test_the_choice_is_absolute_and_reaches_child_processes(registry, monkeypatch):
    monkeypatch.chdir(registry.parent)
    assert tracking.configure("sqlite:///mlflow.db") == f"sqlite:///{registry}"
    assert os.environ["MLFLOW_TRACKING_URI"] == f"sqlite:///{registry}"
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == os.environ["DO_NOT_TRACK"] == "true"
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert tracking.configure() == f"sqlite:///{registry}"


def test_artifacts_lie_beside_the_database_and_nothing_in_the_working_directory(registry, tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    with tracking.logged_run("trial", parameters={}, tags={}, inputs={}) as run:
        pass
    assert list((registry.parent / "mlflow-artifacts" / "trial").glob(f"{run.run_id}/artifacts/environment.json"))
    assert not list(elsewhere.iterdir())


def test_an_experiment_is_made_once(registry):
    assert experiment_id("trial") == experiment_id("trial")
    assert client().get_experiment_by_name("trial").experiment_id == experiment_id("trial")
