"""Rivals on the trial that FOCUS was trained on: the same backbone, the same windows, the same scores.

Knows trials, rivals and scores; trains no FOCUS model.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float

from focus_core.bench.trials import Trial, explained
from focus_core.evaluation import of_plots, score_bands, score_space
from focus_core.metrics import balanced_accuracy, band_scores
from focus_core.model import Focus
from focus_core.rivals import (
    LinearHead,
    PromptCamSettings,
    Rival,
    fit_head,
    fit_prompt_cam,
    forest_permutation,
    pls_vip,
    rivals_on_tiles,
)
from focus_core.training import Labelled

logger = logging.getLogger(__name__)

Scores = dict[str, float]

_COSTLY = ("integrated_gradients", "ablation", "occlusion")
_IMAGES = 500
"""Group images on which a costly rival is run; the others explain a window of each test plot."""
_ATTENTION_OR_GRADIENT = ("gradcam", "eigencam", "integrated_gradients", "prompt_cam")
_REFERENCE_TILES = 24
_BATCH_TILES, _FEATURE_TILES = 4, 16


def rival_scores(model: Focus, trial: Trial, *, seed: int, prompt_cam_epochs: int) -> Scores:
    """Score the rivals on a trained model's backbone and windows.

    Parameters
    ----------
    model
        Trained on ``trial``; only its backbone and front end are the rivals'.
    trial
        The trial.
    seed
        Of everything drawn.
    prompt_cam_epochs
        Epochs of the Prompt-CAM wiring, which trains through the backbone; 0 leaves it out.

    Returns
    -------
    Scores
        ``<rival>.band_iou.<class>``, ``.spatial_auc.<class>`` and the like; ``<rival>.time_over_focus``, a tile's
        time over FOCUS's; ``focus.band_iou_over.<rival>``, the mean band IoU over classes as a ratio, on the same
        windows, where the rival has any; ``linear_head.balanced_accuracy``.
    """
    folds = {"train": trial.train, "validation": trial.validation}
    images = {fold: model.front_end(data.reflectance).images for fold, data in folds.items()}
    head = fit_head(model.vit, images["train"], trial.train.label, images["validation"], trial.validation.label)
    control = images["train"][trial.train.label == model.spec.classes.index(model.spec.reference_class or "")]
    rivals = rivals_on_tiles(head, control[:_REFERENCE_TILES], ablation_draws=1, seed=seed)
    if prompt_cam_epochs:
        settings = PromptCamSettings(epochs=prompt_cam_epochs, seed=seed)
        labels = (images["train"], trial.train.label, images["validation"], trial.validation.label)
        rivals.append(fit_prompt_cam(model.vit, *labels, control, settings))
    found = {"linear_head.balanced_accuracy": _head_accuracy(head, model, trial)}
    for rival in rivals:
        logger.info("%s", rival.name)
        found |= _of_rival(rival, model, trial)
    ratios = [found[name] for name in found if name.split(".")[-1] in _ATTENTION_OR_GRADIENT and "_over." in name]
    return {**found, "focus.band_iou_over.best_gradient_or_attention": min(ratios)} if ratios else found


def plot_mean_scores(model: Focus, trial: Trial, *, seed: int) -> Scores:
    """Score what agronomists use on plot means: PLS-DA VIP and the permutation importance of a random forest."""
    spectra, label = _plot_means(trial.train)
    classes, group_of_band = len(model.spec.classes), model.spec.group_of_band()
    spectra[:, group_of_band < 0] = np.nan
    reference = model.spec.classes.index(model.spec.reference_class or "")
    curves = {
        "pls_vip": pls_vip(spectra, label, classes, reference=reference),
        "forest": forest_permutation(spectra, label, classes, seed=seed),
    }
    truth = trial.reference["reference"].to_numpy()
    return {
        f"{name}.{metric}.{model.spec.classes[cls]}": float(values[cls])
        for name, curve in curves.items()
        for metric, values in band_scores(curve, truth, group_of_band, seed=seed).items()
        if metric in ("band_iou", "mass_over_chance")
        for cls in np.flatnonzero(truth.any(axis=1))
    }


def _of_rival(rival: Rival, model: Focus, trial: Trial) -> Scores:
    index = _windows_for(rival, model, trial)
    own = explained(trial, model, index)
    pixels = trial.pixels(index)
    parts, seconds = [], 0.0
    for part in pixels.split(_BATCH_TILES):
        images = model.front_end(part).images
        spent, explanation = _timed(lambda images=images: rival.explain(images))  # type: ignore[misc]
        parts.append(explanation)
        seconds += spent
    focus_seconds, _ = _timed(lambda: [model.explain(part) for part in pixels.split(_BATCH_TILES)])
    found: Scores = {f"{rival.name}.time_over_focus": seconds / focus_seconds}
    names = ("importance", "saliency")
    theirs = {name: [getattr(part, name) for part in parts] for name in names}
    given = {name: torch.cat(values).numpy() for name, values in theirs.items() if values[0] is not None}
    both = own.assign({name: own[name].copy(data=values) for name, values in given.items()})
    if "importance" in given:
        bands, own_bands = (score_bands(model.spec, of_plots(each), trial.reference, seed=0) for each in (both, own))
        found |= {f"{rival.name}.{name}": bands[name] for name in bands if name.startswith("band_iou")}
        if _mean_iou(bands) > 0.0:
            found[f"focus.band_iou_over.{rival.name}"] = _mean_iou(own_bands) / _mean_iou(bands)
    if "saliency" in given:
        space = score_space(model.spec, both, trial.reference)
        found |= {f"{rival.name}.{name}": space[name] for name in space if name.startswith("spatial_auc")}
    return found


def _windows_for(rival: Rival, model: Focus, trial: Trial) -> np.ndarray:
    """Return a window of each test plot, or where a rival is costly of as many plots of each class as time allows."""
    index = trial.one_window_a_plot()
    if rival.name not in _COSTLY:
        return index
    labels = trial.test["label"].to_numpy()[index]
    each = max(1, _IMAGES // (len(model.spec.groups) * len(model.spec.classes)))
    return np.sort(np.concatenate([index[labels == cls][:each] for cls in np.unique(labels)]))


@torch.no_grad()
def _head_accuracy(head: LinearHead, model: Focus, trial: Trial) -> float:
    """Return the head's balanced accuracy by plot, over all test windows."""
    every = np.arange(trial.test.sizes["tile"])
    parts = trial.pixels(every).split(_FEATURE_TILES)
    logits = torch.cat([head.logits(model.front_end(part).images) for part in parts]).numpy()
    nothing = np.zeros((len(every), len(model.spec.classes), len(model.spec.groups)))
    plots = of_plots(
        xr.Dataset(
            {"logit": (("tile", "cls"), logits), "importance": (("tile", "cls", "group"), nothing)},
            coords={name: trial.test[name] for name in ("plot", "coverage", "label")},
        )
    )
    return balanced_accuracy(plots.label, plots.logit.argmax(axis=1))


def _mean_iou(scores: Scores) -> float:
    return float(np.mean([value for name, value in scores.items() if name.startswith("band_iou.")]))


def _plot_means(data: Labelled) -> tuple[Float[np.ndarray, "plot band"], np.ndarray]:
    """Return the mean spectrum of each training plot over its windows' pixels, and its label."""
    spectra, labels = [], []
    for plot in range(int(data.plot.max()) + 1):
        mine = data.plot == plot
        spectra.append(data.reflectance[mine].nanmean(dim=(0, 2, 3)).double().numpy())
        labels.append(int(data.label[mine][0]))
    return np.stack(spectra), np.array(labels)


def _timed(call: Callable[[], object]) -> tuple[float, object]:
    started = time.perf_counter()
    found = call()
    return time.perf_counter() - started, found
