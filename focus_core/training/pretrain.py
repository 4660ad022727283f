"""Self-supervised training of the project's small ViT on group images; knows neither labels nor masks."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool, Float
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from focus_core.config import PretrainSettings
from focus_core.model import placement
from focus_core.training.loop import epoch_losses

_QUANTILES = (0.1, 0.5, 0.9)


def backbone_arguments(settings: PretrainSettings, input_px: int) -> dict[str, Any]:
    """Return the arguments of timm's ``VisionTransformer`` for the settings."""
    shape = settings.backbone
    return {
        "img_size": input_px,
        "patch_size": shape.patch_px,
        "embed_dim": shape.width,
        "depth": shape.depth,
        "num_heads": shape.heads,
        "num_classes": 0,
    }


class MaskedImageModel(nn.Module):
    """Predicts hidden patches from visible ones, and the image's statistics from the class token.

    Hidden patches follow SimMIM (Xie et al., CVPR 2022): a mask token instead of the patch, a linear decoder, a
    loss on hidden pixels only. That alone leaves the class token untrained, and FOCUS's rows start from it; so it
    predicts the 10 %, 50 % and 90 % quantiles of each channel over the whole image, which are the level and
    the patchiness of a stand.

    Parameters
    ----------
    vit
        The backbone to train.
    """

    def __init__(self, vit: VisionTransformer) -> None:
        super().__init__()
        self.vit = vit
        self.patch_px = int(vit.patch_embed.patch_size[0])
        self.mask_token = nn.Parameter(torch.zeros(vit.embed_dim))
        self.decoder = nn.Linear(vit.embed_dim, 3 * self.patch_px**2)
        self.statistics = nn.Linear(vit.embed_dim, 3 * len(_QUANTILES))

    def forward(
        self, images: Float[Tensor, "image 3 height width"], hidden: Bool[Tensor, "image patch"]
    ) -> Float[Tensor, ""]:
        """Return the loss of a batch."""
        vit = self.vit
        patches = vit.patch_embed(images)
        patches = torch.where(hidden[..., None], self.mask_token, patches)
        tokens = vit.norm(vit.blocks(vit.norm_pre(vit._pos_embed(patches))))
        wanted = nn.functional.unfold(images, self.patch_px, stride=self.patch_px).transpose(1, 2)
        error = (self.decoder(tokens[:, vit.num_prefix_tokens :]) - wanted).square().mean(dim=-1)
        quantiles = torch.tensor(_QUANTILES, device=images.device)
        level = images.flatten(2).quantile(quantiles, dim=2).permute(1, 2, 0).flatten(1)
        statistics = (self.statistics(tokens[:, 0]) - level).square().mean()
        loss: Tensor = (error * hidden).sum() / hidden.sum() + statistics
        return loss


def pretrain_backbone(
    images: Float[Tensor, "image 3 height width"], arguments: dict[str, Any], settings: PretrainSettings
) -> tuple[VisionTransformer, float]:
    """Train a small ViT on unlabelled group images.

    Parameters
    ----------
    images
        Standardised group images of training windows; the group an image came from is not told.
    arguments
        Of timm's ``VisionTransformer``.
    settings
        Method, epochs, masking and seed. Method ``random`` returns the initial weights.

    Returns
    -------
    tuple
        The backbone, on the processor, and the mean loss of the last epoch (NaN where there was none).
    """
    torch.manual_seed(settings.seed)
    vit = VisionTransformer(**arguments)
    if settings.method == "random" or settings.epochs == 0:
        return vit, float("nan")
    place = placement(settings.device)
    model = MaskedImageModel(vit).to(place.device)
    generator = torch.Generator().manual_seed(settings.seed)

    def loss_of(batch: Tensor, _: Tensor) -> Tensor:
        hidden = torch.rand(len(batch), vit.patch_embed.num_patches, generator=generator) < settings.mask_share
        with place.autocast():
            loss: Tensor = model(batch.to(place.device), hidden.to(place.device))
        return loss

    *_, loss = epoch_losses(model, images, loss_of, settings, batch=settings.batch_images, generator=generator)
    return vit.cpu(), loss
