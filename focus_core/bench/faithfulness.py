"""How true an explanation is to its model: against ablation, and under noise, on one window of each test plot.

Knows models and trials; references and masks are not looked at.
"""

from __future__ import annotations

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float, Int
from torch import Tensor

from focus_core.bench.trials import Trial
from focus_core.metrics import concordance, map_stability, rank_agreement
from focus_core.model import Focus

_DRAWS = 8
NOISE = (0.005, 0.01, 0.02, 0.05)
"""Standard deviations of the noise ladder, in reflectance; independent from pixel to pixel and band to band."""


@torch.no_grad()
def ablation_agreement(model: Focus, trial: Trial, explanation: xr.Dataset, *, seed: int) -> dict[str, float]:
    """Compare importance with the logit's fall when a group is replaced by reference-class pixels.

    Parameters
    ----------
    model
        The model.
    trial
        Its trial; the pixels come from training windows of the reference class.
    explanation
        Of one window a plot, in the order of `Trial.one_window_a_plot`.
    seed
        Of the draws.

    Returns
    -------
    dict[str, float]
        ``ablation_rank`` and ``ablation_concordance`` of the true class's importance over groups, mean over the
        plots of other classes than the reference.
    """
    fall = _falls(model, trial, seed=seed)
    labels, reference = explanation["label"].to_numpy(), model.spec.classes.index(model.spec.reference_class or "")
    stressed = np.flatnonzero(labels != reference)
    pairs = [(explanation["importance"].to_numpy()[row, labels[row]], fall[row, labels[row]]) for row in stressed]
    return {
        "ablation_rank": float(np.mean([rank_agreement(*pair) for pair in pairs])),
        "ablation_concordance": float(np.mean([concordance(*pair) for pair in pairs])),
    }


def _falls(model: Focus, trial: Trial, *, seed: int) -> Float[np.ndarray, "tile cls group"]:
    """Return the fall of the contrastive logit for each group replaced alone, mean over the draws.

    Groups meet in the logit only, so replacing one changes its own evidence alone (`swap_check` measures that): a
    pass with all groups replaced gives what each replacement alone would.
    """
    pixels = trial.pixels(trial.one_window_a_plot())
    control = model.spec.classes.index(model.spec.reference_class or "")
    pool = trial.train.reflectance[trial.train.label == control]
    before = model.contrastive(model.explain(pixels).evidence)
    drawn = torch.randint(len(pool), (_DRAWS, len(pixels)), generator=torch.Generator().manual_seed(seed))
    falls = [before - model.contrastive(model.explain(_replaced(pixels, pool[rows])).evidence) for rows in drawn]
    return torch.stack(falls).mean(dim=0).double().numpy()


def _replaced(
    pixels: Float[Tensor, "tile band ty tx"], others: Float[Tensor, "tile band ty tx"]
) -> Float[Tensor, "tile band ty tx"]:
    """Put other windows' pixels where both windows lie inside their plots."""
    return torch.where(torch.isfinite(pixels) & torch.isfinite(others), others, pixels)


@torch.no_grad()
def noise_stability(model: Focus, trial: Trial, explanation: xr.Dataset, *, seed: int) -> dict[str, float]:
    """Return ``stability_<noise>``: Spearman correlation of the true class's map with its repeat under noise.

    Parameters
    ----------
    model
        The model.
    trial
        Its trial.
    explanation
        Of one window a plot, in the order of `Trial.one_window_a_plot`.
    seed
        Of the noise.
    """
    pixels, labels = trial.pixels(trial.one_window_a_plot()), explanation["label"].to_numpy()
    clean = _maps(explanation["saliency"].to_numpy(), labels)
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for level in NOISE:
        noisy = model.explain(pixels + level * torch.randn(pixels.shape, generator=generator)).saliency.numpy()
        found[f"stability_{level:g}"] = float(np.nanmean(map_stability(clean, _maps(noisy, labels))))
    return found


def _maps(
    saliency: Float[np.ndarray, "tile cls group py px"], labels: Int[np.ndarray, " tile"]
) -> Float[np.ndarray, "tile py px"]:
    return np.asarray(saliency[np.arange(len(labels)), labels].sum(axis=1))
