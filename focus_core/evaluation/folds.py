"""Every metric of one fold's plots, under fixed names."""

from __future__ import annotations

import numpy as np
import xarray as xr
from jaxtyping import Float

from focus_core.config import OUTSIDE
from focus_core.evaluation.plots import PlotEvidence, class_curves, of_plots
from focus_core.metrics import (
    balanced_accuracy,
    balanced_accuracy_interval,
    band_scores,
    brier_score,
    expected_calibration_error,
    has_collapse,
    over_tiles,
    spatial_auc,
    spatial_average_precision,
    spatial_pointing,
)
from focus_core.model import Focus, ModelSpec

Metrics = dict[str, float]

_SPATIAL = {
    "spatial_auc": spatial_auc,
    "spatial_ap": spatial_average_precision,
    "spatial_pointing": spatial_pointing,
}


def score_fold(model: Focus, explanation: xr.Dataset, reference: xr.Dataset, *, seed: int) -> Metrics:
    """Score the explanation of a fold's labelled tiles.

    Parameters
    ----------
    model
        Which gave the explanation.
    explanation
        As of `explain_tiles`, labelled tiles of one fold.
    reference
        An open ``reference.zarr`` of the same campaign and bands.
    seed
        Of chance levels.

    Returns
    -------
    Metrics
        ``balanced_accuracy`` per plot with ``.lo`` and ``.hi``, ``ece``, ``brier``, ``plots``;
        ``window_balanced_accuracy`` over single windows; per class with reference bands the scores of `band_scores`,
        e.g. ``band_iou.drought``; per class with an expert mask the scores of `score_space`, e.g.
        ``spatial_auc.drought``; ``null_share`` (largest over classes); ``sink_share``, ``token_share``,
        ``prefix_attention``, ``background_attention``, ``outlier_share``, ``collapse`` (1 where prompts look at class
        and register tokens more than twice as often as uniform attention); ``importance.<class>.<group>``, the curve
        of each class by group. What does not apply is absent.
    """
    plots = of_plots(explanation)
    found = {
        **_classification(plots),
        "window_balanced_accuracy": balanced_accuracy(
            explanation["label"].to_numpy(), explanation["logit"].to_numpy().argmax(axis=1)
        ),
        **score_bands(model.spec, plots, reference, seed=seed),
        **score_space(model.spec, explanation, reference),
        **_attention(model, explanation),
        **_curves(model, plots),
    }
    return {name: float(value) for name, value in found.items() if np.isfinite(value)}


def _classification(plots: PlotEvidence) -> Metrics:
    predicted = plots.logit.argmax(axis=1)
    lo, hi = balanced_accuracy_interval(plots.label, predicted)
    return {
        "plots": float(len(plots.label)),
        "balanced_accuracy": balanced_accuracy(plots.label, predicted),
        "balanced_accuracy.lo": lo,
        "balanced_accuracy.hi": hi,
        "ece": expected_calibration_error(plots.probability, plots.label),
        "brier": brier_score(plots.probability, plots.label),
    }


def score_bands(spec: ModelSpec, plots: PlotEvidence, reference: xr.Dataset, *, seed: int) -> Metrics:
    """Score the curve of each class over its own plots against its reference bands.

    Parameters
    ----------
    spec
        Whose groups and classes the plots' importance has.
    plots
        Held-out plots.
    reference
        An open ``reference.zarr`` of the same campaign and bands.
    seed
        Of chance levels.

    Returns
    -------
    Metrics
        The scores of `band_scores` by class, and ``null_share`` (largest over classes, and each) where there are
        bands of noise.
    """
    group_of_band = spec.group_of_band()
    curves = class_curves(plots, group_of_band, len(spec.classes))
    effect = reference["effect_size"].to_numpy() if "effect_size" in reference else None
    scores = band_scores(
        curves,
        reference["reference"].to_numpy(),
        group_of_band,
        effect_size=effect,
        null_band=reference["null_band"].to_numpy(),
        seed=seed,
    )
    null = scores.pop("null_share")
    referenced = np.flatnonzero(reference["has_reference"].to_numpy())
    found = {f"{name}.{spec.classes[cls]}": float(values[cls]) for name, values in scores.items() for cls in referenced}
    judged = [cls for cls in range(len(spec.classes)) if spec.classes[cls] != spec.reference_class]
    if np.isin(np.flatnonzero(reference["null_band"].to_numpy()), np.flatnonzero(group_of_band != OUTSIDE)).any():
        found |= {f"null_share.{spec.classes[cls]}": float(null[cls]) for cls in judged}
        found["null_share"] = float(np.nanmax(null[judged]))
    return found


def _curves(model: Focus, plots: PlotEvidence) -> Metrics:
    """Return the mean importance of each group for each class, over plots of that class."""
    spec = model.spec
    return {
        f"importance.{name}.{group.name}": float(plots.importance[plots.label == cls, cls, index].mean())
        for cls, name in enumerate(spec.classes)
        if (plots.label == cls).any()
        for index, group in enumerate(spec.groups)
    }


def score_space(spec: ModelSpec, explanation: xr.Dataset, reference: xr.Dataset) -> Metrics:
    """Score the summed saliency of each true class against its expert mask, mean over windows.

    Parameters
    ----------
    spec
        Whose classes and window the explanation has.
    explanation
        ``saliency (tile, cls, group, py, px)`` with ``label``, ``row`` and ``col`` of each tile.
    reference
        An open ``reference.zarr`` of the same campaign; without a mask nothing is scored.

    Returns
    -------
    Metrics
        ``spatial_auc``, ``spatial_ap`` and ``spatial_pointing`` by class, and ``spatial_auc_ceiling``, that of the mask
        itself on the patch grid.
    """
    if "mask" not in reference:
        return {}
    found: Metrics = {}
    labels = explanation["label"].to_numpy()
    for cls in np.flatnonzero(reference["has_mask"].to_numpy()):
        tiles = explanation.isel(tile=np.flatnonzero(labels == cls))
        if not tiles.sizes["tile"]:
            continue
        saliency = tiles["saliency"].isel(cls=cls).sum("group").to_numpy().astype(np.float64)
        mask = mask_of_tiles(reference["mask"].isel(cls=cls).to_numpy(), tiles, spec.window_px)
        for name, metric in _SPATIAL.items():
            found[f"{name}.{spec.classes[cls]}"] = over_tiles(metric, saliency, mask).mean
        found[f"spatial_auc_ceiling.{spec.classes[cls]}"] = over_tiles(spatial_auc, mask, mask).mean
    return found


def mask_of_tiles(mask: np.ndarray, tiles: xr.Dataset, size: int) -> Float[np.ndarray, "tile py px"]:
    """Return the share of each patch of some windows that a mask ``(y, x)`` marks; ``size`` is a window's side, px."""
    rows, cols = tiles.sizes["py"], tiles.sizes["px"]
    corners = zip(tiles["row"].to_numpy(), tiles["col"].to_numpy(), strict=True)
    windows = np.stack([mask[row : row + size, col : col + size] for row, col in corners]).astype(np.float64)
    across = np.array_split(np.arange(size), cols)
    along = np.array_split(np.arange(size), rows)
    return np.stack(
        [np.stack([windows[:, y][:, :, x].mean(axis=(1, 2)) for x in across], axis=1) for y in along], axis=1
    )


def _attention(model: Focus, explanation: xr.Dataset) -> Metrics:
    layout = model.layout
    names = ("sink_share", "token_share", "prefix_attention", "background_attention", "outlier_share")
    shares = {name: float(explanation[name].mean()) for name in names}
    uniform = layout.prefix / (layout.prefix + layout.patches)
    return {
        **shares,
        "prefix_attention_uniform": uniform,
        "collapse": float(has_collapse(shares["prefix_attention"], uniform)),
    }
