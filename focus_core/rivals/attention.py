"""Attention of a frozen block among all of its own tokens; timm's fused kernel keeps none."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from timm.layers.pos_embed_sincos import apply_rot_embed_cat
from torch import Tensor

from focus_core.model.blocks import VitBlock, key_value_of, query_of


def token_query(
    block: VitBlock, tokens: Float[Tensor, "image token dim"], rope: Tensor | None
) -> Float[Tensor, "image head token head_dim"]:
    """Return the queries of all tokens, rotated where the model rotates its patches' queries."""
    query = query_of(block, tokens)
    if rope is None:
        return query
    attention: Any = block.attn
    prefix = attention.num_prefix_tokens
    rotated = apply_rot_embed_cat(query[:, :, prefix:], rope, half=attention.rotate_half)
    return torch.cat([query[:, :, :prefix], rotated], dim=2).type_as(query)


def attention_weights(
    block: VitBlock,
    query: Float[Tensor, "image head row head_dim"],
    key: Float[Tensor, "image head token head_dim"],
) -> Float[Tensor, "image head row token"]:
    """Return softmax weights; each row sums to 1."""
    return torch.matmul(query * block.attn.scale, key.transpose(-2, -1)).softmax(dim=-1)


def self_attention(
    block: VitBlock, tokens: Float[Tensor, "image token dim"], rope: Tensor | None
) -> Float[Tensor, "image head token token"]:
    """Return a block's own attention among its tokens."""
    key, _ = key_value_of(block, tokens, rope)
    return attention_weights(block, token_query(block, tokens, rope), key)
