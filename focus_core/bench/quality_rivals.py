"""Rivals on the trial that FOCUS was trained on: the same backbone, the same windows, the same scores.

Knows trials, rivals and scores; trains no FOCUS model.
"""

from __future__ import annotations

import logging

import numpy as np

from focus_core.bench.trials import Trial, explained
from focus_core.evaluation import of_plots, score_bands
from focus_core.evaluation.rivals import (
    fitted_rivals,
    head_accuracy,
    reference_images,
    score_plot_means,
    score_rival,
)
from focus_core.model import Focus
from focus_core.rivals import PromptCamSettings, Rival, fit_prompt_cam

logger = logging.getLogger(__name__)

Scores = dict[str, float]

_COSTLY = ("integrated_gradients", "ablation", "occlusion")
_IMAGES = 500
"""Group images on which a costly rival is run; the others explain a window of each test plot."""
_ATTENTION_OR_GRADIENT = ("gradcam", "eigencam", "integrated_gradients", "prompt_cam")


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
    head, rivals = fitted_rivals(model, trial.train, trial.validation, seed=seed)
    if prompt_cam_epochs:
        settings = PromptCamSettings(epochs=prompt_cam_epochs, seed=seed)
        images, held_out = (model.front_end(each.reflectance).images for each in (trial.train, trial.validation))
        labels = (images, trial.train.label, held_out, trial.validation.label)
        control = reference_images(model, trial.train, len(trial.train.label))
        rivals.append(fit_prompt_cam(model.vit, *labels, control, settings))
    found = {"linear_head.balanced_accuracy": head_accuracy(head, model, trial.test)}
    for rival in rivals:
        logger.info("%s", rival.name)
        found |= _of_rival(rival, model, trial)
    ratios = [found[name] for name in found if name.split(".")[-1] in _ATTENTION_OR_GRADIENT and "_over." in name]
    return {**found, "focus.band_iou_over.best_gradient_or_attention": min(ratios)} if ratios else found


def plot_mean_scores(model: Focus, trial: Trial, *, seed: int) -> Scores:
    """Score what agronomists use on plot means: PLS-DA VIP and the permutation importance of a random forest."""
    return {
        f"{name}.{metric}": value
        for name, scores in score_plot_means(model, trial.train, trial.reference, seed=seed).items()
        for metric, value in scores.items()
        if metric.partition(".")[0] in ("band_iou", "mass_over_chance")
    }


def _of_rival(rival: Rival, model: Focus, trial: Trial) -> Scores:
    index = _windows_for(rival, model, trial)
    own = explained(trial, model, index)
    scores = score_rival(rival, model, trial.pixels(index), own, trial.reference)
    found = {f"{rival.name}.{name}": value for name, value in scores.items()}
    if _mean_iou(scores) > 0.0:
        own_bands = score_bands(model.spec, of_plots(own), trial.reference, seed=0)
        found[f"focus.band_iou_over.{rival.name}"] = _mean_iou(own_bands) / _mean_iou(scores)
    return found


def _windows_for(rival: Rival, model: Focus, trial: Trial) -> np.ndarray:
    """Return a window of each test plot, or where a rival is costly of as many plots of each class as time allows."""
    index = trial.one_window_a_plot()
    if rival.name not in _COSTLY:
        return index
    labels = trial.test["label"].to_numpy()[index]
    each = max(1, _IMAGES // (len(model.spec.groups) * len(model.spec.classes)))
    return np.sort(np.concatenate([index[labels == cls][:each] for cls in np.unique(labels)]))


def _mean_iou(scores: Scores) -> float:
    """Return the mean over classes; 0 where there is no curve."""
    return float(np.mean([value for name, value in scores.items() if name.startswith("band_iou.")] or [0.0]))
