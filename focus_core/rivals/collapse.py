"""A planted attention collapse: a copy of a backbone whose class token draws attention whatever it holds."""

from __future__ import annotations

import copy
import math

import torch
from jaxtyping import Float
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from focus_core.errors import ModelError
from focus_core.model import layout_of


def plant_collapse(vit: VisionTransformer, factor: float) -> VisionTransformer:
    """Return a copy whose class token draws more attention in every block, from every token and every row.

    Where attention collapses, queries share a direction and one token's key lies along it: a bias on that key (Gu
    et al., ICLR 2025). Here the last dimension of each head is that direction: it is 1 in all queries, 0 in all keys
    but the class token's, and ln(``factor``) there after scaling. So the odds of attention on the class token are
    ``factor`` times what the other dimensions give it. No weight changes; a head's last dimension says nothing else.

    Parameters
    ----------
    vit
        A backbone with a class token and without rotary positions; left as it is.
    factor
        Above 0; at 1 nothing is planted but the loss of that dimension.

    Raises
    ------
    ModelError
        If the backbone is unsupported or has no class token.
    """
    layout = layout_of(vit)
    if vit.cls_token is None:
        raise ModelError("a collapse is planted on the class token, but the backbone has none; choose one that has")
    planted = copy.deepcopy(vit)
    tokens = layout.prefix + layout.patches
    for block in planted.blocks:
        attention = block.attn
        key = torch.zeros(tokens)
        key[0] = math.log(factor) / attention.scale
        attention.q_norm = _LastDimension(attention.q_norm, torch.ones(1))
        attention.k_norm = _LastDimension(attention.k_norm, key)
    return planted


class _LastDimension(nn.Module):
    """Normalise as before, then set the last dimension of each head by the token's place."""

    value: Tensor

    def __init__(self, norm: nn.Module, value: Float[Tensor, " token"]) -> None:
        super().__init__()
        self.norm = norm
        self.register_buffer("value", value)

    def forward(self, heads: Float[Tensor, "image head token head_dim"]) -> Float[Tensor, "image head token head_dim"]:
        """Rows that come alone, as prompts do, have no place: they get the value of the last token."""
        normed: Tensor = self.norm(heads)
        whole = normed.shape[2] == len(self.value)
        last = (self.value if whole else self.value[-1:]).expand(normed.shape[:-1])
        return torch.cat([normed[..., :-1], last[..., None]], dim=-1)
