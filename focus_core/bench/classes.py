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
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from focus_core.bench.planted import SIDE_PX, Planted, plant
from focus_core.bench.timing import paired_ratios
from focus_core.config import BackboneSettings, PretrainSettings, TrainSettings
from focus_core.metrics import balanced_accuracy, band_scores, over_tiles, spatial_auc
from focus_core.model import BackboneReference, Explanation, Focus, GroupRange, ModelSpec, evenly_spaced
from focus_core.model.blocks import Vit
from focus_core.rivals import fit_head
from focus_core.rivals.prompts import FreePrompts, LowRankPrompts, SharedUntilLast
from focus_core.training import fit
from focus_core.training.pretrain import backbone_arguments, pretrain_backbone

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

_BATCH_TILES = 16
_TIMED_TILES, _TIMED_PAIRS = 4, 9
_NO_BACKBONE = BackboneReference(uri="bench", sha256="0" * 64, kind="self-supervised")


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
        ``spatial_auc``, ``parameters`` of one prompt seed, ``training_s`` (wall time, the frozen passes included) and
        ``overhead_time``, an explanation's over a plain pass's on the same group images.
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
        pretraining = PretrainSettings(backbone=size.backbone, epochs=size.pretrain_epochs, seed=seed)
        arguments = backbone_arguments(pretraining, SIDE_PX)
        problem = plant(classes, windows=size.windows, seed=seed)
        blank = self._model(Focus, problem, VisionTransformer(**arguments))
        images = blank.front_end(problem.train.reflectance).images.flatten(0, 1)
        self.vit, _ = pretrain_backbone(images, arguments, pretraining)

    def scores(self, classes: int) -> Scores:
        problem = plant(classes, windows=self.size.windows, seed=self.seed)
        head = self._head_accuracy(problem)
        found: Scores = {"linear_head.balanced_accuracy": head}
        for name, variant in VARIANTS.items():
            logger.info("seed %d, %d classes: %s", self.seed, classes, name)
            model = self._model(variant, problem, self.vit)
            started = time.perf_counter()
            fit(model, problem.train, problem.validation, self.training)
            own = {"training_s": time.perf_counter() - started, **_quality(model, problem), **_cost(model, problem)}
            own["accuracy_over_linear_head"] = own["balanced_accuracy"] - head
            found |= {f"{name}.{measure}": value for measure, value in own.items()}
        return found

    def _model(self, variant: type[Focus], problem: Planted, vit: Vit) -> Focus:
        settings, pixels = self.training, problem.train.reflectance
        spec = ModelSpec(
            wavelength_nm=tuple(problem.wavelength.tolist()),
            good_band=(True,) * len(problem.wavelength),
            groups=tuple(GroupRange(name=g.name, lo_nm=g.lo_nm, hi_nm=g.hi_nm) for g in problem.groups.groups),
            classes=("control", *(f"class {index}" for index in range(1, len(problem.reference)))),
            reference_class="control",
            quantity="reflectance",
            window_px=SIDE_PX,
            input_px=SIDE_PX,
            read_blocks=evenly_spaced(len(vit.blocks), settings.read_blocks[0]),
            rank=settings.rank,
            prompt_seeds=settings.prompt_seeds,
            group_dropout=settings.group_dropout[0],
            sink=settings.sink,
            backbone=_NO_BACKBONE,
            training_campaign="simulated windows",
            simulated=True,
        )
        return variant(spec, vit, pixels.mean(dim=(0, 2, 3)), pixels.std(dim=(0, 2, 3)))

    def _head_accuracy(self, problem: Planted) -> float:
        front_end = self._model(Focus, problem, self.vit).front_end
        parts = (problem.train, problem.validation, problem.test)
        train, validation, test = (front_end(part.reflectance).images for part in parts)
        head = fit_head(self.vit, train, problem.train.label, validation, problem.validation.label)
        with torch.no_grad():
            logit = torch.cat([head.logits(part) for part in test.split(_BATCH_TILES)])
        return _accuracy(logit, problem)


def _quality(model: Focus, problem: Planted) -> Scores:
    parts = [model.explain(part) for part in problem.test.reflectance.split(_BATCH_TILES)]
    found = Explanation(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))
    label, group_of_band = problem.test.label.numpy(), model.spec.group_of_band()
    importance = found.importance.double().numpy()
    curves = np.stack([importance[label == cls, cls].mean(axis=0) for cls in range(len(problem.reference))])
    # The control absorbs nowhere, so it has no reference.
    bands = band_scores(curves[:, group_of_band], problem.reference, group_of_band)["band_iou_of_ceiling"][1:]
    maps = found.saliency.sum(dim=2).double().numpy()[np.arange(len(label)), label]
    return {
        "balanced_accuracy": _accuracy(found.logit, problem),
        "band_iou_of_ceiling": float(bands.mean()),
        "band_iou_of_ceiling_worst": float(bands.min()),
        "spatial_auc": over_tiles(spatial_auc, maps, problem.test_mask).mean,
    }


def _accuracy(logit: Tensor, problem: Planted) -> float:
    return balanced_accuracy(problem.test.label.numpy(), logit.argmax(dim=1).numpy())


def _cost(model: Focus, problem: Planted) -> Scores:
    window = problem.test.reflectance[:_TIMED_TILES]
    images = model.front_end(window).images.flatten(0, 1)

    @torch.inference_mode()
    def plain() -> object:
        return model.vit.forward_features(images)

    ratios = paired_ratios(lambda: model.explain(window), plain, repeats=_TIMED_PAIRS)
    own = sum(parameter.numel() for parameter in model.rows[0].parameters())
    return {"overhead_time": float(np.median(ratios)), "parameters": float(own)}
