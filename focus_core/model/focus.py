"""FOCUS: spectral prompts and a sink on a frozen ViT, one stream per wavelength group.

The paper's (arXiv 2507.14787) equations are not public; those here are this project's own. Groups are a
batch axis and first meet in the class score, so attribution between groups is exact; over space it is
heuristic, because patches mix within a group.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from focus_core.errors import ModelError
from focus_core.model.backbone import Context, RowStep, encode, freeze, layout_of, pull, step
from focus_core.model.blocks import Vit, VitBlock, final_norm, through_norm
from focus_core.model.frontend import FrontEnd
from focus_core.model.spec import ModelSpec

_SMALLEST = 1e-9


class Reading(NamedTuple):
    """What the class rows found, group by group."""

    evidence: Float[Tensor, "batch cls group"]
    """Contribution of each group to each class's logit, before any constant is removed."""
    sink_share: Float[Tensor, "batch cls group"]
    """Attention on the sink in the last block, mean over heads."""


class Trace(NamedTuple):
    """Where the class rows looked, and what each token said, in each prompted block."""

    attention: Float[Tensor, "block batch cls group token"]
    """Raw attention, mean over heads; sums to 1 less the sink's share."""
    pull: Float[Tensor, "block batch cls group token"]
    """What the token added to the class's score through the block's attention, to first order."""


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
    """Share of the pull, in absolute value, that came through class and register tokens and so has no place."""
    prefix_attention: Float[Tensor, "batch cls group"]
    """Share of the read-out attention, the sink left out, on class and register tokens."""
    background_attention: Float[Tensor, "batch cls group"]
    """Share of the read-out attention, the sink left out, on patches outside the plot."""
    saliency: Float[Tensor, "batch cls group py px"]
    """``importance`` spread over patches by their pull at the read-out blocks; sums to ``importance``."""


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
        if not 1 <= spec.prompt_blocks <= len(vit.blocks):
            raise ModelError(f"{spec.prompt_blocks} prompt blocks on a backbone of {len(vit.blocks)}; ask for fewer")
        self.spec = spec
        self._vit = [freeze(vit)]  # in a list: the backbone's tensors are no part of this module's state
        self.front_end = FrontEnd(
            spec.group_of_band(),
            band_mean,
            band_std,
            input_px=spec.input_px,
            patch_px=vit.patch_embed.patch_size[0],
        )
        blocks, groups, classes = spec.prompt_blocks, len(spec.groups), len(spec.classes)
        attention = vit.blocks[-1].attn
        self.prompts = nn.Parameter(torch.zeros(blocks, groups, classes, vit.embed_dim))
        self.sink_keys = (
            nn.Parameter(torch.zeros(blocks, groups, attention.num_heads, attention.head_dim)) if spec.sink else None
        )
        self.read_out = nn.Parameter(torch.zeros(groups, classes, vit.embed_dim))
        self.class_bias = nn.Parameter(torch.zeros(classes))
        self.register_buffer("reference_mean", torch.zeros(classes, groups))

    @property
    def vit(self) -> Vit:
        """The frozen backbone."""
        return self._vit[0]

    @property
    def first_prompted(self) -> int:
        """Index of the first block that holds class rows."""
        return len(self.vit.blocks) - self.spec.prompt_blocks

    @property
    def bias(self) -> Float[Tensor, " cls"]:
        """The part of the contrastive logit that no group owns: class bias and the reference means."""
        return self.class_bias - self.class_bias.mean() + self.reference_mean.sum(dim=1)

    @torch.no_grad()
    def encode(self, images: Float[Tensor, "batch group 3 height width"]) -> Context:
        """Run the frozen backbone once over a tile's group images."""
        return encode(self.vit, images.flatten(0, 1), self.first_prompted)

    def read(self, context: Context) -> Reading:
        """Let the class rows read a frozen forward pass; the only part that training differentiates."""
        return self._reading(self._carry(context))

    def trace(self, context: Context) -> tuple[Reading, Trace]:
        """Read a frozen forward pass and keep where the rows looked."""
        steps = self._carry(context)
        batch = len(context.entry) // len(self.spec.groups)
        direction = self._direction(steps[-1].rows, batch)
        pulls, attentions = [], []
        for block, carried, values in zip(self._prompted, steps, context.values, strict=True):
            pulls.append(pull(block, carried.attention, values, direction))
            attentions.append(carried.attention.mean(dim=1))
        attention, pulled = (
            torch.stack(parts).unflatten(1, (batch, -1)).transpose(2, 3) for parts in (attentions, pulls)
        )
        return self._reading(steps), Trace(attention, pulled)

    def spread(
        self, importance: Float[Tensor, "batch cls group"], trace: Trace, blocks: tuple[int, ...]
    ) -> Float[Tensor, "batch cls group patch"]:
        """Spread importance over patches: those that pulled its way share it in proportion; the sum is preserved.

        Where no patch did, attention shares it.
        """
        chosen = list(blocks)
        patches = trace.pull[chosen].sum(dim=0)[..., self.layout.prefix :]
        looked = trace.attention[chosen].sum(dim=0)[..., self.layout.prefix :]
        same_way = (patches * importance.sign()[..., None]).clamp_min(0.0)
        share = same_way + _SMALLEST * looked
        return importance[..., None] * share / share.sum(dim=-1, keepdim=True)

    def contrastive(self, evidence: Float[Tensor, "batch cls group"]) -> Float[Tensor, "batch cls group"]:
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
        """
        images, occupied = self.front_end(reflectance)
        reading, trace = self.trace(self.encode(images))
        importance = self.contrastive(reading.evidence) - self.reference_mean
        logit = importance.sum(dim=-1) + self.bias
        blocks, prefix = list(self.spec.readout_blocks), self.layout.prefix
        attention, pulled = trace.attention[blocks].sum(dim=0), trace.pull[blocks].sum(dim=0).abs()
        total = attention.sum(dim=-1)
        background = (attention[..., prefix:] * (occupied[:, None, None] == 0)).sum(dim=-1)
        saliency = self.spread(importance, trace, self.spec.readout_blocks)
        return Explanation(
            evidence=reading.evidence,
            importance=importance,
            logit=logit,
            probability=logit.softmax(dim=-1),
            sink_share=reading.sink_share,
            token_share=pulled[..., :prefix].sum(dim=-1) / pulled.sum(dim=-1).clamp_min(_SMALLEST),
            prefix_attention=attention[..., :prefix].sum(dim=-1) / total,
            background_attention=background / total,
            saliency=saliency.unflatten(-1, (self.layout.rows, self.layout.cols)),
        )

    @property
    def _prompted(self) -> list[VitBlock]:
        return list(self.vit.blocks[self.first_prompted :])

    def _carry(self, context: Context) -> list[RowStep]:
        """Carry one row per class and group through the prompted blocks."""
        batch = len(context.entry) // len(self.spec.groups)
        rows = context.entry[:, None].expand(-1, len(self.spec.classes), -1)
        steps: list[RowStep] = []
        for index, block in enumerate(self._prompted):
            sink = None if self.sink_keys is None else self._per_image(self.sink_keys[index], batch)
            rows = rows + self._per_image(self.prompts[index], batch)
            steps.append(step(block, rows, context.keys[index], context.values[index], sink))
            rows = steps[-1].rows
        return steps

    def _reading(self, steps: list[RowStep]) -> Reading:
        last = steps[-1]
        states = final_norm(self.vit)(last.rows).unflatten(0, (-1, len(self.spec.groups)))
        shares = last.sink_share.mean(dim=1).unflatten(0, (-1, len(self.spec.groups)))
        evidence = (1.0 - shares) * (states * self.read_out).sum(dim=-1)
        return Reading(evidence.transpose(1, 2), shares.transpose(1, 2))

    def _direction(self, rows: Float[Tensor, "image cls dim"], batch: int) -> Float[Tensor, "image cls dim"]:
        """Return the gradient-free direction in which the final norm and the read-out see a change of the rows."""
        return through_norm(final_norm(self.vit), rows, self._per_image(self.read_out, batch))

    @staticmethod
    def _per_image(parameter: Float[Tensor, "group *rest"], batch: int) -> Float[Tensor, "image *rest"]:
        """Repeat what belongs to a group for each tile of the batch."""
        return parameter.expand(batch, *parameter.shape).flatten(0, 1)
