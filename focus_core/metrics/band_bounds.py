"""What band IoU the wavelength groups allow: the ceiling of a perfect oracle, and chance.

Knows the groups of bands and the reference; does not look at any curve.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

from focus_core.errors import SettingsError


def band_iou_ceiling(reference: Bool[np.ndarray, " band"], group_of_band: Int[np.ndarray, " band"]) -> float:
    """Best `band_iou` that any curve constant on the groups can reach.

    Choosing |R| bands, group by group with a fraction of the last, so that most lie in R is a fractional
    knapsack; taking groups by falling share of R (Dantzig 1957) is its exact optimum.

    Parameters
    ----------
    reference
        ``(band,)`` bool, R.
    group_of_band
        ``(band,)`` int, index of the band's group; negative = outside all groups, left out of R.

    Returns
    -------
    float
        In (0, 1]; NaN where R holds no band of a group.
    """
    sizes, hits = _count(reference, group_of_band)
    if hits.sum() == 0:
        return float("nan")
    best = np.argsort(-hits / sizes, kind="stable")
    return float(_iou_of_orders(sizes, hits, best[None])[0])


def band_iou_chance(
    reference: Bool[np.ndarray, " band"],
    group_of_band: Int[np.ndarray, " band"],
    *,
    draws: int = 10_000,
    seed: int = 0,
) -> float:
    """Mean `band_iou` of curves that rank the groups at random.

    The null keeps the resolution of the curve, as `band_iou_ceiling` does, so chance never exceeds the ceiling; a
    null that draws single bands, or one run of bands, would, where groups are wide. A curve with a resolution of
    its own at each band takes each band as a group.

    Parameters
    ----------
    reference
        ``(band,)`` bool, R.
    group_of_band
        ``(band,)`` int, index of the band's group; negative = outside all groups, left out of R.
    draws
        Random orders of the groups.
    seed
        Of the random orders.

    Returns
    -------
    float
        In [0, 1], with a standard error below 0.5 / √``draws``; NaN where R holds no band of a group.

    Raises
    ------
    SettingsError
        If ``draws`` is not positive.
    """
    if draws < 1:
        raise SettingsError(f"expected at least 1 draw, found {draws}")
    sizes, hits = _count(reference, group_of_band)
    if hits.sum() == 0:
        return float("nan")
    order = np.tile(np.arange(sizes.size), (draws, 1))
    orders = np.random.default_rng(seed).permuted(order, axis=1)
    return float(_iou_of_orders(sizes, hits, orders).mean())


def _count(
    reference: Bool[np.ndarray, " band"], group_of_band: Int[np.ndarray, " band"]
) -> tuple[Int[np.ndarray, " group"], Int[np.ndarray, " group"]]:
    """Bands, and reference bands, of each group that has a band."""
    seen = group_of_band >= 0
    _, group, sizes = np.unique(group_of_band[seen], return_inverse=True, return_counts=True)
    return sizes, np.bincount(group[reference[seen]], minlength=sizes.size)


def _iou_of_orders(
    sizes: Int[np.ndarray, " group"], hits: Int[np.ndarray, " group"], orders: Int[np.ndarray, "draw group"]
) -> Float[np.ndarray, " draw"]:
    """Band IoU of curves that rank the groups in the given orders."""
    wanted = hits.sum()
    size = sizes[orders]
    before = size.cumsum(axis=1) - size
    taken = np.clip(wanted - before, 0, size)
    overlap = (taken * hits[orders] / size).sum(axis=1)
    return np.asarray(overlap / (2 * wanted - overlap))
