"""Backbones and models for planted windows, and how well a trained one finds the planted answer."""

from __future__ import annotations

import numpy as np
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from focus_core.bench.planted import SIDE_PX, Planted
from focus_core.config import BackboneSettings, PretrainSettings, TrainSettings
from focus_core.metrics import balanced_accuracy, band_scores, over_tiles, spatial_auc
from focus_core.model import BackboneReference, BandScale, Explanation, Focus, GroupRange, ModelSpec
from focus_core.model.blocks import Vit
from focus_core.rivals import fit_head
from focus_core.training import readable_blocks
from focus_core.training.pretrain import backbone_arguments, pretrain_backbone

Scores = dict[str, float]

_BATCH_TILES = 16
_BACKBONE = BackboneReference(uri="bench", sha256="0" * 64, kind="self-supervised")


def pretrained(problem: Planted, backbone: BackboneSettings, *, epochs: int, seed: int) -> Vit:
    """Train a small ViT on a problem's training windows, unlabelled."""
    settings = PretrainSettings(backbone=backbone, epochs=epochs, seed=seed)
    arguments = backbone_arguments(settings, SIDE_PX)
    blank = untrained(Focus, problem, VisionTransformer(**arguments), TrainSettings())
    images = blank.front_end(problem.train.reflectance).images.flatten(0, 1)
    vit, _ = pretrain_backbone(images, arguments, settings)
    return vit


def untrained(variant: type[Focus], problem: Planted, vit: Vit, settings: TrainSettings) -> Focus:
    """Build a model for a problem's bands, groups and classes on a backbone."""
    pixels = problem.train.reflectance
    spec = ModelSpec(
        wavelength_nm=tuple(problem.wavelength.tolist()),
        good_band=(True,) * len(problem.wavelength),
        groups=tuple(GroupRange(name=g.name, lo_nm=g.lo_nm, hi_nm=g.hi_nm) for g in problem.groups.groups),
        classes=("control", *(f"class {index}" for index in range(1, len(problem.reference)))),
        reference_class="control",
        quantity="reflectance",
        window_px=SIDE_PX,
        input_px=SIDE_PX,
        read_blocks=readable_blocks(len(vit.blocks), settings)[0],
        rank=settings.rank,
        prompt_seeds=settings.prompt_seeds,
        group_dropout=settings.group_dropout[0],
        sink=settings.sink,
        backbone=_BACKBONE,
        training_campaign="simulated windows",
        simulated=True,
    )
    return variant(spec, vit, BandScale(pixels.mean(dim=(0, 2, 3)), pixels.std(dim=(0, 2, 3))))


def quality(model: Focus, problem: Planted) -> Scores:
    """Score a trained model on the test windows.

    Returns
    -------
    Scores
        ``balanced_accuracy`` of windows; ``band_iou_of_ceiling`` with the planted ranges, mean over classes but the
        control, and ``band_iou_of_ceiling_worst``; ``spatial_auc`` against the planted regions; ``sink_share``.
    """
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
        "sink_share": float(found.sink_share.mean()),
    }


def head_accuracy(problem: Planted, vit: Vit, settings: TrainSettings) -> float:
    """Return the balanced accuracy of a linear head on the same backbone and windows."""
    front_end = untrained(Focus, problem, vit, settings).front_end
    parts = (problem.train, problem.validation, problem.test)
    train, validation, test = (front_end(part.reflectance).images for part in parts)
    head = fit_head(vit, train, problem.train.label, validation, problem.validation.label)
    with torch.no_grad():
        logit = torch.cat([head.logits(part) for part in test.split(_BATCH_TILES)])
    return _accuracy(logit, problem)


def _accuracy(logit: Tensor, problem: Planted) -> float:
    return balanced_accuracy(problem.test.label.numpy(), logit.argmax(dim=1).numpy())
