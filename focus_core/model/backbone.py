"""The frozen ViT: its tokens, and read-only rows that attend to them.

Everything about the token grid is read from the timm model; an unsupported model is refused with the reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from timm.layers.attention import Attention
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn

from focus_core.errors import ModelError


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


class Context(NamedTuple):
    """What read-only rows need of a frozen forward pass; ``image`` runs over tiles and groups."""

    entry: Float[Tensor, "image dim"]
    """State of the row's starting token on entry to the first prompted block."""
    keys: tuple[Float[Tensor, "image head token head_dim"], ...]
    """Keys of each prompted block."""
    values: tuple[Float[Tensor, "image head token head_dim"], ...]
    """Values of each prompted block."""


class RowStep(NamedTuple):
    """Rows after one block, and where they looked."""

    rows: Float[Tensor, "image row dim"]
    attention: Float[Tensor, "image head row token"]
    """Raw softmax weights on the ViT's tokens; they sum to 1 less the sink's share."""
    sink_share: Float[Tensor, "image head row"]
    """Softmax weight on the sink; 0 without one."""


def layout_of(model: nn.Module) -> TokenLayout:
    """Return the token layout of a supported ViT.

    Raises
    ------
    ModelError
        If read-only rows would not reproduce the model's own tokens: other block or attention classes,
        positions added inside the blocks, tokens dropped on the way, no class token; or if what attention mixed is
        gated or normalised before it is added, so that it is no sum over patches.
    """
    if type(model) is not VisionTransformer:  # a subclass may add tokens or positions of its own
        raise ModelError(f"backbone {type(model).__name__} is not supported; give a timm VisionTransformer")
    vit: VisionTransformer = model
    for index, block in enumerate(vit.blocks):
        attention: Any = getattr(block, "attn", None)
        if type(block) is not Block or type(attention) is not Attention:
            raise ModelError(
                f"backbone block {index} is a {type(block).__name__} with {type(attention).__name__}; "
                "read-only rows are defined for timm's plain Block with Attention"
            )
        if attention.gate is not None or not isinstance(attention.norm, nn.Identity):
            raise ModelError(
                f"backbone block {index} gates or normalises what its attention mixed, so that a patch's share of it "
                "is not defined; choose a backbone without"
            )
    if not isinstance(vit.patch_drop, nn.Identity):
        raise ModelError("the backbone drops patches; build it with patch_drop_rate=0")
    if vit.cls_token is None:
        raise ModelError("the backbone has no class token for the prompts to start from; choose one that has")
    rows, cols = vit.patch_embed.grid_size
    return TokenLayout(prefix=int(vit.num_prefix_tokens), rows=int(rows), cols=int(cols))


def freeze(vit: VisionTransformer) -> VisionTransformer:
    """Switch off gradients and training behaviour for good."""
    vit.requires_grad_(False)
    return vit.eval()


def encode(vit: VisionTransformer, images: Float[Tensor, "image 3 height width"], first: int) -> Context:
    """Run the frozen ViT once and keep what rows need from block ``first`` on.

    The rows' starting token is the class token: up to ``first`` it is the model's own state.
    """
    tokens = vit.norm_pre(vit._pos_embed(vit.patch_embed(images)))
    for block in vit.blocks[:first]:
        tokens = block(tokens)
    entry, keys, values = tokens[:, 0], [], []
    last = len(vit.blocks) - 1
    for index in range(first, len(vit.blocks)):
        block = vit.blocks[index]
        key, value = _key_value(block.attn, block.norm1(tokens))
        keys.append(key)
        values.append(value)
        if index < last:  # after the last block's keys and values nobody reads the patch tokens again
            tokens = block(tokens)
    return Context(entry, tuple(keys), tuple(values))


def step(
    block: Block,
    rows: Float[Tensor, "image row dim"],
    keys: Float[Tensor, "image head token head_dim"],
    values: Float[Tensor, "image head token head_dim"],
    sink_key: Float[Tensor, "image head head_dim"] | None = None,
) -> RowStep:
    """Carry read-only rows through one block: they see every token, and no token sees them.

    A row that starts as one of the model's own tokens reproduces that token (without a sink). The sink is a key
    whose value is zero: it takes softmax weight and gives nothing back.
    """
    attention = block.attn
    normed = block.norm1(rows)
    weights = torch.matmul(_query(attention, normed), keys.transpose(-2, -1)) * attention.scale
    if sink_key is None:
        weights = weights.softmax(dim=-1)
        sink_share = torch.zeros_like(weights[..., 0])
    else:
        offset = (_query(attention, normed) * sink_key[:, :, None]).sum(-1, keepdim=True) * attention.scale
        weights = torch.cat([weights, offset], dim=-1).softmax(dim=-1)
        weights, sink_share = weights[..., :-1], weights[..., -1]
    mixed = torch.matmul(weights, values).transpose(1, 2).flatten(2)
    rows = rows + block.ls1(attention.proj(mixed))
    rows = rows + block.ls2(block.mlp(block.norm2(rows)))
    return RowStep(rows, weights, sink_share)


def pull(
    block: Block,
    attention: Float[Tensor, "image head row token"],
    values: Float[Tensor, "image head token head_dim"],
    direction: Float[Tensor, "image row dim"],
) -> Float[Tensor, "image row token"]:
    """Return what each token added to the rows along a direction, in one block's attention.

    The attention's output is a sum over tokens of weight times projected value; weights alone would count a token
    that is looked at and says nothing (Kobayashi et al., EMNLP 2020).
    """
    if not isinstance(block.ls1, nn.Identity):
        direction = direction * block.ls1.gamma
    heads = torch.matmul(direction, block.attn.proj.weight).unflatten(-1, (attention.shape[1], -1)).transpose(1, 2)
    return (attention * torch.matmul(heads, values.transpose(-2, -1))).sum(dim=1)


def _query(attention: Attention, normed: Float[Tensor, "image row dim"]) -> Float[Tensor, "image head row head_dim"]:
    size = attention.attn_dim
    bias = None if attention.qkv.bias is None else attention.qkv.bias[:size]
    query = nn.functional.linear(normed, attention.qkv.weight[:size], bias)
    query = query.unflatten(-1, (attention.num_heads, attention.head_dim)).transpose(1, 2)
    normalised: Tensor = attention.q_norm(query)
    return normalised


def _key_value(
    attention: Attention, normed: Float[Tensor, "image token dim"]
) -> tuple[Float[Tensor, "image head token head_dim"], Float[Tensor, "image head token head_dim"]]:
    size = attention.attn_dim
    bias = None if attention.qkv.bias is None else attention.qkv.bias[size:]
    both = nn.functional.linear(normed, attention.qkv.weight[size:], bias)
    both = both.unflatten(-1, (2, attention.num_heads, attention.head_dim)).permute(2, 0, 3, 1, 4)
    return attention.k_norm(both[0]), both[1]
