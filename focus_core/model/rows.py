"""Class rows of one prompt seed: where they look in a frozen block, and what the tokens there say to them.

A row per class and wavelength group. Prompts are a class's and a group's added, and the directions that rows read
along share a few basis vectors, because one ViT serves every group.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from focus_core.model.backbone import BlockTokens, Look, look, said
from focus_core.model.blocks import Vit, VitBlock
from focus_core.model.spec import ModelSpec

_PROMPT_STD = 0.02


class BlockReading(NamedTuple):
    """What rows found in one block; ``image`` runs over tiles and groups."""

    said: Float[Tensor, "image cls token"]
    """What each token adds to each class's logit."""
    attention: Float[Tensor, "image cls token"]
    """Attention, mean over heads."""
    sink_share: Float[Tensor, "image cls"]
    """Attention on the sink, mean over heads."""


class Rows(nn.Module):
    """Prompts, sink and read-out of one seed; everything is zero until `initialise`.

    Parameters
    ----------
    spec
        Shape.
    vit
        The frozen backbone, of which only the shape is looked at.
    """

    def __init__(self, spec: ModelSpec, vit: Vit) -> None:
        super().__init__()
        blocks, groups, classes = len(spec.read_blocks), len(spec.groups), len(spec.classes)
        attention = vit.blocks[-1].attn
        heads, head_dim = attention.num_heads, attention.head_dim
        self.class_prompts = nn.Parameter(torch.zeros(blocks, classes, vit.embed_dim))
        self.group_prompts = nn.Parameter(torch.zeros(blocks, groups, vit.embed_dim))
        self.sink_keys = nn.Parameter(torch.zeros(blocks, groups, heads, head_dim)) if spec.sink else None
        self.basis = nn.Parameter(torch.zeros(blocks, spec.rank, heads * head_dim))
        self.loading = nn.Parameter(torch.zeros(blocks, groups, classes, spec.rank))
        self.class_bias = nn.Parameter(torch.zeros(classes))

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """Draw small prompts and a basis of unit length; all else starts at zero, and so does every logit."""
        for name, parameter in self.named_parameters():  # drawn where the generator is: every device starts alike
            std = self.basis.shape[-1] ** -0.5 if name == "basis" else _PROMPT_STD if name.endswith("prompts") else 0.0
            parameter.copy_(torch.empty(parameter.shape).normal_(std=std, generator=generator))

    def read_block(self, index: int, block: VitBlock, tokens: BlockTokens) -> BlockReading:
        """Read one block.

        Parameters
        ----------
        index
            Which of the blocks read.
        block
            Of the frozen backbone.
        tokens
            On entry to it; keys and values of the tokens that are read.
        """
        batch = len(tokens.entry) // self.loading.shape[1]
        prompts = per_image(self.prompts(index), batch)
        looked = self.look(index, block, tokens.entry[:, None] + prompts, tokens.keys)
        directions = torch.matmul(self.loading[index], self.basis[index])
        words = said(looked.attention, tokens.values, per_image(directions, batch))
        return BlockReading(words, looked.attention.mean(dim=1), looked.sink_share.mean(dim=1))

    def prompts(self, index: int) -> Float[Tensor, "group cls dim"]:
        """Return what is added to the entry token of one block for each group and class."""
        return self.class_prompts[index] + self.group_prompts[index][:, None]

    def look(
        self,
        index: int,
        block: VitBlock,
        rows: Float[Tensor, "image cls dim"],
        keys: Float[Tensor, "image head token head_dim"],
    ) -> Look:
        """Let the rows look at a block's tokens, and at the sink where there is one."""
        if self.sink_keys is None:
            return look(block, rows, keys)
        return look(block, rows, keys, per_image(self.sink_keys[index], len(rows) // self.sink_keys.shape[1]))


def per_image(parameter: Float[Tensor, "group *rest"], batch: int) -> Float[Tensor, "image *rest"]:
    """Repeat what belongs to a group for each tile of the batch."""
    return parameter.expand(batch, *parameter.shape).flatten(0, 1)
