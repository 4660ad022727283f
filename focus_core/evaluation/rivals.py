"""FOCUS's rivals on the same backbone, windows and scores.

Knows models, labelled windows and rivals; knows neither trials nor how many windows are worth their time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from focus_core.batches import read_tiles
from focus_core.evaluation.folds import score_bands, score_space
from focus_core.evaluation.plots import of_plots
from focus_core.metrics import balanced_accuracy, band_scores
from focus_core.model import Focus
from focus_core.rivals import LinearHead, Rival, fit_head, forest_permutation, pls_vip, rivals_on_tiles
from focus_core.training import Labelled

Metrics = dict[str, float]

_REFERENCE_TILES = 24
_BATCH_TILES, _FEATURE_TILES = 4, 16


def fitted_rivals(
    model: Focus, training: Labelled, validation: Labelled, *, seed: int
) -> tuple[LinearHead, list[Rival]]:
    """Fit the linear head on the model's backbone and windows, and return it with every rival that explains it."""
    images, held_out = (model.front_end(each.reflectance).images for each in (training, validation))
    head = fit_head(model.vit, images, training.label, held_out, validation.label)
    return head, rivals_on_tiles(head, reference_images(model, training, _REFERENCE_TILES), seed=seed)


def reference_images(model: Focus, training: Labelled, most: int) -> Float[Tensor, "reference group 3 height width"]:
    """Return group images of at most so many training windows of the reference class; without one, of all alike.

    They are spread over the windows of a class, and so over its plots: FOCUS's own reference is the mean over all.
    """
    name = model.spec.reference_class
    classes = range(len(model.spec.classes)) if name is None else [model.spec.classes.index(name)]
    chosen = []
    for cls in classes:
        windows = torch.nonzero(training.label == cls)[:, 0]
        count = min(len(windows), max(1, most // len(classes)))
        chosen.append(windows[torch.arange(count) * len(windows) // max(1, count)])
    images: Tensor = model.front_end(training.reflectance[torch.cat(chosen)]).images
    return images


def score_rival(
    rival: Rival, model: Focus, pixels: Float[Tensor, "tile band ty tx"], own: xr.Dataset, reference: xr.Dataset
) -> Metrics:
    """Score what a rival says of some windows.

    Parameters
    ----------
    rival
        On the model's backbone.
    model
        FOCUS.
    pixels
        The windows.
    own
        FOCUS's explanation of the same windows.
    reference
        An open ``reference.zarr`` of their campaign.

    Returns
    -------
    Metrics
        ``time_over_focus``, the time over FOCUS's; ``band_iou…`` and ``spatial_auc…`` of `score_bands` and
        `score_space`, where the rival reads a curve, or gives a map.
    """
    parts, seconds = [], 0.0
    for part in pixels.split(_BATCH_TILES):
        images = model.front_end(part).images
        spent, explanation = _timed(lambda images=images: rival.explain(images))  # type: ignore[misc]
        parts.append(explanation)
        seconds += spent
    focus_seconds, _ = _timed(lambda: [model.explain(part) for part in pixels.split(_BATCH_TILES)])
    found: Metrics = {"time_over_focus": seconds / focus_seconds}
    theirs = {name: [getattr(part, name) for part in parts] for name in ("importance", "saliency")}
    given = {name: torch.cat(values).numpy() for name, values in theirs.items() if values[0] is not None}
    both = own.assign({name: own[name].copy(data=values) for name, values in given.items()})
    if "importance" in given:
        bands = score_bands(model.spec, of_plots(both), reference, seed=0)
        found |= {name: value for name, value in bands.items() if name.startswith("band_iou")}
    if "saliency" in given:
        space = score_space(model.spec, both, reference)
        found |= {name: value for name, value in space.items() if name.startswith("spatial_auc")}
    return found


def score_plot_means(model: Focus, training: Labelled, reference: xr.Dataset, *, seed: int) -> dict[str, Metrics]:
    """Score what agronomists use on plot means: PLS-DA VIP and the permutation importance of a random forest.

    Parameters
    ----------
    model
        Whose bands count.
    training
        Windows of the plots that both are fitted on.
    reference
        An open ``reference.zarr``.
    seed
        Of the forest.

    Returns
    -------
    dict[str, Metrics]
        The scores of `band_scores` by class with reference bands, of ``pls_vip`` and ``forest``.
    """
    spectra, label = _plot_means(training)
    classes, group_of_band = len(model.spec.classes), model.spec.group_of_band()
    spectra[:, group_of_band < 0] = np.nan
    name = model.spec.reference_class
    against = None if name is None else model.spec.classes.index(name)
    curves = {
        "pls_vip": pls_vip(spectra, label, classes, reference=against),
        "forest": forest_permutation(spectra, label, classes, seed=seed),
    }
    truth = reference["reference"].to_numpy()
    return {
        method: {
            f"{metric}.{model.spec.classes[cls]}": float(values[cls])
            for metric, values in band_scores(curve, truth, group_of_band, seed=seed).items()
            for cls in np.flatnonzero(truth.any(axis=1))
        }
        for method, curve in curves.items()
    }


@torch.no_grad()
def head_accuracy(head: LinearHead, model: Focus, tiles: xr.Dataset) -> float:
    """Return the head's balanced accuracy by plot over labelled windows, which are read in turn."""
    every = np.arange(tiles.sizes["tile"])
    parts = np.array_split(every, -(-len(every) // _FEATURE_TILES))
    logits = torch.cat([head.logits(model.front_end(read_tiles(tiles, part)).images) for part in parts]).numpy()
    nothing = np.zeros((len(every), len(model.spec.classes), len(model.spec.groups)))
    plots = of_plots(
        xr.Dataset(
            {"logit": (("tile", "cls"), logits), "importance": (("tile", "cls", "group"), nothing)},
            coords={name: tiles[name] for name in ("plot", "coverage", "label")},
        )
    )
    return balanced_accuracy(plots.label, plots.logit.argmax(axis=1))


def _plot_means(data: Labelled) -> tuple[Float[np.ndarray, "plot band"], np.ndarray]:
    """Return the mean spectrum of each training plot over its windows' pixels, and its label."""
    spectra, labels = [], []
    for plot in range(int(data.plot.max()) + 1):
        mine = data.plot == plot
        spectra.append(data.reflectance[mine].nanmean(dim=(0, 2, 3)).double().numpy())
        labels.append(int(data.label[mine][0]))
    return np.stack(spectra), np.array(labels)


def _timed(call: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    found = call()
    return time.perf_counter() - started, found
