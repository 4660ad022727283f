"""Attention rollout: how tokens mix over all blocks, if attention and the residual stream count alike."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor

from focus_core.model.backbone import embed, entry_of
from focus_core.model.blocks import run_block
from focus_core.rivals.attention import self_attention
from focus_core.rivals.head import LinearHead
from focus_core.rivals.protocol import RivalExplanation


class Rollout:
    """Attention rollout (Abnar & Zuidema, ACL 2020) of the frozen backbone; knows neither class nor head."""

    name = "rollout"
    read_out = "n/a: every group's image is a sequence of its own in which attention sums to 1, and no class is known"

    def __init__(self, head: LinearHead) -> None:
        self._head = head

    @torch.no_grad()
    def explain(self, images: Float[Tensor, "tile group 3 height width"]) -> RivalExplanation:
        """Run the tiles once; the class token's row is the map, or the patches' mean row of a model without one."""
        vit, layout = self._head.vit, self._head.layout
        tokens, ropes = embed(vit, images.flatten(0, 1))
        attentions = []
        for block, rope in zip(vit.blocks, ropes, strict=True):
            attentions.append(self_attention(block, tokens, rope))
            tokens = run_block(block, tokens, rope)
        rolled = roll_out(attentions)
        grid = (
            entry_of(vit, rolled)[:, layout.prefix :]
            .unflatten(1, (layout.rows, layout.cols))
            .unflatten(0, images.shape[:2])
        )
        return RivalExplanation(None, grid[:, None].expand(-1, self._head.weight.shape[0], -1, -1, -1))


def roll_out(attentions: Iterable[Float[Tensor, "image head token token"]]) -> Float[Tensor, "image token token"]:
    """Multiply the blocks' attention, mean over heads and half of it residual, from first to last.

    Parameters
    ----------
    attentions
        Softmax weights of each block, at least one.

    Returns
    -------
    Float[Tensor, "image token token"]
        Share of each input token in each output token; rows sum to 1.
    """
    mixing = [0.5 * (weights.mean(dim=1) + torch.eye(weights.shape[-1]).to(weights)) for weights in attentions]
    rolled = mixing[0]
    for mixed in mixing[1:]:
        rolled = mixed @ rolled
    return rolled
