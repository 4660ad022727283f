"""How well a saliency map finds what an expert mask marks, on a patch grid or in three dimensions.

Knows saliency and mask fractions; does not know pixels, plots or how a mask was brought onto the grid.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from sklearn.metrics import average_precision_score, roc_auc_score

from focus_core.errors import SettingsError


class TileScores(NamedTuple):
    """A spatial metric over a set of tiles."""

    mean: float
    """Over the tiles where the metric is defined; NaN if there is none."""
    values: Float[np.ndarray, " tile"]
    """NaN for tiles that are wholly inside the mask or wholly outside it."""
    defined: int
    """Number of tiles behind ``mean``."""


def spatial_auc(
    saliency: Float[np.ndarray, "*patch"], mask: Bool[np.ndarray, "*patch"] | Float[np.ndarray, "*patch"]
) -> float:
    """Area under the ROC curve of saliency as a detector of the mask.

    A patch that the mask covers by a fraction f counts as f positive and 1 − f negative: the value equals the one
    over pixels with each patch's saliency on all of its pixels, and no threshold is needed. Mixed patches keep it
    below 1; ``spatial_auc(mask, mask)`` is the ceiling of the grid.

    Parameters
    ----------
    saliency
        Float of any shape, ``(py, px)`` or flattened; ``(tile, py, px)`` pools the tiles. Signed values are ranked
        as they are. NaN = outside the plot, left out.
    mask
        The same shape; bool, or float in [0, 1], the share of the patch inside the mask. NaN = unknown, left out.

    Returns
    -------
    float
        In [0, 1]; NaN where all is inside the mask or all outside.

    Raises
    ------
    SettingsError
        If a saliency is infinite or a share is outside [0, 1].
    """
    values, labels, weights = _weighted_labels(saliency, mask)
    return float(roc_auc_score(labels, values, sample_weight=weights)) if labels.size else float("nan")


def spatial_average_precision(
    saliency: Float[np.ndarray, "*patch"], mask: Bool[np.ndarray, "*patch"] | Float[np.ndarray, "*patch"]
) -> float:
    """Average precision of saliency as a detector of the mask; chance is the mask's share of the area.

    Parameters
    ----------
    saliency, mask
        As in `spatial_auc`.

    Returns
    -------
    float
        In [0, 1]; NaN where all is inside the mask or all outside.

    Raises
    ------
    SettingsError
        If a saliency is infinite or a share is outside [0, 1].
    """
    values, labels, weights = _weighted_labels(saliency, mask)
    if not labels.size:
        return float("nan")
    return float(average_precision_score(labels, values, sample_weight=weights))


def spatial_pointing(
    saliency: Float[np.ndarray, "*patch"], mask: Bool[np.ndarray, "*patch"] | Float[np.ndarray, "*patch"]
) -> float:
    """Pointing game (Zhang et al., IJCV 2018): how much of the most salient patch is inside the mask.

    Parameters
    ----------
    saliency, mask
        As in `spatial_auc`; patches that tie for the maximum count equally.

    Returns
    -------
    float
        In [0, 1], 0 or 1 for a bool mask without ties; chance is the mask's share of the area. NaN where all is
        inside the mask or all outside.

    Raises
    ------
    SettingsError
        If a saliency is infinite or a share is outside [0, 1].
    """
    values, share = _known(saliency, mask)
    if not _is_mixed(share):
        return float("nan")
    return float(share[values == values.max()].mean())


def over_tiles(
    metric: Callable[[np.ndarray, np.ndarray], float],
    saliency: Float[np.ndarray, "tile *patch"],
    mask: Bool[np.ndarray, "tile *patch"] | Float[np.ndarray, "tile *patch"],
) -> TileScores:
    """Apply a spatial metric to each tile, counting the tiles where it is defined.

    Parameters
    ----------
    metric
        `spatial_auc`, `spatial_average_precision` or `spatial_pointing`.
    saliency, mask
        ``(tile, *patch)``, each tile as in `spatial_auc`.

    Returns
    -------
    TileScores
        Mean, value of each tile, and number of tiles behind the mean.
    """
    values = np.array([metric(one, wanted) for one, wanted in zip(saliency, mask, strict=True)], np.float64)
    known = values[~np.isnan(values)]
    return TileScores(float(known.mean()) if known.size else float("nan"), values, known.size)


def spread_over_bands(
    saliency: Float[np.ndarray, "group py px"], group_of_band: Int[np.ndarray, " band"]
) -> Float[np.ndarray, "band py px"]:
    """Give each group's saliency to its bands in equal parts, sum preserved.

    Parameters
    ----------
    saliency
        ``(group, py, px)`` float, signed.
    group_of_band
        ``(band,)`` int, index of the band's group; negative = outside all groups.

    Returns
    -------
    Float[np.ndarray, "band py px"]
        ``(band, py, px)`` float64; NaN in bands outside all groups.

    Raises
    ------
    SettingsError
        If a band names a group that the saliency does not have.
    """
    groups = saliency.shape[0]
    if (group_of_band >= groups).any():
        raise SettingsError(
            f"expected groups 0 to {groups - 1}, as the saliency has, found {group_of_band.max()} in group_of_band"
        )
    inside = group_of_band >= 0
    bands = np.bincount(group_of_band[inside], minlength=groups)
    voxels = np.full((group_of_band.size, *saliency.shape[1:]), np.nan)
    group = group_of_band[inside]
    voxels[inside] = saliency[group] / bands[group, None, None]
    return voxels


def auc_3d(
    saliency: Float[np.ndarray, "group py px"],
    mask: Bool[np.ndarray, "band py px"] | Float[np.ndarray, "band py px"],
    group_of_band: Int[np.ndarray, " band"],
) -> float:
    """`spatial_auc` over all (band, patch) voxels, of a mask in three dimensions.

    Parameters
    ----------
    saliency
        ``(group, py, px)`` float, signed; each group's share goes to its bands in equal parts.
    mask
        ``(band, py, px)`` bool, or share in [0, 1]; bands outside all groups are left out.
    group_of_band
        ``(band,)`` int, index of the band's group; negative = outside all groups. A saliency with a value at each
        band has each band as a group.

    Returns
    -------
    float
        In [0, 1]; NaN where all is inside the mask or all outside.

    Raises
    ------
    SettingsError
        If a saliency is infinite, a share is outside [0, 1] or a group is unknown.
    """
    return spatial_auc(spread_over_bands(saliency, group_of_band), mask)


def average_precision_3d(
    saliency: Float[np.ndarray, "group py px"],
    mask: Bool[np.ndarray, "band py px"] | Float[np.ndarray, "band py px"],
    group_of_band: Int[np.ndarray, " band"],
) -> float:
    """`spatial_average_precision` over all (band, patch) voxels, of a mask in three dimensions.

    Parameters
    ----------
    saliency, mask, group_of_band
        As in `auc_3d`.

    Returns
    -------
    float
        In [0, 1]; NaN where all is inside the mask or all outside.

    Raises
    ------
    SettingsError
        If a saliency is infinite, a share is outside [0, 1] or a group is unknown.
    """
    return spatial_average_precision(spread_over_bands(saliency, group_of_band), mask)


def _known(
    saliency: Float[np.ndarray, "*patch"], mask: Bool[np.ndarray, "*patch"] | Float[np.ndarray, "*patch"]
) -> tuple[Float[np.ndarray, " known"], Float[np.ndarray, " known"]]:
    """Saliency and mask share of the patches that have both."""
    share = mask.astype(np.float64)
    if np.isinf(saliency).any():
        raise SettingsError("expected finite saliency or NaN (outside the plot), found infinity")
    if (share < 0).any() or (share > 1).any():
        raise SettingsError(
            f"expected mask shares in [0, 1], found {np.nanmin(share)} to {np.nanmax(share)}; divide by the area"
        )
    both = ~(np.isnan(saliency) | np.isnan(share))
    return saliency[both].astype(np.float64), share[both]


def _is_mixed(share: Float[np.ndarray, " known"]) -> bool:
    return bool((share > 0).any() and (share < 1).any())


def _weighted_labels(
    saliency: Float[np.ndarray, "*patch"], mask: Bool[np.ndarray, "*patch"] | Float[np.ndarray, "*patch"]
) -> tuple[Float[np.ndarray, " row"], Int[np.ndarray, " row"], Float[np.ndarray, " row"]]:
    """Each patch as a positive row of weight f and a negative one of weight 1 − f; empty where undefined."""
    values, share = _known(saliency, mask)
    if not _is_mixed(share):
        return np.empty(0), np.empty(0, dtype=int), np.empty(0)
    weights = np.concatenate([share, 1 - share])
    labels = np.repeat([1, 0], share.size)
    rows = weights > 0
    return np.tile(values, 2)[rows], labels[rows], weights[rows]
