"""The compiled pipelines: the same bytes whatever the hash seed, whole, placed as configured, and never stale."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from components.images import PYTHON_IMAGE
from focus_core.errors import MissingInputError, SettingsError, TargetError
from pipelines.compile import PIPELINES, compile_all
from pipelines.placement import VERBS, Placement, read_placement

ROOT = Path(__file__).parents[2]
TASKS = {
    "training": {"ingest", "tile", "pretrain", "train", "evaluate", "promote"},
    "campaign": {"ingest", "tile", "explain", "evaluate", "aggregate", "report"},
    "season": {"ingest", "tile", "pretrain", "train", "evaluate", "promote", "split", "for-loop-2", "gather"},
}


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compiled")
    return {path.stem: read(path)[0] for path in compile_all(folder, Placement())}


def read(path):
    """The pipeline and what is asked of Kubernetes."""
    documents = list(yaml.safe_load_all(path.read_text()))
    return documents if len(documents) == 2 else [*documents, {}]


def inner(spec):
    """The tasks that the exit handler watches over."""
    return spec["components"]["comp-exit-handler-1"]["dag"]["tasks"]


def test_the_same_bytes_under_two_hash_seeds(tmp_path):
    texts = []
    for seed in ("1", "2"):
        command = [sys.executable, "-m", "pipelines", "compile", "--out", str(tmp_path / seed)]
        done = subprocess.run(
            command, cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        )
        assert len(done.stdout.split()) == len(PIPELINES)
        texts.append([(tmp_path / seed / f"{name}.yaml").read_bytes() for name in PIPELINES])
    assert texts[0] == texts[1]


@pytest.mark.parametrize("name", PIPELINES)
def test_each_task_runs_our_image_without_installing_anything(compiled, name):
    executors = compiled[name]["deploymentSpec"]["executors"]
    assert {item["container"]["image"] for item in executors.values()} == {PYTHON_IMAGE}
    assert "pip install" not in yaml.safe_dump(executors)


@pytest.mark.parametrize("name", PIPELINES)
def test_tasks_and_what_they_wait_for(compiled, name):
    tasks = inner(compiled[name])
    assert set(tasks) == TASKS[name]
    waits = {task: set(content.get("dependentTasks", [])) for task, content in tasks.items()}
    assert [task for task, ahead in waits.items() if not ahead] == ["ingest"]
    if name == "campaign":
        assert waits["report"] == {"ingest", "aggregate", "evaluate"}
    else:
        assert waits["promote"] == {"train", "evaluate"}
    if name == "season":
        assert waits["split"] == {"promote"}
        assert tasks["for-loop-2"]["iteratorPolicy"] == {"parallelismLimit": 4}
        assert waits["gather"] == {"for-loop-2"}
        assert tasks["gather"]["triggerPolicy"] == {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"}


@pytest.mark.parametrize("name", PIPELINES)
def test_whatever_happens_somebody_is_told(compiled, name):
    root = compiled[name]["root"]["dag"]["tasks"]
    assert set(root) == {"exit-handler-1", "notify"}
    assert root["notify"]["triggerPolicy"]["strategy"] == "ALL_UPSTREAM_TASKS_COMPLETED"
    assert root["notify"]["dependentTasks"] == ["exit-handler-1"]


@pytest.mark.parametrize("name", PIPELINES)
def test_no_task_is_cached_by_kubeflow(compiled, name):
    """Its cache sees neither a changed file nor a moved champion; the steps compare digests themselves."""
    components = compiled[name]["components"]
    dags = [item["dag"] for item in (compiled[name]["root"], *components.values()) if "dag" in item]
    tasks = [task for dag in dags for task in dag["tasks"].values()]
    run = [task for task in tasks if "executorLabel" in components[task["componentRef"]["name"]]]
    assert len(run) == len(compiled[name]["deploymentSpec"]["executors"])
    assert not any(task["cachingOptions"].get("enableCache") for task in run)


PLACEMENT = """
volume: focus-data
environment: {MLFLOW_TRACKING_URI: "http://mlflow:5000"}
secrets:
  focus-mlflow: {username: MLFLOW_TRACKING_USERNAME, password: MLFLOW_TRACKING_PASSWORD}
pull_secrets: [focus-registry]
notify: {mail_to: [night@example.org]}
default: {cpu: "2", memory: 8Gi, seconds: 3600, retries: 2}
tasks:
  train:
    image: focus-python-gpu:0.1.0
    gpu: 1
    node_selector: {pool: gpu}
    tolerations: [{key: nvidia.com/gpu, effect: NoSchedule}]
"""


def test_a_placement_reaches_every_task(tmp_path):
    (tmp_path / "placement.yaml").write_text(PLACEMENT)
    for path in compile_all(tmp_path, read_placement(str(tmp_path / "placement.yaml"))):
        spec, platform = read(path)
        asked = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
        executors = spec["deploymentSpec"]["executors"]
        assert set(asked) == set(executors)
        for name, pod in asked.items():
            assert pod["securityContext"] == {"runAsNonRoot": True, "runAsUser": "10001"}
            assert [item["constant"] for item in pod["pvcMount"]] == ["focus-data"]
            assert pod["imagePullSecret"] == [
                {
                    "secretName": "focus-registry",
                    "secretNameParameter": {"runtimeValue": {"constant": "focus-registry"}},
                }
            ]
            variables = {item["envVar"] for item in pod["secretAsEnv"][0]["keyToEnv"]}
            assert variables == {"MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"}
            (field,) = pod["fieldPathAsEnv"]
            assert (field["name"], field["fieldPath"]) == ("FOCUS_RUN", "metadata.labels['pipeline/runid']")
            told = {item["name"]: item["value"] for item in executors[name]["container"]["env"]}
            assert told == {"MLFLOW_TRACKING_URI": "http://mlflow:5000", "FOCUS_STATUS": "status"}
            if name != "exec-train":
                assert pod["activeDeadlineSeconds"] == "3600"
        if "exec-train" in asked:
            train = executors["exec-train"]["container"]
            assert train["image"] == "focus-python-gpu:0.1.0"
            assert train["resources"]["accelerator"]["resourceCount"] == "1"
            assert asked["exec-train"]["nodeSelector"]["labels"] == {"pool": "gpu"}
            assert asked["exec-train"]["tolerations"][0]["key"] == "nvidia.com/gpu"
        told = spec["root"]["dag"]["tasks"]["notify"]["inputs"]["parameters"]["settings"]
        assert told == {"runtimeValue": {"constant": {"mail_to": ["night@example.org"]}}}
        ingest = inner(spec)["ingest"]
        assert ingest["retryPolicy"]["maxRetryCount"] == 2


def test_every_task_can_be_placed_by_name(compiled):
    executors = {label for spec in compiled.values() for label in spec["deploymentSpec"]["executors"]}
    assert {label.removeprefix("exec-") for label in executors} == VERBS


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("tasks: {trian: {gpu: 1}}", "no task is called .'trian'"),
        ("default: {memory: lots}", "memory"),
        ("volumes: focus-data", "Known settings: .*volume"),
        ("volume: ../data", "volume"),
        ("[", "not a readable YAML file"),
    ],
)
def test_a_wrong_placement_is_refused(tmp_path, text, says):
    (tmp_path / "placement.yaml").write_text(text)
    with pytest.raises(SettingsError, match=says):
        read_placement(str(tmp_path / "placement.yaml"))
    with pytest.raises(MissingInputError, match="check --placement"):
        read_placement(str(tmp_path / "absent.yaml"))


def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TargetError, match="choose another --out"):
        compile_all(tmp_path / "file", Placement())
