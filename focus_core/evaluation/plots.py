"""From windows to plots: the weights that make importance add up to the logit of a plot, too."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float, Int
from scipy.special import softmax


class PlotEvidence(NamedTuple):
    """What a model says about each plot of a set of tiles."""

    label: Int[np.ndarray, " plot"]
    logit: Float[np.ndarray, "plot cls"]
    probability: Float[np.ndarray, "plot cls"]
    """Softmax of the plot's logit."""
    importance: Float[np.ndarray, "plot cls group"]


def of_plots(explanation: xr.Dataset) -> PlotEvidence:
    """Return the coverage-weighted means over each plot's windows; every variable has the same weights."""
    names = explanation["plot"].to_numpy().astype(object).astype(str)
    _, first, plot = np.unique(names, return_index=True, return_inverse=True)
    weights = np.zeros((len(first), len(plot)))
    weights[plot, np.arange(len(plot))] = explanation["coverage"].to_numpy()
    weights /= weights.sum(axis=1, keepdims=True)
    logit = weights @ explanation["logit"].to_numpy().astype(np.float64)
    importance = np.tensordot(weights, explanation["importance"].to_numpy().astype(np.float64), axes=1)
    return PlotEvidence(explanation["label"].to_numpy()[first], logit, softmax(logit, axis=1), importance)


def class_curves(
    plots: PlotEvidence, group_of_band: Int[np.ndarray, " band"], classes: int
) -> Float[np.ndarray, "cls band"]:
    """Return the curve of each class over the plots whose true class it is, signed; NaN outside all groups.

    Parameters
    ----------
    plots
        Held-out plots.
    group_of_band
        Group of each band, -1 outside all groups. A group's importance is divided evenly among its bands.
    classes
        Number of classes; the curve of a class without a plot is NaN.
    """
    size = np.bincount(group_of_band[group_of_band >= 0], minlength=plots.importance.shape[2])
    curves = np.full((classes, len(group_of_band)), np.nan)
    inside = group_of_band >= 0
    for cls in range(classes):
        mine = plots.label == cls
        if mine.any():
            mean = plots.importance[mine, cls].mean(axis=0)
            curves[cls, inside] = (mean / np.maximum(size, 1))[group_of_band[inside]]
    return curves
