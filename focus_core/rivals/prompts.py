"""FOCUS with prompts made otherwise: free for each class and group, with a low-rank part, or shared by the classes.

Each is built and trained as `Focus` is; only a bench needs them.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from focus_core.model import BlockTokens, Focus, ModelSpec
from focus_core.model.backbone import said
from focus_core.model.blocks import Vit, VitBlock
from focus_core.model.rows import BlockReading, Rows, per_image

_RANK = 4


class FreePromptRows(Rows):
    """Rows with a prompt for each class and group, of which nothing is shared."""

    def __init__(self, spec: ModelSpec, vit: Vit) -> None:
        super().__init__(spec, vit)
        blocks, classes, width = self.class_prompts.shape
        del self.class_prompts, self.group_prompts
        self.free_prompts = nn.Parameter(torch.zeros(blocks, len(spec.groups), classes, width))

    def prompts(self, index: int) -> Float[Tensor, "group cls dim"]:
        """Return the prompts of a block."""
        return self.free_prompts[index]


class FreePrompts(Focus):
    """The prompt of a class and group is its own, and no sum."""

    rows_type = FreePromptRows


class LowRankRows(Rows):
    """Rows whose prompts are a class's, a group's, and a product of a few factors of both."""

    def __init__(self, spec: ModelSpec, vit: Vit) -> None:
        super().__init__(spec, vit)
        blocks, _, width = self.class_prompts.shape
        self.class_factors = nn.Parameter(torch.zeros(blocks, len(spec.classes), _RANK))
        self.group_factors = nn.Parameter(torch.zeros(blocks, len(spec.groups), _RANK))
        self.factor_prompts = nn.Parameter(torch.zeros(blocks, _RANK, width))

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """Draw the factors too: a product of zeros would never learn."""
        super().initialise(generator)
        for factors in (self.class_factors, self.group_factors):
            factors.copy_(torch.empty(factors.shape).normal_(std=_RANK**-0.25, generator=generator))

    def prompts(self, index: int) -> Float[Tensor, "group cls dim"]:
        """Return the prompts of a block."""
        both = self.group_factors[index][:, None] * self.class_factors[index]
        return super().prompts(index) + torch.matmul(both, self.factor_prompts[index])


class LowRankPrompts(Focus):
    """Beside its class's and its group's, a prompt has a part that is the class's in that group."""

    rows_type = LowRankRows


class SharedRows(Rows):
    """Rows that classes share in all blocks but the last: they look at one place, and read it along own directions."""

    def read_block(self, index: int, block: VitBlock, tokens: BlockTokens) -> BlockReading:
        """Read one block; what the basis says is found once for all classes."""
        if index == len(self.loading) - 1:
            return super().read_block(index, block, tokens)
        batch = len(tokens.entry) // self.loading.shape[1]
        classes = self.loading.shape[2]
        prompts = per_image(self.group_prompts[index][:, None], batch)
        looked = self.look(index, block, tokens.entry[:, None] + prompts, tokens.keys)
        basis = self.basis[index].expand(len(tokens.entry), -1, -1)
        words = said(looked.attention.expand(-1, -1, basis.shape[1], -1), tokens.values, basis)
        return BlockReading(
            torch.matmul(per_image(self.loading[index], batch), words),
            looked.attention.mean(dim=1).expand(-1, classes, -1),
            looked.sink_share.mean(dim=1).expand(-1, classes),
        )


class SharedUntilLast(Focus):
    """Rows are shared by the classes until the last block that is read."""

    rows_type = SharedRows
