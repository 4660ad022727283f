"""How well a spectral importance curve agrees with reference bands.

Knows curves and band sets; does not know where a reference comes from, nor wavelengths in nm.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from focus_core.errors import SettingsError
from focus_core.metrics.agreement import rank_agreement

_TIE = 1e-6
"""Values this close, as a share of the largest, are one value: means over plots are rounded in the last bits."""


def top_bands(curve: Float[np.ndarray, " band"], count: int) -> Float[np.ndarray, " band"]:
    """Select the ``count`` bands of largest positive importance, ties split fractionally.

    A curve that is constant on wavelength groups has no single set of top bands: any sort order would choose
    within the last group by accident. All bands that tie for the last places share them instead.

    Parameters
    ----------
    curve
        ``(band,)`` float, signed importance; NaN = the model does not see the band.
    count
        Number of bands to select.

    Returns
    -------
    Float[np.ndarray, " band"]
        ``(band,)`` float64 in [0, 1], share of each band that is selected; sums to ``count``, or to the number
        of seen bands where that is less. NaN bands get 0. Negative values tie with 0.

    Raises
    ------
    SettingsError
        If the curve holds an infinite value or ``count`` is negative.
    """
    if count < 0:
        raise SettingsError(f"expected a number of bands of at least 0, found {count}")
    values = _clipped(curve)
    seen = ~np.isnan(values)
    chosen = np.zeros(values.shape)
    count = min(count, int(seen.sum()))
    if count == 0:
        return chosen
    threshold = np.sort(values[seen])[-count]
    tie = _TIE * values[seen].max()
    above = seen & (values > threshold + tie)
    tied = seen & (np.abs(values - threshold) <= tie)
    chosen[above] = 1.0
    chosen[tied] = (count - above.sum()) / tied.sum()
    return chosen


def band_iou(curve: Float[np.ndarray, " band"], reference: Bool[np.ndarray, " band"]) -> float:
    """Intersection over union of the top-|R| bands of a curve with the reference bands R.

    With fractional ties it is the weighted Jaccard index Σ min / Σ max of the selected shares and R, so that a
    curve without any preference scores about what chance does.

    Parameters
    ----------
    curve
        ``(band,)`` float, signed importance per band (or per nm); NaN = outside all groups, never selected.
        Negative values are clipped here and nowhere else.
    reference
        ``(band,)`` bool, R; bands that the model does not see are left out of it.

    Returns
    -------
    float
        In [0, 1]; NaN where R holds no seen band.
    """
    reference = reference & ~np.isnan(curve)
    size = int(reference.sum())
    if size == 0:
        return float("nan")
    overlap = top_bands(curve, size)[reference].sum()
    return float(overlap / (2 * size - overlap))


def soft_iou(curve: Float[np.ndarray, " band"], reference: Bool[np.ndarray, " band"]) -> float:
    """Weighted Jaccard index (Ružička 1958) of the positive curve and R, each scaled to sum 1.

    Unlike `band_iou` it also depends on how much importance each band holds, not on the ranks alone.

    Parameters
    ----------
    curve
        ``(band,)`` float, signed importance per band; NaN = not seen.
    reference
        ``(band,)`` bool, R.

    Returns
    -------
    float
        In [0, 1]; NaN where R holds no seen band or the curve no positive value.
    """
    seen = ~np.isnan(curve)
    importance, wanted = _clipped(curve)[seen], reference[seen].astype(np.float64)
    if importance.sum() == 0 or wanted.sum() == 0:
        return float("nan")
    importance, wanted = importance / importance.sum(), wanted / wanted.sum()
    return float(np.minimum(importance, wanted).sum() / np.maximum(importance, wanted).sum())


def mass_in_reference(curve: Float[np.ndarray, " band"], reference: Bool[np.ndarray, " band"]) -> float:
    """Share of the positive importance that lies on the reference bands.

    Parameters
    ----------
    curve
        ``(band,)`` float, signed importance per band; NaN = not seen.
    reference
        ``(band,)`` bool, R.

    Returns
    -------
    float
        In [0, 1]; NaN where R holds no seen band or the curve no positive value.
    """
    seen = ~np.isnan(curve)
    importance, wanted = _clipped(curve)[seen], reference[seen]
    if importance.sum() == 0 or not wanted.any():
        return float("nan")
    return float(importance[wanted].sum() / importance.sum())


def mass_over_chance(curve: Float[np.ndarray, " band"], reference: Bool[np.ndarray, " band"]) -> float:
    """`mass_in_reference` as a multiple of |R| / |seen bands|, what a flat curve has there.

    Parameters
    ----------
    curve
        ``(band,)`` float, signed importance per band; NaN = not seen.
    reference
        ``(band,)`` bool, R.

    Returns
    -------
    float
        At least 0, 1 at chance; NaN where `mass_in_reference` is.
    """
    seen = ~np.isnan(curve)
    mass = mass_in_reference(curve, reference)
    return float("nan") if np.isnan(mass) else mass / float(reference[seen].mean())


def spectral_pointing(curve: Float[np.ndarray, " band"], reference: Bool[np.ndarray, " band"]) -> float:
    """Whether the most important band is a reference band; ties count by their share in R.

    The pointing game of Zhang et al. (IJCV 2018), along the spectrum.

    Parameters
    ----------
    curve
        ``(band,)`` float, signed importance per band; NaN = not seen. Without a positive value all seen bands tie.
    reference
        ``(band,)`` bool, R.

    Returns
    -------
    float
        In [0, 1]; NaN where R holds no seen band.
    """
    seen = ~np.isnan(curve)
    if not reference[seen].any():
        return float("nan")
    values = _clipped(curve)[seen]
    return float(reference[seen][values >= values.max() * (1 - _TIE)].mean())


def effect_size_correlation(curve: Float[np.ndarray, " band"], effect_size: Float[np.ndarray, " band"]) -> float:
    """Spearman correlation over bands between a curve and the effect size of the class.

    Parameters
    ----------
    curve
        ``(band,)`` float, signed importance per band, not clipped; NaN = not seen.
    effect_size
        ``(band,)`` float, |mean difference| / pooled standard deviation; NaN = unknown.

    Returns
    -------
    float
        In [-1, 1]; NaN where fewer than two bands have both, or one of them is constant.
    """
    return rank_agreement(curve, effect_size)


def null_share(importance: Float[np.ndarray, " unit"], null: Bool[np.ndarray, " unit"]) -> float:
    """Share of the absolute importance held by units that carry no information.

    Parameters
    ----------
    importance
        ``(unit,)`` float, signed importance of groups, or of bands; NaN = not seen, left out.
    null
        ``(unit,)`` bool, the units known to be noise.

    Returns
    -------
    float
        In [0, 1]; NaN where no unit is null and seen, or all importance is 0.

    Raises
    ------
    SettingsError
        If an importance is infinite.
    """
    seen = ~np.isnan(importance)
    size = np.abs(_finite(importance)[seen])
    if size.sum() == 0 or not null[seen].any():
        return float("nan")
    return float(size[null[seen]].sum() / size.sum())


def _finite(values: Float[np.ndarray, " unit"]) -> Float[np.ndarray, " unit"]:
    if np.isinf(values).any():
        raise SettingsError(
            f"expected finite importance or NaN (not seen), found infinity at {np.isinf(values).argmax()}"
        )
    return values.astype(np.float64)


def _clipped(curve: Float[np.ndarray, " band"]) -> Float[np.ndarray, " band"]:
    return np.asarray(np.maximum(_finite(curve), 0.0))
