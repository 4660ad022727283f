"""The step ``pretrain``: tiles to a frozen backbone; without labels, unless the method is ``supervised``."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import xarray as xr
from jaxtyping import Float
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from focus_core.batches import front_end_of, of_fold, stream_tiles
from focus_core.config import Fold, PretrainSettings
from focus_core.cubes.publish import Metrics, publish
from focus_core.cubes.record import digest
from focus_core.cubes.schema import TILES
from focus_core.cubes.store import open_store
from focus_core.errors import CampaignError, SettingsError
from focus_core.model import CHANNELS, published_vit, save_backbone, sha256_of
from focus_core.steps._status import recorded
from focus_core.training import Examples, backbone_arguments, pretrain_backbone, supervised_backbone

logger = logging.getLogger(__name__)

_HELD_OUT = ("validation", "gate", "test")
_KINDS = {
    "masked": "self-supervised",
    "supervised": "supervised",
    "random": "random",
    "published": "pretrained",
}
"""What a backbone learned from, by method."""


@recorded("backbone_uri")
def pretrain(tiles_uri: str, backbone_uri: str, *, settings: PretrainSettings) -> Metrics:
    """Train the project's small ViT, or take a published ViT, and write it as a backbone folder.

    Tiles of held-out plots are left out, so that no figure rests on pixels the backbone has seen; with labels,
    validation plots choose the epoch.

    Parameters
    ----------
    tiles_uri
        A ``tiles.zarr``; no mask or reference is opened, and its labels by the method ``supervised`` alone.
    backbone_uri
        Where to write ``backbone.json`` and ``backbone.safetensors``.
    settings
        Shape, method and length.

    Returns
    -------
    Metrics
        ``images``, ``parameters`` and, where there was training, ``loss`` of the epoch that was kept: of
        validation plots with labels, else of the last.

    Raises
    ------
    SettingsError
        If the patch does not divide the input.
    CampaignError
        If labels are to be learned and there is no labelled training or validation tile.
    ModelError, MissingInputError
        If a published ViT is unknown or unsupported, or its weights are absent or do not fit.
    """

    def write(folder: Path) -> Metrics:
        if settings.timm_name is not None:
            weights = None if settings.weights is None else Path(settings.weights)
            vit = published_vit(settings.timm_name, {"img_size": input_px}, weights=weights)
            save_backbone(vit, {"img_size": input_px}, _KINDS[settings.method], folder, timm_name=settings.timm_name)
            return {"parameters": _size(vit)}
        tiles = open_store(tiles_uri, TILES)
        if settings.method == "supervised":
            vit, loss, count = _supervised(tiles, arguments, settings)
        else:
            vit, loss, count = _unlabelled(tiles.drop_vars("label"), arguments, settings)
        save_backbone(vit, arguments, _KINDS[settings.method], folder)
        metrics = {"images": float(count), "parameters": _size(vit)}
        return metrics if np.isnan(loss) else {**metrics, "loss": loss}

    input_px = int(open_store(tiles_uri, TILES).attrs["input_px"])
    if settings.timm_name is None and input_px % settings.backbone.patch_px:
        raise SettingsError(
            f"patches of {settings.backbone.patch_px} px do not divide the input of {input_px} px; "
            "change backbone.patch_px or the campaign's window.input_px"
        )
    arguments = backbone_arguments(settings, input_px)
    inputs = {tiles_uri: digest(tiles_uri)}
    if settings.weights is not None:
        inputs[settings.weights] = sha256_of(Path(settings.weights))
    return publish(backbone_uri, step="pretrain", inputs=inputs, settings=settings, write=write)


def _size(vit: nn.Module) -> float:
    return float(sum(parameter.numel() for parameter in vit.parameters()))


def _unlabelled(
    tiles: xr.Dataset, arguments: dict[str, Any], settings: PretrainSettings
) -> tuple[VisionTransformer, float, int]:
    """Train on all tiles that are not held out; return the ViT, the loss and the count of group images."""
    images = _group_images(tiles, _at_most(_not_held_out(tiles), settings), settings).flatten(0, 1)
    return *pretrain_backbone(images, arguments, settings), len(images)


def _supervised(
    tiles: xr.Dataset, arguments: dict[str, Any], settings: PretrainSettings
) -> tuple[VisionTransformer, float, int]:
    """Train on labelled tiles of training plots; return the ViT, the loss and the count of group images."""
    train, validation = (_examples(tiles, fold, settings) for fold in ("train", "validation"))
    classes = len(tiles.attrs["classes"])
    vit, loss = supervised_backbone(train, validation, arguments, settings, classes=classes)
    return vit, loss, len(train.images.flatten(0, 1))


def _examples(tiles: xr.Dataset, fold: Fold, settings: PretrainSettings) -> Examples:
    """Read the labelled windows of a fold as group images."""
    index = _at_most(of_fold(tiles, fold), settings)
    if not len(index):
        raise CampaignError(
            f"campaign {tiles.attrs['campaign']}: no labelled tile in the fold '{fold}'; a supervised backbone needs "
            "some, change the folds of the campaign file or pretrain.method"
        )
    label = tiles["label"].to_numpy()[index].astype(np.int64)
    return Examples(_group_images(tiles, index, settings), torch.from_numpy(label))


def _group_images(
    tiles: xr.Dataset, index: npt.NDArray[np.int64], settings: PretrainSettings
) -> Float[Tensor, "tile group 3 height width"]:
    front_end = front_end_of(tiles, patch_px=settings.backbone.patch_px)
    parts = [front_end(batch).images for _, batch in stream_tiles(tiles, index, 64)]
    size = front_end.input_px
    return torch.cat(parts) if parts else torch.empty(0, front_end.groups, CHANNELS, size, size)


def _not_held_out(tiles: xr.Dataset) -> npt.NDArray[np.int64]:
    return np.flatnonzero(~np.isin(tiles["fold"].to_numpy().astype(object).astype(str), _HELD_OUT))


def _at_most(index: npt.NDArray[np.int64], settings: PretrainSettings) -> npt.NDArray[np.int64]:
    """Draw ``max_tiles`` of more tiles than that."""
    if len(index) <= settings.max_tiles:
        return index
    return np.sort(np.random.default_rng(settings.seed).choice(index, settings.max_tiles, replace=False))
