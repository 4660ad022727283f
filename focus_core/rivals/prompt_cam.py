"""The Prompt-CAM wiring: class prompts inside the frozen ViT's own sequence, trained through it.

Tokens attend to the prompts, so nothing can be cached and every step of training runs the backbone and its gradient.
"""

from __future__ import annotations

import copy
import logging
import math

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn

from focus_core.config import Settings
from focus_core.model import layout_of
from focus_core.model.backbone import embed, freeze, look
from focus_core.model.blocks import Vit, VitBlock, key_value_of, residual_scale
from focus_core.rivals.attention import attention_weights, token_query
from focus_core.rivals.protocol import RivalExplanation

logger = logging.getLogger(__name__)

_CHECK_TILES = 32


class PromptCamSettings(Settings):
    """Settings of training in the Prompt-CAM wiring."""

    epochs: int = Field(default=10, ge=1)
    """Passes over the training tiles; the one of the least validation loss is kept."""
    batch_tiles: int = Field(default=16, ge=1)
    """Tiles in a step."""
    learning_rate: float = Field(default=5e-3, gt=0.0)
    """Peak learning rate of AdamW."""
    weight_decay: float = Field(default=1e-3, ge=0.0)
    """Weight decay of prompts and scorer."""
    seed: int = Field(default=1, ge=0)
    """Seed of prompts and order."""


class PromptCam(nn.Module):
    """Prompt-CAM (Chowdhury et al., CVPR 2025), its deep variant, on one image per wavelength group.

    Every block has prompts of its own, one per class *and group*: a group's image is another picture of the plot, in
    which the class may look otherwise, and FOCUS has as many. One scorer is shared by all, without a bias, which
    would cancel between classes. A class's logit is the sum of its scores over groups.

    Parameters
    ----------
    vit
        The frozen backbone; frozen here again.
    classes, groups
        How many.

    Raises
    ------
    ModelError
        If the backbone is unsupported.
    """

    name = "prompt_cam"
    read_out = (
        "contrastive score of the class's prompt in the group's image, less its mean over reference tiles; signed, and "
        "over all groups it sums to the contrastive logit less its mean there"
    )
    reference_mean: Tensor

    def __init__(self, vit: Vit, *, classes: int, groups: int) -> None:
        super().__init__()
        self.layout = layout_of(vit)
        self._vit = [freeze(vit)]  # in a list: the backbone's tensors are no part of this module's state
        patch_px = vit.patch_embed.patch_size[0]
        most = math.sqrt(6.0 / (3 * patch_px**2 + vit.embed_dim))  # as the published prompts start
        self.prompts = nn.Parameter(torch.empty(len(vit.blocks), groups, classes, vit.embed_dim).uniform_(-most, most))
        self.scorer = nn.Parameter(torch.randn(vit.embed_dim) * vit.embed_dim**-0.5)
        self.register_buffer("reference_mean", torch.zeros(classes, groups))

    def scores(
        self, images: Float[Tensor, "tile group 3 height width"]
    ) -> tuple[Float[Tensor, "tile cls group"], Float[Tensor, "tile cls group patch"]]:
        """Return contrastive scores, and the last block's attention from prompts to patches, mean over heads."""
        vit, tiles = self._vit[0], len(images)
        tokens, ropes = embed(vit, images.flatten(0, 1))
        prompts = [layer.expand(tiles, *layer.shape).flatten(0, 1) for layer in self.prompts]
        for block, rope, own in zip(vit.blocks[:-1], ropes, prompts, strict=False):
            tokens = block_with_prompts(block, tokens, rope, own)
        block = vit.blocks[-1]
        sides = key_value_of(block, prompts[-1], None), key_value_of(block, tokens, ropes[-1])
        keys, values = (torch.cat(both, dim=2) for both in zip(*sides, strict=True))
        looked = look(block, prompts[-1], keys).attention
        rows = behind(block, prompts[-1], looked, values)
        norm = vit.fc_norm if isinstance(vit.norm, nn.Identity) else vit.norm  # a ViT that pools has it behind that
        scores = (norm(rows) @ self.scorer).unflatten(0, (tiles, -1)).transpose(1, 2)
        first = self.prompts.shape[2] + self.layout.prefix
        attention = looked.mean(dim=1)[..., first:].unflatten(0, (tiles, -1)).transpose(1, 2)
        return scores - scores.mean(dim=1, keepdim=True), attention

    def logits(self, images: Float[Tensor, "tile group 3 height width"]) -> Float[Tensor, "tile cls"]:
        """Return the contrastive logits."""
        return self.scores(images)[0].sum(dim=-1)

    @torch.no_grad()
    def explain(self, images: Float[Tensor, "tile group 3 height width"]) -> RivalExplanation:
        """Run the tiles once; the map is attention as it is, never negative."""
        scores, attention = self.scores(images)
        saliency = attention.unflatten(-1, (self.layout.rows, self.layout.cols))
        return RivalExplanation(scores - self.reference_mean, saliency)


def block_with_prompts(
    block: VitBlock,
    tokens: Float[Tensor, "image token dim"],
    rope: Tensor | None,
    prompts: Float[Tensor, "image prompt dim"],
) -> Float[Tensor, "image token dim"]:
    """Return the tokens after a block in which they attend to the prompts as well; the prompts have no place.

    What becomes of the prompts is dropped: the next block has its own.
    """
    sides = key_value_of(block, prompts, None), key_value_of(block, tokens, rope)
    keys, values = (torch.cat(both, dim=2) for both in zip(*sides, strict=True))
    return behind(block, tokens, attention_weights(block, token_query(block, tokens, rope), keys), values)


def behind(
    block: VitBlock,
    rows: Float[Tensor, "image row dim"],
    attention: Float[Tensor, "image head row token"],
    values: Float[Tensor, "image head token head_dim"],
) -> Float[Tensor, "image row dim"]:
    """Return what a block makes of rows, given where they look."""
    mixed = torch.matmul(attention, values).transpose(1, 2).flatten(2)
    rows = rows + residual_scale(block, 1) * block.attn.proj(mixed)
    after: Tensor = rows + residual_scale(block, 2) * block.mlp(block.norm2(rows))
    return after


def fit_prompt_cam(
    vit: Vit,
    images_train: Float[Tensor, "tile group 3 height width"],
    label_train: Int[Tensor, " tile"],
    images_validation: Float[Tensor, "validation group 3 height width"],
    label_validation: Int[Tensor, " validation"],
    reference_images: Float[Tensor, "reference group 3 height width"],
    settings: PromptCamSettings,
) -> PromptCam:
    """Train prompts and scorer by cross-entropy weighted by class balance, and keep the best validation epoch.

    Parameters
    ----------
    vit
        The frozen backbone.
    images_train, images_validation
        Standardised group images of tiles of disjoint plots.
    label_train, label_validation
        Class index of each tile.
    reference_images
        Group images of training tiles of the reference class, whose mean score is taken off.
    settings
        Training settings.

    Raises
    ------
    ModelError
        If the backbone is unsupported.
    """
    torch.manual_seed(settings.seed)
    generator = torch.Generator().manual_seed(settings.seed)
    classes = int(label_train.max()) + 1
    model = PromptCam(vit, classes=classes, groups=images_train.shape[1])
    weight = len(label_train) / (classes * torch.bincount(label_train, minlength=classes).clamp_min(1).float())
    optimiser = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.epochs)
    best, best_loss = copy.deepcopy(model.state_dict()), float("inf")
    for epoch in range(1, settings.epochs + 1):
        for part in torch.randperm(len(label_train), generator=generator).split(settings.batch_tiles):
            loss = nn.functional.cross_entropy(model.logits(images_train[part]), label_train[part], weight=weight)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        schedule.step()
        logits = _all_scores(model, images_validation).sum(dim=-1)
        check = nn.functional.cross_entropy(logits, label_validation, weight=weight).item()
        logger.info("prompt_cam epoch %d: validation loss %.4f", epoch, check)
        if check < best_loss:
            best, best_loss = copy.deepcopy(model.state_dict()), check
    model.load_state_dict(best)
    model.reference_mean.copy_(_all_scores(model, reference_images).mean(dim=0))
    return model.requires_grad_(False)


@torch.no_grad()
def _all_scores(
    model: PromptCam, images: Float[Tensor, "tile group 3 height width"]
) -> Float[Tensor, "tile cls group"]:
    return torch.cat([model.scores(part)[0] for part in images.split(_CHECK_TILES)])
