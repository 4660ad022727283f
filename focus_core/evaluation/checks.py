"""Checks of what must hold exactly, on real tiles: attribution between groups, and cost."""

from __future__ import annotations

import time

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from focus_core.model import Focus

_REPEATS = 5


def swap_check(model: Focus, reflectance: Float[Tensor, "tile band ty tx"], *, seed: int) -> dict[str, float]:
    """Replace one group's bands of each tile by another tile's, and see what else moves.

    Parameters
    ----------
    model
        The model.
    reflectance
        At least two tiles; pixels outside either tile's plot stay outside.
    seed
        Of the choice of groups.

    Returns
    -------
    dict
        ``swap_other_evidence``: largest change of another group's evidence, 0 when attribution is exact;
        ``swap_logit_error``: largest difference between the change of the logit and of the group's importance.
    """
    rng = np.random.default_rng(seed)
    group_of_band = model.spec.group_of_band()
    other = torch.roll(reflectance, 1, dims=0)
    joint = torch.isfinite(reflectance) & torch.isfinite(other)
    swapped = reflectance.clone()
    groups = rng.integers(len(model.spec.groups), size=len(reflectance))
    for tile, group in enumerate(groups):
        bands = torch.from_numpy(np.flatnonzero(group_of_band == group))
        swapped[tile, bands] = torch.where(joint[tile, bands], other[tile, bands], reflectance[tile, bands])
    before, after = model.explain(reflectance), model.explain(swapped)
    change = after.evidence - before.evidence
    chosen = torch.zeros_like(change, dtype=torch.bool)
    chosen[torch.arange(len(groups)), :, torch.from_numpy(groups)] = True
    moved = (after.importance - before.importance).masked_fill(~chosen, 0.0).sum(dim=-1)
    return {
        "swap_other_evidence": float(change.masked_fill(chosen, 0.0).abs().max()),
        "swap_logit_error": float((after.logit - before.logit - moved).abs().max()),
    }


@torch.no_grad()
def cost(model: Focus, reflectance: Float[Tensor, "tile band ty tx"]) -> dict[str, float]:
    """Measure what an explanation costs beside a plain forward pass on the same group images, in one run.

    Returns
    -------
    dict
        ``cost.time_ratio``: median over interleaved repeats; one pass over a tile is a batch of one image per group.
        ``cost.parameter_share``: trained parameters over the backbone's.
    """
    images = model.front_end(reflectance).images.flatten(0, 1)
    ratios = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        model.vit.forward_features(images)
        plain = time.perf_counter()
        model.explain(reflectance)
        ratios.append((time.perf_counter() - plain) / (plain - start))
    trained, frozen = (sum(parameter.numel() for parameter in module.parameters()) for module in (model, model.vit))
    return {"cost.time_ratio": float(np.median(ratios)), "cost.parameter_share": trained / frozen}
