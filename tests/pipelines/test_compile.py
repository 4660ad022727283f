"""The compiled pipelines: the same bytes whatever the hash seed, whole, and never stale."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from components.images import PYTHON_IMAGE
from focus_core.errors import TargetError
from pipelines.compile import PIPELINES, compile_all

ROOT = Path(__file__).parents[2]
TASKS = {
    "training": {"ingest", "tile", "pretrain", "train", "evaluate", "promote"},
    "campaign": {"ingest", "tile", "explain", "evaluate", "aggregate", "report"},
}


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compiled")
    return {path.stem: yaml.safe_load(path.read_text()) for path in compile_all(folder)}


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
    tasks = compiled[name]["root"]["dag"]["tasks"]
    assert set(tasks) == TASKS[name]
    waits = {task: set(content.get("dependentTasks", [])) for task, content in tasks.items()}
    assert all(ahead <= set(tasks) for ahead in waits.values())
    assert [task for task, ahead in waits.items() if not ahead] == ["ingest"]
    if name == "training":
        assert waits["promote"] == {"train", "evaluate"}
    else:
        assert waits["report"] == {"ingest", "aggregate", "evaluate"}


@pytest.mark.parametrize("name", PIPELINES)
def test_no_task_is_cached_by_kubeflow(compiled, name):
    """Its cache sees neither a changed file nor a moved champion; the steps compare digests themselves."""
    options = [task["cachingOptions"] for task in compiled[name]["root"]["dag"]["tasks"].values()]
    assert not any(option.get("enableCache") for option in options)


@pytest.mark.parametrize("name", PIPELINES)
def test_every_input_of_a_task_exists(compiled, name):
    root, components = compiled[name]["root"], compiled[name]["components"]
    given = set(root["inputDefinitions"]["parameters"])
    for task in root["dag"]["tasks"].values():
        wanted = components[task["componentRef"]["name"]]["inputDefinitions"]["parameters"]
        passed = task["inputs"]["parameters"]
        assert set(passed) == set(wanted)
        for source in passed.values():
            if "componentInputParameter" in source:
                assert source["componentInputParameter"] in given
            else:
                assert source["taskOutputParameter"]["producerTask"] in root["dag"]["tasks"]


def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TargetError, match="choose another --out"):
        compile_all(tmp_path / "file")
