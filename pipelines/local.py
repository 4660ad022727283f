"""Runs the pipelines on this machine, a process for each task. Knows what `focus run` knows of order and folders."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kfp import local

from focus_core.config import CampaignFile, RunLayout, RunSettings
from focus_core.errors import FocusError, TargetError
from pipelines.campaign import campaign
from pipelines.log import TaskLog
from pipelines.training import training

_OUTPUT = "executor_output.json"


class PipelineError(FocusError, RuntimeError):
    """A task of a pipeline failed; its reason stands in the log."""


def run(files: Sequence[CampaignFile], layout: RunLayout, settings: RunSettings, *, fit: bool) -> dict[str, float]:
    """Train on the first campaign, then run the campaign pipeline for each, one after the other.

    One after the other, because every campaign is merged into one ``importance.zarr``. The registry is the one that
    ``MLFLOW_TRACKING_URI`` names.

    Returns
    -------
    dict of str to float
        ``<campaign>.<verb>.<metric>`` of each task and ``<campaign>.<verb>.seconds``, as `focus run` names them.

    Raises
    ------
    TargetError
        If a path cannot be handed to a task.
    PipelineError
        If a task fails.
    """
    for path in (layout.out, *(file.path for file in files)):
        if "python3" in str(path):  # kfp 2.17 puts the interpreter's path there, in every argument
            raise TargetError(f"'{path}': Kubeflow's local runner rewrites 'python3' in paths; use another folder")
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(layout.kubeflow))
    layout.kubeflow.mkdir(parents=True, exist_ok=True)
    jobs = [(campaign, file, _campaign_arguments(file, layout, settings)) for file in files]
    if fit:
        jobs.insert(0, (training, files[0], _training_arguments(files[0], layout, settings)))
    metrics: dict[str, float] = {}
    with contextlib.closing(TaskLog(layout.kubeflow / "log.txt")) as log:
        for pipeline, file, arguments in jobs:
            started, before = time.time(), _runs(layout)
            try:
                with contextlib.redirect_stdout(log):
                    pipeline(**arguments)
            except RuntimeError as error:
                reason = log.reason()
                if reason is None:
                    log.show_last()
                raise PipelineError(f"{reason or error} (the whole log: {log.path})") from error
            (folder,) = _runs(layout) - before
            _collect(metrics, folder, file.campaign.campaign, started)
    return metrics


def _runs(layout: RunLayout) -> set[Path]:
    return {path for path in layout.kubeflow.iterdir() if path.is_dir()}


def _training_arguments(file: CampaignFile, layout: RunLayout, settings: RunSettings) -> dict[str, Any]:
    own = layout.campaign(file)
    return {
        "campaign_file": str(file.path),
        "cube_uri": own.cube,
        "reference_uri": own.reference,
        "tiles_uri": own.tiles,
        "backbone_uri": layout.backbone,
        "model_uri": layout.model,
        "evaluation_uri": own.evaluation,
        **_settings(settings, "ingest", "tile", "pretrain", "train", "evaluate", "promote"),
    }


def _campaign_arguments(file: CampaignFile, layout: RunLayout, settings: RunSettings) -> dict[str, Any]:
    own = layout.campaign(file)
    return {
        "campaign_file": str(file.path),
        "cube_uri": own.cube,
        "reference_uri": own.reference,
        "tiles_uri": own.tiles,
        "explanation_uri": own.explanation,
        "evaluation_uri": own.evaluation,
        "importance_uri": layout.importance,
        "report_path": own.report,
        "model_uri": settings.champion,
        **_settings(settings, "ingest", "tile", "explain", "evaluate", "aggregate", "report"),
    }


def _settings(settings: RunSettings, *verbs: str) -> dict[str, Mapping[str, Any]]:
    """Return what differs from the defaults; Kubeflow cannot carry an explicit none."""
    return {
        f"settings_of_{verb}": getattr(settings, verb).model_dump(mode="json", exclude_defaults=True) for verb in verbs
    }


def _collect(metrics: dict[str, float], folder: Path, name: str, started: float) -> None:
    """Read what the tasks of a finished pipeline left.

    Tasks run one after the other, so a task's time is that since the one before ended: its process's start is in it.
    """
    outputs = sorted((path.stat().st_mtime, path) for path in folder.rglob(_OUTPUT))
    for ended, path in outputs:
        prefix = f"{name}.{path.parent.name}"
        found = json.loads(path.read_text(encoding="utf-8"))["artifacts"]["metrics"]["artifacts"][0]["metadata"]
        metrics |= {f"{prefix}.{key}": float(value) for key, value in found.items()}
        metrics[f"{prefix}.seconds"] = metrics.get(f"{prefix}.seconds", 0.0) + max(0.0, ended - started)
        started = ended
