"""A timm ViT by its published name, with published weights from a file or from timm's own download."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import timm
from torch import nn

from focus_core.errors import MissingInputError, ModelError
from focus_core.model.backbone import layout_of
from focus_core.model.blocks import Vit


def published_vit(name: str, arguments: dict[str, Any], *, weights: Path | None) -> Vit:
    """Build a published ViT with its pretrained weights.

    Parameters
    ----------
    name
        timm's name, e.g. ``vit_small_patch16_dinov3.lvd1689m``.
    arguments
        Further arguments of ``timm.create_model``, e.g. ``img_size``; timm fits learned positions to it.
    weights
        A ``.safetensors`` file as published; ``None`` downloads by name.

    Raises
    ------
    MissingInputError
        If the file does not exist, or the download fails.
    ModelError
        If timm knows no such model, the file is no safetensors file or of another model, or read-only rows are not
        defined on it.
    """
    if weights is None:
        source: dict[str, Any] = {}
    elif not weights.is_file():
        raise MissingInputError(f"weights '{weights}' do not exist; give the published .safetensors file")
    elif weights.suffix != ".safetensors":
        raise ModelError(f"weights '{weights}' are no .safetensors file; other formats can run code and are not read")
    else:
        source = {"pretrained_cfg_overlay": {"file": str(weights)}}
    if not timm.is_model(name):
        near = ", ".join(timm.list_models(f"*{name.split('.')[0][:12]}*")[:5]) or "timm.list_models()"
        raise ModelError(f"timm knows no model '{name}'; near it: {near}")
    layout_of(architecture(name, arguments))
    try:
        return timm.create_model(name, pretrained=True, num_classes=0, **source, **arguments)
    except (KeyError, RuntimeError, ValueError, AssertionError) as error:
        raise ModelError(f"weights of '{name}' ({weights or 'downloaded'}) do not fit: {error}") from error
    except OSError as error:
        raise MissingInputError(
            f"the weights of '{name}' could not be downloaded ({error}); fetch its .safetensors file and name it"
        ) from error


def architecture(name: str, arguments: dict[str, Any]) -> nn.Module:
    """Build a published ViT without its weights.

    Raises
    ------
    ModelError
        If the arguments do not fit.
    """
    try:
        vit: nn.Module = timm.create_model(name, pretrained=False, num_classes=0, **arguments)
    except (TypeError, RuntimeError, AssertionError) as error:
        raise ModelError(f"backbone '{name}' cannot be built with {arguments}: {error}") from error
    return vit
