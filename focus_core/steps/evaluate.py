"""The step ``evaluate``: a model on held-out plots, against expert masks and reference bands."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import xarray as xr

from focus_core import tracking
from focus_core.batches import of_fold, read_readable_tiles
from focus_core.config import EvaluateSettings
from focus_core.cubes.publish import Metrics, publish
from focus_core.cubes.record import digest
from focus_core.cubes.schema import REFERENCE, TILES
from focus_core.cubes.store import open_store
from focus_core.errors import ModelError, StoreError
from focus_core.evaluation import cost, score_fold, swap_check
from focus_core.explanation import explain_tiles, load_focus
from focus_core.model import Focus, ModelSpec
from focus_core.steps._status import recorded

_COST_TILES = 8

logger = logging.getLogger(__name__)


@recorded("evaluation_uri")
def evaluate(
    tiles_uri: str, model_uri: str, reference_uri: str, evaluation_uri: str, *, settings: EvaluateSettings
) -> Metrics:
    """Score a model on the held-out plots of a campaign, and log the metrics to the run that trained it.

    Parameters
    ----------
    tiles_uri
        A ``tiles.zarr``; only its labelled tiles in ``settings.folds`` are used.
    model_uri
        A model folder, or ``models:/<name>@champion``.
    reference_uri
        The campaign's ``reference.zarr``.
    evaluation_uri
        Where to write ``metrics.json``.
    settings
        Folds, draws and seed.

    Returns
    -------
    Metrics
        As of `score_fold`, each under its fold's name (``test.balanced_accuracy``), and the exact checks. The folds of
        the campaign that the model was trained on are logged under these names; those of another campaign
        under its id before them. A campaign without labelled held-out plots gives the checks alone. What the present
        champion reaches on the gate plots of the model's own campaign is logged beside them, for ``promote``.
    """
    tiles, reference = open_store(tiles_uri, TILES), open_store(reference_uri, REFERENCE)
    if tiles.sizes["band"] != reference.sizes["band"]:
        raise StoreError(
            f"'{reference_uri}' has {reference.sizes['band']} bands, '{tiles_uri}' has {tiles.sizes['band']}; "
            "give the reference of the same campaign"
        )
    model, model_digest = load_focus(model_uri)
    own = tiles.attrs["campaign"] == model.spec.training_campaign

    def write(folder: Path) -> Metrics:
        metrics = _score(model, tiles, reference, settings)
        (folder / "metrics.json").write_text(json.dumps(metrics, indent=2, sort_keys=True), encoding="utf-8")
        if model.spec.run_id:
            prefix = "" if own else f"{tiles.attrs['campaign']}."
            tracking.log_metrics(model.spec.run_id, {f"{prefix}{name}": value for name, value in metrics.items()})
        return metrics

    inputs = {tiles_uri: digest(tiles_uri), reference_uri: digest(reference_uri), "model": model_digest}
    metrics = publish(evaluation_uri, step="evaluate", inputs=inputs, settings=settings, write=write)
    if own and model.spec.run_id:
        _score_champion(model.spec, tiles, reference, settings)
    return metrics


def _score_champion(
    challenger: ModelSpec, tiles: xr.Dataset, reference: xr.Dataset, settings: EvaluateSettings
) -> None:
    """Log the champion's figures on the challenger's gate plots; a champion that cannot be used there has none."""
    index = of_fold(tiles, "gate")
    rival = tracking.unseen_champion(str(challenger.run_id))
    if rival is None or not len(index):
        return
    try:
        champion, _ = load_focus(rival.uri)
        explanation = explain_tiles(champion, tiles, index)
    except ModelError as error:
        logger.warning("%s is not scored on the gate plots of %s: %s", rival.uri, tiles.attrs["campaign"], error)
        return
    if champion.spec.classes != challenger.classes:
        logger.warning("%s knows other classes than %s: %s", rival.uri, challenger.classes, champion.spec.classes)
        return
    scores = score_fold(champion, explanation, reference, seed=settings.seed)
    tracking.log_champion(
        str(challenger.run_id), rival.number, {f"gate.{name}": value for name, value in scores.items()}
    )


def _score(model: Focus, tiles: xr.Dataset, reference: xr.Dataset, settings: EvaluateSettings) -> Metrics:
    metrics: Metrics = {}
    for fold in settings.folds:
        index = of_fold(tiles, fold)
        if len(index):
            explanation = explain_tiles(model, tiles, index)
            scores = score_fold(model, explanation, reference, seed=settings.seed)
            metrics |= {f"{fold}.{name}": value for name, value in scores.items()}
    few = np.unique(np.linspace(0, tiles.sizes["tile"] - 1, 2 * settings.swap_draws).astype(np.int64))
    found, unreadable = read_readable_tiles(tiles, few)
    windows = found[[tile not in unreadable for tile in few.tolist()]]
    if len(windows) > 1:
        metrics |= swap_check(model, windows, seed=settings.seed)
    return metrics | cost(model, windows[:_COST_TILES])
