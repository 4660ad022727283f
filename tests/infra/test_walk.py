"""infra/README.md walked as far as a machine without a cluster goes: its commands run as they are written.

What is typed into a pod runs here, with the folders of this machine; where a server is named there is a real MLflow and
a stand-in for Kubeflow.
"""

import base64
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
import yaml

from pipelines.compile import compile_one
from pipelines.exposed import Exposed
from pipelines.placement import read_placement
from tests.focus_core.tracking.real_server import answers, free_port
from tests.infra.test_manifests import SECRETS, manifests, of_kind, pods
from tests.pipelines.kubeflow import StandIn

ROOT = Path(__file__).parents[2]
README = (ROOT / "infra" / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)
LINES = [line for block in BLOCKS for line in block.splitlines()]
IN_THE_POD = re.compile(r"kubectl -n focus exec (-i )?deployment/focus-watch -- ")
PASSWORD = "twelve@or&more"  # pragma: allowlist secret
OTHERS = {"<host>": "mail.example.org", "<random text>": "a key", "<key>": "k"}
"""What is filled in where the text does not matter here."""


def filled(text, percent="%"):
    """A line with its blanks filled in; in an address the password is percent-encoded, as the README says."""
    text = text.replace(":<password>@", f":{quote(PASSWORD).replace('%', percent)}@").replace("<password>", PASSWORD)
    for blank, value in OTHERS.items():
        text = text.replace(blank, value)
    return re.sub(r"<[a-z][^<>]*>", "x", text)


def shell(line, folder, **variables):
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", **variables}
    command = ["bash", "-eu", "-o", "pipefail", "-c", line]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=environment)


def kubectl(line, folder):
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not on the path")
    done = shell(line, folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def secrets(tmp_path):
    """What the README's commands make, by secret and key."""
    (ini,) = [block for block in BLOCKS if block.startswith("[mlflow]")]
    (tmp_path / "basic_auth.ini").write_text(filled(ini, percent="%%"))
    found = {}
    for line in LINES:
        if " create secret " in line:
            made = json.loads(kubectl(f"{filled(line)} --dry-run=client -o json", tmp_path))
            assert made["metadata"]["namespace"] == "focus"
            found[made["metadata"]["name"]] = {
                key: base64.b64decode(value).decode() for key, value in made["data"].items()
            }
    return found


def test_the_commands_make_every_secret_with_every_key(secrets):
    assert {name: set(content) for name, content in secrets.items()} == SECRETS
    assert secrets["focus-postgres"]["password"] == PASSWORD
    assert urlsplit(secrets["focus-postgres"]["ledger-uri"]).password == quote(PASSWORD)


def test_a_profile_is_made_by_the_command():
    (line,) = [line for line in LINES if '"Profile"' in line]
    made = json.loads(re.search(r"<<< '(.*)'$", line).group(1))
    assert (made["apiVersion"], made["metadata"]["name"]) == ("kubeflow.org/v1", manifests("base")[0]["metadata"]["namespace"])  # fmt: skip  # noqa: E501


def copied(folder, *changes):
    """The manifests with lines of the base's kustomization changed or, by nothing, removed."""
    shutil.copytree(ROOT / "infra", folder / "infra")
    for path in (folder / "infra").rglob("kustomization.yaml"):
        text = path.read_text()
        for old, new in changes:
            text = text.replace(f"{old}\n", new)
        path.write_text(text)
    return {
        name: list(yaml.safe_load_all(kubectl(f"kubectl kustomize infra/overlays/{name}", folder)))
        for name in ("development", "production")
    }


def test_what_may_be_left_out_leaves_the_rest_as_it_is(tmp_path):
    """Without the Dask operator, and on a Kubeflow for a single user."""
    changes = [("namespace: focus", "namespace: kubeflow\n"), ("  - dask.yaml", ""), ("  - limits.yaml", "")]
    for name, items in copied(tmp_path, *changes).items():
        kinds = {item["kind"] for item in items}
        whole = {item["kind"] for item in manifests(f"overlays/{name}")}
        assert kinds == whole - {"DaskCluster", "ResourceQuota", "LimitRange"}
        assert {item["metadata"]["namespace"] for item in items} == {"kubeflow"}


def test_the_registry_s_name_reaches_every_image_of_production(tmp_path):
    shutil.copytree(ROOT / "infra", tmp_path / "infra")
    (line,) = [line for line in LINES if line.startswith("sed ")]
    done = shell(line.replace("<registry>/<folder>", "reg.example.org/crops"), tmp_path)
    assert done.returncode == 0, done.stderr
    (check,) = re.findall(r"`(grep [^`]*infra/overlays)` finds", README)
    assert shell(check, tmp_path).stdout == ""
    placement = read_placement(str(tmp_path / "infra" / "overlays" / "production" / "placement.yaml"))
    images = {task.image for task in (placement.default, *placement.tasks.values())}
    text = kubectl("kubectl kustomize infra/overlays/production", tmp_path)
    images |= set(re.findall(r"image: (\S*focus-\S+)$", text, flags=re.MULTILINE))
    assert {image.rpartition("/")[0] for image in images} == {"reg.example.org/crops"}
    assert {image.rpartition("/")[2].split(":")[0] for image in images} == {"focus-python", "focus-python-gpu", "focus-mlflow"}  # fmt: skip  # noqa: E501


def test_development_runs_what_is_handed_to_its_node():
    (line,) = [line for line in LINES if line.startswith("podman save ")]
    placement = read_placement(str(ROOT / "infra" / "overlays" / "development" / "placement.yaml"))
    images = {
        container["image"] for _, spec in pods("overlays/development").values() for container in spec["containers"]
    }
    images |= {task.image for task in (placement.default, *placement.tasks.values())}
    assert set(re.findall(r"\S*focus-\S+", line)) == {image for image in images if not image.startswith("postgres:")}


def deployed_mlflow(secrets, database, port):
    """Words and variables of MLflow's Deployment and its `basic_auth.ini`, on a port and a database of a test's own."""
    (config,) = [item for item in of_kind("base", "ConfigMap") if item["metadata"]["name"].startswith("focus-mlflow")]
    (container,) = pods("base")["mlflow"][1]["containers"]
    place = urlsplit(database)
    here = f"@{place.hostname}:{place.port}{place.path}"
    values = {"configMapKeyRef": {config["metadata"]["name"]: config["data"]}, "secretKeyRef": secrets}
    environment = {}
    for item in container["env"]:
        ((kind, reference),) = item.get("valueFrom", {"": None}).items()
        value = values[kind][reference["name"]][reference["key"]] if reference else item["value"]
        environment[item["name"]] = value.replace("@postgres:5432/focus", here).replace(":5000", f":{port}")
    words = [word.replace("--port=5000", f"--port={port}") for word in (*container["command"], *container["args"])]
    ini = secrets["focus-mlflow-server"]["basic_auth.ini"].replace("@postgres:5432/focus", here)
    return words, environment, ini


def expanded(words, environment):
    """Fill variables in as Kubernetes does."""
    return [re.sub(r"\$\((\w+)\)", lambda found: environment[found.group(1)], word) for word in words]


@contextmanager
def serving(command, environment, port, folder):
    """Yields the address of a server once it answers."""
    path = folder / "server.log"
    with path.open("w") as log:
        process = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log, start_new_session=True)
    deadline = time.monotonic() + 480
    try:
        while not answers(f"http://localhost:{port}/health"):
            assert process.poll() is None, path.read_text()
            assert time.monotonic() < deadline, path.read_text()
            time.sleep(0.5)
        yield f"localhost:{port}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


@contextmanager
def mlflow_of_the_manifest(folder, secrets, database):
    """The server of the Deployment as a process of this machine."""
    port, ini = free_port(), folder / "served.ini"
    words, environment, text = deployed_mlflow(secrets, database, port)
    ini.write_text(text)
    environment |= {"MLFLOW_AUTH_CONFIG_PATH": str(ini), "ARTIFACTS": str(folder / "served")}
    image = (ROOT / "infra" / "images" / "mlflow.Containerfile").read_text(encoding="utf-8")
    environment |= dict(re.findall(r"\b(MLFLOW_\w+|DO_NOT_TRACK)=(\w+)", image))
    program, *rest = expanded(words, environment)
    command = [str(Path(sys.executable).with_name(program)), *rest]
    with serving(command, {**os.environ, **environment}, port, folder) as address:
        yield address


@pytest.mark.services
@pytest.mark.timeout(600)
def test_mlflow_started_as_the_manifest_says_asks_who_comes_and_takes_the_user_that_is_made(
    secrets, postgres, tmp_path
):
    anybody, admin = re.findall(r"`(curl [^`]*experiments/search[^`]*)`", README)
    (create,) = [line for line in LINES if "users/create" in line]
    (audit,) = re.findall(r"`(focus audit --tracking [^`]*)`", README)
    with mlflow_of_the_manifest(tmp_path, secrets, postgres) as address:

        def typed(line, **variables):
            return shell(filled(line).replace("localhost:5000", address), tmp_path, **variables)

        assert [typed(line).stdout for line in (anybody, admin)] == ["401", "200"]
        elsewhere = typed(f"{admin} -H 'Host: elsewhere'".replace("-o /dev/null ", "")).stdout
        assert elsewhere.startswith("Invalid Host header")
        assert elsewhere.endswith("403")
        client = secrets["focus-mlflow-client"]
        assert json.loads(typed(create).stdout)["user"]["username"] == client["username"]
        who = {f"MLFLOW_TRACKING_{key.upper()}": value for key, value in client.items()}
        told = typed(audit, **who)
        assert told.returncode == 0, told.stderr
        told = typed(audit, **who | {"MLFLOW_TRACKING_PASSWORD": "guessed"})
        assert told.returncode == 2
        assert "not authenticated" in told.stderr


@pytest.mark.services
@pytest.mark.timeout(600)
def test_what_is_typed_into_the_watchers_pod_submits_the_training_and_gives_a_failed_flight_out_again(
    tiny_field, tmp_path
):
    shutil.copytree(tiny_field / "flight-1", tmp_path / "flight-1")
    (tmp_path / "focus").mkdir()
    server = StandIn(ends="FAILED")
    variables = {
        "FOCUS_KUBEFLOW": server.address,
        "FOCUS_LEDGER": f"sqlite:///{tmp_path}/ledger.db",
        "PYTHONPATH": str(ROOT),
    }

    def typed(line):
        line = IN_THE_POD.sub("", line).replace("/etc/focus/", f"{ROOT}/infra/base/")
        return shell(re.sub(r"(?<=[ ])/focus/", f"{tmp_path}/focus/", line), tmp_path, **variables)

    *before, submission, retry = [line for line in LINES if IN_THE_POD.search(line)]
    try:
        for line in before:
            done = typed(line)
            assert done.returncode == 0, done.stderr
        for _ in range(2):
            done = typed(f"{submission} --no-follow")
            assert (done.returncode, done.stdout) == (0, "run-1\n"), done.stderr
        assert server.runs["run-1"]["display_name"].startswith("training simulated-flight-1 ")

        shutil.copytree(tiny_field / "flight-2", tmp_path / "focus" / "incoming" / "flight-2")
        for run in ("run-2", "run-3"):
            done = typed(f"{retry} --settle 0")
            assert done.returncode == 0, done.stderr
            assert f"submitted as run {run}" in done.stderr or "taken up" in done.stderr
            assert run in server.looks
            server.looks[run] = 3  # it has failed by now
    finally:
        server.close()


def test_every_message_that_is_explained_is_one_that_the_code_says():
    paths = [path for kind in ("*.py", "*.j2") for path in (ROOT / "focus_core").rglob(kind)]
    sources = "".join(path.read_text(encoding="utf-8") for path in paths)
    table = README[README.index("| what you see |") :].split("\n\n")[0].splitlines()[2:]
    quoted = [found.group(1) for row in table if (found := re.match(r"\| `([^`]*)` ", row))]
    assert len(quoted) >= 8
    for message in quoted:
        if message == "ImagePullBackOff":  # Kubernetes' own
            continue
        fixed = re.split(r"…|'\w+'|\bgate\.[\w.]+ is|champion$|\b\d+ s\b|Warning: ", message)
        pieces = [piece.strip(" :") for piece in fixed if len(piece) > 3]
        assert pieces
        assert [piece for piece in pieces if piece not in sources] == []


def test_every_metric_that_is_explained_is_shown():
    shown = {sample.name for family in Exposed().registry.collect() for sample in family.samples}
    table = README[README.index("| metric |") :].split("\n\n")[0].splitlines()[2:]
    names = {name for row in table for name in re.findall(r"`([a-z_…]+)`", row.split("|")[1])}
    explained = {name.replace("…", "focus_watch_campaigns") for name in names}
    assert explained == {name for name in shown if not name.endswith("_created")}


def test_the_sizes_of_scaling_are_those_of_the_compiled_pipelines(tmp_path):
    text = (ROOT / "infra" / "SCALING.md").read_text(encoding="utf-8")
    names, sizes = re.search(r"compiled (`.*`) with the production placement \| ([\d, ]+) kB", text).groups()
    placement = read_placement(str(ROOT / "infra" / "overlays" / "production" / "placement.yaml"))
    found = [compile_one(name, tmp_path, placement).stat().st_size / 1000 for name in re.findall(r"\w+", names)]
    assert found == pytest.approx([float(size) for size in sizes.split(",")], rel=0.1)
