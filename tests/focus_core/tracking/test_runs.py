import json

import pytest

from focus_core import tracking
from focus_core.errors import RegistryError
from focus_core.tracking.server import client


def test_a_run_holds_parameters_tags_digests_metrics_and_environment(registry):
    with tracking.logged_run(
        "trial",
        parameters={"seed": 1, "backbone": {"width": 96}},
        tags={"campaign": "flight-1"},
        inputs={"/somewhere/tiles.zarr": "ab" * 32, "/else where/ünusual?": "cd" * 32},
    ) as run:
        run.log_metrics({"loss": 2.0}, step=1)
        run.log_metrics({"loss": 1.0}, step=2)
    found = client().get_run(run.run_id)
    assert found.info.status == "FINISHED"
    assert found.data.params == {"seed": "1", "backbone.width": "96"}
    assert found.data.tags["campaign"] == "flight-1"
    assert found.data.tags["input.tiles.zarr"] == "ab" * 32
    assert found.data.tags["input._nusual_"] == "cd" * 32
    assert [item.value for item in client().get_metric_history(run.run_id, "loss")] == [2.0, 1.0]
    folder = registry.parent / "mlflow-artifacts" / "trial" / run.run_id / "artifacts"
    assert "torch" in json.loads((folder / "environment.json").read_text())
    assert json.loads((folder / "inputs.json").read_text())["/somewhere/tiles.zarr"] == "ab" * 32


def test_more_parameters_than_one_request_takes(registry):
    parameters = {f"p{index}": index for index in range(250)}
    with tracking.logged_run("trial", parameters=parameters, tags={}, inputs={}) as run:
        run.log_metrics({f"m{index}": float(index) for index in range(250)})
    data = client().get_run(run.run_id).data
    assert (len(data.params), len(data.metrics)) == (250, 250)


def test_a_failure_closes_the_run_as_failed_and_is_not_swallowed(registry):
    with pytest.raises(ZeroDivisionError), tracking.logged_run("trial", parameters={}, tags={}, inputs={}) as run:
        raise ZeroDivisionError
    assert client().get_run(run.run_id).info.status == "FAILED"


def test_a_run_that_the_orchestrator_opened_is_used_and_left_open(registry, monkeypatch):
    with tracking.logged_run("pipeline", parameters={}, tags={}, inputs={}) as outer:
        monkeypatch.setenv("MLFLOW_RUN_ID", outer.run_id)
        with tracking.logged_run("trial", parameters={"seed": 1}, tags={}, inputs={}) as inner:
            pass
        assert inner.run_id == outer.run_id
        assert client().get_run(outer.run_id).info.status == "RUNNING"
    assert client().get_run(outer.run_id).data.params == {"seed": "1"}


def test_metrics_are_added_to_a_closed_run_and_an_unknown_run_is_refused(registry):
    with tracking.logged_run("trial", parameters={}, tags={}, inputs={}) as run:
        pass
    tracking.log_metrics(run.run_id, {"gate.balanced_accuracy": 0.9})
    assert client().get_run(run.run_id).data.metrics == {"gate.balanced_accuracy": 0.9}
    with pytest.raises(RegistryError, match=r"could not log metrics to the run 0000.*check that it runs"):
        tracking.log_metrics("0" * 32, {"loss": 1.0})
