"""One frozen block of a timm ViT as its parts: queries, keys and values, residual scales.

Knows timm's plain and EVA blocks (DINOv3 is an EVA in timm); everything else is refused by `check_block`.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import torch
from jaxtyping import Float
from timm.layers.attention import Attention, AttentionRope
from timm.layers.pos_embed_sincos import apply_rot_embed_cat
from timm.models.eva import Eva, EvaAttention, EvaBlock
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn

from focus_core.errors import ModelError

Vit: TypeAlias = VisionTransformer | Eva
VitBlock: TypeAlias = Block | EvaBlock

_ATTENTION: dict[type, tuple[type, ...]] = {Block: (Attention,), EvaBlock: (EvaAttention, AttentionRope)}


def check_block(block: nn.Module, index: int) -> None:
    """Refuse a block in which read-only rows are not defined.

    Raises
    ------
    ModelError
        If its classes are others than timm's pre-norm blocks, or if what attention mixed is gated or normalised
        before it is added, so that it is no sum over patches.
    """
    attention: Any = getattr(block, "attn", None)
    if type(attention) not in _ATTENTION.get(type(block), ()):
        raise ModelError(
            f"backbone block {index} is a {type(block).__name__} with {type(attention).__name__}; "
            "read-only rows are defined for timm's Block with Attention and EvaBlock with EvaAttention or AttentionRope"
        )
    if attention.gate is not None or not isinstance(attention.norm, nn.Identity):
        raise ModelError(
            f"backbone block {index} gates or normalises what its attention mixed, so that a patch's share of it "
            "is not defined; choose a backbone without"
        )


def run_block(block: VitBlock, tokens: Float[Tensor, "image token dim"], rope: Tensor | None) -> Tensor:
    """Run one frozen block over its own tokens."""
    ran: Tensor = block(tokens, rope=rope) if isinstance(block, EvaBlock) else block(tokens)
    return ran


def query_of(block: VitBlock, rows: Float[Tensor, "image row dim"]) -> Float[Tensor, "image head row head_dim"]:
    """Return the queries of read-only rows; like class tokens they have no place, so nothing rotates them."""
    attention: Any = block.attn
    query = _project(attention, block.norm1(rows), "q", attention.num_heads)
    normalised: Tensor = attention.q_norm(query)
    return normalised


def key_value_of(
    block: VitBlock, tokens: Float[Tensor, "image token dim"], rope: Tensor | None
) -> tuple[Float[Tensor, "image head token head_dim"], Float[Tensor, "image head token head_dim"]]:
    """Return the keys, rotated where the model rotates its patches' keys, and the values of all tokens."""
    attention: Any = block.attn
    normed = block.norm1(tokens)
    heads = getattr(attention, "num_kv_heads", attention.num_heads)
    key = attention.k_norm(_project(attention, normed, "k", heads))
    value = _project(attention, normed, "v", heads)
    if rope is not None:
        prefix = attention.num_prefix_tokens
        rotated = apply_rot_embed_cat(key[:, :, prefix:], rope, half=attention.rotate_half)
        key = torch.cat([key[:, :, :prefix], rotated], dim=2).type_as(value)
    shared = attention.num_heads // heads
    return key.repeat_interleave(shared, dim=1), value.repeat_interleave(shared, dim=1)


def residual_scale(block: VitBlock, branch: Literal[1, 2]) -> Tensor | float:
    """Return the factor on what attention (1) or the MLP (2) adds to the stream; 1 without layer scale."""
    if isinstance(block, EvaBlock):
        gamma = getattr(block, f"gamma_{branch}")
    else:
        gamma = getattr(getattr(block, f"ls{branch}"), "gamma", None)
    return 1.0 if gamma is None else gamma


def _project(
    attention: Any, normed: Float[Tensor, "image token dim"], part: Literal["q", "k", "v"], heads: int
) -> Float[Tensor, "image head token head_dim"]:
    """Apply one of the three projections, fused into one matrix or not."""
    if attention.qkv is None:
        projected = getattr(attention, f"{part}_proj")(normed)
    else:
        size = attention.qkv.weight.shape[0] // 3
        rows = slice("qkv".index(part) * size, ("qkv".index(part) + 1) * size)
        if isinstance(attention, EvaAttention):
            bias = getattr(attention, f"{part}_bias")
        else:
            bias = None if attention.qkv.bias is None else attention.qkv.bias[rows]
        projected = nn.functional.linear(normed, attention.qkv.weight[rows], bias)
    separated: Tensor = projected.unflatten(-1, (heads, -1)).transpose(1, 2)
    return separated
