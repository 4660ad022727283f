"""FOCUS wired otherwise: class and register tokens read, a scalar for a sink, a sink that the backbone's tokens see.

Each is built and trained as `Focus` is, with whatever of the spec it does not change; only a bench needs them.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn

from focus_core.errors import ModelError
from focus_core.model import BandScale, BlockTokens, Focus, ModelSpec
from focus_core.model.backbone import Look, embed, entry_of, look
from focus_core.model.blocks import Vit, VitBlock, key_value_of, query_of
from focus_core.model.rows import Rows, per_image
from focus_core.rivals.attention import attention_weights, token_query
from focus_core.rivals.prompt_cam import behind


class ReadsPrefix(Focus):
    """The rows read class and register tokens too, whose words have no place; with a sink or without."""

    def __init__(self, spec: ModelSpec, vit: Vit, scale: BandScale) -> None:
        super().__init__(spec, vit, scale)
        self.prefix_read = self.layout.prefix


class OffsetRows(Rows):
    """Rows with a scalar for a sink."""

    def __init__(self, spec: ModelSpec, vit: Vit) -> None:
        super().__init__(spec, vit)
        self.sink_offsets = nn.Parameter(_sink_keys(self)[..., 0].detach().clone())
        self.sink_keys = None

    def look(
        self,
        index: int,
        block: VitBlock,
        rows: Float[Tensor, "image cls dim"],
        keys: Float[Tensor, "image head token head_dim"],
    ) -> Look:
        """Let the rows look at a block's tokens beside the scalar."""
        logits = torch.matmul(query_of(block, rows) * block.attn.scale, keys.transpose(-2, -1))
        offset = per_image(self.sink_offsets[index], len(rows) // self.sink_offsets.shape[1])[..., None, None]
        weights = torch.cat([logits, offset.expand(-1, -1, rows.shape[1], -1)], dim=-1).softmax(dim=-1)
        return Look(weights[..., :-1], weights[..., -1])


class OffsetSink(Focus):
    """The sink is a scalar in the softmax, one per block read, group and head, whatever a row asks for.

    Raises
    ------
    ModelError
        As `Focus`, and if the spec has no sink.
    """

    rows_type = OffsetRows


class SeenSinkRows(Rows):
    """Rows whose sinks are those of the backbone's blocks, one in every block up to the last that is read."""

    def __init__(self, spec: ModelSpec, vit: Vit) -> None:
        super().__init__(spec, vit)
        self.sink_keys = nn.Parameter(torch.zeros(spec.read_blocks[-1] + 1, *_sink_keys(self).shape[1:]))
        self.read_blocks = spec.read_blocks

    def look(
        self,
        index: int,
        block: VitBlock,
        rows: Float[Tensor, "image cls dim"],
        keys: Float[Tensor, "image head token head_dim"],
    ) -> Look:
        """Let the rows look at a block's tokens and at that block's sink."""
        sinks = _sink_keys(self)[self.read_blocks[index]]
        return look(block, rows, keys, per_image(sinks, len(rows) // len(sinks)))


class SinkInSequence(Focus):
    """All of the backbone's tokens may put attention on the sink as well, but never on the rows.

    A test-time register (Jiang et al., NeurIPS 2025) that is learned: every block up to the last that is read has a
    sink key per group and head, seen by tokens and rows alike. Its value is zero, as in `Focus`, so that nothing
    differs but who sees it: it takes attention and puts nothing into the tokens. A key of zero draws what a
    token of logit 0 would, so that training starts near the frozen backbone, not at it.

    The backbone's own tokens change with the sink, so nothing can be cached: each step runs the blocks and their
    gradient. The rows still read patches only.

    Raises
    ------
    ModelError
        As `Focus`, and if the spec has no sink or more than one prompt seed: each would need a pass of its own.
    """

    cacheable = False
    rows_type = SeenSinkRows

    def __init__(self, spec: ModelSpec, vit: Vit, scale: BandScale) -> None:
        super().__init__(spec, vit, scale)
        if spec.prompt_seeds != 1:
            raise ModelError(
                f"{type(self).__name__} puts one sink into the backbone, but the spec has {spec.prompt_seeds} prompt "
                "seeds; set prompt_seeds to 1"
            )

    def encode(self, images: Float[Tensor, "batch group 3 height width"]) -> tuple[BlockTokens, ...]:
        """Run the frozen backbone with its sinks; gradients reach the sinks, and nothing else of it."""
        return tuple(self._walk(images.to(self.placement.device)))

    def _walk(self, images: Float[Tensor, "batch group 3 height width"]) -> Iterator[BlockTokens]:
        sinks, last = _sink_keys(self.rows[0]), self.spec.read_blocks[-1]
        tokens, ropes = embed(self.vit, images.flatten(0, 1))
        for index, (block, rope) in enumerate(zip(self.vit.blocks[: last + 1], ropes, strict=False)):
            keys, values = key_value_of(block, tokens, rope)
            if index in self.spec.read_blocks:
                yield BlockTokens(entry_of(self.vit, tokens), keys, values)
            if index < last:
                seen = torch.cat([keys, per_image(sinks[index], len(images))[:, :, None]], dim=2)
                attention = attention_weights(block, token_query(block, tokens, rope), seen)
                tokens = behind(block, tokens, attention[..., :-1], values)  # the sink's value is zero


def _sink_keys(rows: Rows) -> nn.Parameter:
    if rows.sink_keys is None:
        raise ModelError(f"{type(rows).__name__} have a sink, but the spec has none; set sink, or use Focus")
    return rows.sink_keys
