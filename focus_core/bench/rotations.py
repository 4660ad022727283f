"""One campaign, its blocks in other folds each time: how far figures and curves depend on the split.

Knows the steps; each seed is a seed of the folds, so that every rotation trains on other blocks.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from focus_core import tracking
from focus_core.batches import of_fold
from focus_core.config import EvaluateSettings, TileSettings
from focus_core.config.run import RunLayout, RunSettings, read_campaigns
from focus_core.cubes.schema import TILES
from focus_core.cubes.store import open_store
from focus_core.errors import SettingsError
from focus_core.evaluation.rivals import fitted_rivals, head_accuracy
from focus_core.explanation import load_focus
from focus_core.steps.evaluate import evaluate
from focus_core.steps.ingest import ingest
from focus_core.steps.pretrain import pretrain
from focus_core.steps.tile import tile
from focus_core.steps.train import train
from focus_core.training import labelled_windows

logger = logging.getLogger(__name__)


def run(campaigns: Sequence[str], *, folder: str, seeds: Sequence[int]) -> dict[str, list[float]]:
    """Train and score one campaign under several rotations of its blocks.

    Parameters
    ----------
    campaigns
        One campaign file.
    folder
        Where stores, models and an own tracking database are written.
    seeds
        Seeds of the folds; each must leave every class a training plot.

    Returns
    -------
    dict[str, list[float]]
        The metrics of ``evaluate`` on test plots, a value for each rotation; beside the balanced accuracy, that of a
        linear head on the same features (``linear_head.``), and of guessing (``chance.``).

    Raises
    ------
    SettingsError
        If there is more than one campaign.
    """
    if len(campaigns) != 1:
        raise SettingsError(f"rotations are of one campaign, {len(campaigns)} are given; name one file")
    layout, settings = RunLayout.below(folder), RunSettings()
    layout.make()
    tracking.configure(layout.tracking)
    (file,) = read_campaigns(campaigns)
    own = layout.campaign(file)
    ingest(str(file.path), own.cube, own.reference, settings=settings.ingest)
    values: dict[str, list[float]] = {}
    for seed in seeds:
        logger.info("rotation %d", seed)
        part = layout.out / "bench" / f"rotation-{seed}"
        tiles, backbone, model = (str(part / name) for name in ("tiles.zarr", "backbone", "focus"))
        tile(str(file.path), own.cube, tiles, settings=TileSettings(folds_seed=seed))
        pretrain(tiles, backbone, settings=settings.pretrain)
        train(tiles, backbone, model, settings=settings.train.model_copy(update={"model_name": "focus-bench"}))
        scored = evaluate(
            tiles, model, own.reference, str(part / "evaluation"), settings=EvaluateSettings(folds=("test",))
        )
        for metric, value in {**scored, **_beside(tiles, model)}.items():
            values.setdefault(metric, []).append(value)
    return values


def _beside(tiles_uri: str, model_uri: str) -> dict[str, float]:
    """Return what the accuracy on test plots is read against."""
    tiles, (model, _) = open_store(tiles_uri, TILES), load_focus(model_uri)
    training, validation = (labelled_windows(tiles, fold) for fold in ("train", "validation"))
    head, _ = fitted_rivals(model, training, validation, seed=0)
    test = tiles.isel(tile=of_fold(tiles, "test"))
    return {
        "linear_head.test.balanced_accuracy": head_accuracy(head, model, test),
        "chance.test.balanced_accuracy": 1.0 / len(model.spec.classes),
    }
