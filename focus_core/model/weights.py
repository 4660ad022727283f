"""Model and backbone folders: safetensors and JSON, verified by sha256; no pickle anywhere."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from timm.models.vision_transformer import VisionTransformer

from focus_core.errors import MissingInputError, ModelError
from focus_core.model.blocks import Vit
from focus_core.model.focus import Focus
from focus_core.model.frontend import BandScale
from focus_core.model.published import architecture
from focus_core.model.spec import read_spec, write_spec

MODEL_WEIGHTS = "focus.safetensors"
BACKBONE_WEIGHTS = "backbone.safetensors"
BACKBONE_FILE = "backbone.json"


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file.

    Raises
    ------
    MissingInputError
        If it does not exist.
    """
    if not path.is_file():
        raise MissingInputError(f"'{path}' does not exist; give the folder that the step wrote")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def save_model(model: Focus, folder: Path) -> None:
    """Write ``focus.json`` and ``focus.safetensors``; no tensor of the backbone is in them."""
    write_spec(model.spec, folder)
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, folder / MODEL_WEIGHTS)


def load_model(folder: Path, backbone_folder: Path) -> Focus:
    """Read a model onto its backbone.

    Raises
    ------
    MissingInputError
        If a file is missing.
    ModelError
        If the backbone is not the one that the model was trained on, or the weights do not fit.
    """
    spec = read_spec(folder)
    found = sha256_of(backbone_folder / BACKBONE_WEIGHTS)
    if found != spec.backbone.sha256:
        raise ModelError(
            f"'{backbone_folder}' has digest {found}, but the model was trained on {spec.backbone.sha256}; "
            f"fetch the backbone {spec.backbone.uri}"
        )
    tensors = _tensors(folder / MODEL_WEIGHTS)
    scale = BandScale(*(tensors.get(f"front_end.band_{name}", torch.empty(0)) for name in BandScale._fields))
    model = Focus(spec, load_backbone(backbone_folder), scale)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise ModelError(f"'{folder / MODEL_WEIGHTS}' does not fit its {folder / 'focus.json'}: {error}") from error
    return model.eval()


def save_backbone(
    vit: Vit, arguments: dict[str, Any], kind: str, folder: Path, *, timm_name: str | None = None
) -> None:
    """Write ``backbone.json`` and ``backbone.safetensors``.

    Parameters
    ----------
    vit
        The backbone.
    arguments
        Of timm's ``VisionTransformer``, or of ``timm.create_model`` where it has a published name.
    kind
        What it learned from.
    folder
        Where to.
    timm_name
        Published name; ``None`` for the project's own ViT.
    """
    content = {"timm_name": timm_name, "arguments": arguments, "kind": kind}
    (folder / BACKBONE_FILE).write_text(json.dumps(content, indent=2), encoding="utf-8")
    save_file({name: tensor.contiguous() for name, tensor in vit.state_dict().items()}, folder / BACKBONE_WEIGHTS)


def read_backbone(folder: Path) -> dict[str, Any]:
    """Read ``backbone.json``: ``timm_name``, ``arguments`` and ``kind``.

    Raises
    ------
    MissingInputError
        If the folder holds none.
    """
    path = folder / BACKBONE_FILE
    if not path.is_file():
        raise MissingInputError(f"'{folder}' holds no {BACKBONE_FILE}; give the folder that 'pretrain' wrote")
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def load_backbone(folder: Path) -> Vit:
    """Build the ViT of a backbone folder.

    Raises
    ------
    MissingInputError
        If a file is missing.
    ModelError
        If weights and arguments do not fit.
    """
    content = read_backbone(folder)
    name, arguments = content.get("timm_name"), content["arguments"]
    try:
        vit = VisionTransformer(**arguments) if name is None else architecture(name, arguments)
        vit.load_state_dict(_tensors(folder / BACKBONE_WEIGHTS))
    except (TypeError, RuntimeError) as error:
        raise ModelError(f"'{folder}': weights and arguments of the backbone do not fit: {error}") from error
    return vit


def _tensors(path: Path) -> dict[str, torch.Tensor]:
    if not path.is_file():
        raise MissingInputError(f"'{path}' does not exist; give the folder that the step wrote")
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ModelError(f"'{path}' is not a safetensors file: {error}") from error
