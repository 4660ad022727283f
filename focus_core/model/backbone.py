"""The frozen ViT: its tokens, and read-only rows that attend to them.

Everything about the token grid is read from the timm model; an unsupported model is refused with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from timm.layers import PatchEmbed
from timm.models.deit import VisionTransformerDistilled
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from focus_core.errors import ModelError
from focus_core.model.blocks import (
    Vit,
    VitBlock,
    check_block,
    key_value_of,
    query_of,
    run_block,
)
from focus_core.model.device import CPU, Placement

_CHANNELS = 3


@dataclass(frozen=True, kw_only=True)
class TokenLayout:
    """Where the tokens of a ViT stand in its sequence."""

    prefix: int
    """Class and register tokens before the patches."""
    rows: int
    """Patches along y."""
    cols: int
    """Patches along x."""

    @property
    def patches(self) -> int:
        """Number of patches."""
        return self.rows * self.cols


class BlockTokens(NamedTuple):
    """What read-only rows need of one block of a frozen forward pass; ``image`` runs over tiles and groups."""

    entry: Float[Tensor, "image dim"]
    """State of the rows' starting token on entry to the block."""
    keys: Float[Tensor, "image head token head_dim"]
    """Keys of all tokens, prefix tokens first."""
    values: Float[Tensor, "image head token head_dim"]
    """Values of all tokens."""


class Look(NamedTuple):
    """Where rows looked in one block."""

    attention: Float[Tensor, "image head row token"]
    """Raw softmax weights on the ViT's tokens; they sum to 1 less the sink's share."""
    sink_share: Float[Tensor, "image head row"]
    """Softmax weight on the sink; 0 without one."""


def layout_of(model: nn.Module) -> TokenLayout:
    """Return the token layout of a supported ViT.

    Raises
    ------
    ModelError
        If read-only rows would not reproduce the model's own tokens: another class than timm's VisionTransformer,
        its distilled DeiT or Eva (a subclass may add tokens or positions of its own), unknown blocks,
        tokens dropped on the way; or if a token is not one square patch of the image, or the image has another
        number of channels than three.
    """
    if type(model) not in (VisionTransformer, VisionTransformerDistilled, Eva):
        raise ModelError(
            f"backbone {type(model).__name__} is not supported; give a timm VisionTransformer (plain, DINO, DINOv2, "
            "DeiT, SigLIP) or Eva (EVA-02, DINOv3)"
        )
    vit: Vit = model
    for index, block in enumerate(vit.blocks):
        check_block(block, index)
    if vit.patch_drop is not None and not isinstance(vit.patch_drop, nn.Identity):
        raise ModelError("the backbone drops patches; build it with patch_drop_rate=0")
    _check_patches(vit.patch_embed)
    rows, cols = vit.patch_embed.grid_size
    return TokenLayout(prefix=int(vit.num_prefix_tokens), rows=int(rows), cols=int(cols))


def _check_patches(embed: Any) -> None:
    """Refuse tokens that are not the square patches of a 3-channel image."""
    if type(embed) is not PatchEmbed:  # behind convolutions tokens overlap, and have no patch of their own
        raise ModelError(
            f"the backbone makes its tokens with a {type(embed).__name__}, not of patches; choose a ViT without a "
            "convolutional stem"
        )
    patch, width = embed.patch_size
    if patch != width:
        raise ModelError(f"the backbone's patches are {patch} x {width} px, not square; choose another")
    if any(side % patch for side in embed.img_size):
        size = " x ".join(map(str, embed.img_size))
        raise ModelError(f"patches of {patch} px do not divide the input of {size} px; change window.input_px")
    channels = embed.proj.weight.shape[1]
    if channels != _CHANNELS:
        raise ModelError(f"the backbone takes {channels} channels, a wavelength group has {_CHANNELS}; choose another")


def freeze(vit: Vit) -> Vit:
    """Switch off gradients and training behaviour for good."""
    vit.requires_grad_(False)
    return vit.eval()


def walk(
    vit: Vit, images: Float[Tensor, "image 3 height width"], blocks: Sequence[int], placement: Placement = CPU
) -> Iterator[BlockTokens]:
    """Run the frozen ViT once, and give what rows need at some of its blocks, in their order.

    Rows start as the class token's state on entry to the block, the model's own. A model without one (SigLIP)
    pools its patches, and so its rows start as their mean.

    Parameters
    ----------
    vit
        The frozen backbone.
    images
        Group images.
    blocks
        Indices in increasing order; what lies behind the last is not run.
    placement
        Where the backbone and the images lie; keys and values are of its dtype.
    """
    with placement.autocast():
        tokens, ropes = embed(vit, images)
    for index, (block, rope) in enumerate(zip(vit.blocks[: blocks[-1] + 1], ropes, strict=False)):
        entering = tokens
        if index < blocks[-1]:  # after the last block's keys and values nobody reads the tokens again
            with placement.autocast():  # never across a yield: what reads the tokens is not to be cast
                tokens = run_block(block, entering, rope)
        if index in blocks:
            entry = entry_of(vit, entering)
            # Not before the block has run: its own peak need not hold keys and values.
            with placement.autocast():
                keys, values = key_value_of(block, entering, rope)
            yield BlockTokens(entry, keys.to(placement.dtype), values.to(placement.dtype))


def entry_of(vit: Vit, tokens: Float[Tensor, "image token dim"]) -> Float[Tensor, "image dim"]:
    """Return the state that rows start as: the class token's, or the mean patch's of a model without one."""
    return tokens[:, vit.num_prefix_tokens :].mean(dim=1) if vit.cls_token is None else tokens[:, 0]


def embed(
    vit: Vit, images: Float[Tensor, "image 3 height width"]
) -> tuple[Float[Tensor, "image token dim"], list[Tensor | None]]:
    """Return the tokens before the first block, and each block's rotary positions."""
    if not isinstance(vit, Eva):
        return vit.norm_pre(vit._pos_embed(vit.patch_embed(images))), [None] * len(vit.blocks)
    tokens, rope = vit._pos_embed(vit.patch_embed(images))
    ropes = list(rope) if vit.rope_mixed and rope is not None else [rope] * len(vit.blocks)
    return vit.norm_pre(tokens), ropes


def look(
    block: VitBlock,
    rows: Float[Tensor, "image row dim"],
    keys: Float[Tensor, "image head token head_dim"],
    sink_key: Float[Tensor, "image head head_dim"] | None = None,
) -> Look:
    """Let read-only rows look at tokens: they see every token, and no token sees them.

    A row that is one of the model's own tokens looks where that token looks (without a sink). The sink is a key
    whose value is zero: it takes softmax weight and gives nothing back.
    """
    query = query_of(block, rows) * block.attn.scale
    weights = torch.matmul(query, keys.transpose(-2, -1))
    if sink_key is None:
        weights = weights.softmax(dim=-1)
        return Look(weights, torch.zeros_like(weights[..., 0]))
    offset = (query * sink_key[:, :, None]).sum(-1, keepdim=True)
    weights = torch.cat([weights, offset], dim=-1).softmax(dim=-1)
    return Look(weights[..., :-1], weights[..., -1])


def said(
    attention: Float[Tensor, "image head row token"],
    values: Float[Tensor, "image head token head_dim"],
    direction: Float[Tensor, "image row dim"],
) -> Float[Tensor, "image row token"]:
    """Return what each token adds to the rows' scores: weight times value along a direction, summed over heads.

    Weights alone would count a token that is looked at and says nothing (Kobayashi et al., EMNLP 2020).
    """
    heads = direction.unflatten(-1, (attention.shape[1], -1)).transpose(1, 2)
    return (attention * torch.matmul(heads, values.transpose(-2, -1))).sum(dim=1)
