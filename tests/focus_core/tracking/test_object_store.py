"""MLflow as it is meant to run: runs and registry in a real PostgreSQL, artifacts in a real S3 store behind it."""

import obstore
import pytest
from obstore.store import S3Store

from focus_core import tracking
from focus_core.errors import ModelError
from focus_core.model import load_model
from focus_core.tracking.server import client
from tests.focus_core.tracking.real_server import mlflow_server

pytestmark = pytest.mark.services


@pytest.fixture
def server(postgres, bucket, object_store_server, registry, monkeypatch):
    pytest.importorskip("boto3", reason="MLflow reaches S3 through boto3, which is not installed")
    place = {"MLFLOW_S3_ENDPOINT_URL": object_store_server, "AWS_DEFAULT_REGION": "us-east-1"}
    with mlflow_server(registry.parent, postgres, "--artifacts-destination", bucket, **place) as url:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
        # The server alone holds the store's keys.
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"):
            monkeypatch.delenv(name)
        yield url


@pytest.fixture
def store(bucket):
    """The bucket, past MLflow; made before its keys are taken out of the environment."""
    return S3Store.from_url(bucket)


def names(store):
    return {item["path"] for batch in obstore.list(store) for item in batch}


@pytest.mark.timeout(900)
def test_a_model_goes_to_s3_is_promoted_loaded_and_refused_once_it_was_tampered_with(
    store, server, register, gate, backbone_folder
):
    with tracking.logged_run("trial", parameters={"seed": 1}, tags={}, inputs={"/tiles.zarr": "ab" * 32}) as run:
        pass
    assert any(path.endswith(f"{run.run_id}/artifacts/inputs.json") for path in names(store))
    assert client().get_run(run.run_id).data.params == {"seed": "1"}

    number = register()
    tracking.promote("focus", number, **gate)
    fetched = tracking.fetch_model("models:/focus@champion")
    assert load_model(fetched, backbone_folder).spec.classes == ("control", "drought", "disease")
    assert [item.to_version for item in tracking.audit("focus")] == [number]

    (weights,) = {path for path in names(store) if path.endswith("/focus.safetensors")}
    content = bytearray(bytes(obstore.get(store, weights).bytes()))
    content[-1] ^= 1
    obstore.put(store, weights, bytes(content))
    with pytest.raises(ModelError, match=r"'focus.safetensors' has digest [0-9a-f]{64}, but [0-9a-f]{64}"):
        tracking.fetch_model("models:/focus@champion")
