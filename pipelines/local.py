"""Runs the pipelines on this machine, a process for each task. Knows what `focus run` knows of order and folders."""

from __future__ import annotations

import builtins
import contextlib
import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from kfp import local

from focus_core.config import CampaignFile, RunLayout, RunSettings
from focus_core.errors import FocusError, TargetError
from focus_core.steps._status import statuses
from pipelines.arguments import campaign_arguments, training_arguments
from pipelines.campaign import campaign
from pipelines.log import TaskLog
from pipelines.placement import Placement
from pipelines.training import training

_OUTPUT = "executor_output.json"


class PipelineError(FocusError, RuntimeError):
    """A task of a pipeline failed; its reason stands in the log."""


def run(
    files: Sequence[CampaignFile],
    layout: RunLayout,
    settings: RunSettings,
    *,
    fit: bool,
    placement: Placement | None = None,
) -> dict[str, float]:
    """Train on the first campaign, then run the campaign pipeline for each, one after the other.

    One after the other, because every campaign is merged into one ``importance.zarr``. The registry is the one that
    ``MLFLOW_TRACKING_URI`` names. Of the placement only environment and retries matter here.

    Returns
    -------
    dict of str to float
        ``<campaign>.<verb>.<metric>`` of each task and ``<campaign>.<verb>.seconds``, as `focus run` names them; and
        ``run.starting_s``, what of those seconds lies outside the steps: starts of processes and imports, s.

    Raises
    ------
    TargetError
        If a path cannot be handed to a task.
    PipelineError
        If a task fails.
    """
    own = placement or Placement()
    jobs = [(campaign(own), file, campaign_arguments(file, layout, settings)) for file in files]
    if fit:
        jobs.insert(0, (training(own), files[0], training_arguments(files[0], layout, settings)))
    metrics: dict[str, float] = {"run.starting_s": 0.0}
    for pipeline, file, arguments in jobs:
        started = time.time()
        folder = run_one(pipeline, arguments, layout)
        spent = _collect(metrics, folder, file.campaign.campaign, started)
        metrics["run.starting_s"] += spent - _in_steps(arguments["folders"], started)
    return metrics


def run_one(pipeline: Callable[..., Any], arguments: Mapping[str, Any], layout: RunLayout) -> Path:
    """Run one pipeline; returns the folder in which Kubeflow keeps what its tasks returned."""
    for text in (str(layout.out), *(value for value in arguments.values() if isinstance(value, str))):
        if "python3" in text:  # kfp 2.17 puts the interpreter's path there, in every argument
            raise TargetError(f"'{text}': Kubeflow's local runner rewrites 'python3' in paths; use another folder")
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(layout.kubeflow))
    layout.kubeflow.mkdir(parents=True, exist_ok=True)
    before = _runs(layout)
    with contextlib.closing(TaskLog(layout.kubeflow / "log.txt")) as log:
        try:
            with contextlib.redirect_stdout(log), _left_as_it_was():
                pipeline(**arguments)
        except RuntimeError as error:
            reason = log.reason()
            if reason is None:
                log.show_last()
            raise PipelineError(f"{reason or error} (the whole log: {log.path})") from error
    (folder,) = _runs(layout) - before
    return folder


@contextlib.contextmanager
def _left_as_it_was() -> Iterator[None]:
    """Keep what Kubeflow changes: each thread of a loop puts back what it found, which may be another thread's."""
    root, own_print = logging.getLogger(), builtins.print
    level, handlers = root.level, root.handlers[:]
    try:
        yield
    finally:
        builtins.print = own_print
        root.setLevel(level)
        root.handlers[:] = handlers


def _runs(layout: RunLayout) -> set[Path]:
    return {path for path in layout.kubeflow.iterdir() if path.is_dir()}


def _collect(metrics: dict[str, float], folder: Path, name: str, started: float) -> float:
    """Read what the tasks of a finished pipeline left; returns their seconds.

    Tasks run one after the other, so a task's time is that since the one before ended: its process's start is in it.
    """
    spent = 0.0
    outputs = sorted((path.stat().st_mtime, path) for path in folder.rglob(_OUTPUT))
    for ended, path in outputs:
        if path.parent.name == "notify":
            continue
        prefix = f"{name}.{path.parent.name}"
        found = json.loads(path.read_text(encoding="utf-8"))["artifacts"]["metrics"]["artifacts"][0]["metadata"]
        seconds = max(0.0, ended - started)
        metrics |= {f"{prefix}.{key}": float(value) for key, value in found.items()}
        metrics[f"{prefix}.seconds"] = metrics.get(f"{prefix}.seconds", 0.0) + seconds
        spent += seconds
        started = ended
    return spent


def _in_steps(folders: Sequence[str], started: float) -> float:
    """Return the seconds that the steps themselves took, by the status that each left since a pipeline started."""
    found = [status for folder in dict.fromkeys(folders) for status in statuses(folder)]
    return sum(status.seconds for status in found if status.started >= started)
