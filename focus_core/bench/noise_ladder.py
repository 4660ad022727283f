"""Extreme noise: what is left of accuracy, curves and maps from 0 to 4 % reflectance of noise, sink on and off.

The problem is simulated and its answer known (`bench.planted`). Windows to train on and to test are as noisy as each
other, as those of one sensor are, and the small ViT is pretrained on them at each level.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import NamedTuple

from focus_core.bench.planted import plant
from focus_core.bench.planted_models import head_accuracy, pretrained, quality, untrained
from focus_core.config import BackboneSettings, TrainSettings
from focus_core.model import Focus
from focus_core.training import fit

logger = logging.getLogger(__name__)

NOISE = (0.0, 0.005, 0.01, 0.02, 0.04)
"""Standard deviation of the noise, reflectance, mean over bands; independent from pixel to pixel and band to band."""
SINKS = {"sink_on": True, "sink_off": False}
LABELS = {
    "balanced_accuracy": "balanced accuracy by window",
    "band_iou_of_ceiling": "band IoU with the planted ranges / its ceiling, mean over classes",
    "spatial_auc": "spatial AUC against the planted regions",
    "sink_share": "attention on the sink",
}
"""Scores with a panel in the chart, and the label of their axis."""

_CLASSES = 4
_DEPTH = 0.03


class Size(NamedTuple):
    """How much is trained at each level of noise."""

    windows: tuple[int, int, int] = (384, 96, 256)
    """To train on, to validate and to test."""
    backbone: BackboneSettings = BackboneSettings(width=64, heads=2)
    pretrain_epochs: int = 3
    epochs: int = 8


def run(seeds: Sequence[int], *, noise: Sequence[float] = NOISE, size: Size | None = None) -> dict[str, list[float]]:
    """Train and score at each level of noise, for each seed.

    Parameters
    ----------
    seeds
        Of problem, backbone and prompts.
    noise
        Levels, reflectance.
    size
        Other than the default.

    Returns
    -------
    dict[str, list[float]]
        ``<row>.<measure>.<noise>``, a value for each seed, for the rows ``sink_on`` and ``sink_off`` and the measures
        of `quality`; ``linear_head.balanced_accuracy.<noise>``. Noise is in thousandths of reflectance, as in ``005``.
    """
    values: dict[str, list[float]] = {}
    for seed in seeds:
        for level in noise:
            for name, value in _of_level(level, size or Size(), seed).items():
                values.setdefault(f"{name}.{round(1000 * level):03d}", []).append(value)
    return values


def _of_level(noise: float, size: Size, seed: int) -> dict[str, float]:
    problem = plant(_CLASSES, windows=size.windows, seed=seed, depth=_DEPTH, noise=noise)
    vit = pretrained(problem, size.backbone, epochs=size.pretrain_epochs, seed=seed)
    found: dict[str, float] = {}
    for name, sink in SINKS.items():
        logger.info("seed %d, noise %g: %s", seed, noise, name)
        settings = TrainSettings(
            seed=seed, sink=sink, prompt_seeds=1, epochs=size.epochs, group_dropout=(0.3,), augmented_copies=1
        )
        model = untrained(Focus, problem, vit, settings)
        fit(model, problem.train, problem.validation, settings)
        found |= {f"{name}.{measure}": value for measure, value in quality(model, problem).items()}
    found["linear_head.balanced_accuracy"] = head_accuracy(problem, vit, settings)
    return found
