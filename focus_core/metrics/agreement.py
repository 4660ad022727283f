"""How far two explanations of one thing agree: importance with ablation, a map with its noisy repeat.

Knows paired arrays; does not know how either was made.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.stats import rankdata


def rank_agreement(first: Float[np.ndarray, "*unit"], second: Float[np.ndarray, "*unit"]) -> float:
    """Spearman's rank correlation, ties sharing their mean rank.

    Parameters
    ----------
    first, second
        ``(*unit)`` float of any equal shape, say importance and ablation per group; a pair with a NaN is left out.

    Returns
    -------
    float
        In [-1, 1]; NaN where fewer than two pairs remain or one side is constant.
    """
    first, second = _pairs(first, second)
    return _correlation(rankdata(first), rankdata(second))


def value_agreement(first: Float[np.ndarray, "*unit"], second: Float[np.ndarray, "*unit"]) -> float:
    """Pearson's correlation: agreement of values up to an offset and a positive factor.

    Parameters
    ----------
    first, second
        ``(*unit)`` float of any equal shape; a pair with a NaN is left out.

    Returns
    -------
    float
        In [-1, 1]; NaN where fewer than two pairs remain or one side is constant.
    """
    return _correlation(*_pairs(first, second))


def concordance(first: Float[np.ndarray, "*unit"], second: Float[np.ndarray, "*unit"]) -> float:
    """Lin's concordance correlation (Biometrics 1989): agreement of values as they are.

    Importance that is exact over groups *equals* its ablation; another offset or scale is a fault that Pearson's
    correlation forgives and this does not.

    Parameters
    ----------
    first, second
        ``(*unit)`` float of any equal shape and one unit; a pair with a NaN is left out.

    Returns
    -------
    float
        In [-1, 1], 1 for equal values; NaN where fewer than two pairs remain or both sides are one constant.
    """
    first, second = _pairs(first, second)
    if first.size < 2:
        return float("nan")
    spread = first.var() + second.var() + (first.mean() - second.mean()) ** 2
    shared = ((first - first.mean()) * (second - second.mean())).mean()
    return float(2 * shared / spread) if spread > 0 else float("nan")


def map_stability(
    maps: Float[np.ndarray, "tile *map"], repeat: Float[np.ndarray, "tile *map"]
) -> Float[np.ndarray, " tile"]:
    """Spearman correlation of each tile's saliency map with its repeat under noise.

    Parameters
    ----------
    maps, repeat
        ``(tile, *map)`` float, saliency of the true class on the patch grid; a NaN patch is left out.

    Returns
    -------
    Float[np.ndarray, " tile"]
        ``(tile,)`` float64 in [-1, 1]; NaN where a map is constant.
    """
    return np.array([rank_agreement(clean, noisy) for clean, noisy in zip(maps, repeat, strict=True)])


def _pairs(
    first: Float[np.ndarray, "*unit"], second: Float[np.ndarray, "*unit"]
) -> tuple[Float[np.ndarray, " pair"], Float[np.ndarray, " pair"]]:
    both = ~(np.isnan(first) | np.isnan(second))
    return first[both].astype(np.float64), second[both].astype(np.float64)


def _correlation(first: Float[np.ndarray, " pair"], second: Float[np.ndarray, " pair"]) -> float:
    if first.size < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    return float(np.corrcoef(first, second)[0, 1])
