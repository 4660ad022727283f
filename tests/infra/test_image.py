"""The images, built on this machine: a component and MLflow's server run in them as the cluster would run them."""

import json
import os
import shutil
import subprocess
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import obstore
import pytest
import yaml
from obstore.store import S3Store

from components.images import PYTHON_IMAGE
from focus_core import tracking
from focus_core.config import IngestSettings
from focus_core.cubes.record import digest
from focus_core.steps.ingest import ingest
from pipelines.compile import compile_one
from pipelines.placement import Placement
from tests.focus_core.tracking.real_server import free_port
from tests.infra.test_manifests import pods
from tests.infra.test_walk import deployed_mlflow, expanded, secrets, serving

__all__ = ["secrets"]

ROOT = Path(__file__).parents[2]
TOOLS = ("mmdebstrap", "podman", "runc")

pytestmark = [pytest.mark.services, pytest.mark.timeout(5400)]


def built(name, what):
    """Name of an image, built with what this machine has."""
    if not os.environ.get("FOCUS_IMAGE"):
        pytest.skip(f"an image takes {what}: set FOCUS_IMAGE=1 to build it and run something in it")
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}; Debian's packages of these names hold them")
    if os.geteuid() != 0:
        pytest.skip("a base system is made as root only")
    subprocess.run([ROOT / "infra" / "images" / "build_local.sh", name], check=True)
    return f"focus-{name}:0.1.0"


@pytest.fixture(scope="module")
def image():
    """Name of the image of the tasks."""
    name = built("python", "many minutes and 25 GB")
    assert name == PYTHON_IMAGE
    return name


@pytest.fixture(scope="module")
def mlflow_image():
    """Name of MLflow's image."""
    return built("mlflow", "minutes and 8 GB")


def podman(user, network, *options):
    """Start of a command that runs as a pod does: not as root, root file system read-only, no capability."""
    held = ["--rm", "--read-only", "--network", network, "--cap-drop", "all", "--security-opt", "no-new-privileges"]
    held += ["--tmpfs", "/tmp:mode=1777", "--user", user]
    held += ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"]  # podman asks for a million of each
    return ["podman", "--runtime", "runc", "run", *held, *options]


def in_image(image, flight, out, *command):
    """Run a task, here without network either."""
    options = ["--env", "FOCUS_STATUS=status", "--volume", f"{flight}:{flight}:ro", "--volume", f"{out}:{out}"]
    whole = [*podman("10001", "none", *options), image, *command]
    done = subprocess.run(whole, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_nothing_can_be_written_but_what_is_mounted(image, tmp_path):
    tmp_path.chmod(0o777)
    (tmp_path / "flight").mkdir()
    writes = f"touch /opt/focus/x /etc/x {tmp_path}/flight/x 2>/dev/null || echo kept; touch {tmp_path}/x"
    told = in_image(image, tmp_path / "flight", tmp_path, "sh", "-c", f"id -u; {writes}; focus --version")
    assert told.split()[:2] == ["10001", "kept"]
    assert (tmp_path / "x").exists()
    assert told.split()[-1] == version("focus-core")


def test_the_component_writes_the_store_that_the_library_writes(image, tiny_field, tmp_path):
    """Its own command from the compiled pipeline, with what Kubeflow hands its executor."""
    flight, out = tiny_field / "flight-1", tmp_path / "out"
    out.mkdir()
    out.chmod(0o777)
    spec = next(yaml.safe_load_all(compile_one("training", tmp_path, Placement()).read_text()))
    container = spec["deploymentSpec"]["executors"]["exec-ingest"]["container"]
    assert container["image"] == image
    metrics = {"name": "metrics", "type": {"schemaTitle": "system.Metrics"}, "uri": f"{out}/metrics", "metadata": {}}
    values = {
        "campaign_file": f"{flight}/campaign.yaml",
        "cube_uri": f"{out}/cube.zarr",
        "reference_uri": f"{out}/reference.zarr",
        "settings": {},
    }
    asked = {
        "inputs": {"parameterValues": values},
        "outputs": {
            "outputFile": f"{out}/executor_output.json",
            "parameters": {"Output": {"outputFile": f"{out}/Output"}},
            "artifacts": {"metrics": {"artifacts": [metrics]}},
        },
    }
    arguments = [json.dumps(asked) if text == "{{$}}" else text for text in container["args"]]
    in_image(image, tiny_field, out, *container["command"], *arguments)

    told = json.loads((out / "executor_output.json").read_text())
    assert told["parameterValues"]["Output"] == values["cube_uri"]
    own = [str(tmp_path / "own" / name) for name in ("cube.zarr", "reference.zarr")]
    ingest(values["campaign_file"], *own, settings=IngestSettings())
    for ours, theirs in zip(own, (values["cube_uri"], values["reference_uri"]), strict=True):
        assert digest(ours) == digest(theirs)
    assert {path.stat().st_uid for path in out.iterdir()} == {10001}


@contextmanager
def mlflow_in_its_image(image, folder, secrets, database, **changes):
    """The server of the Deployment in its image, with its own variables but for where database and store are."""
    port, ini = free_port(), folder / "basic_auth.ini"
    words, environment, text = deployed_mlflow(secrets, database, port)
    environment |= changes
    ini.write_text(text)
    ini.chmod(0o444)
    (container,) = pods("base")["mlflow"][1]["containers"]
    assert container["image"].split(":")[0] == image.split(":")[0]
    options = [part for name, value in environment.items() for part in ("--env", f"{name}={value}")]
    options += ["--volume", f"{ini}:{environment['MLFLOW_AUTH_CONFIG_PATH']}:ro"]
    # The host's network, because database and store listen on this machine alone.
    command = [*podman("10002:10002", "host", *options), image, *expanded(words, environment)]
    with serving(command, dict(os.environ), port, folder) as address:
        yield address


def test_mlflow_in_its_image_asks_who_comes_and_keeps_artifacts_in_s3(
    mlflow_image, secrets, postgres, bucket, object_store_server, registry, tmp_path, monkeypatch
):
    told = subprocess.run(
        [*podman("10002:10002", "none"), mlflow_image, "mlflow", "--version"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.split()[-1] == version("mlflow")
    store = S3Store.from_url(bucket)
    place = {name: os.environ[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    place |= {"ARTIFACTS": bucket, "MLFLOW_S3_ENDPOINT_URL": object_store_server}
    with mlflow_in_its_image(mlflow_image, tmp_path, secrets, postgres, **place) as address:
        asked = f"http://{address}/api/2.0/mlflow/experiments/search?max_results=1"
        status = ["curl", "-s", "-o", os.devnull, "-w", "%{http_code}", asked]
        assert subprocess.run(status, capture_output=True, text=True, check=True).stdout == "401"
        # The server alone holds the store's keys.
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", secrets["focus-mlflow-server"]["admin-password"])
        tracking.configure(f"http://{address}")
        with tracking.logged_run("trial", parameters={"seed": 1}, tags={}, inputs={"/tiles.zarr": "ab" * 32}) as run:
            pass
    found = {item["path"] for batch in obstore.list(store) for item in batch}
    assert any(path.endswith(f"{run.run_id}/artifacts/inputs.json") for path in found)
