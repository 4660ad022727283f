"""Exhaustive ablation of groups and occlusion of patches, through captum: what the logit falls by without them.

Captum ablates a mask of what is kept, one number a group or patch, instead of the pixels; so one run gives the falls
of all classes, and they take no more room than their number.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from focus_core.rivals.extra import import_extra
from focus_core.rivals.head import LinearHead
from focus_core.rivals.protocol import RivalExplanation


class Ablation:
    """Each group replaced by the pixels of reference tiles, one group at a time.

    Parameters
    ----------
    head
        What is explained.
    reference_images
        Group images of training tiles of the reference class.
    draws
        How many of them each tile is given, without repeats; all if there are fewer. The next tile of a batch is given
        the next ones, because what is odd about one would stand in the mean over tiles too.
    seed
        Seed of the draw.
    """

    name = "ablation"
    read_out = (
        "fall of the class's contrastive logit when the group's pixels are replaced by those of a reference tile, mean "
        "over those drawn for the tile; signed"
    )

    def __init__(
        self,
        head: LinearHead,
        reference_images: Float[Tensor, "reference group 3 height width"],
        *,
        draws: int = 4,
        seed: int = 1,
    ) -> None:
        self._head = head
        order = torch.randperm(len(reference_images), generator=torch.Generator().manual_seed(seed))
        self._order, self._draws = order, min(draws, len(order))
        self._references = reference_images

    def explain(self, images: Float[Tensor, "tile group 3 height width"]) -> RivalExplanation:
        """Run the tiles once for each group and drawn reference tile; space is not ablated."""
        first = torch.arange(len(images)) * self._draws
        drawn = [self._order[(first + draw) % len(self._order)] for draw in range(self._draws)]
        falls = [self._falls(images, self._references[each]) for each in drawn]
        return RivalExplanation(torch.stack(falls).mean(dim=0), None)

    def _falls(
        self, images: Float[Tensor, "tile group 3 height width"], others: Float[Tensor, "tile group 3 height width"]
    ) -> Float[Tensor, "tile cls group"]:
        def logits(keep: Float[Tensor, "tile group"]) -> Float[Tensor, "tile cls"]:
            return self._head.logits(torch.where(keep[:, :, None, None, None] > 0, images, others))

        falls: Tensor = _ablate(logits, images.new_ones(images.shape[:2])).unflatten(0, (len(images), -1))
        return falls


class Occlusion:
    """Each patch set to the training mean, one place at a time, in every group's image on its own."""

    name = "occlusion"
    read_out = "n/a: patches mix within a group, so what single patches cost does not add up to the group's share"

    def __init__(self, head: LinearHead) -> None:
        self._head = head

    def explain(self, images: Float[Tensor, "tile group 3 height width"]) -> RivalExplanation:
        """Run the tiles once for each patch; groups do not mix, so all are occluded in one run."""
        layout = self._head.layout
        patch_px = self._head.vit.patch_embed.patch_size[0]

        def evidence(keep: Float[Tensor, "tile patch"]) -> Float[Tensor, "tile cls group"]:
            grid = keep.unflatten(1, (layout.rows, layout.cols))
            pixels = grid.repeat_interleave(patch_px, dim=1).repeat_interleave(patch_px, dim=2)
            return self._head.evidence(images * pixels[:, None, None])

        falls = _ablate(evidence, images.new_ones(len(images), layout.patches))
        shape = (len(images), -1, images.shape[1])
        return RivalExplanation(None, falls.unflatten(0, shape).unflatten(-1, (layout.rows, layout.cols)))


def _ablate(score: Callable[[Tensor], Tensor], keep: Float[Tensor, "tile part"]) -> Float[Tensor, "score part"]:
    """Return how far each of the scores, all tiles' in one row, falls without each part of its tile."""
    falls: Tensor = import_extra("captum.attr").FeatureAblation(score).attribute(keep, baselines=0.0)
    return falls
