"""Integrated gradients of the linear head, through captum."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from focus_core.rivals.extra import import_extra
from focus_core.rivals.head import LinearHead
from focus_core.rivals.protocol import RivalExplanation

_STEPS = 16
"""Points of the Gauss-Legendre rule on the path; on an own small ViT 8 leave an error of 1e-4, 16 of 1e-6."""
_TILES_AT_ONCE = 32
"""Most tiles, each point of the path counted, in one pass."""
_PIXELS_AT_ONCE = 2_000_000
"""Most pixels in one pass: the graph of a small ViT then takes some 2 GB."""


class IntegratedGradients:
    """Integrated gradients (Sundararajan et al., ICML 2017), from the mean image of the reference tiles.

    Parameters
    ----------
    head
        What is explained.
    reference_images
        Group images of training tiles of the reference class.
    """

    name = "integrated_gradients"
    read_out = (
        "attributions to the class's contrastive logit, summed over the pixels and channels of each group; signed, and "
        "over all groups they sum to the logit less that of the mean reference image"
    )

    def __init__(self, head: LinearHead, reference_images: Float[Tensor, "reference group 3 height width"]) -> None:
        self._head = head
        self._baseline = reference_images.mean(dim=0, keepdim=True)
        self._method = import_extra("captum.attr").IntegratedGradients(head.logits)

    def explain(self, images: Float[Tensor, "tile group 3 height width"]) -> RivalExplanation:
        """Run the tiles forward and backward, at each point of the path and for each class."""
        patch_px = self._head.vit.patch_embed.patch_size[0]
        at_once = min(_TILES_AT_ONCE, _PIXELS_AT_ONCE // images[0, :, 0].numel())
        maps = []
        for index in range(self._head.weight.shape[0]):
            attribution = self._method.attribute(
                images,
                self._baseline.expand_as(images),
                target=index,
                n_steps=_STEPS,
                internal_batch_size=max(len(images), at_once),
            )
            per_pixel = attribution.detach().float().sum(dim=2)
            maps.append(nn.functional.avg_pool2d(per_pixel, patch_px) * patch_px**2)
        saliency = torch.stack(maps, dim=1)
        return RivalExplanation(saliency.sum(dim=(-2, -1)), saliency)
