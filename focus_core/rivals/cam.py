"""Grad-CAM and EigenCAM of the linear head, through the package `grad-cam`.

The package scales every image's map to [0, 1] before it returns it, and would so make a group that says nothing look
like one that says all. Here its parts are called one by one (hooks, weights, map), and the raw map is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor, nn

from focus_core.rivals.extra import import_extra
from focus_core.rivals.head import LinearHead
from focus_core.rivals.protocol import RivalExplanation


class ImageEvidence(nn.Module):
    """The head seen image by image: what each group image adds to each class's contrastive logit.

    A logit is the sum over a tile's images, so its gradient at one image is that of the image's own part.
    """

    def __init__(self, head: LinearHead) -> None:
        super().__init__()
        self.head = head

    def forward(self, images: Float[Tensor, "image 3 height width"]) -> Float[Tensor, "image cls"]:
        """Return the evidence of images that come tile by tile, all groups of each."""
        groups = self.head.weight.shape[1]
        evidence: Tensor = self.head.evidence(images.unflatten(0, (-1, groups)))
        return evidence.transpose(1, 2).flatten(0, 1)


class GradCam:
    """Grad-CAM (Selvaraju et al., ICCV 2017) at the last block's first norm."""

    name = "gradcam"
    read_out = (
        "the clipped map of the class's contrastive logit, summed over the patches of each group's image, before any "
        "scaling; never negative"
    )

    def __init__(self, head: LinearHead) -> None:
        self._head, self._layer = head, head.vit.blocks[-1].norm1
        self._method = import_extra("pytorch_grad_cam").GradCAM

    def explain(self, images: Float[Tensor, "tile group 3 height width"]) -> RivalExplanation:
        """Run the tiles once forward and once backward for each class."""
        with _hooked(self._method, self._head) as cam, torch.enable_grad():
            flat = images.detach().flatten(0, 1).requires_grad_()
            evidence = cam.activations_and_grads(flat)
            maps = []
            for index in range(evidence.shape[1]):
                cam.activations_and_grads.gradients = []
                torch.autograd.grad(evidence[:, index].sum(), flat, retain_graph=index + 1 < evidence.shape[1])
                activations, gradients = (
                    held[0].numpy()
                    for held in (cam.activations_and_grads.activations, cam.activations_and_grads.gradients)
                )
                maps.append(cam.get_cam_image(flat, self._layer, None, activations, gradients))
        saliency = _by_tile(np.stack(maps, axis=1), images)
        return RivalExplanation(saliency.sum(dim=(-2, -1)), saliency)


class EigenCam:
    """EigenCAM (Muhammad & Yeasin, IJCNN 2020) at the last block's first norm; knows no class."""

    name = "eigencam"
    read_out = (
        "the clipped projection of a group's patch tokens on their first principal component, summed over patches: how "
        "far the group's patches differ; the same for every class, and the component's sign is as the SVD gives it"
    )

    def __init__(self, head: LinearHead) -> None:
        self._head, self._layer = head, head.vit.blocks[-1].norm1
        self._method = import_extra("pytorch_grad_cam").EigenCAM

    def explain(self, images: Float[Tensor, "tile group 3 height width"]) -> RivalExplanation:
        """Run the tiles once forward, and one SVD for each group image."""
        with _hooked(self._method, self._head) as cam, torch.no_grad():
            flat = images.flatten(0, 1)
            cam.activations_and_grads(flat)
            activations = cam.activations_and_grads.activations[0].numpy()
            projected = cam.get_cam_image(flat, self._layer, None, activations, None, eigen_smooth=False)
        classes = self._head.weight.shape[0]
        saliency = _by_tile(np.repeat(projected[:, None], classes, axis=1), images)
        return RivalExplanation(saliency.sum(dim=(-2, -1)), saliency)


@contextmanager
def _hooked(method: Any, head: LinearHead) -> Iterator[Any]:
    """Yield the package's method with its hooks on the head's backbone, and take them off again."""
    layout = head.layout

    def on_grid(tokens: Float[Tensor, "image token dim"]) -> Float[Tensor, "image dim py px"]:
        grid: Tensor = tokens[:, layout.prefix :].transpose(1, 2).unflatten(2, (layout.rows, layout.cols))
        return grid

    cam = method(ImageEvidence(head), [head.vit.blocks[-1].norm1], reshape_transform=on_grid)
    try:
        yield cam
    finally:
        cam.activations_and_grads.release()


def _by_tile(
    maps: npt.NDArray[np.float32], images: Float[Tensor, "tile group 3 height width"]
) -> Float[Tensor, "tile cls group py px"]:
    """Clip maps ``(image, cls, py, px)`` at 0, as both methods do, and sort them by tile."""
    clipped = torch.from_numpy(np.maximum(maps, 0.0)).to(images.device)
    by_tile: Tensor = clipped.unflatten(0, images.shape[:2])
    return by_tile.transpose(1, 2)
