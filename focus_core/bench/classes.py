"""Many classes: quality and cost of prompts with shared factors, free prompts and shared rows, at 4 and at 32 classes.

The problem is simulated and its answer known (`bench.planted`); a small ViT is pretrained on its windows, unlabelled,
and frozen. Every variant takes the same optimiser steps on the same windows, and so does every number of classes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from focus_core.bench.epochs import epoch_of
from focus_core.bench.planted import Planted, plant
from focus_core.bench.planted_models import head_accuracy, pretrained, quality, untrained
from focus_core.bench.timing import paired_ratios
from focus_core.config import BackboneSettings, TrainSettings
from focus_core.model import Focus
from focus_core.rivals.prompts import FreePrompts, LowRankPrompts, SharedUntilLast
from focus_core.training import fit
from focus_core.training.cache import cache_megabytes

logger = logging.getLogger(__name__)

Scores = dict[str, float]

VARIANTS: dict[str, type[Focus]] = {
    "focus": Focus,
    "low_rank": LowRankPrompts,
    "free": FreePrompts,
    "shared_rows": SharedUntilLast,
}
"""How prompts are made; ``focus`` is what `train` gives."""
CLASSES = (4, 32)
LABELS = {
    "balanced_accuracy": "balanced accuracy by window",
    "band_iou_of_ceiling": "band IoU with the planted ranges / its ceiling, mean over classes",
    "spatial_auc": "spatial AUC against the planted regions",
}
"""Scores with a panel in the chart, and the label of their axis."""

_TIMED_TILES, _TIMED_BATCH, _TIMED_PAIRS = 4, 32, 5


class Size(NamedTuple):
    """How much is trained; the same for every number of classes."""

    windows: tuple[int, int, int] = (512, 128, 256)
    """To train on, to validate and to test."""
    backbone: BackboneSettings = BackboneSettings(width=64, heads=2)
    pretrain_epochs: int = 3
    epochs: int = 8
    prompt_seeds: int = 1


def run(seeds: Sequence[int], *, classes: Sequence[int] = CLASSES, size: Size | None = None) -> dict[str, list[float]]:
    """Train and score every variant at each number of classes, for each seed.

    Parameters
    ----------
    seeds
        Of problem, backbone and prompts.
    classes
        Numbers of classes, the control among them; the backbone is pretrained on the windows of the last.
    size
        Other than the default.

    Returns
    -------
    dict[str, list[float]]
        ``<variant>.<measure>.c<classes>``, a value for each seed: ``balanced_accuracy`` of windows,
        ``accuracy_over_linear_head`` on the same features, ``band_iou_of_ceiling`` (mean over classes, and ``_worst``),
        ``spatial_auc``, ``parameters`` of one prompt seed, ``training_s`` (wall time, the frozen passes included),
        ``epoch_over_focus`` (time of an epoch on cached passes over that of ``focus``, in turn) and ``overhead_time``,
        an explanation's over a plain pass's on the same group images.
    """
    values: dict[str, list[float]] = {}
    for seed in seeds:
        bench = _Seed(seed, size or Size(), classes[-1])
        for count in classes:
            for name, value in bench.scores(count).items():
                values.setdefault(f"{name}.c{count}", []).append(value)
    return values


class _Seed:
    """Everything that one seed measures, on one frozen backbone."""

    def __init__(self, seed: int, size: Size, classes: int) -> None:
        self.seed, self.size = seed, size
        # Equal steps for all: no early end, and no choice that would train one variant twice.
        self.training = TrainSettings(
            seed=seed,
            prompt_seeds=size.prompt_seeds,
            epochs=size.epochs,
            patience=size.epochs,
            group_dropout=(0.3,),
            augmented_copies=1,
        )
        problem = plant(classes, windows=size.windows, seed=seed)
        self.vit = pretrained(problem, size.backbone, epochs=size.pretrain_epochs, seed=seed)

    def scores(self, classes: int) -> Scores:
        problem = plant(classes, windows=self.size.windows, seed=self.seed)
        head = head_accuracy(problem, self.vit, self.training)
        found: Scores = {"linear_head.balanced_accuracy": head}
        for name, variant in VARIANTS.items():
            logger.info("seed %d, %d classes: %s", self.seed, classes, name)
            model = untrained(variant, problem, self.vit, self.training)
            started = time.perf_counter()
            fit(model, problem.train, problem.validation, self.training)
            own = {"training_s": time.perf_counter() - started, **quality(model, problem)}
            own |= _cost(model, untrained(Focus, problem, self.vit, self.training), problem)
            own["accuracy_over_linear_head"] = own["balanced_accuracy"] - head
            found |= {f"{name}.{measure}": value for measure, value in own.items()}
        return found


def _cost(model: Focus, shipped: Focus, problem: Planted) -> Scores:
    window = problem.test.reflectance[:_TIMED_TILES]
    images = model.front_end(window).images.flatten(0, 1)

    @torch.inference_mode()
    def plain() -> object:
        return model.vit.forward_features(images)

    ratios = paired_ratios(lambda: model.explain(window), plain, repeats=_TIMED_PAIRS)
    own = sum(parameter.numel() for parameter in model.rows[0].parameters())
    batch = model.front_end(problem.train.reflectance[:_TIMED_BATCH]).images
    # Rows are drawn anew for it, so it comes last.
    epoch, base = (epoch_of(each, batch, 2 * cache_megabytes(each, len(batch))) for each in (model, shipped))
    return {
        "overhead_time": float(np.median(ratios)),
        "epoch_over_focus": float(np.median(paired_ratios(epoch, base, repeats=_TIMED_PAIRS))),
        "parameters": float(own),
    }
