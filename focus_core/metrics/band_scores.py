"""All band metrics of a set of classes under their fixed names.

Knows which metrics belong in the table; does not know how any is computed.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

from focus_core.metrics.band_bounds import band_iou_ceiling, band_iou_chance
from focus_core.metrics.bands import (
    band_iou,
    effect_size_correlation,
    mass_in_reference,
    mass_over_chance,
    null_share,
    soft_iou,
    spectral_pointing,
)


def band_scores(
    curves: Float[np.ndarray, "cls band"],
    reference: Bool[np.ndarray, "cls band"],
    group_of_band: Int[np.ndarray, " band"],
    *,
    effect_size: Float[np.ndarray, "cls band"] | None = None,
    null_band: Bool[np.ndarray, " band"] | None = None,
    seed: int = 0,
) -> dict[str, Float[np.ndarray, " cls"]]:
    """Score the curve of each class against its reference bands.

    Parameters
    ----------
    curves
        ``(cls, band)`` float, signed importance per band (or per nm) of each class over its own plots. Bands
        outside all groups count as not seen whatever they hold, so that rivals with a value at every band are
        measured on the same bands.
    reference
        ``(cls, band)`` bool; a class without reference bands gets NaN.
    group_of_band
        ``(band,)`` int, index of the band's group; negative = outside all groups.
    effect_size
        ``(cls, band)`` float, NaN = unknown; adds ``effect_size_correlation``.
    null_band
        ``(band,)`` bool, bands known to be noise; adds ``null_share``.
    seed
        Of the random orders behind ``band_iou_chance``.

    Returns
    -------
    dict[str, Float[np.ndarray, " cls"]]
        ``(cls,)`` float64 for each of ``band_iou``, ``band_iou_chance``, ``band_iou_ceiling``,
        ``band_iou_of_ceiling``, ``soft_iou``, ``mass_in_reference``, ``mass_over_chance`` and
        ``spectral_pointing``; NaN = not applicable.
    """
    curves = np.where(group_of_band >= 0, curves, np.nan)
    pairs = list(zip(curves, reference, strict=True))
    scores = {
        metric.__name__: np.array([metric(curve, wanted) for curve, wanted in pairs])
        for metric in (band_iou, soft_iou, mass_in_reference, mass_over_chance, spectral_pointing)
    }
    scores["band_iou_chance"] = np.array([band_iou_chance(wanted, group_of_band, seed=seed) for wanted in reference])
    scores["band_iou_ceiling"] = np.array([band_iou_ceiling(wanted, group_of_band) for wanted in reference])
    scores["band_iou_of_ceiling"] = scores["band_iou"] / scores["band_iou_ceiling"]
    if effect_size is not None:
        scores["effect_size_correlation"] = np.array(
            [effect_size_correlation(curve, size) for curve, size in zip(curves, effect_size, strict=True)]
        )
    if null_band is not None:
        scores["null_share"] = np.array([null_share(curve, null_band) for curve in curves])
    return scores
