"""FOCUS: spectral prompts and a sink on a frozen ViT, one stream per wavelength group.

The paper's (arXiv 2507.14787) equations are not public; those here are this project's own. A row per class and
wavelength group looks at the patch tokens of some blocks and adds up what they say; nothing follows that sum but a
bias. So a class's score is a sum over groups *and* patches. Over groups attribution is exact, because groups are a
batch axis and first meet in the score. Over space it is exact for the tokens read and heuristic for pixels, because
the backbone has mixed its patches on the way.

Class and register tokens are not read: what they say has no place. Prompts are a class's and a group's added, and
the directions that rows read along share a few basis vectors, because one ViT serves every group.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from focus_core.errors import ModelError
from focus_core.model.backbone import BlockTokens, Look, freeze, layout_of, look, said, walk
from focus_core.model.blocks import Vit
from focus_core.model.device import CPU, Placement
from focus_core.model.frontend import FrontEnd
from focus_core.model.spec import ModelSpec

_SMALLEST = 1e-9


class Reading(NamedTuple):
    """What the class rows found, token by token; tokens that are not read are absent."""

    said: Float[Tensor, "batch cls group token"]
    """What each token adds to each class's logit, before any constant is removed."""
    attention: Float[Tensor, "batch cls group token"]
    """Attention, mean over heads and blocks; sums to 1 less the sink's share."""
    sink_share: Float[Tensor, "batch cls group"]
    """Attention on the sink, mean over heads and blocks."""

    @property
    def evidence(self) -> Float[Tensor, "batch cls group"]:
        """Contribution of each group to each class's logit, before any constant is removed."""
        return self.said.sum(dim=-1)


class Explanation(NamedTuple):
    """Everything `explain` stores, for a batch of windows and every class."""

    evidence: Float[Tensor, "batch cls group"]
    importance: Float[Tensor, "batch cls group"]
    """Contrastive evidence less its mean on the reference class; signed, in units of the logit."""
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
    band_mean, band_std
        ``(band,)``, statistics of training pixels.

    Raises
    ------
    ModelError
        If the backbone is unsupported, or its input size or depth do not fit the spec.
    """

    prefix_read = 0
    """How many class and register tokens the rows read."""
    cacheable = True
    """Whether what the backbone makes of an image is the same throughout training."""
    reference_mean: Tensor

    def __init__(
        self,
        spec: ModelSpec,
        vit: Vit,
        band_mean: Float[Tensor, " band"],
        band_std: Float[Tensor, " band"],
    ) -> None:
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
            band_mean,
            band_std,
            input_px=spec.input_px,
            patch_px=vit.patch_embed.patch_size[0],
        )
        blocks, groups, classes = len(spec.read_blocks), len(spec.groups), len(spec.classes)
        attention = vit.blocks[-1].attn
        heads, head_dim = attention.num_heads, attention.head_dim
        self.class_prompts = nn.Parameter(torch.zeros(blocks, classes, vit.embed_dim))
        self.group_prompts = nn.Parameter(torch.zeros(blocks, groups, vit.embed_dim))
        self.sink_keys = nn.Parameter(torch.zeros(blocks, groups, heads, head_dim)) if spec.sink else None
        self.basis = nn.Parameter(torch.zeros(blocks, spec.rank, heads * head_dim))
        self.loading = nn.Parameter(torch.zeros(blocks, groups, classes, spec.rank))
        self.class_bias = nn.Parameter(torch.zeros(classes))
        self.register_buffer("reference_mean", torch.zeros(classes, groups))

    @property
    def vit(self) -> Vit:
        """The frozen backbone."""
        return self._vit[0]

    @property
    def bias(self) -> Float[Tensor, " cls"]:
        """The part of the contrastive logit that no group owns: class bias and the reference means."""
        return self.class_bias - self.class_bias.mean() + self.reference_mean.sum(dim=1)

    def place(self, placement: Placement) -> Focus:
        """Move the model and its frozen backbone; `encode` and `explain` take windows from anywhere."""
        self.placement = placement
        self.vit.to(placement.device)
        return self.to(placement.device)

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """Draw small prompts and a basis of unit length; all else starts at zero, and so does every logit."""
        drawn = {self.class_prompts: 0.02, self.group_prompts: 0.02, self.basis: self.basis.shape[-1] ** -0.5}
        for parameter in self.parameters():  # drawn where the generator is, so that every device starts alike
            parameter.copy_(torch.empty(parameter.shape).normal_(std=drawn.get(parameter, 0.0), generator=generator))

    @torch.no_grad()
    def encode(self, images: Float[Tensor, "batch group 3 height width"]) -> tuple[BlockTokens, ...]:
        """Run the frozen backbone once over a tile's group images; what it leaves lies where the model does."""
        return tuple(self._walk(images.to(self.placement.device)))

    def read(self, blocks: Iterable[BlockTokens]) -> Reading:
        """Let the class rows read a frozen forward pass, block by block; the only part that is differentiated."""
        found = [self._read_block(index, tokens) for index, tokens in enumerate(blocks)]
        groups = len(self.spec.groups)
        words, attention, shares = (
            torch.stack(parts).unflatten(1, (-1, groups)).transpose(2, 3) for parts in zip(*found, strict=True)
        )
        return Reading(words.sum(dim=0), attention.mean(dim=0), shares.mean(dim=0))

    def contrastive(self, evidence: Float[Tensor, "batch cls *rest"]) -> Float[Tensor, "batch cls *rest"]:
        """Return the evidence less its mean over classes; its softmax is the same."""
        return evidence - evidence.mean(dim=1, keepdim=True)

    def logits(self, evidence: Float[Tensor, "batch cls group"]) -> Float[Tensor, "batch cls"]:
        """Return the contrastive logits of some evidence."""
        return self.contrastive(evidence).sum(dim=-1) + self.class_bias - self.class_bias.mean()

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
        images, occupied = self.front_end(reflectance.to(self.placement.device))
        # Blocks are read as the pass goes by, so that no more than one block's keys and values are held.
        reading = self.read(self._walk(images))
        importance = self.contrastive(reading.evidence) - self.reference_mean
        logit = importance.sum(dim=-1) + self.bias
        prefix = self.prefix_read
        total = reading.attention.sum(dim=-1)
        background = (reading.attention[..., prefix:] * (occupied[:, None, None] == 0)).sum(dim=-1)
        spoken = reading.said.abs()
        saliency = self._placed(self.contrastive(reading.said)[..., prefix:], importance, occupied)
        found = Explanation(
            evidence=reading.evidence,
            importance=importance,
            logit=logit,
            probability=logit.softmax(dim=-1),
            sink_share=reading.sink_share,
            token_share=spoken[..., :prefix].sum(dim=-1) / spoken.sum(dim=-1).clamp_min(_SMALLEST),
            prefix_attention=reading.attention[..., :prefix].sum(dim=-1) / total,
            background_attention=background / total,
            saliency=saliency.unflatten(-1, (self.layout.rows, self.layout.cols)),
        )
        return Explanation(*(tensor.cpu() for tensor in found))

    def _walk(self, images: Float[Tensor, "batch group 3 height width"]) -> Iterator[BlockTokens]:
        return walk(self.vit, images.flatten(0, 1), self.spec.read_blocks, self.placement)

    def _read_block(
        self, index: int, tokens: BlockTokens
    ) -> tuple[
        Float[Tensor, "image cls token"],
        Float[Tensor, "image cls token"],
        Float[Tensor, "image cls"],
    ]:
        """Return what each token said in one block, the attention it drew and the sink's share."""
        batch = len(tokens.entry) // len(self.spec.groups)
        unread = self.layout.prefix - self.prefix_read
        prompts = self.class_prompts[index] + self.group_prompts[index][:, None]
        rows = tokens.entry[:, None] + per_image(prompts, batch)
        looked = self._look(index, rows, tokens.keys[:, :, unread:].float())
        directions = torch.matmul(self.loading[index], self.basis[index])
        words = said(looked.attention, tokens.values[:, :, unread:].float(), per_image(directions, batch))
        return words, looked.attention.mean(dim=1), looked.sink_share.mean(dim=1)

    def _look(
        self, index: int, rows: Float[Tensor, "image cls dim"], keys: Float[Tensor, "image head token head_dim"]
    ) -> Look:
        block = self.vit.blocks[self.spec.read_blocks[index]]
        if self.sink_keys is None:
            return look(block, rows, keys)
        return look(block, rows, keys, per_image(self.sink_keys[index], len(rows) // len(self.spec.groups)))

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


def per_image(parameter: Float[Tensor, "group *rest"], batch: int) -> Float[Tensor, "image *rest"]:
    """Repeat what belongs to a group for each tile of the batch."""
    return parameter.expand(batch, *parameter.shape).flatten(0, 1)
