"""Choose the block whose attention spreads importance over patches: on validation plots, without masks."""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float
from scipy.stats import rankdata
from torch import Tensor, nn

from focus_core.model import Focus
from focus_core.training.prompts import Labelled

_CELLS = 3
"""Occluded squares along each side of a window."""


@torch.no_grad()
def choose_readout(model: Focus, validation: Labelled, *, tiles: int = 24) -> tuple[tuple[int, ...], float]:
    """Return the prompted blocks whose saliency agrees best with occlusion, and that agreement.

    A square of a window is set to the training mean in all groups; the fall of the true class's logit is what the
    square was worth. Agreement is the Spearman correlation with the saliency of the true class summed over the same
    square, mean over windows. Candidates are each block alone and all together. Expert masks are not needed, so
    none is opened.

    Parameters
    ----------
    model
        Trained.
    validation
        Windows of validation plots.
    tiles
        How many of them are used, evenly spaced.
    """
    chosen = torch.linspace(0, len(validation.label) - 1, min(tiles, len(validation.label))).long()
    images = model.front_end(validation.reflectance[chosen]).images
    label = validation.label[chosen]
    reading, trace = model.trace(model.encode(images))
    worth = _occlusion(model, images, label)
    importance = model.contrastive(reading.evidence) - model.reference_mean
    every = tuple(range(model.spec.prompt_blocks))
    found = {}
    for blocks in dict.fromkeys((*((block,) for block in every), every)):
        saliency = _of_label(model.spread(importance, trace, blocks).sum(dim=2), label)
        grid = saliency.unflatten(-1, (model.layout.rows, model.layout.cols))
        pooled = nn.functional.adaptive_avg_pool2d(grid[:, None], _CELLS).flatten(1)
        found[blocks] = _mean_spearman(pooled, worth)
    best = max(found, key=found.__getitem__)
    return best, found[best]


def _occlusion(
    model: Focus, images: Float[Tensor, "tile group 3 height width"], label: Tensor
) -> Float[Tensor, "tile cell"]:
    base = _of_label(model.logits(model.read(model.encode(images)).evidence), label)
    edges = torch.linspace(0, images.shape[-1], _CELLS + 1).round().int().tolist()
    worth = []
    for top, bottom in pairwise(edges):
        for left, right in pairwise(edges):
            hidden = images.clone()
            hidden[..., top:bottom, left:right] = 0.0
            logit = _of_label(model.logits(model.read(model.encode(hidden)).evidence), label)
            worth.append(base - logit)
    return torch.stack(worth, dim=1)


def _of_label(values: Float[Tensor, "tile cls *rest"], label: Tensor) -> Float[Tensor, "tile *rest"]:
    return values[torch.arange(len(label)), label]


def _mean_spearman(left: Float[Tensor, "tile cell"], right: Float[Tensor, "tile cell"]) -> float:
    first, second = (torch.from_numpy(rankdata(side.numpy(), axis=1)) for side in (left, right))
    first, second = first - first.mean(dim=1, keepdim=True), second - second.mean(dim=1, keepdim=True)
    return float(nn.functional.cosine_similarity(first, second, dim=1).mean())
