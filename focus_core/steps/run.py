"""The step order of a whole run: train on the first campaign, then explain each one with the champion.

Knows the order and who hands which store to whom; the pipelines repeat it for Kubeflow.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from focus_core.config import CampaignFile, RunLayout, RunSettings
from focus_core.cubes.publish import Metrics

logger = logging.getLogger(__name__)


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
        ``<campaign>.<verb>.<metric>`` of each step and ``<campaign>.<verb>.seconds`` spent in it.

    Raises
    ------
    FocusError
        As the steps raise it.
    """
    chain = _Chain()
    for index, file in enumerate(files):
        _prepare(chain, file, layout, settings)
        if fit and index == 0:
            _train(chain, file, layout, settings)
        _explain(chain, file, layout, settings)
    return chain.metrics


class _Chain:
    """Metrics and seconds of the steps so far."""

    def __init__(self) -> None:
        self.metrics: Metrics = {}

    def __call__(self, file: CampaignFile, verb: str, step: Callable[[], Metrics]) -> None:
        prefix = f"{file.campaign.campaign}.{verb}"
        logger.info("%s: %s …", file.campaign.campaign, verb)
        started = time.perf_counter()
        found = step()
        seconds = time.perf_counter() - started
        logger.info("%s: %s took %.1f s", file.campaign.campaign, verb, seconds)
        self.metrics |= {f"{prefix}.{name}": value for name, value in found.items()}
        # The champion's evaluation follows the candidate's under the same name.
        self.metrics[f"{prefix}.seconds"] = self.metrics.get(f"{prefix}.seconds", 0.0) + seconds


def _prepare(chain: _Chain, file: CampaignFile, layout: RunLayout, settings: RunSettings) -> None:
    from focus_core.steps.ingest import ingest
    from focus_core.steps.tile import tile

    own, path = layout.campaign(file), str(file.path)
    chain(file, "ingest", lambda: ingest(path, own.cube, own.reference, settings=settings.ingest))
    chain(file, "tile", lambda: tile(path, own.cube, own.tiles, settings=settings.tile))


def _train(chain: _Chain, file: CampaignFile, layout: RunLayout, settings: RunSettings) -> None:
    from focus_core.steps.evaluate import evaluate
    from focus_core.steps.pretrain import pretrain
    from focus_core.steps.promote import promote
    from focus_core.steps.train import train

    own = layout.campaign(file)
    chain(file, "pretrain", lambda: pretrain(own.tiles, layout.backbone, settings=settings.pretrain))
    chain(file, "train", lambda: train(own.tiles, layout.backbone, layout.model, settings=settings.train))
    chain(
        file,
        "evaluate",
        lambda: evaluate(own.tiles, layout.model, own.reference, own.evaluation, settings=settings.evaluate),
    )
    chain(file, "promote", lambda: promote(layout.model, settings=settings.promote))


def _explain(chain: _Chain, file: CampaignFile, layout: RunLayout, settings: RunSettings) -> None:
    from focus_core.steps.aggregate import aggregate
    from focus_core.steps.evaluate import evaluate
    from focus_core.steps.explain import explain
    from focus_core.steps.report import report

    own, path, champion = layout.campaign(file), str(file.path), settings.champion
    chain(file, "explain", lambda: explain(own.tiles, champion, own.explanation, settings=settings.explain))
    chain(
        file,
        "evaluate",
        lambda: evaluate(own.tiles, champion, own.reference, own.evaluation, settings=settings.evaluate),
    )
    chain(
        file,
        "aggregate",
        lambda: aggregate(path, own.explanation, layout.importance, settings=settings.aggregate),
    )
    chain(
        file,
        "report",
        lambda: report(
            path,
            own.cube,
            own.reference,
            layout.importance,
            own.evaluation,
            own.report,
            settings=settings.report,
        ),
    )
