"""What the cache saves: an epoch of prompt training on cached keys and values against one that runs the backbone.

Knows the trainer; the tiles are noise, because time does not depend on what is in them.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from focus_core.bench.timing import paired_ratios
from focus_core.config import TrainSettings
from focus_core.model import Focus
from focus_core.training.cache import ContextCache, cache_megabytes
from focus_core.training.mixing import unmixed
from focus_core.training.trainer import Trainer

_REPEATS = 3


def cached_epoch_ratios(model: Focus, *, tiles: int) -> list[float]:
    """Return the time of an epoch on a full cache over that of one on an empty cache, pair by pair.

    Both read the trainer's empty images and take the same optimiser steps. Training runs on the processor.

    Parameters
    ----------
    model
        Whose prompts are trained, on the processor.
    tiles
        Training tiles. With fewer than a batch the empty images, read in each step, weigh more than in training, so
        the ratio is an upper bound.
    """
    side, groups = model.spec.input_px, len(model.spec.groups)
    images = torch.randn(tiles, groups, 3, side, side, generator=torch.Generator().manual_seed(1))
    cached, uncached = (epoch_of(model, images, budget) for budget in (2 * cache_megabytes(model, tiles), 0.0))
    return paired_ratios(cached, uncached, repeats=_REPEATS)


def epoch_of(
    model: Focus, images: Float[Tensor, "tile group 3 height width"], budget_mb: float
) -> Callable[[], object]:
    """Return an epoch of training the first prompt seed; what fits ``budget_mb`` is cached before it begins."""
    cache = ContextCache(model, images, budget_mb=budget_mb)
    label = torch.arange(len(images)) % len(model.spec.classes)
    settings = TrainSettings()
    windows = unmixed(images, label, torch.ones(len(images), model.layout.patches))
    trainer = Trainer(model, cache, windows, settings, prompt_seed=0, group_dropout=settings.group_dropout[0])
    optimiser = trainer.optimiser()
    return lambda: trainer.epoch(optimiser)
