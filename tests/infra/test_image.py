"""The image that every task runs in, built on this machine, and a component run in it as the cluster would run it."""

import json
import os
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

from components.images import PYTHON_IMAGE
from focus_core.config import IngestSettings
from focus_core.cubes.record import digest
from focus_core.steps.ingest import ingest
from pipelines.compile import compile_one
from pipelines.placement import Placement

ROOT = Path(__file__).parents[2]
TOOLS = ("mmdebstrap", "podman", "runc")

pytestmark = [pytest.mark.services, pytest.mark.timeout(5400)]


@pytest.fixture(scope="module")
def image():
    """Name of the image, built with what this machine has; about 25 GB of disk on the way."""
    if not os.environ.get("FOCUS_IMAGE"):
        pytest.skip("an image takes many minutes and 25 GB: set FOCUS_IMAGE=1 to build it and run a component in it")
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}; Debian's packages of these names hold them")
    if os.geteuid() != 0:
        pytest.skip("a base system is made as root only")
    subprocess.run(
        [ROOT / "infra" / "images" / "build_local.sh"], check=True, env={**os.environ, "IMAGE": PYTHON_IMAGE}
    )
    return PYTHON_IMAGE


def in_image(image, flight, out, *command):
    """Run as a pod does: not as root, root file system read-only, no capability, here without network either."""
    options = ["--rm", "--read-only", "--network", "none", "--cap-drop", "all", "--security-opt", "no-new-privileges"]
    options += ["--tmpfs", "/tmp:mode=1777", "--user", "10001"]
    options += ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"]  # podman asks for a million of each
    options += ["--env", "FOCUS_STATUS=status", "--volume", f"{flight}:{flight}:ro", "--volume", f"{out}:{out}"]
    whole = ["podman", "--runtime", "runc", "run", *options, image, *command]
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
