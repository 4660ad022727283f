"""Labelled windows, their augmented copies, and what their logits mean for plots.

Sees labels, never masks or reference bands.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float, Int
from torch import Tensor

from focus_core.batches import of_fold, read_tiles
from focus_core.config import Fold
from focus_core.errors import CampaignError
from focus_core.model import Focus
from focus_core.training.mixing import Mixed, joined, mix, unmixed

_GAIN = 0.02
"""Standard deviation of the brightness factor of an augmented copy: illumination differs between flights."""
_NOISE = 0.05
"""Standard deviation of the noise added to an augmented copy, in standard deviations of training pixels."""


class Labelled(NamedTuple):
    """Windows of labelled plots."""

    reflectance: Float[Tensor, "tile band ty tx"]
    label: Int[Tensor, " tile"]
    plot: Int[Tensor, " tile"]
    """Index of the plot; windows of one plot share it."""
    coverage: Float[Tensor, " tile"]
    """Weight of the window in its plot."""


def labelled_windows(tiles: xr.Dataset, fold: Fold) -> Labelled:
    """Read the labelled windows of a fold into memory.

    Parameters
    ----------
    tiles
        An open ``tiles.zarr``.
    fold
        Part of the split.

    Raises
    ------
    CampaignError
        If there are none.
    """
    index = of_fold(tiles, fold)
    if not len(index):
        raise CampaignError(
            f"campaign {tiles.attrs['campaign']}: no labelled tile in the fold '{fold}'; training needs some, "
            "change the folds of the campaign file"
        )
    part = tiles.isel(tile=index)
    _, plots = np.unique(part["plot"].to_numpy().astype(object).astype(str), return_inverse=True)
    return Labelled(
        reflectance=read_tiles(tiles, index),
        label=torch.from_numpy(part["label"].to_numpy().astype(np.int64)),
        plot=torch.from_numpy(plots.astype(np.int64)),
        coverage=torch.from_numpy(part["coverage"].to_numpy().astype(np.float32)),
    )


@torch.no_grad()
def augmented(model: Focus, data: Labelled, copies: int, generator: torch.Generator) -> Mixed:
    """Return the windows, followed by copies that are flipped, brighter or darker, noisier, and mixed."""
    layout = model.layout
    images, inside, _ = model.front_end(data.reflectance)
    parts = [unmixed(images, data.label, inside)]
    for _ in range(copies):
        gain = 1.0 + _GAIN * torch.randn(len(data.label), 1, 1, 1, generator=generator)
        axes = [axis for axis in (2, 3) if torch.rand((), generator=generator) < 0.5]
        images, inside, _ = model.front_end((data.reflectance * gain).flip(axes))
        noisy = images + _NOISE * torch.randn(images.shape, generator=generator)
        parts.append(mix(noisy, data.label, inside, (layout.rows, layout.cols), generator))
    return joined(parts)


def plot_means(values: Float[Tensor, "tile *rest"], data: Labelled) -> Float[Tensor, "plot *rest"]:
    """Return each plot's mean of what its windows say, weighted by coverage: a logit is a plot's only so."""
    plots = int(data.plot.max()) + 1
    weight = torch.zeros(plots).index_add(0, data.plot, data.coverage)
    total = torch.zeros(plots, values[0].numel()).index_add(0, data.plot, values.flatten(1) * data.coverage[:, None])
    return (total / weight[:, None]).reshape(plots, *values.shape[1:])


def plot_labels(data: Labelled) -> Int[Tensor, " plot"]:
    """Return each plot's label."""
    labels = torch.zeros(int(data.plot.max()) + 1, dtype=torch.int64)
    labels[data.plot] = data.label
    return labels


def class_weight(label: Int[Tensor, " tile"], classes: int) -> Float[Tensor, " cls"]:
    """Return the weight of each class that makes all count alike."""
    counts = torch.bincount(label, minlength=classes).clamp_min(1)
    return len(label) / (classes * counts.float())
