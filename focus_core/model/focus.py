"""FOCUS: spectral prompts and a sink on a frozen ViT, one stream per wavelength group.

The paper's (arXiv 2507.14787) equations are not public; those here are this project's own. A row per class and
wavelength group looks at the patch tokens of some blocks and adds up what they say; nothing follows that sum but a
bias. So a class's score is a sum over groups *and* patches. Over groups attribution is exact, because groups are a
batch axis and first meet in the score. Over space it is exact for the tokens read and heuristic for pixels, because
the backbone has mixed its patches on the way.

Rows are trained several times, each with a seed of its own, and the score is the mean over prompt seeds: of two groups
that say the same, one training settles on either, and the mean on both. A mean of sums is still a sum, and how far the
seeds differ is known for every number. Class and register tokens are not read: what they say has no place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from focus_core.errors import ModelError
from focus_core.model.backbone import BlockTokens, freeze, layout_of, walk
from focus_core.model.blocks import Vit
from focus_core.model.device import CPU, Placement
from focus_core.model.frontend import BandScale, FrontEnd
from focus_core.model.rows import BlockReading, Rows
from focus_core.model.spec import ModelSpec

_SMALLEST = 1e-9


class Reading(NamedTuple):
    """What the class rows found, mean over prompt seeds; tokens that are not read are absent."""

    said: Float[Tensor, "batch cls group token"]
    """What each token adds to each class's logit, before any constant is removed."""
    seed_evidence: Float[Tensor, "batch cls seed group"]
    """Contribution of each group to each class's logit, before any constant is removed, by prompt seed."""
    attention: Float[Tensor, "batch cls group token"]
    """Attention, mean over heads and blocks; sums to 1 less the sink's share."""
    sink_share: Float[Tensor, "batch cls group"]
    """Attention on the sink, mean over heads and blocks."""

    @property
    def evidence(self) -> Float[Tensor, "batch cls group"]:
        """Contribution of each group to each class's logit, mean over prompt seeds."""
        return self.seed_evidence.mean(dim=2)


class Explanation(NamedTuple):
    """Everything `explain` stores, for a batch of windows and every class."""

    evidence: Float[Tensor, "batch cls group"]
    importance: Float[Tensor, "batch cls group"]
    """Contrastive evidence less its mean on the reference class; signed, in units of the logit."""
    seed_importance: Float[Tensor, "batch cls seed group"]
    """What each prompt seed by itself finds; ``importance`` is the mean."""
    logit: Float[Tensor, "batch cls"]
    """Contrastive logit: ``importance`` summed over groups, plus ``bias``."""
    probability: Float[Tensor, "batch cls"]
    sink_share: Float[Tensor, "batch cls group"]
    token_share: Float[Tensor, "batch cls group"]
    """Share of what was said, in absolute value, by class and register tokens, which have no place."""
    prefix_attention: Float[Tensor, "batch cls group"]
    """Share of the attention, the sink left out, on class and register tokens."""
    background_attention: Float[Tensor, "batch cls group"]
    """Share of the attention, the sink left out, on patches outside the plot."""
    outlier_share: Float[Tensor, "batch group"]
    """Share of the plot's pixels that were not read in a group, because no training plot has their like."""
    saliency: Float[Tensor, "batch cls group py px"]
    """What each patch added to ``importance``; sums to ``importance``."""


class Focus(nn.Module):
    """Class rows with spectral prompts, read-only on the tokens of a frozen ViT.

    Parameters
    ----------
    spec
        Shape and grid.
    vit
        The frozen backbone; frozen here again.
    scale
        What training pixels are like.

    Raises
    ------
    ModelError
        If the backbone is unsupported, or its input size or depth do not fit the spec.
    """

    prefix_read = 0
    """How many class and register tokens the rows read."""
    cacheable = True
    """Whether what the backbone makes of an image is the same throughout training."""
    rows_type: type[Rows] = Rows
    """What each prompt seed trains."""
    rows: Sequence[Rows]
    reference_mean: Tensor

    def __init__(self, spec: ModelSpec, vit: Vit, scale: BandScale) -> None:
        super().__init__()
        self.layout = layout_of(vit)
        if tuple(vit.patch_embed.img_size) != (spec.input_px, spec.input_px):
            raise ModelError(
                f"the backbone takes {vit.patch_embed.img_size} px, but windows come as {spec.input_px} px; "
                "set the window's input_px to the backbone's"
            )
        if max(spec.read_blocks) >= len(vit.blocks):
            raise ModelError(
                f"block {max(spec.read_blocks)} is to be read on a backbone of {len(vit.blocks)} blocks; read fewer"
            )
        self.spec = spec
        self.placement = CPU
        self._vit = [freeze(vit)]  # in a list: the backbone's tensors are no part of this module's state
        self.front_end = FrontEnd(
            spec.group_of_band(),
            scale,
            input_px=spec.input_px,
            patch_px=vit.patch_embed.patch_size[0],
        )
        self.rows = cast("Sequence[Rows]", nn.ModuleList(self.rows_type(spec, vit) for _ in range(spec.prompt_seeds)))
        shape = (len(spec.classes), spec.prompt_seeds, len(spec.groups))
        self.register_buffer("reference_mean", torch.zeros(shape))

    @property
    def vit(self) -> Vit:
        """The frozen backbone."""
        return self._vit[0]

    @property
    def read_depth(self) -> float:
        """The share of the backbone's blocks that a pass runs, up to the last that is read."""
        return (self.spec.read_blocks[-1] + 1) / len(self.vit.blocks)

    @property
    def bias(self) -> Float[Tensor, " cls"]:
        """The part of the contrastive logit that no group owns: class bias and the reference means."""
        return self.class_bias() + self.reference_mean.mean(dim=1).sum(dim=1)

    def class_bias(self, seeds: Sequence[int] | None = None) -> Float[Tensor, " cls"]:
        """Return the contrastive bias of each class, mean over some prompt seeds or all of them."""
        return self.contrastive(torch.stack([rows.class_bias for rows in self._rows(seeds)])).mean(dim=0)

    def place(self, placement: Placement) -> Focus:
        """Move the model and its frozen backbone; `encode` and `explain` take windows from anywhere."""
        self.placement = placement
        self.vit.to(placement.device)
        return self.to(placement.device)

    @torch.no_grad()
    def encode(self, images: Float[Tensor, "batch group 3 height width"]) -> tuple[BlockTokens, ...]:
        """Run the frozen backbone once over a tile's group images; what it leaves lies where the model does."""
        return tuple(self._walk(images.to(self.placement.device)))

    def read(self, blocks: Iterable[BlockTokens], seeds: Sequence[int] | None = None) -> Reading:
        """Let the class rows read a frozen forward pass, block by block; the only part that is differentiated.

        Parameters
        ----------
        blocks
            The forward pass.
        seeds
            Which prompt seeds read; all by default.
        """
        rows = self._rows(seeds)
        evidence: list[Tensor] = []
        total: BlockReading | None = None
        for index, tokens in enumerate(blocks):
            block, read, each = self.vit.blocks[self.spec.read_blocks[index]], self._read_tokens(tokens), []
            for own in rows:  # added up as they come, so that no more than two readings are held
                found = own.read_block(index, block, read)
                each.append(found.said.sum(dim=-1))
                total = found if total is None else BlockReading(*map(torch.add, total, found))
            evidence.append(torch.stack(each, dim=2))
        assert total is not None
        looks = len(evidence) * len(rows)
        return Reading(
            said=self._by_group(total.said / len(rows)),
            seed_evidence=self._by_group(torch.stack(evidence).sum(dim=0)).transpose(2, 3),
            attention=self._by_group(total.attention / looks),
            sink_share=self._by_group(total.sink_share / looks),
        )

    @staticmethod
    def contrastive(evidence: Float[Tensor, "batch cls *rest"]) -> Float[Tensor, "batch cls *rest"]:
        """Return the evidence less its mean over classes; its softmax is the same."""
        return evidence - evidence.mean(dim=1, keepdim=True)

    @torch.no_grad()
    def explain(self, reflectance: Float[Tensor, "batch band ty tx"]) -> Explanation:
        """Explain a batch of windows for every class, in one frozen pass without gradients.

        Parameters
        ----------
        reflectance
            In the model's quantity; NaN outside the plot. A pass over a window is a batch of one image per group.

        Returns
        -------
        Explanation
            float32 on the processor, wherever the model lies.
        """
        images, occupied, outlier_share = self.front_end(reflectance.to(self.placement.device))
        # Blocks are read as the pass goes by, so that no more than one block's keys and values are held.
        reading = self.read(self._walk(images))
        by_seed = self.contrastive(reading.seed_evidence) - self.reference_mean
        importance = by_seed.mean(dim=2)
        logit = importance.sum(dim=-1) + self.bias
        prefix = self.prefix_read
        total = reading.attention.sum(dim=-1)
        background = (reading.attention[..., prefix:] * (occupied[:, None, None] == 0)).sum(dim=-1)
        spoken = reading.said.abs()
        saliency = self._placed(self.contrastive(reading.said)[..., prefix:], importance, occupied)
        found = Explanation(
            evidence=reading.evidence,
            importance=importance,
            seed_importance=by_seed,
            logit=logit,
            probability=logit.softmax(dim=-1),
            sink_share=reading.sink_share,
            token_share=spoken[..., :prefix].sum(dim=-1) / spoken.sum(dim=-1).clamp_min(_SMALLEST),
            prefix_attention=reading.attention[..., :prefix].sum(dim=-1) / total,
            background_attention=background / total,
            outlier_share=outlier_share,
            saliency=saliency.unflatten(-1, (self.layout.rows, self.layout.cols)),
        )
        return Explanation(*(tensor.cpu() for tensor in found))

    def _walk(self, images: Float[Tensor, "batch group 3 height width"]) -> Iterator[BlockTokens]:
        return walk(self.vit, images.flatten(0, 1), self.spec.read_blocks, self.placement)

    def _rows(self, seeds: Sequence[int] | None) -> list[Rows]:
        return [self.rows[seed] for seed in (range(len(self.rows)) if seeds is None else seeds)]

    def _read_tokens(self, tokens: BlockTokens) -> BlockTokens:
        unread = self.layout.prefix - self.prefix_read
        return BlockTokens(tokens.entry, tokens.keys[:, :, unread:].float(), tokens.values[:, :, unread:].float())

    def _by_group(self, found: Float[Tensor, "image cls *rest"]) -> Float[Tensor, "batch cls group *rest"]:
        by_tile: Tensor = found.unflatten(0, (-1, len(self.spec.groups)))
        return by_tile.transpose(1, 2)

    @staticmethod
    def _placed(
        words: Float[Tensor, "batch cls group patch"],
        importance: Float[Tensor, "batch cls group"],
        occupied: Float[Tensor, "batch patch"],
    ) -> Float[Tensor, "batch cls group patch"]:
        """Place importance on patches: what each said, and what has no place spread evenly over the plot.

        That is the reference class's mean, which belongs to no patch more than to another.
        """
        rest = importance - words.sum(dim=-1)
        share = (occupied + _SMALLEST) / (occupied + _SMALLEST).sum(dim=-1, keepdim=True)
        return words + rest[..., None] * share[:, None, None]
