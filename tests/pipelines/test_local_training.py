"""The training pipeline by itself, through Kubeflow's local runner: tasks killed in the middle, and faulty flights."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
import yaml

from focus_core import tracking
from focus_core.config import CampaignFile, RunLayout
from focus_core.cubes.record import digest, record
from focus_core.model import sha256_of
from focus_core.steps._status import statuses
from focus_core.steps.run import run
from pipelines.arguments import training_arguments
from pipelines.local import PipelineError, run_one
from pipelines.placement import Placement, TaskPlacement
from pipelines.training import training
from tests.focus_core.steps.spoiled import spoiled
from tests.pipelines.tasks import kill_once, runs, writes

STORES = ("cube", "reference", "tiles")
AGAIN = TaskPlacement(retries=1, retry_after_s=0)

pytestmark = [pytest.mark.services, pytest.mark.timeout(1800)]


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """Sums of floats are the same in every process."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def hidden(layout):
    """What writers leave while they write."""
    return [path for path in Path(layout.out).rglob(".*") if not path.is_relative_to(layout.kubeflow)]


def ended(layout):
    """State of each step that began, by verb."""
    found = [status for folder in layout.out.iterdir() if folder.is_dir() for status in statuses(folder)]
    return {status.verb: status.state for status in found}


def stated(uri):
    """Metrics of a result without measured time and the number of the registered version."""
    metrics = record(uri)["metrics"]
    return {name: value for name, value in metrics.items() if name != "version" and not name.startswith("cost.")}


def test_killed_tasks_are_tried_again_and_the_model_is_that_of_an_undisturbed_run(
    tiny_field, tiny_settings, registry, told, tmp_path
):
    """``train`` is killed while it writes the model, ``promote`` while it asks the registry.

    Undisturbed is the same chain without Kubeflow, in this process.
    """
    file = CampaignFile(tiny_field / "flight-1" / "campaign.yaml")
    calm, disturbed = (RunLayout.below(tmp_path / name) for name in ("calm", "disturbed"))
    run([file], calm, tiny_settings)

    models = Path(disturbed.model).parent
    with ThreadPoolExecutor(2) as pool:
        killed = [
            pool.submit(kill_once, "train", disturbed.model, writes(disturbed.model)),
            pool.submit(kill_once, "promote", disturbed.model, runs(models, "promote")),
        ]
        pipeline = training(Placement(tasks={"train": AGAIN, "promote": AGAIN}))
        run_one(pipeline, training_arguments(file, disturbed, tiny_settings), disturbed)
        assert all(attempt.result() for attempt in killed)
    log = (disturbed.kubeflow / "log.txt").read_text(encoding="utf-8")
    # The ones that were killed said nothing more.
    assert [log.count(f"]: {verb}: done after") for verb in ("pretrain", "train", "promote")] == [1, 1, 1]
    assert log.count("finished with status FAILURE") == 2

    own, other = disturbed.campaign(file), calm.campaign(file)
    for store in STORES:
        assert digest(getattr(own, store)) == digest(getattr(other, store))
    for weights in ("backbone/backbone.safetensors", "focus/focus.safetensors"):
        assert sha256_of(disturbed.out / "models" / weights) == sha256_of(calm.out / "models" / weights)
    assert stated(disturbed.model) == stated(calm.model)
    assert stated(own.evaluation) == stated(other.evaluation)
    assert hidden(disturbed) == []
    assert set(ended(disturbed).values()) == {"done"}

    # The undisturbed model is version 1, and each was promoted once.
    assert tracking.champion("focus") == record(disturbed.model)["metrics"]["version"] == 2
    moves = [(entry.from_version, entry.to_version) for entry in tracking.audit("focus") if entry.moved]
    assert moves == [(None, 1), (1, 2)]
    assert told == []


def cut_off(field, folder):
    return spoiled(field, folder, "cut-off"), "ingest", r"strip-\d\.\w+: "


def unlabelled(field, folder):
    """A flight whose plots nobody has scored yet: only ``train`` asks for that."""
    shutil.copytree(field / "flight-2", folder / "unlabelled")
    path = folder / "unlabelled" / "campaign.yaml"
    content = yaml.safe_load(path.read_text())
    content["campaign"], content["plots"]["label"] = "unlabelled", None
    path.write_text(yaml.safe_dump(content))
    return path, "train", "campaign unlabelled: no labelled tile in the fold 'train'"


@pytest.mark.parametrize("faulty", [cut_off, unlabelled])
def test_a_faulty_flight_ends_the_run_with_task_and_reason_and_promotes_nothing(
    faulty, tiny_field, tiny_settings, registry, told, tmp_path
):
    path, verb, reason = faulty(tiny_field, tmp_path)
    file, layout = CampaignFile(path), RunLayout.below(tmp_path / "out")
    pipeline = training(Placement(tasks={verb: AGAIN}))
    with pytest.raises(PipelineError, match=rf"^{verb}: (.*/)?{reason}"):
        run_one(pipeline, training_arguments(file, layout, tiny_settings), layout)
    states = ended(layout)
    assert states.pop(verb) == "failed"
    assert set(states.values()) <= {"done"}
    log = (layout.kubeflow / "log.txt").read_text(encoding="utf-8")
    assert log.count(f"]: {verb}: failed after") == 2

    (message,) = told
    assert message["title"].endswith("campaign.yaml: failed")
    (line,) = message["failures"]
    assert f": {verb}: " in line
    assert hidden(layout) == []
    assert not Path(layout.model).exists()
    assert tracking.champion("focus") is None
    assert tracking.audit("focus") == []
