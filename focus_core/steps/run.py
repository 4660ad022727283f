"""The step order of a whole run: train on the first campaign, then explain each one with the champion.

Knows the order and who hands which store to whom; the pipelines repeat it for Kubeflow.
"""

from __future__ import annotations

import importlib
import logging
import time
from collections.abc import Callable, Sequence
from typing import cast

from focus_core import log
from focus_core.config import CampaignFile, RunLayout, RunSettings
from focus_core.cubes.publish import Metrics

logger = logging.getLogger(__name__)


def load_step(verb: str) -> Callable[..., Metrics]:
    """Import the step behind a verb; only now, because some load torch and MLflow."""
    return cast("Callable[..., Metrics]", getattr(importlib.import_module(f"focus_core.steps.{verb}"), verb))


def run(files: Sequence[CampaignFile], layout: RunLayout, settings: RunSettings, *, fit: bool = True) -> Metrics:
    """Run every step in order, without Kubeflow.

    The registry is the one that ``MLFLOW_TRACKING_URI`` names. Finished steps are not run again.

    Parameters
    ----------
    files
        Campaigns; the model is trained on the first.
    layout
        Where the stores are written.
    settings
        Settings of each step.
    fit
        Whether to train and promote a model first; else the present champion explains the campaigns.

    Returns
    -------
    Metrics
        ``<campaign>.<verb>.<metric>`` of each step and ``<campaign>.<verb>.seconds`` spent in it, imports included.

    Raises
    ------
    FocusError
        As the steps raise it.
    """
    metrics: Metrics = {}
    for index, file in enumerate(files):
        for verb, uris in _plan(file, layout, settings.champion, fit=fit and index == 0):
            prefix = f"{file.campaign.campaign}.{verb}"
            with log.about(campaign=file.campaign.campaign, step=verb):
                logger.info("%s: %s …", file.campaign.campaign, verb)
                started = time.perf_counter()
                found = load_step(verb)(*uris, settings=getattr(settings, verb))
                seconds = time.perf_counter() - started
                logger.info("%s: %s took %.1f s", file.campaign.campaign, verb, seconds)
            metrics |= {f"{prefix}.{name}": value for name, value in found.items()}
            # The champion's evaluation follows the candidate's under the same name.
            metrics[f"{prefix}.seconds"] = metrics.get(f"{prefix}.seconds", 0.0) + seconds
    return metrics


def _plan(file: CampaignFile, layout: RunLayout, champion: str, *, fit: bool) -> list[tuple[str, tuple[str, ...]]]:
    """Return the verbs for one campaign in their order, each with its URIs."""
    own, path = layout.campaign(file), str(file.path)
    training = [
        ("pretrain", (own.tiles, layout.backbone)),
        ("train", (own.tiles, layout.backbone, layout.model)),
        ("evaluate", (own.tiles, layout.model, own.reference, own.evaluation)),
        ("promote", (layout.model,)),
    ]
    return [
        ("ingest", (path, own.cube, own.reference)),
        ("tile", (path, own.cube, own.tiles)),
        *(training if fit else []),
        ("explain", (own.tiles, champion, own.explanation)),
        ("evaluate", (own.tiles, champion, own.reference, own.evaluation)),
        ("aggregate", (path, own.cube, own.explanation, layout.importance)),
        ("report", (path, own.cube, own.reference, layout.importance, own.evaluation, own.report)),
    ]
