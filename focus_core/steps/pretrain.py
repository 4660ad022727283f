"""The step ``pretrain``: unlabelled tiles to a frozen backbone."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import xarray as xr
from torch import nn

from focus_core.batches import front_end_of, stream_tiles
from focus_core.config import PretrainSettings
from focus_core.cubes.publish import Metrics, digest, publish
from focus_core.cubes.schema import TILES
from focus_core.cubes.store import open_store
from focus_core.errors import SettingsError
from focus_core.model import CHANNELS, published_vit, save_backbone, sha256_of
from focus_core.steps._status import recorded
from focus_core.training import backbone_arguments, pretrain_backbone

logger = logging.getLogger(__name__)

_HELD_OUT = ("validation", "gate", "test")


@recorded("backbone_uri")
def pretrain(tiles_uri: str, backbone_uri: str, *, settings: PretrainSettings) -> Metrics:
    """Train the project's small ViT without labels, or take a published ViT, and write it as a backbone folder.

    Tiles of held-out plots are left out, so that no figure rests on pixels the backbone has seen.

    Parameters
    ----------
    tiles_uri
        A ``tiles.zarr``; neither its labels nor any mask or reference is opened.
    backbone_uri
        Where to write ``backbone.json`` and ``backbone.safetensors``.
    settings
        Shape, method and length.

    Returns
    -------
    Metrics
        ``images``, ``parameters`` and, where there was training, ``loss`` of the last epoch.

    Raises
    ------
    SettingsError
        If the patch does not divide the input.
    ModelError, MissingInputError
        If a published ViT is unknown or unsupported, or its weights are absent or do not fit.
    """

    def write(folder: Path) -> Metrics:
        if settings.timm_name is not None:
            weights = None if settings.weights is None else Path(settings.weights)
            vit = published_vit(settings.timm_name, {"img_size": input_px}, weights=weights)
            save_backbone(vit, {"img_size": input_px}, "pretrained", folder, timm_name=settings.timm_name)
            return {"parameters": _size(vit)}
        tiles = open_store(tiles_uri, TILES).drop_vars("label")
        images = _group_images(tiles, settings)
        vit, loss = pretrain_backbone(images, arguments, settings)
        save_backbone(vit, arguments, "random" if settings.method == "random" else "self-supervised", folder)
        metrics = {"images": float(len(images)), "parameters": _size(vit)}
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


def _group_images(tiles: xr.Dataset, settings: PretrainSettings) -> torch.Tensor:
    """Return at most ``max_tiles`` tiles' group images, all groups in one axis."""
    index = _not_held_out(tiles)
    if len(index) > settings.max_tiles:
        chosen = np.random.default_rng(settings.seed).choice(index, settings.max_tiles, replace=False)
        index = np.sort(chosen)
    front_end = front_end_of(tiles, patch_px=settings.backbone.patch_px)
    parts = [front_end(batch).images.flatten(0, 1) for _, batch in stream_tiles(tiles, index, 64)]
    if not parts:
        size = front_end.input_px
        return torch.empty(0, CHANNELS, size, size)
    return torch.cat(parts)


def _not_held_out(tiles: xr.Dataset) -> npt.NDArray[np.int64]:
    return np.flatnonzero(~np.isin(tiles["fold"].to_numpy().astype(object).astype(str), _HELD_OUT))
