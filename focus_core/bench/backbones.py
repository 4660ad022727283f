"""The same prompts on a random, a self-supervised and a supervised frozen backbone, judged on plots of another flight.

Knows the steps; repeats them for each seed and backbone in one run, so that the rows of the table compare.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from focus_core import tracking
from focus_core.config import EvaluateSettings, PretrainSettings, TrainSettings
from focus_core.config.run import RunLayout, RunSettings, read_campaigns
from focus_core.steps.evaluate import evaluate
from focus_core.steps.ingest import ingest
from focus_core.steps.pretrain import pretrain
from focus_core.steps.tile import tile
from focus_core.steps.train import train

logger = logging.getLogger(__name__)

Method = Literal["random", "masked", "supervised"]
METHODS: dict[Method, str] = {"random": "random", "masked": "self_supervised", "supervised": "supervised"}


def run(campaigns: Sequence[str], *, folder: str, seeds: Sequence[int]) -> dict[str, list[float]]:
    """Train on the first campaign with each backbone and seed, and score test plots of every campaign.

    Parameters
    ----------
    campaigns
        Campaign files; the model is trained on the first.
    folder
        Where stores, models and an own tracking database are written.
    seeds
        Seeds of backbone and prompts.

    Returns
    -------
    dict[str, list[float]]
        ``<backbone>.<campaign>.<metric>``, a value for each seed.
    """
    layout, settings = RunLayout.below(folder), RunSettings()
    layout.make()
    tracking.configure(layout.tracking)
    files = read_campaigns(campaigns)
    for file in files:
        own = layout.campaign(file)
        ingest(str(file.path), own.cube, own.reference, settings=settings.ingest)
        tile(str(file.path), own.cube, own.tiles, settings=settings.tile)
    values: dict[str, list[float]] = {}
    for seed in seeds:
        for method, name in METHODS.items():
            logger.info("seed %d, %s backbone", seed, name)
            trained = layout.out / "bench" / f"{name}-{seed}"
            tiles = layout.campaign(files[0]).tiles
            _train(tiles, trained, method, seed)
            for file in files:
                own = layout.campaign(file)
                scored = evaluate(
                    own.tiles,
                    str(trained / "focus"),
                    own.reference,
                    str(trained / file.campaign.campaign),
                    settings=EvaluateSettings(folds=("test",), seed=seed),
                )
                for metric, value in scored.items():
                    values.setdefault(f"{name}.{file.campaign.campaign}.{metric}", []).append(value)
    return values


def _train(tiles: str, folder: Path, method: Method, seed: int) -> None:
    pretrain(tiles, str(folder / "backbone"), settings=PretrainSettings(method=method, seed=seed))
    settings = TrainSettings(seed=seed, model_name="focus-bench")
    train(tiles, str(folder / "backbone"), str(folder / "focus"), settings=settings)
