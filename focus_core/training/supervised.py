"""Supervised training of the project's small ViT on a campaign's own labels: what a backbone gains from the task.

Sees labels of training and validation windows, never masks or reference bands.
"""

from __future__ import annotations

import copy
import logging
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from focus_core.config import PretrainSettings
from focus_core.model import Placement, placement
from focus_core.training.loop import epoch_losses
from focus_core.training.windows import class_weight

logger = logging.getLogger(__name__)

_CHECK_TILES = 16


class Examples(NamedTuple):
    """Labelled windows as the backbone sees them."""

    images: Float[Tensor, "tile group 3 height width"]
    """Standardised group images."""
    label: Int[Tensor, " tile"]


class GroupClassifier(nn.Module):
    """Says a window's class: patch tokens of each group's image, averaged, and one linear layer over all groups.

    Parameters
    ----------
    vit
        The backbone to train.
    groups, classes
        How many there are.
    """

    def __init__(self, vit: VisionTransformer, groups: int, classes: int) -> None:
        super().__init__()
        self.vit = vit
        self.head = nn.Linear(groups * vit.embed_dim, classes)

    def forward(self, images: Float[Tensor, "tile group 3 height width"]) -> Float[Tensor, "tile cls"]:
        """Return the logits; each group goes through the ViT as its own image."""
        tokens = self.vit.forward_features(images.flatten(0, 1))[:, self.vit.num_prefix_tokens :]
        logit: Tensor = self.head(tokens.mean(dim=1).unflatten(0, images.shape[:2]).flatten(1))
        return logit


def supervised_backbone(
    train: Examples, validation: Examples, arguments: dict[str, Any], settings: PretrainSettings, *, classes: int
) -> tuple[VisionTransformer, float]:
    """Train a small ViT on labels, and keep the epoch that does best on validation windows.

    Parameters
    ----------
    train, validation
        Windows of disjoint plots.
    arguments
        Of timm's ``VisionTransformer``.
    settings
        Epochs, batch and seed.
    classes
        How many there are.

    Returns
    -------
    tuple
        The backbone, on the processor, and the validation loss of the epoch that was kept.
    """
    torch.manual_seed(settings.seed)
    groups = train.images.shape[1]
    place = placement(settings.device)
    model = GroupClassifier(VisionTransformer(**arguments), groups, classes).to(place.device)
    weight = class_weight(train.label, classes).to(place.device)

    def loss_of(images: Tensor, part: Tensor) -> Tensor:
        with place.autocast():
            logit = model(images.to(place.device))
        return nn.functional.cross_entropy(logit.float(), train.label[part].to(place.device), weight=weight)

    best, kept = float("inf"), model.vit.state_dict()
    generator = torch.Generator().manual_seed(settings.seed)
    batch = max(1, settings.batch_images // groups)
    for _ in epoch_losses(model, train.images, loss_of, settings, batch=batch, generator=generator):
        check = _check(model, validation, weight, place)
        logger.info("validation loss %.4f", check)
        if check < best:
            best, kept = check, copy.deepcopy(model.vit.state_dict())
    model.vit.load_state_dict(kept)
    return model.vit.cpu(), best


@torch.no_grad()
def _check(model: GroupClassifier, validation: Examples, weight: Float[Tensor, " cls"], place: Placement) -> float:
    with place.autocast():
        logit = torch.cat([model(part.to(place.device)) for part in validation.images.split(_CHECK_TILES)])
    return float(nn.functional.cross_entropy(logit.float(), validation.label.to(place.device), weight=weight))
